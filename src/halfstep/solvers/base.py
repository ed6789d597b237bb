"""How we get to the optimum: the protocol of a solver. It does not change the optimum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from halfstep.backends.base import CSR, Backend
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.factors import Factors
from halfstep.objectives import Objective, RowProblem, Side, Smooth

__all__ = ["Problem", "Solver", "Sweep", "settle", "smooth"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One fit: the ratings, the objective, and of each side its cells and its row problem.

    `by_user` and `by_item` are the cells as the objective takes them.
    """

    ratings: Ratings
    objective: Objective
    by_user: CSR
    by_item: CSR
    user_rows: RowProblem
    item_rows: RowProblem

    @classmethod
    def of(cls, ratings: Ratings, objective: Objective, rank: int, dtype: str) -> Problem:
        """The problem with both sides' row problems worked out once."""
        return cls(
            ratings,
            objective,
            objective.cells(ratings.by_user),
            objective.cells(ratings.by_item),
            objective.row_problem("user", ratings.by_user, rank, dtype),
            objective.row_problem("item", ratings.by_item, rank, dtype),
        )

    def side(self, side: Side) -> tuple[CSR, RowProblem]:
        """The cells by rows of that side, and their row problem."""
        if side == "user":
            return self.by_user, self.user_rows
        return self.by_item, self.item_rows


Sweep = Callable[[Factors, Factors], Iterator[str]]
"""`sweep(current, out)`: write the next factors into `out`, yielding each step's name when it is done.

`current` is not changed, so that an interrupted sweep loses nothing.
"""


class Solver(Protocol):
    """A frozen dataclass of options that begins fits.

    `ends_with_users` says whether the last step of a sweep solves every user exactly, so that stored
    user factors equal `fold_in` of the same ratings. `descends` says whether a sweep never raises J (but
    for rounding): where it is True, a sweep that does not lower J is the end of the fit.
    """

    @property
    def name(self) -> str:
        """What a model file calls it."""

    @property
    def ends_with_users(self) -> bool:
        """Whether stored user factors are exact."""

    @property
    def descends(self) -> bool:
        """Whether no sweep raises J."""

    def begin(self, problem: Problem, start: Factors, backend: Backend) -> Sweep:
        """The sweeps of one fit, with whatever they remember from one to the next.

        `start` may be changed: it is the first `current`.
        """


def smooth(problem: Problem, solver: str) -> Smooth:
    """The objective of a solver that goes by gradients.

    Raises `ParameterError` where it has none.
    """
    objective: Any = problem.objective
    if not hasattr(objective, "gradient"):
        raise ParameterError(
            "solver",
            solver,
            f"does not minimize {type(objective).__name__}",
            'choose another solver, such as "als"',
        )
    found: Smooth = objective
    return found


def settle(problem: Problem, start: Factors) -> None:
    """Set rows without ratings to 0, their optimum, and factors to their size where they must be ≥ 0."""
    for cells, (factors, bias) in (
        (problem.ratings.by_user, start.user_side),
        (problem.ratings.by_item, start.item_side),
    ):
        empty = np.diff(cells.indptr) == 0
        factors[empty] = 0
        if bias is not None:
            bias[empty] = 0
        if problem.objective.nonnegative:
            np.abs(factors, out=factors)
