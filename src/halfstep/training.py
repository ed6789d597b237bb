"""The one training loop: sweep, measure, validate, tell, stop.

current ← start
sweep ← solver.begin(current)
repeat
    next ← sweep(current)                   (current is untouched: Ctrl-C loses nothing)
    trace ← J, train RMSE, what validation measures, seconds of each step
    stop when J's relative decrease ≤ tol (and J has not risen, where the solver may raise it), when
    validation has stopped improving, when a callback
    says so, when the time is up, or after max_iter sweeps
return the last factors, or those that did best in validation
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.data.ratings import Ratings
from halfstep.errors import DivergedError
from halfstep.evaluation.metrics import root_mean_squared_error
from halfstep.factors import Factors
from halfstep.objectives import Value
from halfstep.solvers.base import Problem, Solver

__all__ = [
    "Callback",
    "HeldOut",
    "Measured",
    "Outcome",
    "Stopping",
    "Trace",
    "TraceRow",
    "Validation",
    "train",
]


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One sweep: J, the errors after it, and the seconds of each of its steps.

    `validation_score` is a metric of rankings on held-out interactions, higher is better: what fits that
    rank have in place of `validation_rmse`.
    """

    sweep: int
    objective: float
    train_rmse: float
    validation_rmse: float | None
    seconds: dict[str, float]
    validation_score: float | None = None

    @property
    def held_out_loss(self) -> float | None:
        """What early stopping lowers: the held-out error, or minus the score."""
        if self.validation_score is not None:
            return -self.validation_score
        return self.validation_rmse


class Trace(tuple[TraceRow, ...]):
    """The rows of a fit, in order."""

    __slots__ = ()

    def to_dict(self) -> dict[str, list[Any]]:
        """One list per column, with `seconds_…` for each step: ready for any DataFrame."""
        columns: dict[str, list[Any]] = {}
        for row in self:
            flat = asdict(row)
            seconds = flat.pop("seconds")
            if flat["validation_score"] is None:
                del flat["validation_score"]
            for name, value in {**flat, **{f"seconds_{k}": v for k, v in seconds.items()}}.items():
                columns.setdefault(name, []).append(value)
        return columns


Callback = Callable[[TraceRow], object]
"""Called after every sweep; a true return value stops the fit."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """When to stop: see the module's first lines. `patience` counts sweeps without improvement.

    `deadline` is an instant of `time.perf_counter`, after which no sweep is begun.
    """

    max_iter: int
    tol: float
    patience: int
    deadline: float = math.inf


@dataclass(frozen=True, slots=True)
class Validation:
    """Held-out cells as row numbers of the factors (−1: unknown), their ratings and weights."""

    user_index: Array
    item_index: Array
    ratings: Array
    weights: Array | None

    @classmethod
    def of(cls, held_out: Ratings, train_part: Ratings) -> Validation:
        """Held-out ratings as cells of the rows of `train_part`."""
        return cls(
            train_part.users.lookup(held_out.users.values)[held_out.user_index()],
            train_part.items.lookup(held_out.items.values)[held_out.by_user.indices],
            held_out.by_user.values,
            held_out.by_user.weights,
        )

    def fitted(self, factors: Factors, backend: Backend) -> Array:
        """r̂ of these cells."""
        f = factors
        return backend.predict(
            self.user_index,
            self.item_index,
            f.user_factors,
            f.item_factors,
            f.user_bias,
            f.item_bias,
            f.mean,
        )

    def rmse(self, factors: Factors, backend: Backend) -> float:
        """Root mean squared error of the factors on these cells (weighted where they are)."""
        fitted = self.fitted(factors, backend)
        return root_mean_squared_error(self.ratings.astype(np.float64), fitted, self.weights)

    def measure(self, factors: Factors, backend: Backend) -> Measured:
        """The RMSE."""
        return Measured(rmse=self.rmse(factors, backend))


@dataclass(frozen=True, slots=True)
class Measured:
    """One of the two: an error, lower is better, or a score, higher is better."""

    rmse: float | None = None
    score: float | None = None


class HeldOut(Protocol):
    """What measures a fit beside J."""

    def measure(self, factors: Factors, backend: Backend) -> Measured:
        """How well the factors of a sweep do on what was held out."""


@dataclass(slots=True)
class Outcome:
    """What a fit ends with: the factors of `best_sweep`, and those of the last sweep."""

    factors: Factors
    trace: Trace
    stopped: str
    best_sweep: int
    last: Factors


@dataclass(slots=True)
class Listener:
    """Hears of every step and sweep (a progress bar)."""

    on_step: Callable[[int, str], None] = field(default=lambda sweep, step: None)
    on_sweep: Callable[[TraceRow], None] = field(default=lambda row: None)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a fit; `outcome` is that of the last finished sweep, or None before the first."""

    def __init__(self, outcome: Outcome | None) -> None:
        super().__init__()
        self.outcome = outcome


_UNMEASURED = Value(math.nan, math.nan)


def train(
    problem: Problem,
    solver: Solver,
    backend: Backend,
    start: Factors,
    *,
    stopping: Stopping,
    validation: HeldOut | None = None,
    callbacks: Sequence[Callback] = (),
    listeners: Iterable[Listener] = (),
    measured: bool = True,
) -> Outcome:
    """Run the loop; see the module's first lines. The arrays of `start` are overwritten.

    Without `measured` J is not worth its time (a seventh of a fit): the trace holds NaN in its place,
    only the held-out error, a callback or the number of sweeps stops, and it is the held-out error
    that must be a number.

    Raises `Interrupted` (a `KeyboardInterrupt`) with the outcome so far, and `DivergedError`.
    """
    listeners = list(listeners)
    current, spare = start, start.empty_like()
    run = solver.begin(problem, start, backend)
    buffers = [current, spare]  # a third, where an earlier sweep is the best so far
    best: Factors | None = None
    best_loss, best_sweep = np.inf, 0
    rows: list[TraceRow] = []
    stopped = "max_iter"

    def outcome() -> Outcome:
        kept = current if best is None else best
        return Outcome(kept, Trace(rows), stopped, best_sweep, current)

    try:
        for sweep in range(1, stopping.max_iter + 1):
            seconds: dict[str, float] = {}
            begun = perf_counter()
            for step in run(current, spare):
                seconds[step] = perf_counter() - begun
                for listener in listeners:
                    listener.on_step(sweep, step)
                begun = perf_counter()
            value = _UNMEASURED
            if measured:
                value = problem.objective.value(problem.by_user, problem.by_item, spare, backend)
            held = Measured() if validation is None else validation.measure(spare, backend)
            seconds["measure"] = perf_counter() - begun
            row = TraceRow(sweep, value.objective, value.train_rmse, held.rmse, seconds, held.score)
            loss = row.held_out_loss
            figure = value.objective if measured or loss is None else loss
            if not math.isfinite(figure):
                raise DivergedError(
                    f"solver={solver.name!r}: {'J' if measured else 'the held-out error'} is {figure} "
                    f"after sweep {sweep}; lower the solver's step, or raise reg"
                )

            # From here to the next sweep nothing takes time, so that Ctrl-C finds it consistent.
            current = spare
            rows.append(row)
            if loss is None:
                best_sweep = sweep
            elif loss < best_loss:
                best, best_loss, best_sweep = current, loss, sweep
            free = [
                factors for factors in buffers if factors is not current and factors is not best
            ]
            if not free:
                free = [current.empty_like()]
                buffers += free
            spare = free[0]
            for listener in listeners:
                listener.on_sweep(row)
            verdicts = [callback(row) for callback in callbacks]  # all of them are told
            if any(verdicts):
                stopped = "callback"
                break
            if loss is not None and sweep - best_sweep >= stopping.patience:
                stopped = "validation"
                break
            if perf_counter() >= stopping.deadline:
                stopped = "budget"
                break
            if measured and len(rows) > 1:
                fell, before = rows[-2].objective - row.objective, abs(rows[-2].objective)
                if fell <= stopping.tol * before and (solver.descends or fell >= 0):
                    stopped = "converged"
                    break
    except KeyboardInterrupt:
        stopped = "interrupted"
        raise Interrupted(outcome() if rows else None) from None
    return outcome()
