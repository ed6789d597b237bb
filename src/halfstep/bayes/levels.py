"""Ratings as ordered levels: what a number η on the latent scale says of a rating.

    r = v_k   where   c_{k−1} < r* ≤ c_k,   r* ~ N(η, 1),   −∞ = c_0 < c_1 < … < c_{L−1} < c_L = ∞

    P(r = v_k) = Φ(c_k − η) − Φ(c_{k−1} − η)
    E r        = v_1 + Σ_k (v_{k+1} − v_k) Φ(η − c_k)

Where η itself is known only as N(m, s²), the same with (m − c_k) / √(1 + s²) in place of η − c_k,
exactly. The levels need not be at equal distances, nor the cutpoints c. Source: McCullagh (1980,
«Regression Models for Ordinal Data»), with the normal distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.bayes.latents import expected_latents
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError

__all__ = ["Levels", "check_no_weights", "narrowest"]

_MOST = 20
"""Levels: more of them are a continuous scale."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The ratings v (L,) that there are, ascending, and the cutpoints c (L − 1,) between; float64."""

    values: Array
    cutpoints: Array

    @classmethod
    def of(cls, ratings: Ratings) -> Levels:
        """Those of the ratings, the cutpoints where the shares of the levels put them with η = 0.

        Raises `DataError` where there are fewer than 2 levels or more than 20, or a weight is not 1.
        """
        from scipy.special import ndtri

        cells = ratings.by_user
        check_no_weights(cells)
        values, counts = np.unique(cells.values, return_counts=True)
        if not 2 <= len(values) <= _MOST:
            found = (
                f"{values[0]:g} alone" if len(values) == 1 else f"{len(values)} different values"
            )
            raise DataError(
                "ratings",
                found,
                f'must have from 2 to {_MOST} different values with likelihood="ordinal"',
                'fit with likelihood="gaussian"',
            )
        shares = np.cumsum(counts)[:-1] / len(ratings)
        return cls(values.astype(np.float64), ndtri(shares))

    @classmethod
    def mean(cls, several: Sequence[Levels]) -> Levels:
        """The same levels with the mean of the cutpoints."""
        cutpoints = np.add.reduce([one.cutpoints for one in several], axis=0) / len(several)
        return cls(several[0].values, cutpoints)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def edges(self) -> Array:
        """c_0 to c_L."""
        return np.concatenate([[-np.inf], self.cutpoints, [np.inf]])

    @property
    def decimals(self) -> Array:
        """The values with the fewest decimals, 0.1 for what is stored of it in float32."""
        return np.array([float(str(value)) for value in self.values.astype(np.float32)])

    def shifted(self, by: float) -> Levels:
        """With all cutpoints moved."""
        return replace(self, cutpoints=self.cutpoints + by)

    def places(self, ratings: Array) -> Array:
        """k − 1 of every rating, one byte each.

        Raises `DataError` where one is not among the levels.
        """
        values = self.values.astype(np.float32)  # as ratings are stored
        found = np.minimum(np.searchsorted(values, ratings), len(values) - 1).astype(np.uint8)
        wrong = values[found] != ratings
        if wrong.any():
            raise DataError(
                "ratings",
                float(ratings[np.argmax(wrong)]),
                "is none of the levels that the model knows, "
                + ", ".join(f"{value:g}" for value in self.values),
                "round the ratings to these levels",
            )
        return found

    def scored(self, ratings: Ratings) -> Ratings:
        """The ratings with each level's mean on the latent scale, E[r* | r] with η = 0."""
        places = np.arange(len(self))
        scores = expected_latents(np.zeros(len(self)), places, self).astype(np.float32)
        cells = ratings.by_user
        return Ratings(
            ratings.users,
            ratings.items,
            CSR(cells.indptr, cells.indices, scores[self.places(cells.values)]),
            report=ratings.report,
        )

    def chances(self, eta: Array, variance: Array | float = 0.0) -> Array:
        """P(r = v_k) for every η ~ N(m, s²), (N, L) float64: `eta` m and `variance` s²."""
        spread = np.sqrt(1.0 + np.asarray(variance, dtype=np.float64))
        found = np.empty((len(self), len(eta)))  # by level: one long loop for each
        below: Array | float = 0.0
        for k, cutpoint in enumerate(self.cutpoints):
            upper = _phi((cutpoint - eta) / spread)
            np.subtract(upper, below, out=found[k])
            below = upper
        np.subtract(1.0, below, out=found[-1])
        return found.T

    def expected(self, eta: Array, variance: Array | float = 0.0) -> Array:
        """E r for every η ~ N(m, s²), float64."""
        spread = np.sqrt(1.0 + np.asarray(variance, dtype=np.float64))
        found = np.full(len(eta), self.values[0])
        for step, cutpoint in zip(np.diff(self.values), self.cutpoints, strict=True):
            found += step * _phi((eta - cutpoint) / spread)
        return found

    def std(self, chances: Array) -> Array:
        """The standard deviation of a rating of these probabilities (N, L)."""
        mean = np.einsum("nk,k->n", chances, self.values)
        gaps = self.values - mean[:, None]
        found: Array = np.sqrt(np.einsum("nk,nk->n", chances, gaps * gaps))
        return found


def check_no_weights(cells: CSR) -> None:
    """Raise `DataError` where a weight is not 1."""
    if cells.weights is not None and (cells.weights != 1).any():
        raise DataError(
            "weights",
            float(cells.weights[np.argmax(cells.weights != 1)]),
            'must all be 1 with likelihood="ordinal": every rating has one latent number',
            'leave them out, or fit with likelihood="gaussian"',
        )


def narrowest(levels: Levels, chances: Array, level: float) -> tuple[Array, Array]:
    """The ends of the narrowest run of levels v_j … v_k that together have the probability `level`.

    `chances` (N, L). Of runs that are equally narrow it is the most probable one, and of those the
    lowest.
    """
    count = len(levels)
    below = np.zeros((len(chances), count + 1))
    np.cumsum(chances, axis=1, out=below[:, 1:])
    lower = np.zeros(len(chances), dtype=np.int64)
    upper = np.full(len(chances), count - 1)
    width = np.full(len(chances), np.inf)
    chance = np.zeros(len(chances))
    for j, k in combinations_with_replacement(range(count), 2):
        own = below[:, k + 1] - below[:, j]
        wide = levels.values[k] - levels.values[j]
        better = (own >= level) & ((wide < width) | ((wide == width) & (own > chance)))
        lower[better], upper[better], width[better], chance[better] = j, k, wide, own[better]
    return levels.values[lower], levels.values[upper]


def _phi(x: Array) -> Array:
    from scipy.special import ndtr

    found: Array = ndtr(x.astype(np.float64, copy=False))
    return found
