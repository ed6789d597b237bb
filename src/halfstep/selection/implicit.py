"""`choose_implicit`: rank, α₀ and λ of a model of interactions, by a metric of held-out lists.

    part: a fifth of each user's interactions is held out
    at a moderate K: α₀ and λ downhill by factors of 3 (1, 3, 10, …)
    repeat
        K ← 2 K as long as the metric rises by more than its noise
        α₀ and λ downhill by factors of 1.8, and at 2 K, unless that is clearly worse
    until 2 K is no better with its own α₀ and λ
    where no larger K was better, smaller ones

The penalty grows with λ (n_u + α₀ n), so that α₀ and λ trade for one another: beside either axis the
search looks along α₀ λ = const.

A metric of lists is noisy, and the noise of neighbours is mostly the same, because their users are: what
counts is the mean difference of a user beside its standard error. Every trial is fitted as the model
will be, from random factors, and scored after its best sweep: fewer sweeps are regularization too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.backends.base import Backend
from halfstep.checks import check_choice, check_integer, is_number
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.rank_validation import RankValidation
from halfstep.evaluation.splits import split_each_user
from halfstep.objectives import SIDES, Reg
from halfstep.selection.budget import Clock
from halfstep.selection.implicit_trials import Done, ImplicitSetting, ImplicitTrials, ListPart
from halfstep.selection.result import Selection, Trial
from halfstep.selection.trials import OutOfTime
from halfstep.wording import metric_title

if TYPE_CHECKING:
    from halfstep.models.implicit import ImplicitMF

__all__ = ["choose_implicit"]

_SHARE = 0.2
_LEAST_RANK, _MODERATE, _LARGEST = 4, 64, 1024
_NARROW = 8
"""The first K is at most the smaller side of the table through this."""
_ALPHA0, _REG = 0.1, 0.003
"""Where α₀ and λ begin, for confidences about 1 and `reg_scaling="frequency"` with ν = 1."""
_LEVELS = (1.0, 1.8, 3.0, 5.5)
"""Of a decade: a setting can be read, and typed again."""
_COARSE, _FINE = 2, 1
_FARTHEST = 16
"""Levels from there that α₀ and λ may go."""
_CLEARLY = 2.0
"""So many standard errors lower is clearly worse."""
_AXES = {"alpha0": (1, 0), "reg": (0, 1), "both": (1, -1)}


def choose_implicit(
    model: ImplicitMF,
    ratings: Ratings,
    *,
    validation: Ratings | None,
    backend: Backend,
    clock: Clock,
    valid: float | None = None,
    folds: int | None = None,
    max_rank: int | None = None,
    rule: str = "best",
    popularity: Sequence[float] = (0.0,),
    seed: int = 0,
    progress: bool = False,
    on_trial: Callable[[Trial], object] | None = None,
) -> Selection:
    """See `select`; with the arguments that `ImplicitMF.fit` has looked at already."""
    if valid is not None and (not is_number(valid) or not 0 < valid <= 0.5):
        raise ParameterError("valid", valid, "must be a share in (0, 0.5]", f"try valid={_SHARE}")
    if valid is not None and validation is not None:
        raise ParameterError("valid", valid, "has no effect with validation", "drop one")
    if folds not in (None, 1):
        raise ParameterError(
            "folds",
            folds,
            "are not to be had for lists: one share of each user's interactions is held out",
            "drop it, or pass validation=",
        )
    if max_rank is None:
        max_rank = _LARGEST
    check_integer("max_rank", max_rank, 1)
    check_integer("seed", seed, 0)
    check_choice("rule", rule, ("best", "one-standard-error"))
    powers = _powers(popularity)
    given = model._check()
    if not given.open:
        raise ParameterError(
            "model",
            model,
            "has rank, alpha0 and reg: nothing is to be chosen",
            'pass rank="auto", alpha0="auto" or reg="auto"',
        )
    part = _part(model, ratings, validation, valid, seed)
    sides = part.train.by_user, part.train.by_item
    most = min(max_rank, *(int(np.count_nonzero(np.diff(cells.indptr))) for cells in sides))
    wanted = _Wanted(
        _ranks(most) if given.rank is None else (given.rank,),
        given.alpha0,
        given.reg,
        powers,
        *_beginning(model, part.train),
    )
    from halfstep.progress import trials_progress

    with trials_progress(progress) as shown:
        told: list[Trial] = []
        listeners = [told.append, *(one for one in (shown, on_trial) if one is not None)]

        def tell(trial: Trial) -> None:
            for listener in listeners:
                listener(trial)

        trials = ImplicitTrials(model, part, given.stopping, backend, clock, tell)
        stopped = "done"
        try:
            _Search(trials, wanted, _first_rank(wanted.ranks, most)).run()
        except OutOfTime:  # what there is by then is decided on
            stopped = "budget"
    chosen = _chosen(list(trials.done.values()), rule, clock)
    return Selection(
        trials=tuple(told),
        chosen=chosen,
        reason=_reason(told, chosen, rule, stopped, len(powers) > 1),
        stopped=stopped,
        seconds=clock.seconds,
        folds=1,
        held_out=len(part.held_out.user),
        sweeps=chosen.sweeps,
    )


def _powers(popularity: Any) -> tuple[float, ...]:
    listed = list(popularity) if isinstance(popularity, (tuple, list, np.ndarray)) else []
    if not listed or not all(is_number(p) and math.isfinite(p) for p in listed):
        raise ParameterError(
            "popularity",
            popularity,
            "must hold the powers of n_i to try as weights, at least one",
            "try popularity=(0.0, -0.5)",
        )
    return tuple(dict.fromkeys(float(power) for power in listed))


def _part(
    model: ImplicitMF, ratings: Ratings, validation: Ratings | None, valid: float | None, seed: int
) -> ListPart:
    """A share of each user's interactions to measure by, or the validation ones."""
    metric = str(model.metric)
    if validation is not None:
        ids = ratings.users, ratings.items
        return ListPart(ratings, RankValidation.of(validation, ids, ratings.by_user, metric))
    try:
        train, held = split_each_user(ratings, test=valid or _SHARE, seed=seed)
        return ListPart(
            train, RankValidation.of(held, (train.users, train.items), train.by_user, metric)
        )
    except DataError as error:
        raise DataError(
            "ratings",
            f"{len(ratings)} interactions",
            f"are too few to choose rank, alpha0 and reg by ({error.rule})",
            "pass rank=, alpha0= and reg=",
        ) from None


def _ranks(most: int) -> tuple[int, ...]:
    """4, 8, 16, … up to the largest; that alone where it is less."""
    found = []
    rank = _LEAST_RANK
    while rank <= most:
        found.append(rank)
        rank *= 2
    return tuple(found) or (most,)


def _first_rank(ranks: tuple[int, ...], most: int) -> int:
    return max((K for K in ranks if min(_MODERATE, most // _NARROW) >= K), default=ranks[0])


def _beginning(model: ImplicitMF, train: Ratings) -> tuple[int, int]:
    """Where α₀ and λ begin on their grids.

    Multiplying c, α₀ and λ changes no optimum (but for α₀ in s), so that both go with the mean
    confidence; and λ with what another scaling makes of s.
    """
    objective = model._objective(Reg(0.0, 0.0, 0.0), _ALPHA0).fitted_to(train)
    c, liked = objective.confidence.of(train.by_user)
    level = 1.0
    if (c[liked] > 0).any():
        level = float(np.add.reduce(c[liked], dtype=np.float64)) / int(np.count_nonzero(liked))
    logs = 0.0
    for side, cells, others in zip(
        SIDES, (train.by_user, train.by_item), (objective.items, objective.users), strict=True
    ):
        stored = np.diff(cells.indptr).astype(np.float64)
        stored = stored[stored > 0]
        usual = np.add.reduce(stored + objective.alpha0 * others)
        logs += 0.5 * math.log10(usual / np.add.reduce(objective.scaled(side, stored)))
    return _index(_ALPHA0 * level), _index(_REG * level * 10.0**logs)


def _index(value: float) -> int:
    """The nearest of 1, 3, 10, … on the grid."""
    return _COARSE * round(len(_LEVELS) / _COARSE * math.log10(value))


def _level(index: int) -> float:
    """The grid: …, 0.1, 0.18, 0.3, 0.55, 1, ….

    >>> [_level(index) for index in (-10, -4, -3, 0, 6)]
    [0.003, 0.1, 0.18, 1.0, 30.0]
    """
    decade, place = divmod(index, len(_LEVELS))
    return float(f"{_LEVELS[place]}e{decade}")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What may be chosen: the ranks, and whatever is fixed; and where the grids begin."""

    ranks: tuple[int, ...]
    alpha0: float | None
    reg: Reg | None
    powers: tuple[float, ...]
    first_alpha0: int
    first_reg: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A setting on the grids."""

    rank: int
    alpha0: int
    reg: int
    power: float

    def moved(self, way: tuple[int, int], step: int) -> _Place:
        alpha0, reg = (step * part for part in way)
        return _Place(self.rank, self.alpha0 + alpha0, self.reg + reg, self.power)

    def at_rank(self, rank: int) -> _Place:
        return _Place(rank, self.alpha0, self.reg, self.power)


class _Search:
    """See the module's first lines."""

    def __init__(self, trials: ImplicitTrials, wanted: _Wanted, first: int) -> None:
        self.trials, self.wanted, self.first = trials, wanted, first
        given = {"alpha0": wanted.alpha0, "reg": wanted.reg}
        free = [name for name, value in given.items() if value is None]
        self.ways = [_AXES[name] for name in (*free, *(["both"] if len(free) > 1 else []))]

    def run(self) -> None:
        """Try settings until nothing is to be gained; the trials hold them all."""
        w = self.wanted
        best = self._look(_Place(self.first, w.first_alpha0, w.first_reg, w.powers[0]), _COARSE)
        for power in w.powers[1:]:
            other = _Place(best.rank, best.alpha0, best.reg, power)
            if self._loss(other) < self._loss(best):
                best = self._look(other, _COARSE)
        further: _Place | None = best
        while further is not None:
            best = self._look(self._doubled(further), _FINE)
            further = self._next(best)
        if best.rank == self.first:
            self._halved(best)

    def _next(self, best: _Place) -> _Place | None:
        """The next rank with its own α₀ and λ, where it is better by more than one standard error."""
        for rank in (rank for rank in self.wanted.ranks if rank > best.rank):
            gain, error = self._gain(best.at_rank(rank), best)
            if not gain > -_CLEARLY * error:
                return None
            there = self._look(best.at_rank(rank), _FINE)
            gain, error = self._gain(there, best)
            return there if gain > error else None
        return None

    def _done(self, place: _Place) -> Done:
        w = self.wanted
        alpha0 = _level(place.alpha0) if w.alpha0 is None else w.alpha0
        level = _level(place.reg)
        reg = Reg(level, level, level) if w.reg is None else w.reg
        return self.trials.at(ImplicitSetting(place.rank, alpha0, reg, place.power))

    def _loss(self, place: _Place) -> float:
        return self._done(place).trial.loss

    def _gain(self, place: _Place, other: _Place) -> tuple[float, float]:
        return self._done(place).gain_on(self._done(other))

    def _look(self, place: _Place, step: int) -> _Place:
        """Downhill along one way after the other, until no neighbour on the grid is better."""
        best, begun = place, None
        while begun != best:
            begun = best
            for way in self.ways:
                for there in (-step, step):
                    before = best
                    while self._better(best.moved(way, there), best):
                        best = best.moved(way, there)
                    if best != before:
                        break  # the other neighbour is where it came from
        return best

    def _better(self, place: _Place, best: _Place) -> bool:
        return self._near(place) and self._loss(place) < self._loss(best)

    def _near(self, place: _Place) -> bool:
        far = (place.alpha0 - self.wanted.first_alpha0, place.reg - self.wanted.first_reg)
        return max(map(abs, far)) <= _FARTHEST

    def _doubled(self, best: _Place) -> _Place:
        """The next ranks, as long as each is better by more than one standard error."""
        for rank in (rank for rank in self.wanted.ranks if rank > best.rank):
            gain, error = self._gain(best.at_rank(rank), best)
            if not gain > error:
                break
            best = best.at_rank(rank)
        return best

    def _halved(self, best: _Place) -> None:
        """The ranks below, as long as none is worse by more than one standard error."""
        for rank in (rank for rank in reversed(self.wanted.ranks) if rank < best.rank):
            gain, error = self._gain(best.at_rank(rank), best)
            if gain < -error:
                break
            if gain > 0:
                best = self._look(best.at_rank(rank), _FINE)


def _chosen(done: list[Done], rule: str, clock: Clock) -> Trial:
    """The highest score, but of a larger rank only where it is more than noise; or the smallest rank
    within one standard error of the highest.
    """
    fitted = [one for one in done if one.by_user is not None]
    if not done:
        raise ParameterError(
            "budget",
            clock.budget,
            f"was over before one setting was tried, after {clock.seconds:.2g} s",
            "allow more time",
        )
    if not fitted:
        raise DataError(
            "ratings",
            f"{done[0].trial.ratings} interactions",
            "could be fitted with none of the settings that were tried",
            "pass rank=, alpha0= and reg=, and the fit says why",
        )
    ladder: dict[int, Done] = {}  # the best of each rank
    for one in sorted(fitted, key=lambda one: (one.trial.rank, one.trial.loss)):
        ladder.setdefault(one.trial.rank, one)
    if rule == "best":
        chosen, *larger = ladder.values()
        for one in larger:
            gain, error = one.gain_on(chosen)
            if gain > error:
                chosen = one
        return chosen.trial
    highest = min((one.trial for one in ladder.values()), key=lambda trial: trial.loss)
    least = highest.score - highest.standard_error
    return next(one.trial for one in ladder.values() if one.trial.score >= least)


def _reason(trials: list[Trial], chosen: Trial, rule: str, stopped: str, weighted: bool) -> str:
    """The choice in one sentence, beside the best of another rank."""
    reg, metric = chosen.reg, metric_title(chosen.metric)
    sides = (
        f"{reg.user:g}"
        if reg.user == reg.item
        else f"{reg.user:g} (users) and {reg.item:g} (items)"
    )
    biases = "" if reg.user == reg.item == reg.bias else f" ({reg.bias:g} for biases)"
    what = f"Rank {chosen.rank} with α₀ = {chosen.alpha0:g} and λ = {sides}{biases}"
    if weighted:
        what += (
            f" on weights n_i^{chosen.popularity:g}" if chosen.popularity else " without weights"
        )
    score = f"a held-out {metric} of {chosen.score:.4f} ± {chosen.standard_error:.4f}"
    if rule == "best":
        others = [t for t in trials if t.rank != chosen.rank and t.sweeps]
        next_best = min(others, key=lambda trial: trial.loss, default=chosen)
        why = f"has {score}, the highest of {len(trials)} trials"
        if next_best.score > chosen.score:
            why = (
                f"has {score} in {len(trials)} trials; rank {next_best.rank} has "
                f"{next_best.score:.4f}, which is no more than noise"
            )
        elif others:
            why += f" (rank {next_best.rank} at best {next_best.score:.4f})"
    else:
        why = (
            f"has {score} and is the smallest of {len(trials)} trials within one standard error of "
            "the highest"
        )
    late = "; the time was up before the search was done" if stopped == "budget" else ""
    return f"{what} {why}{late}."
