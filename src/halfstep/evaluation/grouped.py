"""Sums over the entries of each user, item or group."""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import Array

__all__ = ["counted", "summed"]


def summed(row: Array, values: Array, rows: int) -> Array:
    """Σ of `values` for each of the rows 0, …, rows − 1, in the order of the entries (float64).

    >>> summed(np.array([0, 2, 2]), np.array([1.0, 0.5, 0.25]), 4).tolist()
    [1.0, 0.0, 0.75, 0.0]
    """
    return np.bincount(row, values, rows).astype(np.float64, copy=False)  # of no entries: int64


def counted(row: Array, rows: int) -> Array:
    """The number of entries of each row, NaN where there are none (float64)."""
    counts = np.bincount(row, minlength=rows).astype(np.float64)
    counts[counts == 0] = np.nan
    return counts
