"""The cutpoints of ordered ratings, drawn with the latent numbers integrated out.

    p(c | η, r) ∝ Π_Ω (Φ(c_k − η) − Φ(c_{k−1} − η)) · p(γ)
    γ_a = c_a ~ N(0, 10²)
    γ_k = log (c_k − c_{k−1}) for k > a,  log (c_{k+1} − c_k) for k < a;   γ_k ~ N(0, 2²)

with c_a the cutpoint that comes nearest to halving the ratings, so that rare levels at the ends move
none of the others.

An independence step of Metropolis: the proposal is a multivariate t of 5 degrees of freedom about the
mode in γ, which Newton's method finds, and is taken in four of five steps (with twenty levels in half of
them). Given the latent numbers the cutpoints could hardly move, as each lies between the two latent
numbers next to it; given η alone they are drawn anew (Cowles 1996, «Accelerating Monte Carlo Markov
chain convergence for cumulative-link generalized linear models»; Albert and Chib 2001, «Sequential
Ordinal Modeling with Applications to Survival Data», for γ).

The likelihood is that of η rounded to multiples of 1/256, so that its cost is that of some thousand
counts whatever the number of ratings. Rounding adds 1/(12 · 256²) = 1.3e-6 to a variance of 1, and moves
the mode by about a thousandth of the posterior standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import Array
from halfstep.bayes.latents import log_density, log_difference
from halfstep.bayes.levels import Levels

__all__ = ["CutpointSampler"]

_BIN = 1.0 / 256
_MOST_BINS = 1 << 16
"""Where η is spread out so far, bins are wider."""
_FREEDOM = 5.0
_STEPS = 50


@dataclass(frozen=True, slots=True)
class _Counts:
    """How many cells there are of every level (place) and η.

    `anchor` is a − 1: which cutpoint comes nearest to halving the cells.
    """

    place: Array
    eta: Array
    count: Array
    anchor: int

    @classmethod
    def of(cls, eta: Array, places: Array, levels: int) -> _Counts:
        low, high = float(eta.min()), float(eta.max())
        width = max(_BIN, (high - low) / _MOST_BINS)
        first = round(low / width)
        bins = round(high / width) - first + 1
        number = np.rint(eta / width).astype(np.int64) - first
        place = places.astype(np.int64)
        below = np.cumsum(np.bincount(place, minlength=levels))[:-1]
        anchor = int(np.argmin(np.abs(below - 0.5 * len(eta))))
        counts = np.bincount(place * bins + np.clip(number, 0, bins - 1))
        there = np.flatnonzero(counts)
        return cls(there // bins, (there % bins + first) * width, counts[there] * 1.0, anchor)


@dataclass(slots=True)
class CutpointSampler:
    """Draws cutpoints; `accepted` of `tried` proposals were taken."""

    accepted: int = 0
    tried: int = 0

    def draw(
        self, levels: Levels, eta: Array, places: Array, random: np.random.Generator
    ) -> Levels:
        """The levels with cutpoints drawn given η (N,) and the places k − 1 (N,) of the ratings."""
        counts = _Counts.of(eta, places, len(levels))
        anchor = counts.anchor
        current = _free(levels.cutpoints, anchor)
        mode, curvature = _mode(current, counts)
        root = np.linalg.cholesky(np.linalg.inv(curvature))
        d = len(mode)

        def log_proposal(free: Array) -> float:
            gap = np.linalg.solve(root, free - mode)
            square = float(np.einsum("k,k->", gap, gap))
            return float(-0.5 * (_FREEDOM + d) * np.log1p(square / _FREEDOM))

        stretch = np.sqrt(random.chisquare(_FREEDOM) / _FREEDOM)
        proposed = mode + np.einsum("jk,k->j", root, random.standard_normal(d)) / stretch
        gain = _value(proposed, counts) - _value(current, counts)
        gain += log_proposal(current) - log_proposal(proposed)
        self.tried += 1
        if np.log(random.random()) >= gain:
            return levels
        self.accepted += 1
        return Levels(levels.values, _cutpoints(proposed, anchor))


def _free(cutpoints: Array, anchor: int) -> Array:
    """γ of c."""
    gaps = np.log(np.diff(cutpoints))
    return np.concatenate([gaps[:anchor], cutpoints[anchor : anchor + 1], gaps[anchor:]])


def _cutpoints(free: Array, anchor: int) -> Array:
    """c of γ."""
    steps = np.exp(free)
    below = np.cumsum(steps[:anchor][::-1])[::-1]
    above = np.cumsum(steps[anchor + 1 :])
    found: Array = free[anchor] + np.concatenate([-below, [0.0], above])
    return found


def _moves(free: Array, anchor: int) -> Array:
    """∂c_k / ∂γ_j, (k, j)."""
    k, j = np.ogrid[: len(free), : len(free)]
    way = 1.0 * ((j > anchor) & (k >= j)) - 1.0 * ((j < anchor) & (k <= j))
    return np.where(j == anchor, 1.0, way * np.exp(free))


def _prior_precision(count: int, anchor: int) -> Array:
    precision = np.full(count, 1.0 / 4.0)
    precision[anchor] = 1.0 / 100.0
    return precision


def _value(free: Array, counts: _Counts) -> float:
    """log p(γ | η, r), up to a constant."""
    edges = np.concatenate([[-np.inf], _cutpoints(free, counts.anchor), [np.inf]])
    fit = log_difference(edges[counts.place] - counts.eta, edges[counts.place + 1] - counts.eta)
    own = 0.5 * np.add.reduce(_prior_precision(len(free), counts.anchor) * free * free)
    return float(np.add.reduce(counts.count * fit) - own)


def _mode(start: Array, counts: _Counts) -> tuple[Array, Array]:
    """The mode in γ, and minus the second derivatives there: Newton's method with halved steps."""
    free, value = start, _value(start, counts)
    for _ in range(_STEPS):
        slope, curvature = _slopes(free, counts)
        step = np.linalg.solve(curvature, slope)
        while True:
            tried = _value(free + step, counts)
            if tried >= value or np.abs(step).max() < 1e-9:
                break
            step = step / 2
        free, value = free + step, tried
        if np.abs(step).max() < 1e-7:
            break
    return free, _slopes(free, counts)[1]


def _slopes(free: Array, counts: _Counts) -> tuple[Array, Array]:
    """First derivatives of the value in γ, and minus the second ones.

    Those in c are exact; that c bends with γ is left out, which leaves the matrix positive definite.
    """
    anchor = counts.anchor
    cutpoints = _cutpoints(free, anchor)
    d = len(cutpoints)
    edges = np.concatenate([[-np.inf], cutpoints, [np.inf]])
    low, high = edges[counts.place] - counts.eta, edges[counts.place + 1] - counts.eta
    log_chance = log_difference(low, high)
    # of log P(r) in the upper and in the lower cutpoint of a level; 0 at ±∞
    up, down = np.exp(log_density(high) - log_chance), -np.exp(log_density(low) - log_chance)
    up_bend = up * (np.where(np.isfinite(high), high, 0.0) + up)
    down_bend = down * (np.where(np.isfinite(low), low, 0.0) + down)

    def total(values: Array) -> Array:
        found: Array = np.bincount(counts.place, counts.count * values, minlength=d + 1)
        return found

    slope = total(up)[:-1] + total(down)[1:]
    curvature = np.diag(total(up_bend)[:-1] + total(down_bend)[1:])
    both = total(up * down)[1:-1]
    curvature[np.arange(d - 1), np.arange(1, d)] = both
    curvature[np.arange(1, d), np.arange(d - 1)] = both
    moves = _moves(free, anchor)
    precision = _prior_precision(d, anchor)
    return (
        np.einsum("kj,k->j", moves, slope) - precision * free,
        np.einsum("kj,kl,lm->jm", moves, curvature, moves) + np.diag(precision),
    )
