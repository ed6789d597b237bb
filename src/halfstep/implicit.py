"""What is optimal for implicit feedback: every cell of the table counts, the observed ones more.

    J = ½ Σ_Ω c_ui (p_ui − ŷ_ui)² + ½ α₀ Σ ŷ_ui² + penalties        ŷ_ui = b_u + b_i + w_u·z_i

p is the preference (1; 0 of negative feedback), c the confidence, and the second sum is over all pairs
of a user and an item that have interactions. It is never made: Σ ŷ² = tr(FᵀF GᵀG) with the rows of F
and G those of W and Z (and of the biases), K × K matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from halfstep.backends.base import CSR, Array, Backend, RowTerms
from halfstep.backends.wide import wide_gram
from halfstep.errors import DataError, ParameterError
from halfstep.factors import Factors
from halfstep.objectives import SIDES, Reg, RowProblem, Side, Value, penalty_along

if TYPE_CHECKING:
    from halfstep.data.ratings import Ratings

__all__ = ["Confidence", "Counting", "ImplicitLoss", "ImplicitScaling", "ImplicitSquaredError"]

ImplicitLoss = Literal["ials", "wrmf"]
ImplicitScaling = Literal["frequency", "count", "none"]
Counting = Literal["linear", "log", "binary"]

_LEAST = 1e-12
"""Of a confidence beside α₀ in «wrmf», whose target 1 + α₀ / c needs one above 0."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """How a count r (or a play time, a number of purchases) of weight v becomes c and p.

        linear   c = v α |r|                    p = 1 where r > 0, else 0
        log      c = v α ln(1 + |r| / ε)        likewise
        binary   c = v α                        likewise

    (Hu, Koren and Volinsky 2008, §4 and eq. 6.) A count below 0 is negative feedback, and with
    "binary" a stored 0 is too; with the other two a stored 0 has no confidence.
    """

    counting: Counting
    alpha: float
    epsilon: float

    def of(self, cells: CSR) -> tuple[Array, Array]:
        """(c, p) of every cell, float32 and bool."""
        r = cells.values
        if self.counting == "binary":
            c = np.full(len(r), self.alpha, dtype=np.float32)
        elif self.counting == "linear":
            c = np.abs(r) * np.float32(self.alpha)
        else:
            c = np.log1p(np.abs(r) / np.float32(self.epsilon)) * np.float32(self.alpha)
        if cells.weights is not None:
            c *= cells.weights
        return c, r > 0

    def check(self, ratings: Ratings) -> None:
        """Raise where there is no interaction, or a confidence that float32 does not hold."""
        with np.errstate(all="ignore"):
            c, liked = self.of(ratings.by_user)
        if not liked.any():
            raise DataError(
                "X", ratings, "holds no interaction with a count above 0", "pass at least one"
            )
        if not np.isfinite(c).all() or not (c[liked] > 0).any():
            size = "too large" if not np.isfinite(c).all() else "too small"
            raise ParameterError(
                "alpha",
                self.alpha,
                f"gives confidences that are {size} for float32",
                "choose another alpha or epsilon, or scale the counts",
            )


@dataclass(frozen=True, slots=True)
class ImplicitSquaredError:
    """Weighted squared error on all cells, with L2 penalties.

        ials   J = ½ Σ_Ω c_ui (p_ui − ŷ_ui)² + ½ α₀ Σ_all ŷ_ui² + R
        wrmf   J = ½ Σ_Ω (α₀ + c_ui)(p_ui − ŷ_ui)² + ½ α₀ Σ_not Ω ŷ_ui² + R
        R = ½ λ_w Σ_u s_u ‖w_u‖² + ½ λ_z Σ_i s_i ‖z_i‖² + ½ λ_b (Σ_u s_u b_u² + Σ_i s_i b_i²)

    "ials" is that of Rendle, Krichene, Zhang and Koren (2022, «Revisiting the Performance of iALS
    on Item Recommendation Benchmarks», eq. 2 and 3), "wrmf" that of Hu, Koren and Volinsky (2008,
    «Collaborative Filtering for Implicit Feedback Datasets», eq. 3). The second is the first with
    the target 1 + α₀ / c in place of p = 1, but for a constant. s_u = (stored cells of u + α₀ n)^ν
    where `reg_scaling` is "frequency", the stored cells of u where it is "count", 1 where it is
    "none".

    `users` and `items` are how many of them have interactions: they alone are in Σ_all and in n and m,
    and rows without any are 0. `level` is the unit of c in which the row problems are written: the
    confidence of all cells where it is the same, so that they need no weights.
    """

    loss: ImplicitLoss
    confidence: Confidence
    alpha0: float
    reg: Reg
    reg_scaling: ImplicitScaling
    nu: float
    biases: bool
    users: int = 0
    items: int = 0
    level: float = 1.0
    nonnegative: bool = False

    def fitted_to(self, ratings: Ratings) -> ImplicitSquaredError:
        """The same with the counts and the level of these interactions."""
        users, items = (
            int(np.count_nonzero(np.diff(cells.indptr)))
            for cells in (ratings.by_user, ratings.by_item)
        )
        c, _ = self.confidence.of(ratings.by_user)
        level = float(c[0]) if len(c) and c[0] > 0 and (c == c[0]).all() else 1.0
        return replace(self, users=users, items=items, level=level)

    def cells(self, cells: CSR) -> CSR:
        """Targets as values and confidences, in units of `level`, as weights (None: all 1)."""
        c, liked = self.confidence.of(cells)
        target = liked.astype(np.float32)
        if self.loss == "wrmf":
            np.maximum(c, np.float32(_LEAST * self.alpha0), out=c, where=liked)
            np.divide(c + np.float32(self.alpha0), c, out=target, where=liked)
        if self.level != 1.0:
            c /= np.float32(self.level)
        return CSR(cells.indptr, cells.indices, target, None if (c == 1).all() else c)

    def row_problem(self, side: Side, cells: CSR, rank: int, dtype: str) -> RowProblem:
        penalty = self.reg.user if side == "user" else self.reg.item
        ridge = np.full(rank + self.biases, penalty / self.level, dtype=dtype)
        if self.biases:
            ridge[rank] = self.reg.bias / self.level
        scale = None
        if self.reg_scaling != "none":
            scale = self.scales(side, cells).astype(dtype)
        terms = RowTerms(a0=1.0, a1=0.0, b0=0.0, b1=1.0)
        return RowProblem(terms, ridge, scale, everywhere=self.alpha0 / self.level)

    def scales(self, side: Side, cells: CSR) -> Array:
        """s of every row of `cells`, float64."""
        return self.scaled(side, np.diff(cells.indptr).astype(np.float64))

    def scaled(self, side: Side, stored: Array) -> Array:
        """s of rows with so many stored cells."""
        if self.reg_scaling == "none":
            return np.ones(len(stored))
        if self.reg_scaling == "count":
            return stored
        others = self.items if side == "user" else self.users
        scale: Array = (stored + self.alpha0 * others) ** self.nu
        return scale

    def value(self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend) -> Value:
        """J and the root mean squared error of p on Ω, weighted by c; the cells are those of `cells`."""
        f = factors
        arrays = f.user_factors, f.item_factors, f.user_bias, f.item_bias, 0.0
        if self.loss == "ials":
            fit = squares = backend.squared_error(by_user, *arrays)
            weight = _total(by_user)
        else:
            fit, squares, weight = self._on_whole_confidence(by_user, arrays, backend)
        everywhere = self.alpha0 / self.level * _sum_of_squares(factors, by_user, by_item, backend)
        J = 0.5 * self.level * (fit + everywhere)
        for side, cells, reg in zip(
            SIDES, (by_user, by_item), (self.reg.user, self.reg.item), strict=True
        ):
            array, bias = f.user_side if side == "user" else f.item_side
            s = self.scales(side, cells)
            # not np.dot: BLAS would sum in another order for another number of threads
            norms = np.einsum("rk,rk->r", array, array, dtype=np.float64)
            J += 0.5 * reg * float(np.add.reduce(s * norms))
            if bias is not None:
                squared = bias.astype(np.float64) ** 2
                J += 0.5 * self.reg.bias * float(np.add.reduce(s * squared))
        return Value(J, float(np.sqrt(squares / max(weight, np.finfo(np.float64).tiny))))

    def along(
        self, by_user: CSR, by_item: CSR, factors: Factors, way: Factors, backend: Backend
    ) -> Array:
        found = 0.5 * self.level * backend.line_errors(by_user, factors, way)
        grams = []
        for side in SIDES:
            one, other = (_extended(f, side, by_user, by_item) for f in (factors, way))
            if factors.user_bias is not None:
                other[:, -2 if side == "item" else -1] = 0  # who is there does not change
            K = one.shape[1]
            whole = wide_gram(np.hstack([one, other]), backend)
            mixed = whole[:K, K:]
            grams.append((whole[:K, :K], mixed + mixed.T, whole[K:, K:]))
        for i, users in enumerate(grams[0]):
            for j, items in enumerate(grams[1]):
                found[i + j] += 0.5 * self.alpha0 * float(np.add.reduce((users * items).ravel()))
        found += penalty_along(self, by_user, by_item, factors, way)
        found[0] = 0.0
        return found

    def _on_whole_confidence(
        self, by_user: CSR, arrays: Any, backend: Backend
    ) -> tuple[float, float, float]:
        """Σ_Ω (α₀ + c)(p − ŷ)² − α₀ Σ_Ω ŷ², its first part, and Σ_Ω (α₀ + c), in units of `level`.

        Not by the targets 1 + α₀ / c, in whose squares p would drown where c is small.
        """
        unobserved = np.float32(self.alpha0 / self.level)
        whole = np.full(by_user.nnz, unobserved)
        whole += np.float32(1) if by_user.weights is None else by_user.weights
        liked = (by_user.values > 0).astype(np.float32)
        ptr, columns = by_user.indptr, by_user.indices
        cells = CSR(ptr, columns, liked, whole)
        squares = backend.squared_error(cells, *arrays)
        nothing = CSR(ptr, columns, np.zeros(by_user.nnz, dtype=np.float32))
        counted_twice = float(unobserved) * backend.squared_error(nothing, *arrays)
        return squares - counted_twice, squares, _total(cells)


def _total(cells: CSR) -> float:
    """Σ c over the cells."""
    if cells.weights is None:
        return float(cells.nnz)
    return float(np.add.reduce(cells.weights, dtype=np.float64))


def _sum_of_squares(factors: Factors, by_user: CSR, by_item: CSR, backend: Backend) -> float:
    """Σ ŷ² over all pairs of a user and an item that have cells: tr(FᵀF GᵀG)."""
    users, items = (
        wide_gram(_extended(factors, side, by_user, by_item), backend) for side in SIDES
    )
    return float(np.add.reduce((users * items).ravel()))


def _extended(factors: Factors, side: Side, by_user: CSR, by_item: CSR) -> Array:
    """The rows of a side, so that ŷ is a product of two: [w, b_u, 1] and [z, 1, b_i].

    The 1 is a 0 for rows without cells.
    """
    rows, bias = factors.user_side if side == "user" else factors.item_side
    if bias is None:
        return rows
    cells = by_user if side == "user" else by_item
    here = (np.diff(cells.indptr) > 0).astype(rows.dtype)
    columns = (rows, bias, here) if side == "user" else (rows, here, bias)
    return np.column_stack(columns)
