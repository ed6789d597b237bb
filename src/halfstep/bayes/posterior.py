"""What is kept of a chain: the mean of its predictions, and a thinned set of its draws.

The mean is kept as one set of `Factors`, so that predictions and top-N cost what they cost for any
other model:

    r̂_ui = 1/S Σ_s (μ + b_u + b_i + w_u·z_i)_s = μ̄ + b̄_u + b̄_i + (1/S Σ_s W_s Z_sᵀ)_ui

with the mean of the products as one product of two factors (`averages.py`). Every draw is centred first,
which changes none of its predictions: the typical row of each side, m_w and m_z, becomes 0,

    w' = w − m_w,   z' = z − m_z,   b_u' = b_u − m_b + w'·m_z,   b_i' likewise,   μ' the rest

so that an unknown user or item contributes nothing, as everywhere in halfstep.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.bayes.averages import MeanProduct
from halfstep.bayes.density import PosteriorDensity
from halfstep.bayes.levels import Levels
from halfstep.bayes.noise import typical_steadiness
from halfstep.bayes.ordinal import OrdinalDensity
from halfstep.bayes.priors import RowPrior
from halfstep.factors import Factors

__all__ = ["Draw", "Posterior", "fitted"]


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw of everything.

    The arrays of `factors` have one row more on each side than there are ids, the last: a row that
    nothing is known of, drawn from its prior. `steadiness` (m + 1,) is γ (None: 1), whose last
    entry is for a user of whom nothing is known; `freedom` is ν.
    """

    factors: Factors
    users: RowPrior
    items: RowPrior
    alpha: float
    freedom: float
    steadiness: Array | None
    levels: Levels | None = None
    """Of ordered ratings, with the cutpoints of this draw."""

    def density(self) -> PosteriorDensity:
        """The density of rows given this draw's noise and priors; γ is left to the weights."""
        biases = self.factors.user_bias is not None
        given = self.factors.mean, self.users, self.items, self.alpha, biases
        if self.levels is None:
            return PosteriorDensity(*given)
        return OrdinalDensity(*given, levels=self.levels)

    def rated(self, fitted: Array) -> Array:
        """E r of this draw where its r̂ is `fitted`."""
        return fitted if self.levels is None else self.levels.expected(fitted)

    def precision(self, users: Array) -> Array:
        """α γ_u, one over the variance of a rating, for row numbers of users (−1: unknown)."""
        if self.steadiness is None:
            return np.full(len(users), self.alpha)
        found: Array = self.alpha * self.steadiness[users]  # the last one is nobody's
        return found

    def predicted(self, users: Array, items: Array, backend: Backend) -> Array:
        """μ + b_u + b_i + w_u·z_i for pairs of row numbers; −1 is unknown: the last row."""
        f = self.factors
        last = len(f.user_factors) - 1, len(f.item_factors) - 1
        users, items = np.where(users < 0, last[0], users), np.where(items < 0, last[1], items)
        return fitted(f, users, items, backend)


def fitted(f: Factors, users: Array, items: Array, backend: Backend) -> Array:
    """r̂ of pairs of row numbers."""
    return backend.predict(
        users, items, f.user_factors, f.item_factors, f.user_bias, f.item_bias, f.mean
    )


@dataclass(slots=True)
class Posterior:
    """Takes in the draws of a chain, or of several one after the other.

    `counts` says how many ratings users and items have; `share` of the draws are kept, at even
    distances. To the mean a draw contributes its items and, in place of its users, their mean given
    these items: the same expectation with less noise (Rao and Blackwell).
    """

    counts: tuple[Array, Array]
    share: float
    random: np.random.Generator
    draws: list[Draw] = field(default_factory=list)
    count: int = 0
    _products: MeanProduct | None = None
    _mean: float = 0.0
    _biases: tuple[Array, Array] = (np.zeros(0), np.zeros(0))

    def begin(self, start: Factors, mean_rank: int, backend: Backend) -> None:
        """Make the room that the mean needs."""
        sizes = len(start.user_factors), len(start.item_factors)
        self._products = MeanProduct(self.counts, start.rank, mean_rank, start.dtype, backend)
        self._biases = np.zeros(sizes[0]), np.zeros(sizes[1])

    def add(
        self, factors: Factors, density: PosteriorDensity, users: tuple[Array, Array | None]
    ) -> None:
        """One more draw, and the means of its users."""
        assert self._products is not None
        factors, levels = density.located(factors)
        expected = replace(factors, user_factors=users[0], user_bias=users[1])
        known = self.counts[0] > 0, self.counts[1] > 0
        mean, sides, biases = _centred(expected, density.users, density.items, known)
        self._products.add(*sides)
        self._mean += mean
        for total, bias in zip(self._biases, biases, strict=True):
            total += bias
        self.count += 1
        if int(self.count * self.share + 1e-9) > len(self.draws):
            self.draws.append(self._kept(factors, density, levels))

    def mean(self, like: Factors) -> Factors:
        """The mean of all draws so far, with the ids of `like`."""
        assert self._products is not None
        users, items = self._products.factors()
        biases = [(total / self.count).astype(users.dtype) for total in self._biases]
        return replace(
            like,
            user_factors=users,
            item_factors=items,
            user_bias=biases[0],
            item_bias=biases[1],
            mean=self._mean / self.count,
        )

    def _kept(self, factors: Factors, density: PosteriorDensity, levels: Levels | None) -> Draw:
        """A copy of a draw, and of each side one more row, of which nothing is known."""
        users = self._lengthened(factors.user_side, density.users, self.counts[0])
        items = self._lengthened(factors.item_side, density.items, self.counts[1])
        whole = replace(
            factors,
            user_factors=users[0],
            user_bias=users[1],
            item_factors=items[0],
            item_bias=items[1],
        )
        users_prior, items_prior = (
            replace(
                prior,
                shift=None,
                effects=None if prior.effects is None else prior.effects.astype(factors.dtype),
            )
            for prior in (density.users, density.items)
        )
        gamma = density.steadiness
        if gamma is not None:
            gamma = np.append(gamma, typical_steadiness(density.freedom))
        return Draw(whole, users_prior, items_prior, density.alpha, density.freedom, gamma, levels)

    def _lengthened(
        self, rows: tuple[Array, Array | None], prior: RowPrior, counts: Array
    ) -> tuple[Array, Array | None]:
        """The rows of a side, those without ratings lifted, and one drawn from the prior."""
        factors, bias = lifted(rows, prior.lift, counts == 0)
        normals = self.random.standard_normal(len(prior.mean))
        drawn = prior.typical + np.linalg.solve(np.linalg.cholesky(prior.precision).T, normals)
        K = factors.shape[1]
        longer = np.vstack([factors, drawn[:K].astype(factors.dtype)])
        if bias is None:
            return longer, None
        return longer, np.append(bias, drawn[K:].astype(bias.dtype))


def lifted(
    rows: tuple[Array, Array | None], lift: Array | None, unrated: Array
) -> tuple[Array, Array | None]:
    """Rows drawn from a prior as they are expected in a rating, where the mask says so; see
    `RowPrior`.
    """
    factors, bias = rows
    if lift is None or not unrated.any():
        return rows
    K = factors.shape[1]
    factors = factors.copy()
    factors[unrated] += lift[:K].astype(factors.dtype)
    if bias is not None:
        bias = bias.copy()
        bias[unrated] += bias.dtype.type(lift[K])
    return factors, bias


def _centred(
    f: Factors, users: RowPrior, items: RowPrior, known: tuple[Array, Array]
) -> tuple[float, tuple[Array, Array], tuple[Array, Array]]:
    """μ', (W', Z') and (b_u', b_i') of a draw; a row without ratings is the mean of its prior."""
    K = f.rank
    typical = [prior.typical[:K] for prior in (users, items)]
    mean = f.mean + float(np.einsum("k,k->", *typical))
    sides, biases = [], []
    for prior, (factors, bias), there, other in (
        (users, f.user_side, known[0], typical[1]),
        (items, f.item_side, known[1], typical[0]),
    ):
        rows = factors - prior.typical[:K].astype(f.dtype)
        own = np.zeros(len(rows)) if bias is None else bias.astype(np.float64)
        if not there.all():
            expected = prior.means(np.flatnonzero(~there))
            rows[~there] = expected[:, :K] - prior.typical[:K]
            if bias is not None:
                own[~there] = expected[:, K]
        if bias is not None:
            own -= prior.typical[K]
            mean += float(prior.typical[K])
        own += np.einsum("uk,k->u", rows, other.astype(f.dtype))
        sides.append(rows)
        biases.append(own)
    return mean, (sides[0], sides[1]), (biases[0], biases[1])
