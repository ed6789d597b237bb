"""Trials: a setting is fitted from its neighbour's factors, on every part, and measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.errors import DivergedError, SingularSystemError
from halfstep.factors import Factors
from halfstep.features.design import Designs, Tables
from halfstep.objectives import Reg, Scaling
from halfstep.selection.budget import Clock
from halfstep.selection.parts import Errors, Part
from halfstep.selection.result import Trial
from halfstep.solvers import Problem
from halfstep.solvers.als import half_step
from halfstep.training import Outcome, Stopping, TraceRow, train

if TYPE_CHECKING:
    from halfstep.models.explicit import ExplicitMF

__all__ = ["OutOfTime", "Setting", "Trials"]

_STILL = 1e-4
"""A trial ends where a sweep changes the held-out error by less than this share of it."""
_LEAST, _MOST = 2, 15  # sweeps of a trial
_KEPT = 6
"""So many of the last trials' factors are kept to start from, and those of the best one."""


class Setting(NamedTuple):
    """What is chosen."""

    rank: int
    reg: Reg
    reg_scaling: Scaling


class OutOfTime(Exception):
    """The budget is spent."""


@dataclass(slots=True)
class _Done:
    trial: Trial
    factors: list[Factors]  # one for each part
    fewer_users: bool = False  # the factors of the others have yet to be solved


class _Still:
    """Ends a trial where the held-out error stands still."""

    def __init__(self) -> None:
        self.before = math.inf

    def __call__(self, row: TraceRow) -> bool:
        error = row.validation_rmse
        assert error is not None
        moved, self.before = abs(self.before - error), error
        return row.sweep >= _LEAST and moved <= _STILL * error


class Trials:
    """Trials of one model on the same parts. Each is done once, whoever asks."""

    def __init__(
        self,
        model: ExplicitMF,
        parts: list[Part],
        tables: Tables,
        backend: Backend,
        clock: Clock,
        told: Callable[[Trial], object],
        before: Trials | None = None,
    ) -> None:
        """`before` are trials on fewer users, whose factors of the items are where these begin."""
        self.model, self.parts, self.backend = model, parts, backend
        self.clock, self.told = clock, told
        self._designs = [tables.designs(part.train) for part in parts]
        self._known: dict[Setting, Trial] = {}
        self._near: list[_Done] = []
        if before is not None:
            self._near = [replace(done, fewer_users=True) for done in before._near]

    def error(self, setting: Setting) -> float:
        """The held-out RMSE of that setting; infinite where it cannot be fitted.

        Raises `OutOfTime`, and then nothing is kept of the trial that was not finished.
        """
        if setting not in self._known:
            self._known[setting] = self._run(setting)
        return self._known[setting].rmse

    def _run(self, setting: Setting) -> Trial:
        begun = self.clock.seconds
        neighbour = self._neighbour(setting)
        factors: list[Factors] = []
        sweeps = 0
        for number, part in enumerate(self.parts):
            start = None if neighbour is None else neighbour.factors[number]
            behind = neighbour is not None and neighbour.fewer_users
            try:
                outcome = self._fit(setting, part, self._designs[number], start, behind)
            except (DivergedError, SingularSystemError):
                return self._record(setting, [], 0, begun)
            factors.append(outcome.last)
            sweeps = max(sweeps, len(outcome.trace))
        trial = self._record(setting, factors, sweeps, begun)
        self._keep(_Done(trial, factors))
        return trial

    def final(self, setting: Setting, stopping: Stopping) -> Trial:
        """The setting as the model will be fitted: from random factors, until the error is lowest.

        Where there are several parts, the sweep is that of the lowest error over all of them.
        """
        begun = self.clock.seconds
        factors: list[Factors] = []
        curves: list[list[float]] = []
        for part, designs in zip(self.parts, self._designs, strict=True):
            try:
                outcome = self._fit(setting, part, designs, None, False, stopping)
            except (DivergedError, SingularSystemError):
                return self._record(setting, [], 0, begun, final=True)
            factors.append(outcome.factors)
            total = float(np.add.reduce(_weights(part)))
            curves.append([total * (row.validation_rmse or 0.0) ** 2 for row in outcome.trace])
        longest = max(len(curve) for curve in curves)
        squares = np.add.reduce([c + [c[-1]] * (longest - len(c)) for c in curves])
        return self._record(setting, factors, int(np.argmin(squares)) + 1, begun, final=True)

    def _record(
        self,
        setting: Setting,
        factors: list[Factors],
        sweeps: int,
        begun: float,
        *,
        final: bool = False,
    ) -> Trial:
        """Without factors the setting could not be fitted: its error is infinite."""
        rmse, standard_error = math.inf, 0.0
        if factors:
            total = Errors.over(
                [self._errors(*one) for one in zip(self.parts, factors, strict=True)]
            )
            rmse, standard_error = total.rmse, total.standard_error
        ratings, seconds = len(self.parts[0].train), self.clock.seconds - begun
        trial = Trial(*setting, sweeps, rmse, standard_error, ratings, seconds, final)
        self.told(trial)
        return trial

    def _fit(
        self,
        setting: Setting,
        part: Part,
        designs: Designs,
        start: Factors | None,
        behind: bool,
        stopping: Stopping | None = None,
    ) -> Outcome:
        """One fit: until the error stands still, or as `stopping` says."""
        model, (rank, reg, scaling) = self.model, setting
        objective = model._objective(part.train, reg, scaling, designs)
        if start is not None and start.rank > rank:
            start = start.narrowed(rank, nonnegative=objective.nonnegative)
        if start is not None and start.rank == rank and not behind:
            first = start.copy()
        else:
            first = model._start(part.train, objective, rank, start)
        problem = Problem.of(part.train, objective, rank, first.dtype)
        if start is not None and behind:
            fresh = first.user_factors[:, start.rank :].copy()  # the items know nothing of these
            half_step(problem, "user", first.item_side, first.user_side, self.backend)
            first.user_factors[:, start.rank :] = fresh
        outcome = train(
            problem,
            model._solver(rank, complete=part.train.is_complete),
            self.backend,
            first,
            stopping=replace(
                stopping or Stopping(_MOST, 0.0, _MOST + 1), deadline=self.clock.deadline
            ),
            validation=part.held_out,
            callbacks=[] if stopping else [_Still()],
            measured=stopping is not None,
        )
        if outcome.stopped == "budget":
            raise OutOfTime
        return outcome

    def _errors(self, part: Part, factors: Factors) -> Errors:
        held, m = part.held_out, len(part.train.users)
        gap = held.ratings.astype(np.float64) - held.fitted(factors, self.backend)
        c = _weights(part)
        return Errors(np.bincount(part.users, c * gap * gap, m), np.bincount(part.users, c, m))

    # -------------------------------------------------------------- neighbours

    def _neighbour(self, setting: Setting) -> _Done | None:
        """The kept trial whose optimum should be nearest."""
        return min(self._near, key=lambda done: _distance(done.trial, setting), default=None)

    def _keep(self, done: _Done) -> None:
        self._near = [one for one in self._near if not one.fewer_users] + [done]
        if len(self._near) > _KEPT:
            best = min(self._near, key=lambda one: one.trial.rmse)
            self._near.remove(next(one for one in self._near if one is not best))


def _weights(part: Part) -> Array:
    held = part.held_out
    return np.ones(len(held.ratings)) if held.weights is None else held.weights.astype(np.float64)


def _distance(trial: Trial, setting: Setting) -> float:
    """How far settings are apart: in octaves, with another scaling far off."""
    far = 8.0 if trial.reg_scaling != setting.reg_scaling else 0.0
    far += abs(math.log2(trial.rank / setting.rank))
    for ours, theirs in zip(_levels(trial.reg), _levels(setting.reg), strict=True):
        far += abs(ours - theirs)
    return far


def _levels(reg: Reg) -> tuple[float, float]:
    smallest = float(np.finfo(np.float32).tiny)
    level = math.sqrt(max(reg.user, smallest) * max(reg.item, smallest))
    return math.log2(level), math.log2(max(reg.bias, smallest))
