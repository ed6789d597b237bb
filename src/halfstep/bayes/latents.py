"""The latent numbers of ordered ratings given η and the cutpoints: r* ~ N(η, 1), c_{k−1} < r* ≤ c_k.

Drawn by inversion in the lower tail, to which an interval right of η is reflected, so that nothing
cancels far from η. Albert and Chib (1993), «Bayesian Analysis of Binary and Polychotomous Response
Data», §3.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from halfstep.backends.base import Array
from halfstep.threads import get_num_threads

if TYPE_CHECKING:
    from halfstep.bayes.levels import Levels

__all__ = ["draw_latents", "expected_latents", "fit_of", "log_density", "log_difference"]

T = TypeVar("T")

_CELLS = 1 << 14
"""Cells at a time (a multiple of 4), so that what is worked out in between stays in a cache."""
_TINY = 1e-300
_RARE = 1e-6
_HALF_LOG_TAU = 0.5 * np.log(2.0 * np.pi)


def draw_latents(
    eta: Array, places: Array, levels: Levels, key: tuple[int, int], dtype: str = "float32"
) -> Array:
    """r* of every cell, given η (N,) and the place k − 1 of its level (N,).

    Cell j takes the j-th number of the Philox generator with this key (two numbers of 64 bits), whoever
    works it out: the same bits for any number of threads.
    """
    from scipy.special import ndtr, ndtri

    out = np.empty(len(eta), dtype=dtype)
    edges = levels.edges

    def draw(part: slice) -> None:
        centre, place = eta[part].astype(np.float64), places[part].astype(np.int64)
        bits = np.random.Philox(key=np.array(key, dtype=np.uint64))
        uniform = np.random.Generator(bits.advance(part.start // 4)).random(len(centre))
        low, high = edges[place], edges[place + 1]
        gap_low, gap_high = low - centre, high - centre
        right = gap_low > 0
        below = ndtr(np.where(right, -gap_high, gap_low))
        chance = below + uniform * (ndtr(np.where(right, -gap_low, gap_high)) - below)
        drawn = ndtri(np.maximum(chance, _TINY))
        drawn = np.where(right, centre - drawn, centre + drawn)
        out[part] = np.clip(drawn, low, high)  # where a chance is below 1e-300

    _each_part(draw, len(eta))
    return out


def expected_latents(eta: Array, places: Array, levels: Levels) -> Array:
    """E[r* | r, η] = η + (φ(c_{k−1} − η) − φ(c_k − η)) / P(r), float64."""
    eta = eta.astype(np.float64, copy=False)
    low, high = levels.edges[places] - eta, levels.edges[places + 1] - eta
    log_chance = log_difference(low, high)
    found: Array = (
        eta + np.exp(log_density(low) - log_chance) - np.exp(log_density(high) - log_chance)
    )
    return found


def fit_of(eta: Array, places: Array, levels: Levels) -> tuple[float, float]:
    """Σ log P(r) and Σ (r − E r)² over cells of these η and places k − 1."""
    edges = levels.edges

    def fit(part: slice) -> tuple[float, float]:
        centre, place = eta[part].astype(np.float64), places[part].astype(np.int64)
        chances = levels.chances(centre)
        own = chances[np.arange(len(centre)), place]
        log_own = np.log(np.maximum(own, _TINY))
        rare = np.flatnonzero(own < _RARE)  # a difference of numbers near 1
        at = place[rare]
        log_own[rare] = log_difference(edges[at] - centre[rare], edges[at + 1] - centre[rare])
        gaps = levels.values[place] - np.einsum("nk,k->n", chances, levels.values)
        return float(np.add.reduce(log_own)), float(np.add.reduce(gaps * gaps))

    parts = _each_part(fit, len(eta))
    return sum(logs for logs, _ in parts), sum(squares for _, squares in parts)


def _each_part(work: Callable[[slice], T], count: int) -> list[T]:
    """What `work` says of each part of so many cells, in their order, by as many threads as the kernels
    have: the functions of arrays that it calls let others work.
    """
    parts = [slice(first, min(first + _CELLS, count)) for first in range(0, count, _CELLS)]
    threads = min(get_num_threads(), len(parts))
    if threads <= 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def log_density(x: Array) -> Array:
    """log φ(x)."""
    found: Array = -0.5 * x * x - _HALF_LOG_TAU
    return found


def log_difference(low: Array, high: Array) -> Array:
    """log (Φ(high) − Φ(low)), from the side of 0 on which Φ is small."""
    from scipy.special import log_ndtr

    right = low > 0
    a, b = np.where(right, -high, low), np.where(right, -low, high)
    upper = log_ndtr(b)
    least = -np.finfo(np.float64).eps
    found: Array = upper + np.log(-np.expm1(np.minimum(log_ndtr(a) - upper, least)))
    return found
