"""`rank="grow"`: the rank is found, by the certificate of global optimality.

W, Z ← a few random columns
repeat
    a few sweeps of the training loop           (lower J at this rank)
    canonical axes
    certificate                                 (a lower bound of J over all ranks)
    stop when its gap is small and no column is dead
    drop the columns without which J is lower
    append the singular vectors of the scaled residual whose σ is above λ = √(λ_w λ_z),
    at most as many columns as there are

Each of these steps lowers J or leaves it, and it stops only at the minimum of the convex problem
behind J (`diagnostics/certificate.py`), so that K ends as the rank of that problem's solution. The
appended columns are the step that soft thresholding of the residual takes (Mazumder, Hastie and
Tibshirani 2010); ALS between such steps is what Hastie, Mazumder, Lee and Zadeh (2015, «Matrix
Completion and Low-Rank SVD via Fast Alternating Least Squares») found faster than either alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.data.ratings import Ratings
from halfstep.diagnostics.certificate import Direction, Point
from halfstep.factors import Factors
from halfstep.objectives import SquaredError
from halfstep.solvers import Problem, Solver
from halfstep.training import (
    Callback,
    Interrupted,
    Listener,
    Outcome,
    Stopping,
    Trace,
    TraceRow,
    Validation,
    train,
)

__all__ = ["FIRST_RANK", "Stage", "grow"]

FIRST_RANK = 4
"""K of the first stage."""

_GROWING = 3  # sweeps of a stage after columns were appended
_REFINING = (10, 50)  # at least and at most, where none were
_NEVER = -1.0  # a tolerance: a stage does all its sweeps
_WATCHED = 8  # directions that are looked for where none were found the last time


@dataclass(frozen=True, slots=True)
class Stage:
    """One certificate of a growing fit: after which sweep, at which rank, and what it said."""

    sweep: int
    rank: int
    objective: float
    gap: float


@dataclass(slots=True)
class _Run:
    """What all stages share: the trace, the best sweep, and who is to be told."""

    stopping: Stopping
    callbacks: Sequence[Callback]
    listeners: list[Listener]
    rows: list[TraceRow]
    before: int = 0  # sweeps of the stages that are over
    best: Factors | None = None
    best_rmse: float = np.inf
    best_sweep: int = 0
    stopped: str = ""

    def tell(self, row: TraceRow) -> bool:
        """The one callback of the training loop: renumbers, tells, and says whether to stop."""
        row = replace(row, sweep=self.before + row.sweep)
        self.rows.append(row)
        for listener in self.listeners:
            listener.on_sweep(row)
        if row.validation_rmse is None:
            self.best_sweep = row.sweep
        elif row.validation_rmse < self.best_rmse:
            self.best_rmse, self.best_sweep = row.validation_rmse, row.sweep
        verdicts = [callback(row) for callback in self.callbacks]  # all of them are told
        if any(verdicts):
            self.stopped = "callback"
        elif row.sweep - self.best_sweep >= self.stopping.patience:
            self.stopped = "validation"
        elif perf_counter() >= self.stopping.deadline:
            self.stopped = "budget"
        return bool(self.stopped)

    def keep(self, outcome: Outcome, validated: bool) -> None:
        """The end of a stage, or of what was finished of it."""
        if validated and self.before + outcome.best_sweep == self.best_sweep:
            self.best = outcome.factors
        self.before = len(self.rows)

    def outcome(self, last: Factors, stopped: str) -> Outcome:
        kept = last if self.best is None else self.best
        return Outcome(kept, Trace(self.rows), stopped, self.best_sweep, last)


def grow(
    ratings: Ratings,
    objective: SquaredError,
    solver_at: Callable[[int], Solver],
    backend: Backend,
    start: Factors,
    *,
    stopping: Stopping,
    validation: Validation | None = None,
    callbacks: Sequence[Callback] = (),
    listeners: Iterable[Listener] = (),
    stages: list[Stage],
) -> Outcome:
    """Fit and find the rank; see the module's first lines. Every certificate is added to `stages`.

    `stopping.tol` is the gap (J − D)/J at which the fit is done, `stopping.max_iter` the most
    sweeps over all ranks together. Where J no longer falls in the working precision, it ends
    before.

    Raises `Interrupted` with the outcome so far, and what `train` raises.
    """
    run = _Run(stopping, callbacks, list(listeners), [])
    told = [Listener(on_step=lambda sweep, step: _step(run, sweep, step))]
    current, sweeps, changed, wanted = start, _GROWING, True, FIRST_RANK
    last: Factors | None = None
    try:
        while True:
            left = stopping.max_iter - len(run.rows)
            solver = solver_at(current.rank)
            outcome = train(
                Problem.of(ratings, objective, current.rank, current.dtype),
                solver,
                backend,
                current,
                stopping=Stopping(min(sweeps, left), _NEVER, stopping.max_iter + 1),
                validation=validation,
                callbacks=[run.tell],
                listeners=told,
            )
            last = outcome.last
            run.keep(outcome, validation is not None)
            if run.stopped:
                return run.outcome(last, run.stopped)
            point, last = _measured(ratings, objective, last)
            found = point.certificate(stopping.tol, directions=wanted)
            stages.append(Stage(len(run.rows), last.rank, found.objective, found.gap))
            alive = _alive(point)
            still = not changed and found.direction is None and _still(stages, last.dtype)
            still &= solver.descends  # else J may fall again
            settled = alive.all() or (last.rank == 1 and found.direction is None)
            if settled and (found.gap <= stopping.tol or still):
                return run.outcome(last, "converged")
            if len(run.rows) >= stopping.max_iter:
                return run.outcome(last, "max_iter")
            direction = None if found.gap <= stopping.tol else found.direction
            current = _changed(last, alive, direction)
            changed = direction is not None or not alive.all()
            wanted = max(_WATCHED, 0 if direction is None else current.rank)
            sweeps = _GROWING if direction is not None else _sweeps_left(stages, stopping.tol)
    except Interrupted as interrupt:
        if interrupt.outcome is not None:
            last = interrupt.outcome.last
            run.keep(interrupt.outcome, validation is not None)
        raise Interrupted(None if last is None else run.outcome(last, "interrupted")) from None
    except KeyboardInterrupt:
        raise Interrupted(None if last is None else run.outcome(last, "interrupted")) from None


def _still(stages: list[Stage], dtype: str) -> bool:
    """Whether the last stage was rounding: J did not fall and the gap hardly did."""
    before, now = stages[-2:] if len(stages) > 1 else (stages[0], stages[0])
    rounding = 2 * float(np.finfo(dtype).eps) * abs(before.objective)
    return before.objective - now.objective <= rounding and now.gap >= 0.5 * before.gap


def _sweeps_left(stages: list[Stage], tol: float) -> int:
    """How many sweeps the gap needs to reach `tol` if it goes on falling as in the last stage."""
    least, most = _REFINING
    if len(stages) < 2 or not stages[-1].gap > tol:
        return least
    before, now = stages[-2:]
    if not 0 < now.gap < before.gap or tol <= 0:
        return least
    rate = np.log(before.gap / now.gap) / (now.sweep - before.sweep)
    return int(np.clip(np.ceil(np.log(now.gap / tol) / rate), least, most))


def _step(run: _Run, sweep: int, step: str) -> None:
    for listener in run.listeners:
        listener.on_step(run.before + sweep, step)


def _measured(ratings: Ratings, objective: SquaredError, factors: Factors) -> tuple[Point, Factors]:
    point = Point(ratings.by_user, objective, factors)
    turned = factors.canonical(point.s_u, point.s_i).factors
    return point.turned(turned), turned


def _alive(point: Point) -> Array:
    """False for the columns without which J is lower, or no higher: the smallest ones of them."""
    alive = np.ones(point.rank, dtype=bool)
    order, change = point.drops()
    worth = np.flatnonzero(change <= 0)
    if len(worth):
        alive[order[: worth[-1] + 1]] = False
    return alive


def _changed(factors: Factors, alive: Array, direction: Direction | None) -> Factors:
    """The living columns and the new ones; at least one."""
    if not alive.any() and direction is None:
        alive = np.arange(len(alive)) == 0
    parts = [
        (factors.user_factors[:, alive], factors.item_factors[:, alive]),
        *([] if direction is None else [(direction.user_factors, direction.item_factors)]),
    ]
    users, items = (
        np.ascontiguousarray(np.concatenate(side, axis=1).astype(factors.dtype))
        for side in zip(*parts, strict=True)
    )
    return replace(factors, user_factors=users, item_factors=items).copy()
