"""The density that the sampler explores, given the priors of the rows: an objective like any other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import CSR, Array, Backend, RowTerms
from halfstep.bayes.levels import Levels
from halfstep.bayes.likelihoods import Gaussian, Likelihood
from halfstep.bayes.noise import Noise, steadied
from halfstep.bayes.priors import RowPrior
from halfstep.data.ratings import Ratings
from halfstep.factors import Factors, deviation
from halfstep.objectives import RowProblem, Side, Value, row_weights

__all__ = ["PosteriorDensity", "stacked"]


@dataclass(slots=True)
class PosteriorDensity:
    """J = −log p(r, W, Z, b | α, priors), up to a constant.

        r_ui ~ N(μ + b_u + b_i + w_u·z_i, 1 / (α γ_u c_ui)),   y_u ~ N(m, Λ⁻¹) for both sides
        J = ½ α Σ_Ω γ c (r − r̂)² − ½ Σ_Ω c · log α γ
            + ½ Σ_u (y_u − m_u)ᵀ Λ (y_u − m_u) − ½ Σ_u log |Λ| + the same of the items

    (c weighs as so many equal ratings would; γ is in `noise.py`, where it is part of the weights of
    the cells.) α, γ and the priors are those of the moment: the sampler puts new ones in their
    place. A row of either side is a row problem with P = Λ and q = Λ m.
    """

    mean: float
    users: RowPrior
    items: RowPrior
    alpha: float
    biases: bool
    steadiness: Array | None = None
    """γ of every user; None: 1."""
    freedom: float = math.inf
    """ν of their distribution."""
    squares: Array | None = None
    """Σ_i c (r − r̂)² of every user where J was worked out last."""

    @property
    def nonnegative(self) -> bool:
        """Factors are of any sign."""
        return False

    def likelihood(
        self, ratings: Ratings, start: Factors, random: np.random.Generator, seed: int
    ) -> Likelihood:
        """What the sampler draws beside rows and priors; `seed`: of what it draws for every cell."""
        spread = deviation(ratings.by_user, start.mean)
        return Gaussian(self, Noise(ratings, spread, self.alpha, self.steadiness), random)

    @property
    def sigma(self) -> float:
        """The standard deviation of the noise of a rating of weight 1."""
        return float(self.alpha**-0.5)

    def rated(self, fitted: Array) -> Array:
        """E r where r̂ is `fitted`: the same."""
        return fitted

    def located(self, factors: Factors) -> tuple[Factors, Levels | None]:
        """The factors as they are kept, and what is kept of the likelihood beside α."""
        return factors, None

    def prior(self, side: Side) -> RowPrior:
        """That of the rows of a side."""
        return self.users if side == "user" else self.items

    def cells(self, cells: CSR) -> CSR:
        """As they are stored."""
        return cells

    def scales(self, side: Side, cells: CSR) -> Array:
        """1: what a prior says does not grow with the ratings."""
        return np.ones(cells.n_rows)

    def row_problem(self, side: Side, cells: CSR, rank: int, dtype: str) -> RowProblem:
        prior = self.prior(side)
        return RowProblem(
            RowTerms(a0=self.alpha, a1=0.0, b0=-self.alpha * self.mean, b1=self.alpha),
            np.zeros(rank + self.biases, dtype=dtype),
            None,
            prior=prior.precision.astype(dtype),
            linear=prior.linear(dtype),
        )

    def gradient(
        self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend, out: Factors
    ) -> Value:
        """Write ∂J / ∂(W, Z, b) into the arrays of `out`: α E Z + Λ (y − m) for the users, E = c
        (r̂ − r).
        """
        own = steadied(by_user, self.steadiness, "user"), steadied(by_item, self.steadiness, "item")
        self._slope(*own, factors, backend, out)
        return self.value(by_user, by_item, factors, backend)

    def _slope(
        self, by_user: CSR, by_item: CSR, f: Factors, backend: Backend, out: Factors
    ) -> None:
        for prior, cells, rows, fixed, grad in (
            (self.items, by_item, f.item_side, f.user_side, out.item_side),
            (self.users, by_user, f.user_side, f.item_side, out.user_side),
        ):
            (X, bias), (F, offset), (g, g_bias) = rows, fixed, grad
            backend.gradient(cells, X, F, bias, offset, self.mean, out=g, out_bias=g_bias)
            pull = self._gaps(prior, rows) @ prior.precision
            g *= self.alpha
            g += pull[:, : f.rank].astype(g.dtype)
            if g_bias is not None:
                g_bias *= self.alpha
                g_bias += pull[:, f.rank].astype(g.dtype)

    @staticmethod
    def _gaps(prior: RowPrior, rows: tuple[Array, Array | None]) -> Array:
        """y − m − Aᵀ x of every row."""
        means = prior.mean if prior.shift is None else prior.mean + prior.shift
        found: Array = stacked(*rows) - means
        return found

    def value(self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend) -> Value:
        f = factors
        total, error = self._fit(by_user, f, backend)
        for prior, cells, rows in (
            (self.users, by_user, f.user_side),
            (self.items, by_item, f.item_side),
        ):
            gaps = self._gaps(prior, rows)
            there = np.diff(cells.indptr) > 0
            if not there.all():
                gaps = gaps[there]
            total += 0.5 * float(np.einsum("ud,ud->", gaps, gaps @ prior.precision))
            total -= 0.5 * len(gaps) * prior.log_determinant
        return Value(total, error)

    def _fit(self, by_user: CSR, f: Factors, backend: Backend) -> tuple[float, float]:
        """−log p(r | r̂), and the root mean squared error."""
        self.squares = np.empty(by_user.n_rows)
        squares = backend.squared_error(
            by_user,
            f.user_factors,
            f.item_factors,
            f.user_bias,
            f.item_bias,
            self.mean,
            self.squares,
        )
        counts = row_weights(by_user)
        count = float(np.add.reduce(counts))
        total = -0.5 * count * math.log(self.alpha)
        if self.steadiness is None:
            total += 0.5 * self.alpha * squares
        else:
            total += 0.5 * self.alpha * float(np.add.reduce(self.steadiness * self.squares))
            total -= 0.5 * float(np.add.reduce(counts * np.log(self.steadiness)))
        return total, math.sqrt(squares / max(count, 1e-300))


def stacked(factors: Array, bias: Array | None) -> Array:
    """y = (w, b) of every row."""
    return factors if bias is None else np.column_stack([factors, bias])
