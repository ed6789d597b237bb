"""The latent numbers of ordered ratings given η and the cutpoints: r* ~ N(η, 1), c_{k−1} < r* ≤ c_k.

Drawn by inversion in the lower tail, to which an interval right of η is reflected, so that nothing
cancels far from η. Albert and Chib (1993), «Bayesian Analysis of Binary and Polychotomous Response
Data», §3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from halfstep.backends.base import Array

if TYPE_CHECKING:
    from halfstep.bayes.levels import Levels

__all__ = ["draw_latents", "expected_latents", "fit_of", "log_density", "log_difference"]

_TOGETHER = 1 << 14
"""Cells at a time, so that what is worked out in between stays in a cache."""
_TINY = 1e-300
_RARE = 1e-6
_HALF_LOG_TAU = 0.5 * np.log(2.0 * np.pi)


def draw_latents(
    eta: Array, places: Array, levels: Levels, random: np.random.Generator, dtype: str = "float32"
) -> Array:
    """r* of every cell, given η (N,) and the place k − 1 of its level (N,).

    Every cell takes the next number of `random`, so that the same generator gives the same bits however
    the cells are cut into parts.
    """
    from scipy.special import ndtr, ndtri

    out = np.empty(len(eta), dtype=dtype)
    edges = levels.edges
    for first in range(0, len(eta), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        centre, place = eta[part].astype(np.float64), places[part]
        low, high = edges[place] - centre, edges[place + 1] - centre
        right = low > 0
        a, b = np.where(right, -high, low), np.where(right, -low, high)
        below = ndtr(a)
        chance = below + random.random(len(centre)) * (ndtr(b) - below)
        drawn = ndtri(np.maximum(chance, _TINY))
        drawn = np.where(right, centre - drawn, centre + drawn)
        out[part] = np.clip(drawn, edges[place], edges[place + 1])  # where a chance is below 1e-300
    return out


def expected_latents(eta: Array, places: Array, levels: Levels) -> Array:
    """E[r* | r, η] = η + (φ(c_{k−1} − η) − φ(c_k − η)) / P(r), float64."""
    low, high = levels.edges[places] - eta, levels.edges[places + 1] - eta
    log_chance = log_difference(low, high)
    found: Array = (
        eta + np.exp(log_density(low) - log_chance) - np.exp(log_density(high) - log_chance)
    )
    return found


def fit_of(eta: Array, places: Array, levels: Levels) -> tuple[float, float]:
    """Σ log P(r) and Σ (r − E r)² over cells of these η and places k − 1."""
    logs = squares = 0.0
    for first in range(0, len(eta), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        centre, place = eta[part], places[part]
        chances = levels.chances(centre)
        own = chances[np.arange(len(centre)), place]
        rare = np.flatnonzero(own < _RARE)  # a difference of numbers near 1
        log_own = np.log(np.maximum(own, _TINY))
        edges, at = levels.edges, place[rare]
        log_own[rare] = log_difference(edges[at] - centre[rare], edges[at + 1] - centre[rare])
        gaps = levels.values[place] - np.einsum("nk,k->n", chances, levels.values)
        logs += float(np.add.reduce(log_own))
        squares += float(np.add.reduce(gaps * gaps))
    return logs, squares


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
