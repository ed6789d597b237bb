"""Proper scores: how good a distribution was as a forecast of the one rating that came.

Lower is better in all of them, and nobody lowers the expected score by telling anything else than what
they believe (Gneiting and Raftery 2007, «Strictly Proper Scoring Rules, Prediction, and Estimation»,
Journal of the American Statistical Association 102). Arrays in, one score for each rating out; nothing
is checked here.
"""

from __future__ import annotations

import math

import numpy as np

from halfstep.backends.base import Array

__all__ = ["gaussian_crps", "gaussian_log_score", "interval_score", "wilson_interval"]


def gaussian_log_score(r: Array, mean: Array, std: Array) -> Array:
    """−log density of r under N(mean, std²): ½ log 2π + log std + ½ ((r − mean)/std)², in nats.

    The density is per unit of the ratings: stars counted in halves (r, mean and std twice as large) add
    log 2.

    >>> gaussian_log_score(np.array([3.0]), np.array([3.0]), np.array([1.0])).round(4).tolist()
    [0.9189]
    """
    z = (r - mean) / std
    score: Array = 0.5 * math.log(2 * math.pi) + np.log(std) + 0.5 * z**2
    return score


def gaussian_crps(r: Array, mean: Array, std: Array) -> Array:
    """The continuous ranked probability score of N(mean, std²), in the unit of the ratings.

    ∫ (F(x) − [r ≤ x])² dx = std (z (2 Φ(z) − 1) + 2 φ(z) − 1/√π), z = (r − mean)/std (Gneiting,
    Raftery, Westveld and Goldman 2005, eq. 5). As std goes to 0 it is |r − mean|: an absolute error
    that counts how sure the forecast was.

    >>> gaussian_crps(np.array([3.0]), np.array([3.0]), np.array([1.0])).round(4).tolist()
    [0.2337]
    """
    from scipy.special import ndtr

    z = (r - mean) / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    score: Array = std * (z * (2.0 * ndtr(z) - 1.0) + 2.0 * density - 1.0 / math.sqrt(math.pi))
    return score


def interval_score(r: Array, lower: Array, upper: Array, level: float) -> Array:
    """Width + 2/α · the distance of r from the interval, α = 1 − level, in the unit of the ratings.

    (Winkler 1972; Gneiting and Raftery 2007, eq. 43.) Its expectation is least where each end leaves
    α/2 beyond it: narrow intervals that hold what they promise.

    >>> ends = np.array([2.0, 2.0]), np.array([4.0, 4.0])
    >>> interval_score(np.array([3.0, 5.0]), *ends, level=0.5).tolist()
    [2.0, 6.0]
    """
    outside = np.maximum(lower - r, 0.0) + np.maximum(r - upper, 0.0)
    score: Array = (upper - lower) + 2.0 / (1.0 - level) * outside
    return score


def wilson_interval(share: Array, n: Array, confidence: float) -> tuple[Array, Array]:
    """Where the chance lies that has given this share of n independent trials (Wilson 1927).

    (p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n): within [0, 1], no point at 0 or 1.

    >>> [round(float(end), 4) for end in wilson_interval(np.array(0.9), np.array(100.0), 0.95)]
    [0.8256, 0.9448]
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2.0))
    middle = share + z**2 / (2.0 * n)
    spread = z * np.sqrt(share * (1.0 - share) / n + z**2 / (4.0 * n**2))
    whole = 1.0 + z**2 / n
    return np.maximum((middle - spread) / whole, 0.0), np.minimum((middle + spread) / whole, 1.0)
