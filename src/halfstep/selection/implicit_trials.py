"""Trials of a model of interactions: fitted from random factors, measured by the users' lists."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.data.ratings import Ratings
from halfstep.errors import DivergedError, SingularSystemError
from halfstep.evaluation.rank_validation import RankValidation
from halfstep.objectives import Reg
from halfstep.selection.budget import Clock
from halfstep.selection.result import Trial
from halfstep.selection.trials import OutOfTime
from halfstep.solvers import Problem, get_solver
from halfstep.training import Stopping, train

if TYPE_CHECKING:
    from halfstep.models.implicit import ImplicitMF

__all__ = ["Done", "ImplicitSetting", "ImplicitTrials", "ListPart"]


class ImplicitSetting(NamedTuple):
    """What is chosen."""

    rank: int
    alpha0: float
    reg: Reg
    popularity: float


@dataclass(frozen=True, slots=True)
class ListPart:
    """Interactions to fit to, and others that the lists of their users should hold."""

    train: Ratings
    held_out: RankValidation

    @property
    def users(self) -> int:
        """How many are measured."""
        return len(self.held_out.rows)


@dataclass(frozen=True, slots=True)
class Done:
    """A trial and the metric of each user; of one that could not be fitted there is none."""

    trial: Trial
    by_user: Array | None

    def gain_on(self, other: Done) -> tuple[float, float]:
        """How much higher the mean over the users is, and the standard error of that difference.

        The users are the same, so that it is much smaller than either mean's own.
        """
        if self.by_user is None or other.by_user is None:
            return other.trial.loss - self.trial.loss, 0.0
        return _mean(self.by_user - other.by_user)


class ImplicitTrials:
    """Trials of one model on one part. Each is done once, whoever asks.

    None begins with the factors of another: how many sweeps are best depends on the beginning, and is a
    part of what a trial finds.
    """

    def __init__(
        self,
        model: ImplicitMF,
        part: ListPart,
        stopping: Stopping,
        backend: Backend,
        clock: Clock,
        told: Callable[[Trial], object],
    ) -> None:
        self.model, self.part, self.backend = model, part, backend
        self.stopping = replace(stopping, deadline=clock.deadline)
        self.clock, self.told = clock, told
        self.done: dict[ImplicitSetting, Done] = {}
        self._weighted = {0.0: part.train}

    def at(self, setting: ImplicitSetting) -> Done:
        """The trial of that setting.

        Raises `OutOfTime` where the budget was over before its end, or would be by all that is known:
        a trial takes about as long as another of its rank, and longer than one of a lower rank.
        """
        if setting not in self.done:
            self._require_time(setting.rank)
            self.done[setting] = self._run(setting)
            self.told(self.done[setting].trial)
        return self.done[setting]

    def _require_time(self, rank: int) -> None:
        least = [
            done.trial.seconds * rank / setting.rank
            for setting, done in self.done.items()
            if setting.rank <= rank
        ]
        if least and min(least) > self.clock.left:
            raise OutOfTime

    def _run(self, setting: ImplicitSetting) -> Done:
        begun = self.clock.seconds
        model, held = self.model, self.part.held_out
        ratings = self._interactions(setting.popularity)
        objective = model._objective(setting.reg, setting.alpha0).fitted_to(ratings)
        start = model._start(ratings, None, setting.rank)
        problem = Problem.of(ratings, objective, setting.rank, start.dtype)
        by_user: Array | None = None
        sweeps, score, standard_error = 0, -math.inf, 0.0
        try:
            outcome = train(
                problem,
                get_solver(model.solver, setting.rank, counts=problem.counts),
                self.backend,
                start,
                stopping=self.stopping,
                validation=held,
            )
        except (DivergedError, SingularSystemError):
            pass
        else:
            if outcome.stopped == "budget":
                raise OutOfTime
            by_user = held.by_user(outcome.factors, self.backend)
            score, standard_error = _mean(by_user)
            sweeps = outcome.best_sweep
        seconds = self.clock.seconds - begun
        trial = Trial(
            setting.rank,
            setting.reg,
            model.reg_scaling,
            sweeps,
            score,
            standard_error,
            len(ratings),
            seconds,
            True,
            str(model.metric),
            setting.alpha0,
            setting.popularity,
        )
        return Done(trial, by_user)

    def _interactions(self, popularity: float) -> Ratings:
        if popularity not in self._weighted:
            self._weighted[popularity] = self.part.train.weighted_by_popularity(popularity)
        return self._weighted[popularity]


def _mean(values: Array) -> tuple[float, float]:
    """The mean over the users, and its standard error."""
    there = values[~np.isnan(values)].astype(np.float64)
    count = len(there)
    mean = float(np.add.reduce(there)) / count
    if count < 2:
        return mean, 0.0
    gaps = there - mean
    return mean, float(np.sqrt(np.add.reduce(gaps * gaps) / (count - 1) / count))
