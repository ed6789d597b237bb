"""What ranking models minimize: the losses of positives against items that a user has not taken.

A positive is a stored cell with a value above 0. The score is x_ui = w_u·z_i + b_i.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.factors import Factors
from halfstep.objectives import Reg, RowProblem, Side, Value
from halfstep.training import Measured

__all__ = ["LOSSES", "Loss", "Pairs", "RankingObjective", "positive_cells", "positives_of"]

Loss = Literal["bpr", "warp", "logistic", "softmax", "ccl"]
LOSSES: tuple[Loss, ...] = ("bpr", "warp", "logistic", "softmax")

_MOST = 1 << 18
"""Pairs of a user and an item that J is the mean over."""
_TRIES = 32


def positive_cells(cells: CSR, alpha: float | None = None) -> CSR:
    """The positives, weighted by c: `alpha` r times their weight, or their weight alone."""
    positive = cells.values > 0
    found = cells if positive.all() else cells.select(positive)
    if alpha is None:
        return found
    weights = np.float32(alpha) * found.values
    if found.weights is not None:
        weights *= found.weights
    return replace(found, weights=weights)


def positives_of(ratings: Ratings, alpha: float | None = None) -> Ratings:
    """The same of `Ratings`, over the same ids.

    Raises `DataError` where there is none.
    """
    cells = positive_cells(ratings.by_user, alpha)
    if not cells.nnz:
        raise DataError(
            "X", ratings, "holds no value above 0, and only such cells are positives", "pass counts"
        )
    if cells is ratings.by_user:
        return ratings
    return Ratings(ratings.users, ratings.items, cells, report=ratings.report)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Some positives (u, i) of weight c, and for each of them N items j that are none of u's.

    `users`, `items` and `weights` (M); `others` (M × N), −1 where no negative was found.
    """

    users: Array
    items: Array
    weights: Array
    others: Array

    @classmethod
    def of(
        cls,
        positives: CSR,
        n: int,
        negatives: int,
        generator: np.random.Generator,
        *,
        beside: CSR | None = None,
        most: int = _MOST,
    ) -> Pairs:
        """Positives and negatives drawn uniformly; of the cells of `beside`, too, none is a
        negative.

        All the positives where they are few, else so many that `most` pairs are compared.
        """
        count = max(1, min(positives.nnz, most // negatives))
        users = np.repeat(np.arange(positives.n_rows), np.diff(positives.indptr))
        taken = np.arange(positives.nnz)
        if count < positives.nnz:
            taken = np.sort(generator.choice(positives.nnz, count, replace=False))
        u, i = users[taken], positives.indices[taken].astype(np.int64)
        c = np.ones(len(u))
        if positives.weights is not None:
            c = positives.weights[taken].astype(np.float64)
        seen = users * n + positives.indices
        if beside is not None:
            rows = np.repeat(np.arange(beside.n_rows), np.diff(beside.indptr))
            seen = np.sort(np.concatenate([seen, rows * n + beside.indices]))
        others = np.full((len(u), negatives), -1, dtype=np.int64)
        open_ = np.arange(others.size)
        for _ in range(_TRIES):
            if not len(open_):
                break
            drawn = generator.integers(0, n, len(open_))
            key = u[open_ // negatives] * n + drawn
            place = np.minimum(np.searchsorted(seen, key), len(seen) - 1)
            free = seen[place] != key
            others.ravel()[open_[free]] = drawn[free]
            open_ = open_[~free]
        return cls(u, i, c, others)

    def scores(self, factors: Factors, backend: Backend) -> tuple[Array, Array]:
        """x_ui (M) and x_uj (M × N), float64; NaN where there is no j."""
        f, N = factors, self.others.shape[1]

        def x(users: Array, items: Array) -> Array:
            fitted = backend.predict(
                users, items, f.user_factors, f.item_factors, f.user_bias, f.item_bias, f.mean
            )
            return fitted.astype(np.float64)

        others = x(np.repeat(self.users, N), self.others.ravel()).reshape(self.others.shape)
        return x(self.users, self.items), np.where(self.others >= 0, others, np.nan)

    def measure(self, factors: Factors, backend: Backend) -> Measured:
        """AUC: the weighted share of pairs in the right order, ties by half."""
        own, others = self.scores(factors, backend)
        gap = own[:, None] - others
        there = ~np.isnan(gap)
        c = np.where(there, self.weights[:, None], 0.0).ravel()
        right = np.where(there, (gap > 0) + 0.5 * (gap == 0), 0.0).ravel()
        total = float(np.add.reduce(c))
        return Measured(score=float(np.add.reduce(c * right)) / total if total else 0.5)


@dataclass(frozen=True, slots=True)
class RankingObjective:
    """The mean over the positives of a loss against N drawn negatives j, with its penalties.

        "bpr"        1/N Σ_j −ln σ(x_ui − x_uj)
        "warp"       1/N Σ_j max(0, margin − (x_ui − x_uj))    (steps weigh it by the rank of i)
        "logistic"   −ln σ(x_ui) − 1/c Σ_j ln σ(−x_uj)
        "softmax"    −ln(e^{x_ui} / (e^{x_ui} + Σ_j e^{x_uj}))
        "ccl"        1 − x_ui + ω/N Σ_j max(0, x_uj − margin)    (of `CosineMF`)
        + ½ (λ_w ‖w_u‖² + λ_z ‖z_i‖² + λ_b b_i²) + ½ e/c Σ_j (λ_z ‖z_j‖² + λ_b b_j²)

    weighted by c, where e = c/N (logistic: 1). J is that mean over the positives and negatives of
    `pairs`, which stay the same through a fit; with `hard` j is the one of them with the highest x.
    """

    loss: Loss
    reg: Reg
    hard: bool
    margin: float
    pairs: Pairs | None = field(default=None, compare=False, repr=False)
    weight: float = 1.0

    @property
    def nonnegative(self) -> bool:
        """W and Z are free."""
        return False

    def cells(self, cells: CSR) -> CSR:
        """As they are stored."""
        return cells

    def scales(self, side: Side, cells: CSR) -> Array:
        """1: penalties are those of steps."""
        return np.ones(cells.n_rows)

    def row_problem(self, side: Side, cells: CSR, rank: int, dtype: str) -> RowProblem:
        """There is none: the loss is not quadratic."""
        self._refuse("system of a row")

    def _refuse(self, what: str) -> NoReturn:
        raise ParameterError(
            "loss", self.loss, f"has no {what}", 'use RankingMF, or loss="ials" of ImplicitMF'
        )

    def value(self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend) -> Value:
        """J over `pairs`; there is no error of ratings."""
        assert self.pairs is not None
        pairs, f, reg = self.pairs, factors, self.reg
        own, others = pairs.scores(f, backend)
        j = pairs.others
        if self.hard:
            best = np.argmax(np.where(np.isnan(others), -np.inf, others), axis=1)[:, None]
            others, j = (np.take_along_axis(x, best, axis=1) for x in (others, j))
        there = ~np.isnan(others)
        N = np.add.reduce(there, axis=1)
        kept = N > 0
        own, others, there, N, j = own[kept], others[kept], there[kept], N[kept], j[kept]
        c, u, i = pairs.weights[kept], pairs.users[kept], pairs.items[kept]
        if not len(c):
            return Value(0.0, np.nan)
        e = np.ones_like(c) if self.loss == "logistic" else c / N
        losses = self._losses(own, np.where(there, others, -np.inf), c, N)
        users, items = (
            np.einsum("rk,rk->r", rows, rows, dtype=np.float64)
            for rows in (f.user_factors, f.item_factors)
        )
        items *= reg.item
        if f.item_bias is not None:
            items += reg.bias * f.item_bias.astype(np.float64) ** 2
        losses += 0.5 * c * (reg.user * users[u] + items[i])
        losses += 0.5 * e * np.add.reduce(np.where(there, items[j], 0.0), axis=1)
        return Value(float(np.add.reduce(losses) / np.add.reduce(c)), np.nan)

    def _losses(self, own: Array, others: Array, c: Array, N: Array) -> Array:
        """c times the loss of every positive; x_uj is −∞ where there is no j."""
        gap = others - own[:, None]
        if self.loss == "bpr":
            found = c / N * np.add.reduce(np.logaddexp(0, gap), axis=1)
        elif self.loss == "warp":
            found = c / N * np.add.reduce(np.maximum(0, self.margin + gap), axis=1)
        elif self.loss == "logistic":
            found = c * np.logaddexp(0, -own) + np.add.reduce(np.logaddexp(0, others), axis=1)
        elif self.loss == "ccl":
            near = np.add.reduce(np.maximum(0, others - self.margin), axis=1)
            found = c * (1 - own + self.weight / N * near)
        else:
            found = c * np.logaddexp(0, np.logaddexp.reduce(gap, axis=1))
        return np.asarray(found, dtype=np.float64)
