"""Sums that float32 is too narrow for."""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import Array, Backend

__all__ = ["wide_gram"]

_ROWS = 1 << 16  # that are copied to float64 at a time


def wide_gram(factors: Array, backend: Backend, scale: Array | None = None) -> Array:
    """Fᵀ diag(scale) F, shape (K, K), summed in float64."""
    K = factors.shape[1]
    total = np.zeros((K, K))
    for first in range(0, len(factors), _ROWS):
        part = np.ascontiguousarray(factors[first : first + _ROWS], dtype=np.float64)
        own = None if scale is None else np.ascontiguousarray(scale[first : first + _ROWS])
        total += backend.gram(part, own)
    return total
