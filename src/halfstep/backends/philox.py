"""The random numbers of `backends.base.Noise`: the oracle of `crates/kernels/src/random.rs`."""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import Array, Noise

__all__ = ["normals", "philox"]


def philox(counter: Array, key: tuple[int, int]) -> Array:
    """Philox4x32 of ten rounds for counters (N, 4), as (N, 4) words; all uint64 that hold 32 bits."""
    c = counter.astype(np.uint64)
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    k = [key[0], key[1]]
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * c[:, 0], np.uint64(0xCD9E8D57) * c[:, 2]
        c = np.stack(
            [
                (second >> shift) ^ c[:, 1] ^ np.uint64(k[0]),
                second & low,
                (first >> shift) ^ c[:, 3] ^ np.uint64(k[1]),
                first & low,
            ],
            axis=1,
        )
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def normals(noise: Noise, row: int, count: int) -> Array:
    """The first `count` normal numbers of a row, float64."""
    from scipy.special import ndtri

    blocks = np.arange(-(-count // 4))
    counter = np.column_stack(
        [
            blocks,
            np.full_like(blocks, row & 0xFFFFFFFF),
            np.full_like(blocks, row >> 32),
            np.full_like(blocks, noise.step),
        ]
    )
    words = philox(counter, (noise.seed & 0xFFFFFFFF, noise.seed >> 32)).ravel()[:count]
    found: Array = ndtri((words.astype(np.float64) + 0.5) / 2.0**32)
    return found
