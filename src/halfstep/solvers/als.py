"""Alternating least squares: fix one side, solve every row of the other, and change sides.

    for every item i:  solve (Σ_u c f_u f_uᵀ + s_i diag(d)) [z_i, b_i] = Σ_u c (r_ui − μ − b_u) f_u
    for every user u:  the same with the sides exchanged

with f = [w, 1] or [z, 1] where there are biases. Each half-step is the minimum over its side, or comes
nearer to it from the current value (`linear`), so J never rises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.checks import check_choice
from halfstep.errors import ParameterError, SingularSystemError
from halfstep.factors import Factors
from halfstep.objectives import Side
from halfstep.solvers.acceleration import Acceleration
from halfstep.solvers.base import Problem, Sweep
from halfstep.solvers.linear import Linear, NonNegative, linear_for, linear_for_rows
from halfstep.solvers.maps import MapSteps

__all__ = ["ALS", "half_step"]


@dataclass(frozen=True, slots=True)
class ALS:
    """Alternating least squares. A sweep is an item half-step and then a user half-step.

    Parameters
    ----------
    linear : Cholesky, CG, Subspace or "auto"
        How the system of a row is solved: exactly, by a few steps of conjugate gradients, or by blocks
        of unknowns. "auto" chooses by the rank K:

        ========  ==================
        K         linear
        ========  ==================
        up to 64  ``Cholesky()``
        above 64  ``CG(steps=3)``
        ========  ==================

        but ``Cholesky()`` at any rank where no rating is missing, the cheaper of the two for implicit
        feedback without biases (`linear_for_rows`), and `NonNegative` where the factors must be ≥ 0
        (then "auto" is the only choice).

    acceleration : {"none", "line-search"}
        Whether a sweep begins where the one before ended, or further along its way, where J is least
        along it, and with W and Z in balance (`solvers/acceleration.py`). Fewer sweeps where λ is
        small, each of them one pass over the cells longer; two more copies of the factors in memory.
        Not for factors ≥ 0 nor with features.

    A sweep costs 2 |Ω| K (K + 1) + (m + n) K³ / 3 useful floating-point operations with `Cholesky`, and
    8 |Ω| K (steps + 1) with `CG`. Where nothing is missing one factorization serves all rows, and a
    sweep costs 4 m n K + 3 (m + n) K² + 2 K³ / 3. Sources: Zhou et al. (2008); Koren, Bell and
    Volinsky (2009).
    """

    linear: Linear | Literal["auto"] = "auto"
    acceleration: Literal["none", "line-search"] = "none"

    name: ClassVar[str] = "als"
    descends: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("acceleration", self.acceleration, ("none", "line-search"))
        if self.linear != "auto" and not isinstance(self.linear, Linear):
            raise ParameterError(
                "linear",
                self.linear,
                "is not a way to solve a row",
                'pass Cholesky(), CG(), Subspace() or "auto"',
            )

    def __repr__(self) -> str:
        faster = "" if self.acceleration == "none" else f", acceleration={self.acceleration!r}"
        return f"ALS(linear={self.linear!r}{faster})"

    @property
    def ends_with_users(self) -> bool:
        """Whether users are solved exactly; False where the rank has yet to decide (`at_rank`)."""
        return self.linear != "auto" and self.linear.exact

    def at_rank(
        self,
        rank: int,
        *,
        nonnegative: bool = False,
        complete: bool = False,
        counts: Sequence[Array] | None = None,
    ) -> ALS:
        """The same with "auto" replaced by what it means for K = `rank` (see `linear_for`).

        `counts`, the cells of every row of each side, where all cells count (see `linear_for_rows`).

        Raises `ParameterError` where `linear` cannot keep the factors ≥ 0.
        """
        if self.linear == "auto":
            if counts is not None:
                return replace(self, linear=linear_for_rows(rank, counts))
            chosen = linear_for(rank, nonnegative=nonnegative, complete=complete)
            return replace(self, linear=chosen)
        if nonnegative is not isinstance(self.linear, NonNegative):
            need = "≥ 0" if nonnegative else "of any sign"
            raise ParameterError(
                "linear", self.linear, f"cannot solve for factors {need}", 'pass linear="auto"'
            )
        return self

    def begin(self, problem: Problem, start: Factors, backend: Backend) -> Sweep:
        settled = self.at_rank(
            start.rank,
            nonnegative=problem.side("user")[1].nonnegative,
            complete=problem.ratings.is_complete,
            counts=problem.counts,
        )
        linear = settled.linear
        assert linear != "auto"
        maps = MapSteps.of(problem, "item"), MapSteps.of(problem, "user")
        if self.acceleration == "none":
            return lambda current, out: _sweep(problem, current, out, backend, linear, maps)
        faster = _acceleration(problem, backend, nonnegative=isinstance(linear, NonNegative))
        return lambda current, out: _faster(problem, current, out, backend, linear, faster)


def _sweep(
    problem: Problem,
    current: Factors,
    out: Factors,
    backend: Backend,
    linear: Linear,
    maps: tuple[MapSteps | None, MapSteps | None],
) -> Iterator[str]:
    items, users = out.item_side, out.user_side
    if not linear.exact or maps[0] is not None:
        _copy(current.item_side, items)
    if not linear.exact or maps[1] is not None:
        _copy(current.user_side, users)
    mean = None
    if maps[0] is not None and current.item_map is not None and out.item_map is not None:
        np.copyto(out.item_map, current.item_map)
        mean = maps[0].sweep(items, current.user_side, out.item_map, backend)
        yield "item features"
    half_step(problem, "item", current.user_side, items, backend, linear, mean)
    yield "items"
    mean = None
    if maps[1] is not None and current.user_map is not None and out.user_map is not None:
        np.copyto(out.user_map, current.user_map)
        mean = maps[1].sweep(users, items, out.user_map, backend)
        yield "user features"
    half_step(problem, "user", items, users, backend, linear, mean)
    yield "users"


def _acceleration(problem: Problem, backend: Backend, *, nonnegative: bool) -> Acceleration:
    """Raises `ParameterError` where there is none."""
    objective: Any = problem.objective
    features = getattr(objective, "features", None) is not None
    if nonnegative or features or not hasattr(objective, "along"):
        raise ParameterError(
            "acceleration",
            "line-search",
            "cannot be had with factors ≥ 0, with features or with a sampler",
            'pass acceleration="none"',
        )
    return Acceleration(problem, objective, backend)


def _faster(
    problem: Problem,
    current: Factors,
    out: Factors,
    backend: Backend,
    linear: Linear,
    acceleration: Acceleration,
) -> Iterator[str]:
    """A sweep from a better point than `current`."""
    point = acceleration.begun(current)
    yield "line search"
    yield from _sweep(problem, point, out, backend, linear, (None, None))


def _copy(start: tuple[Array, Array | None], out: tuple[Array, Array | None]) -> None:
    """The start of an iterative half-step."""
    for source, target in zip(start, out, strict=True):
        if source is not None and target is not None:
            np.copyto(target, source)


def half_step(
    problem: Problem,
    side: Side,
    fixed: tuple[Array, Array | None],
    out: tuple[Array, Array | None],
    backend: Backend,
    linear: Linear | None = None,
    mean: Array | None = None,
) -> None:
    """Solve every row of `side` with the other side's (factors, bias) fixed, into `out`.

    Exactly, or by another `linear`, for which `out` holds the start on entry. `mean` is what the rows
    are drawn to in place of 0.

    Raises `SingularSystemError` naming the id of the row.
    """
    cells, rows = problem.side(side)
    if mean is not None:
        rows = rows.around(mean, cells)
    try:
        rows.solve(cells, fixed, out, backend, linear)
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
