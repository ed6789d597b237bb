"""How sure a figure is: resampled users, labels exchanged at random, and many tests at once.

A metric is a function of sums over users (or items): a mean of one value a user is Σ x / Σ 1, the RMSE
√(Σ SSE / Σ c). Resampling draws users with all their ratings and computes the function of the resampled
sums, so that a figure over ratings stays one, and users with many ratings keep their weight.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from halfstep.backends.base import Array

__all__ = ["bootstrap_totals", "exchanged_totals", "holm", "percentile_interval"]

_ENTRIES = 1 << 21


def bootstrap_totals(sums: Array, resamples: int, seed: int) -> Array:
    """Sums over as many rows of `sums` drawn with replacement, `resamples` times.

    Parameters
    ----------
    sums : array (units, s)

    Returns
    -------
    array (resamples, s)
    """
    units = len(sums)
    rng = np.random.default_rng(seed)
    columns = np.ascontiguousarray(sums.T, dtype=np.float64)
    parts = []
    for size in _blocks(units, resamples):
        drawn = rng.integers(0, units, size=(size, units)) + np.arange(size)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
        parts.append(np.einsum("bu,su->bs", counts.astype(np.float64), columns))
    return np.concatenate(parts)


def exchanged_totals(one: Array, two: Array, resamples: int, seed: int) -> tuple[Array, Array]:
    """Sums of both after exchanging the two rows of each unit with probability ½, `resamples` times.

    Parameters
    ----------
    one, two : arrays (units, s)
        The same units under one model and the other.

    Returns
    -------
    two arrays (resamples, s)
    """
    rng = np.random.default_rng(seed)
    columns = np.ascontiguousarray((two - one).T, dtype=np.float64)
    parts = []
    for size in _blocks(len(one), resamples):
        exchanged = rng.integers(0, 2, size=(size, len(one)), dtype=np.int8)
        parts.append(np.einsum("bu,su->bs", exchanged.astype(np.float64), columns))
    moved = np.concatenate(parts)
    return one.sum(axis=0) + moved, two.sum(axis=0) - moved


def percentile_interval(values: Array, confidence: float) -> tuple[float, float]:
    """The (1 ∓ confidence)/2 quantiles: Efron's percentile interval."""
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(values, [tail, 1.0 - tail])
    return float(lower), float(upper)


def holm(p: Array) -> Array:
    """p-values corrected for their number (Holm 1979): the chance of any false rejection stays below α.

    The j-th smallest of h becomes max over i ≤ j of min(1, (h − i + 1) p_(i)).

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    scaled = (len(p) - np.arange(len(p))) * p[order]
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return corrected


def _blocks(units: int, resamples: int) -> Iterator[int]:
    step = max(1, _ENTRIES // max(1, units))
    for done in range(0, resamples, step):
        yield min(step, resamples - done)
