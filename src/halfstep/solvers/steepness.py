"""How steep J is in each row: what solvers that move all factors at once divide by.

The second derivative of J in an entry of w_u is Σ_i c_ui z_ik² + λ_w s_u, which differs from row to row
as much as the numbers of ratings do. With ρ for the square of a typical entry,

    d_u = ρ n_u + λ_w s_u    for w_u            n_u + λ_b s_u    for b_u

and likewise for the items. Steps measured by d are of one size in all rows (a diagonal preconditioner).
"""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.factors import Factors
from halfstep.objectives import RowProblem, row_weights
from halfstep.solvers.base import Problem

__all__ = ["Steepness"]


class Steepness:
    """d for the rows of one fit."""

    def __init__(self, problem: Problem) -> None:
        self._users = _side(*problem.side("user"))
        self._items = _side(*problem.side("item"))

    def at(self, factors: Factors) -> list[Array]:
        """d with ρ of these factors, float64: (m, 1), (n, 1) and, where there are biases, (m,), (n,).

        ρ = ½ (Σ_u n_u ‖w_u‖² + Σ_i n_i ‖z_i‖²) / (K Σ c), the mean square of an entry over Ω.
        """
        squares = 0.0
        for (counts, _, _), array in (
            (self._users, factors.user_factors),
            (self._items, factors.item_factors),
        ):
            norms = np.einsum("rk,rk->r", array, array, dtype=np.float64)
            squares += float(np.add.reduce(counts * norms))
        rho = 0.5 * squares / (factors.rank * float(np.add.reduce(self._users[0])))
        found = [(rho * counts + ridge)[:, None] for counts, ridge, _ in (self._users, self._items)]
        if factors.user_bias is not None:
            found += [counts + ridge for counts, _, ridge in (self._users, self._items)]
        for d in found:
            d[d == 0] = 1.0  # nothing holds the row: no rating and no penalty
        return found


def _side(cells: CSR, rows: RowProblem) -> tuple[Array, Array, Array]:
    """n, λ s and λ_b s of every row."""
    s = np.ones(cells.n_rows) if rows.scale is None else rows.scale.astype(np.float64)
    return row_weights(cells), float(rows.ridge[0]) * s, float(rows.ridge[-1]) * s
