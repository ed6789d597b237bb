"""Alternating least squares: fix one side, solve every row of the other exactly, and change sides.

    for every item i:  solve (Σ_u c f_u f_uᵀ + s_i diag(d)) [z_i, b_i] = Σ_u c (r_ui − μ − b_u) f_u
    for every user u:  the same with the sides exchanged

with f = [w, 1] or [z, 1] where there are biases. Each half-step is the exact minimum over its side,
so J never rises.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors
from halfstep.objectives import Side
from halfstep.solvers.base import Problem

__all__ = ["ALS", "half_step"]


@dataclass(frozen=True, slots=True)
class ALS:
    """Exact alternating least squares by Cholesky factorization of every row's system.

    A sweep is an item half-step and then a user half-step and costs
    2 |Ω| K (K + 1) + (m + n) K³ / 3 useful floating-point operations. Sources: Zhou et al. (2008);
    Koren, Bell and Volinsky (2009).
    """

    name = "als"
    ends_with_users = True

    def sweep(
        self, problem: Problem, current: Factors, out: Factors, backend: Backend
    ) -> Iterator[str]:
        half_step(
            problem,
            "item",
            (current.user_factors, current.user_bias),
            (out.item_factors, out.item_bias),
            backend,
        )
        yield "items"
        half_step(
            problem,
            "user",
            (out.item_factors, out.item_bias),
            (out.user_factors, out.user_bias),
            backend,
        )
        yield "users"


def half_step(
    problem: Problem,
    side: Side,
    fixed: tuple[Array, Array | None],
    out: tuple[Array, Array | None],
    backend: Backend,
) -> None:
    """Solve every row of `side` with the other side's (factors, bias) fixed, into `out`.

    Raises `SingularSystemError` naming the id of the row.
    """
    cells, rows = problem.side(side)
    try:
        rows.solve(cells, fixed, out, backend)
    except SingularSystemError as error:
        row = error.row or 0
        ids = problem.ratings.users if side == "user" else problem.ratings.items
        raise SingularSystemError(
            f"the system of {side} {ids.id_at(row)!r} "
            f"({int(cells.indptr[row + 1] - cells.indptr[row]):,} ratings, rank {fixed[0].shape[1]}) "
            f"has no unique solution in {fixed[0].dtype.name}; raise reg or lower rank"
            + (", or pass dtype='float64'" if fixed[0].dtype == np.float32 else ""),
            side=side,
            row=row,
        ) from None
