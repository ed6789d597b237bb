"""Which of a row's ratings move its factors most: the row solved without each of them, in closed form.

A row's unknowns are x = A⁻¹ h, A = P + Σ_j c_j f_j f_jᵀ + s diag(d), h = q + Σ_j b_j f_j. Without
rating j,

    x₋ⱼ = (B − c_j f_j f_jᵀ)⁻¹ (h₋ⱼ − b_j f_j),   B = A − (s − s₋ⱼ) diag(d)

since a rating that leaves takes its share of s, where s depends on Σ c (of implicit feedback on the
number of cells), with it; h₋ⱼ = h but for what changes in the features of the row (implicit ones do). Of
implicit feedback P and q are in A and h, and stay in them. B is one matrix for all ratings of equal s₋ⱼ,
and the rest is of rank one (Sherman and Morrison 1950):

    (B − c f fᵀ)⁻¹ v = B⁻¹v + c B⁻¹f (fᵀ B⁻¹ v) / (1 − c fᵀ B⁻¹ f)

The other side and μ stay as they are: this is what `fold_in` without the rating gives, not what
another fit would. (Cook 1977, «Detection of Influential Observation in Linear Regression», for one
row.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array
from halfstep.data.ids import require_known
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import SingularSystemError
from halfstep.implicit import ImplicitSquaredError
from halfstep.models.side_features import prior_means, table_rows
from halfstep.models.uncertainty import cells_by, require_linear
from halfstep.objectives import Objective, RowProblem, Side, row_weights, scaled

if TYPE_CHECKING:
    from halfstep.models.fitted import Fitted

__all__ = ["Influence", "influence_of", "influences"]


@dataclass(frozen=True, slots=True)
class Influence:
    """The ratings of one row, the one that moves its factors most first.

    Attributes
    ----------
    side : "user" or "item"
    row : id
        Whose ratings they are.
    others : array of ids
        The items (users) of the ratings.
    ratings : array
    change : array, float64
        ‖x − x₋ⱼ‖: how far the factors (and the bias) move when the rating leaves.
    leverage : array, float64
        h_j = c_j f_jᵀ A⁻¹ f_j in [0, 1): how far the fitted value of the rating follows its own
        change.
    moves : array (ratings, K or K + 1), float64
        x − x₋ⱼ itself, the bias last.
    counts : bool
        Whether `ratings` are counts of interactions.
    """

    side: Side
    row: Any
    others: Array
    ratings: Array
    change: Array
    leverage: Array
    moves: Array
    counts: bool = False

    def __iter__(self) -> Iterator[tuple[Any, float, float, float]]:
        """(item, rating, change, leverage)."""
        columns = (self.others, self.ratings, self.change, self.leverage)
        return iter(zip(*(column.tolist() for column in columns), strict=True))

    def __str__(self) -> str:
        lines = [f"influence on {self.side} {self.row!r}: change of the factors, leverage"]
        for other, rating, change, leverage in list(self)[:10]:
            told = f"{other!r} × {rating:g}" if self.counts else f"rated {other!r} {rating:g}"
            lines.append(f"{change:9.4f} {leverage:6.3f}  {told}")
        if len(self.others) > 10:
            lines.append(f"and {len(self.others) - 10} more")
        return "\n".join(lines)


def influence_of(model: Fitted, side: Side, who: Any, ratings: Ratings | None) -> Influence:
    """See `FactorModel.influence`."""
    f = model.factors_
    ids, others = (f.user_ids, f.item_ids) if side == "user" else (f.item_ids, f.user_ids)
    if ratings is None:
        cells, known = cells_by(model, side, "influence"), ids
    else:
        cells = model._translate(ratings, side, "ignore")
        known = ratings.users if side == "user" else ratings.items
    row = known.lookup([who], side)
    require_known(row, [who], side)
    cells = take_rows(cells, row)
    require_linear(model)
    runs_on = get_backend("native", dtype="float64")
    problem = model.objective_.row_problem(side, cells, f.rank, "float64")
    table = table_rows(model, side, ids.lookup([who], side))
    means = _means_without(model, side, cells, table)
    fixed = (f.item_factors, f.item_bias) if side == "user" else (f.user_factors, f.user_bias)
    F, offset = fixed[0].astype(np.float64), fixed[1]
    offset = None if offset is None else offset.astype(np.float64)
    problem = problem.with_all((F, offset), runs_on)
    taken = model.objective_.cells(cells)
    try:
        moves, leverage = influences(
            taken, problem, F, offset, _scales(model.objective_, side, cells), means
        )
    except SingularSystemError:
        raise SingularSystemError(
            f"the system of {side} {who!r}, or without one of its ratings, has no unique solution; "
            "raise reg",
            side=side,
        ) from None
    change = np.sqrt(np.einsum("jk,jk->j", moves, moves))
    order = np.argsort(-change, kind="stable")
    return Influence(
        side,
        who,
        others.take(cells.indices[order]),
        cells.values[order],
        change[order],
        leverage[order],
        moves[order],
        model._adds_counts,
    )


def influences(
    row: CSR,
    problem: RowProblem,
    fixed: Array,
    bias: Array | None,
    scales: tuple[float, Array],
    means: Array | None = None,
) -> tuple[Array, Array]:
    """(x − x₋ⱼ for every cell j, leverages), float64.

    `row` is a CSR of one row, `problem` its row problem, `fixed` and `bias` the other side;
    `scales` is s of the row, and of the row without each cell. `means` has what the row is drawn to in
    place of 0, and behind it what it is drawn to without each cell. A rating that is its row's only one
    leaves that behind.

    Raises `SingularSystemError` where the row, or the row without a rating, has no unique solution.
    """
    if not row.nnz:
        return np.empty((0, len(problem.ridge))), np.empty(0)
    f = fixed[row.indices].astype(np.float64)
    if len(problem.ridge) > f.shape[1]:
        f = np.column_stack([f, np.ones(len(f))])
    offset = 0.0 if bias is None else bias[row.indices].astype(np.float64)
    v = row.values.astype(np.float64)
    c = np.ones(len(v)) if row.weights is None else row.weights.astype(np.float64)
    b = c * (problem.terms.b0 + problem.terms.b1 * v - offset)
    d = np.diag(problem.ridge.astype(np.float64))
    s, left = scales
    A = (f.T * c) @ f + s * d
    if problem.prior is not None:
        A += problem.prior
    q = 0.0 if problem.linear is None else problem.linear[0]
    if means is None:
        means = np.zeros((len(v) + 1, len(d)))
    pull = q + s * np.diag(d) * means[0]
    # what h is without each rating, but for its own b f
    h, others = f.T @ b + pull, f.T @ b + q + left[:, None] * np.diag(d) * means[1:]
    try:
        x = np.linalg.solve(A, h)
        leverage = c * np.einsum("jk,kj->j", f, np.linalg.solve(A, f.T))
        without = means[1:].copy()
        if len(v) > 1:
            for scale in np.unique(left):
                cells = np.flatnonzero(left == scale)
                B = A - (s - scale) * d
                Bh, Bf = np.linalg.solve(B, others[cells].T).T, np.linalg.solve(B, f[cells].T).T
                own, weight = np.einsum("jk,jk->j", f[cells], Bf), c[cells]  # fᵀ B⁻¹ f
                # B⁻¹ (h − b f), then what the rank-one term adds to it
                right = np.einsum("jk,jk->j", f[cells], Bh) - b[cells] * own
                factor = weight * right / (1.0 - weight * own) - b[cells]
                without[cells] = Bh + factor[:, None] * Bf
    except np.linalg.LinAlgError:
        raise SingularSystemError("a system without a unique solution") from None
    if not (np.isfinite(without).all() and (leverage < 1.0).all()):
        raise SingularSystemError("a system without a unique solution")
    return x - without, leverage


def _scales(objective: Objective, side: Side, row: CSR) -> tuple[float, Array]:
    """s of a row, and of the row without each of its cells."""
    s = float(objective.scales(side, row)[0])
    if isinstance(objective, ImplicitSquaredError):
        return s, objective.scaled(side, np.full(row.nnz, row.nnz - 1.0))
    c = np.ones(row.nnz) if row.weights is None else row.weights.astype(np.float64)
    left = np.maximum(row_weights(row)[0] - c, 0.0)
    return s, scaled(left, getattr(objective, "reg_scaling", "none"))


def _means_without(model: Fitted, side: Side, cells: CSR, table: CSR | None) -> Array | None:
    """A'x of a row, and of the row without each of its ratings; None where the side has no features."""
    backend = get_backend("native", dtype="float64")
    own = prior_means(model, side, cells, table, "float64", backend)
    design, f = model.features_.side(side), model.factors_
    A = f.user_map if side == "user" else f.item_map
    if own is None or design is None or A is None:
        return None
    means = np.repeat(own, cells.nnz + 1, axis=0)
    if design.implicit is None:
        return means
    if cells.nnz == 1:
        none = CSR(np.zeros(2, dtype=np.int64), cells.indices[:0], cells.values[:0])
        means[1:] = prior_means(model, side, none, table, "float64", backend)
        return means
    others = f.item_ids if side == "user" else f.user_ids
    column = design.implicit.lookup(others.take(cells.indices))
    known = column >= 0
    n = int(np.count_nonzero(known))
    first = design.width - len(design.implicit)
    rows = A[first + column[known]].astype(np.float64)
    total = np.add.reduce(rows, axis=0)
    means[1:][known] += (total - rows) / np.sqrt(max(n - 1, 1)) - total / np.sqrt(max(n, 1))
    return means
