"""The ordered probit: ratings are levels of a latent number that factors explain.

    r_ui = v_k   where   c_{k−1} < r*_ui ≤ c_k,   r*_ui ~ N(η_ui, 1),   η_ui = b_u + b_i + w_u·z_i

    c | η, r          with the r* integrated out (`cutpoints.py`), every 5th sweep
    r* | η, c, r      a truncated normal number for each cell (`latents.py`)
    rows | r*         as if the r* were the ratings, with μ = 0 and α = 1

Source: Albert and Chib (1993), «Bayesian Analysis of Binary and Polychotomous Response Data», §3. The
cutpoints hold the location of η, so that μ is 0 while the chain runs. Biases and cutpoints can drift
together without a change of any prediction: what is kept of a draw has cutpoints of mean 0, and μ less
that mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.bayes.cutpoints import CutpointSampler
from halfstep.bayes.density import PosteriorDensity
from halfstep.bayes.latents import draw_latents, expected_latents, fit_of
from halfstep.bayes.levels import Levels
from halfstep.data.ratings import Ratings, transpose
from halfstep.factors import Factors
from halfstep.objectives import Value

__all__ = ["Ordinal", "OrdinalDensity", "eta_of"]

_EVERY = 5
"""Sweeps from one draw of the cutpoints to the next: the rows move more slowly than they."""
_EXACT = 1 << 24
"""Up to which a float32 holds every integer."""


def eta_of(cells: CSR, f: Factors, mean: float, backend: Backend) -> Array:
    """η of every cell by user, of the factors' type."""
    users = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
    return backend.predict(
        users,
        cells.indices.astype(np.int64),
        f.user_factors,
        f.item_factors,
        f.user_bias,
        f.item_bias,
        mean,
    )


@dataclass(slots=True)
class OrdinalDensity(PosteriorDensity):
    """J = −log p(r, W, Z, b | c, priors) with the latent numbers integrated out, up to a constant.

        J = − Σ_Ω log (Φ(c_k − η) − Φ(c_{k−1} − η)) + the priors of `PosteriorDensity`

    A row problem is that of latent numbers in the place of ratings. Weights are 1.
    """

    levels: Levels = field(kw_only=True)
    eta: Array = field(default_factory=lambda: np.zeros(0), kw_only=True)
    """Of every cell by user, where J was worked out last."""
    _known: tuple[Array, Array] | None = field(default=None, init=False)

    def likelihood(
        self, ratings: Ratings, start: Factors, random: np.random.Generator, seed: int
    ) -> Ordinal:
        return Ordinal.of(self, ratings, random, seed)

    @property
    def sigma(self) -> float:
        """How much of the scale of ratings is a standard deviation of the latent number.

        The distance of the levels' midpoints over that of the cutpoints, from the first to the last;
        with two levels, which have one cutpoint, the distance of the levels.
        """
        middle = 0.5 * (self.levels.values[1:] + self.levels.values[:-1])
        if len(middle) == 1:
            return float(self.levels.values[1] - self.levels.values[0])
        c = self.levels.cutpoints
        return float((middle[-1] - middle[0]) / (c[-1] - c[0]))

    def rated(self, fitted: Array) -> Array:
        """E r where η is `fitted`."""
        return self.levels.expected(fitted)

    def located(self, factors: Factors) -> tuple[Factors, Levels | None]:
        shift = float(np.add.reduce(self.levels.cutpoints)) / len(self.levels.cutpoints)
        return replace(factors, mean=factors.mean - shift), self.levels.shifted(-shift)

    def gradient(
        self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend, out: Factors
    ) -> Value:
        """∂J / ∂(W, Z, b): that of the latent numbers' means, as ∂ −log P(r) / ∂η = η − E[r* | r, η]."""
        eta = eta_of(by_user, factors, self.mean, backend)
        means = expected_latents(eta, self._places(by_user.values), self.levels)
        cells = CSR(by_user.indptr, by_user.indices, means.astype(np.float32))
        self._slope(cells, transpose(cells, by_item.n_rows), factors, backend, out)
        return self.value(by_user, by_item, factors, backend)

    def _fit(self, by_user: CSR, f: Factors, backend: Backend) -> tuple[float, float]:
        self.eta = eta_of(by_user, f, self.mean, backend)
        logs, squares = fit_of(self.eta, self._places(by_user.values), self.levels)
        return -logs, math.sqrt(squares / max(by_user.nnz, 1))

    def _places(self, ratings: Array) -> Array:
        """k − 1 of every rating; those of the same array are looked up once."""
        if self._known is None or self._known[0] is not ratings:
            self._known = ratings, self.levels.places(ratings)
        return self._known[1]


@dataclass(slots=True)
class Ordinal:
    """Draws cutpoints and latent numbers of one chain.

    What is random in the latent number of a cell depends on the seed, the sweep and the cell's place by
    user alone.
    """

    density: OrdinalDensity
    ratings: Ratings
    places: Array
    order: Array
    """The place by user of every cell by item."""
    random: np.random.Generator
    seed: int
    cutpoints: CutpointSampler = field(default_factory=CutpointSampler)
    sweeps: int = 0

    @classmethod
    def of(
        cls, density: OrdinalDensity, ratings: Ratings, random: np.random.Generator, seed: int
    ) -> Ordinal:
        cells = ratings.by_user
        number = np.arange(cells.nnz)
        low, high = (part.astype(np.float32) for part in (number % _EXACT, number // _EXACT))
        by_item = transpose(CSR(cells.indptr, cells.indices, low, high), len(ratings.items))
        assert by_item.weights is not None
        order = by_item.values.astype(np.int64) + by_item.weights.astype(np.int64) * _EXACT
        return cls(density, ratings, density._places(cells.values), order, random, seed)

    @property
    def spread(self) -> float:
        """1: the unit of η is the noise of the latent number."""
        return 1.0

    def draw(self) -> tuple[CSR, CSR]:
        density = self.density
        if self.sweeps % _EVERY == 0:
            density.levels = self.cutpoints.draw(
                density.levels, density.eta, self.places, self.random
            )
        key = self.seed, self.sweeps
        self.sweeps += 1
        values = draw_latents(density.eta, self.places, density.levels, key)
        by_user, by_item = self.ratings.by_user, self.ratings.by_item
        return (
            CSR(by_user.indptr, by_user.indices, values),
            CSR(by_item.indptr, by_item.indices, values[self.order]),
        )
