"""How the linear system of a row is solved: exactly, or by a cheap step from its current value.

All of them work on the same system A x = h (A = P + Σ a f fᵀ + s_u diag(d), h = q + Σ b f), which is the
gradient of J in that row; each lowers J, or leaves it where it is at its minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer, is_number
from halfstep.errors import ParameterError

__all__ = [
    "CG",
    "LINEAR",
    "Cholesky",
    "Linear",
    "NonNegative",
    "Subspace",
    "linear_for",
    "linear_for_rows",
    "linear_from_dict",
]


@dataclass(frozen=True, slots=True)
class Cholesky:
    """The exact solution, by a Cholesky factorization with checked pivots.

    About n_u K (K + 1) + K³ / 3 floating-point operations for a row of n_u cells.
    """

    name: ClassVar[str] = "cholesky"
    exact: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class CG:
    """A few steps of conjugate gradients from the row's current value, preconditioned by the diagonal.

    About 4 (steps + 1) n_u K operations for a row. Source: Takács, Pilászy and Tikk (2011,
    «Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering»).

    Parameters
    ----------
    steps : int
        The most steps for a row in a half-step.
    tol : float
        Stop earlier where the residual is below this share of that at the start (both in the norm of
        the preconditioner); 0 runs all steps that rounding allows.
    """

    steps: int = 3
    tol: float = 0.0

    name: ClassVar[str] = "cg"
    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, 1, MOST, example=3)
        if not is_number(self.tol) or not 0 <= self.tol < 1:
            raise ParameterError("tol", self.tol, "must be a number in [0, 1)", "try tol=0.0")


@dataclass(frozen=True, slots=True)
class Subspace:
    """One exact step for each block of unknowns in turn, from the row's current value.

    About n_u K (block + 5) + K block² / 3 operations for a row; `block=1` is coordinate descent, and a
    block of at least K is the exact solution. Source: Rendle, Krichene, Zhang and Koren (2021,
    «iALS++: Speeding up Matrix Factorization with Subspace Optimization»).

    Parameters
    ----------
    block : int
        Unknowns that are solved together (and the bias with each of them).
    """

    block: int = 32

    name: ClassVar[str] = "subspace"
    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_integer("block", self.block, 1, MOST, example=32)


@dataclass(frozen=True, slots=True)
class NonNegative:
    """The exact minimum over factors ≥ 0 (the bias is free), by block principal pivoting.

    min ½ xᵀ A x − hᵀ x with x_k ≥ 0 for k < K: unknowns are exchanged between those that are solved for
    and those that are 0 until the conditions of Karush, Kuhn and Tucker hold. About n_u K (K + 1)
    operations for a row of n_u cells, and K³ / 3 at most for each of a few exchanges. Source: Kim and
    Park (2011, «Fast Nonnegative Matrix Factorization: An Active-Set-Like Method and Comparisons»).

    It is what an objective with `nonnegative` asks for: not a choice.
    """

    name: ClassVar[str] = "nonnegative"
    exact: ClassVar[bool] = True


Linear = Cholesky | CG | Subspace | NonNegative

LINEAR: dict[str, type[Linear]] = {
    made.name: made for made in (Cholesky, CG, Subspace, NonNegative)
}

MOST = 1_000_000
"""Of any count that is an option of a solver."""

EXACT_UP_TO = 64
"""The largest K at which `linear="auto"` solves exactly."""


def linear_for(rank: int, *, nonnegative: bool = False, complete: bool = False) -> Linear:
    """What `ALS(linear="auto")` uses for K = `rank`; `complete` says that no rating is missing."""
    if nonnegative:
        return NonNegative()
    return Cholesky() if complete or rank <= EXACT_UP_TO else CG()


def linear_for_rows(rank: int, counts: Sequence[Array]) -> Linear:
    """The cheaper of `Cholesky()` and `CG(steps=3)` where all rows share P = α₀ FᵀF (`Everywhere`).

    `counts` holds, for each side, the cells of every row. In the axes in which P is diagonal a row of n
    cells is solved exactly by its dual, n K (n + 1) + n³ / 3 operations, where n is at most about
    ¾ K, else by n K (K + 1) + K³ / 3; conjugate gradients take 16 n K, at about a quarter of the
    operations a second. Both come after 3 K² a row for the Gram matrix and the rotation, and 2 K² for
    that of the result; and the exact solution may take a tenth longer, for it needs fewer sweeps.
    """
    K, exact, steps, shared = float(rank), 0.0, 0.0, 0.0
    for lengths in counts:
        n = np.asarray(lengths, dtype=np.float64)
        dual = n * K * (n + 1) + n**3 / 3
        primal = n * K * (K + 1) + K**3 / 3
        exact += float(np.add.reduce(np.where(n <= 0.75 * K, dual, primal)))
        steps += float(np.add.reduce(16 * n * K))
        shared += 5 * K**2 * len(n)
    return Cholesky() if exact + shared <= 1.1 * (4 * steps + shared) else CG()


def linear_from_dict(saved: Any) -> Linear:
    """The object of a name and its options."""
    options = dict(saved)
    return LINEAR[options.pop("name")](**options)
