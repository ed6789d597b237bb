"""Errors of predicted ratings. c are observation weights, 1 where none are given."""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import Array
from halfstep.errors import DataError

__all__ = ["mean_absolute_error", "r_squared", "root_mean_squared_error"]


def _weights(observed: Array, fitted: Array, weights: Array | None) -> Array:
    if len(observed) != len(fitted):
        raise DataError(
            "y",
            len(observed),
            f"must hold one rating for each of the {len(fitted)} pairs",
            "pass arrays of equal length",
        )
    if len(observed) == 0:
        raise DataError("X", "no rows", "must hold at least one rating", "pass a larger test part")
    if weights is None:
        return np.ones(len(observed))
    c = np.asarray(weights, dtype=np.float64)
    if c.shape != observed.shape:
        raise DataError(
            "weights",
            c.shape,
            f"must hold one weight for each of the {len(observed)} ratings",
            "pass arrays of equal length",
        )
    if not (np.isfinite(c).all() and (c >= 0).all() and c.any()):
        raise DataError("weights", c, "must be finite, not negative and not all 0", "mend them")
    return c


def root_mean_squared_error(observed: Array, fitted: Array, weights: Array | None = None) -> float:
    """RMSE = √(Σ c (r − r̂)² / Σ c), in the unit of the ratings.

    >>> root_mean_squared_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    1.4142135623730951
    """
    c = _weights(observed, fitted, weights)
    return float(np.sqrt(np.add.reduce(c * (observed - fitted) ** 2) / np.add.reduce(c)))


def mean_absolute_error(observed: Array, fitted: Array, weights: Array | None = None) -> float:
    """MAE = Σ c |r − r̂| / Σ c, in the unit of the ratings."""
    c = _weights(observed, fitted, weights)
    return float(np.add.reduce(c * np.abs(observed - fitted)) / np.add.reduce(c))


def r_squared(observed: Array, fitted: Array, weights: Array | None = None) -> float:
    """R² = 1 − Σ c (r − r̂)² / Σ c (r − r̄)²; 0 where all observed ratings are equal.

    (scikit-learn's convention: 1 where they are equal and hit exactly.)
    """
    c = _weights(observed, fitted, weights)
    mean = np.add.reduce(c * observed) / np.add.reduce(c)
    total = float(np.add.reduce(c * (observed - mean) ** 2))
    error = float(np.add.reduce(c * (observed - fitted) ** 2))
    if total == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / total
