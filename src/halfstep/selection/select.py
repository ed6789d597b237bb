"""`select`: rank, λ and its scaling, chosen by held-out error; of interactions see `implicit.py`.

    parts: what is fitted and what is held out                              parts.py
    for a sample of the users, then four times as many, … then all          (successive halving)
        settings along lines, each fitted from its neighbour's factors      search.py, trials.py
    the best few once more as the model will be fitted, from random factors: they decide

Where several shares are held out, the search goes by the first one, and all of them decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from halfstep.backends import get_backend
from halfstep.backends.base import Backend
from halfstep.checks import check_choice, check_integer, is_number
from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.features.design import Tables
from halfstep.objectives import Reg, Scaling
from halfstep.selection.budget import Clock, seconds_of
from halfstep.selection.level import highest_level, unit_of
from halfstep.selection.parts import Parts, part_of, parts_of, restricted, rungs_of
from halfstep.selection.result import Selection, Trial, lowest
from halfstep.selection.search import Ladder, Range, Surface, ascend, explore, refine
from halfstep.selection.trials import OutOfTime, Setting, Trials
from halfstep.training import Stopping

if TYPE_CHECKING:
    from halfstep.models.explicit import ExplicitMF
    from halfstep.models.implicit import ImplicitMF

__all__ = ["choose", "select"]

_FIRST_RATINGS = 200_000
"""Of the smallest sample of the users."""
_RANKS = (4, 8, 16, 32, 64, 128)
_LARGEST = 128
_FINALISTS, _NEAR = 3, 5e-3
"""At most so many settings of low rank decide, and one of high rank, so near to the lowest error."""
_SEARCHING = 0.75
"""Of the budget; the rest is for the final fits."""
_HIGH = 32
"""Ranks above it are high: J is nearly convex, so that they differ little, and fits are dear."""

Rule = Literal["best", "one-standard-error"]


def select(
    X: Any,
    y: Any = None,
    *,
    model: ExplicitMF | ImplicitMF | None = None,
    validation: Any = None,
    user_features: Any = None,
    item_features: Any = None,
    valid: float | None = None,
    folds: int | None = None,
    max_rank: int | None = None,
    rule: Rule = "best",
    popularity: Sequence[float] = (0.0,),
    budget: float | str | None = None,
    seed: int = 0,
    backend: str | Backend = "native",
    progress: bool = False,
    on_trial: Callable[[Trial], object] | None = None,
) -> Selection:
    """Rank, regularization and its scaling for these ratings, by held-out error.

    With an `ImplicitMF`: rank, α₀ and λ for these interactions, by its metric of the users' lists.

    The surface of the held-out RMSE over K, λ = √(λ_w λ_z), λ_b and both scalings is explored along
    lines, from half of the λ above which all factors are 0 (`selection/level.py`) and from low ranks
    to high ones; a setting is fitted from its neighbour's factors, so that all trials together cost
    a few fits. Where there are many ratings, a sample of the users narrows the search for the next
    larger one. See `docs/choosing.md`.

    Of interactions, α₀ and λ are followed at a moderate K, then K is doubled as long as the lists
    improve (`selection/implicit.py`).

    Parameters
    ----------
    X, y : Ratings; or a table with a rating column; or pairs of ids and their ratings
        Of an `ImplicitMF` whatever its `fit` takes.
    model : ExplicitMF or ImplicitMF, optional
        What is selected for: its biases, centring, solver and all else; of rank, reg and reg_scaling, or
        of rank, alpha0 and reg, what is not "auto" is kept. Default: `ExplicitMF(rank="auto",
        reg="auto")`.
    validation : Ratings or (X, y), optional
        Held-out ratings that measure, in place of a share of X.
    user_features, item_features
        As in `ExplicitMF.fit`: every trial has them. (Its implicit features are of its own part alone.)
    valid : float, optional
        The share of the ratings that is held out, 0.1 where nothing is given; below 500,000 ratings
        three different shares (the nearest of ⅓, ¼, ⅕, …), of which, from 50,000 on, the first one
        is enough to search by. Of interactions, the share of each user's; 0.2 where nothing is given.
    folds : int, optional
        Cross-validation in their place: so many parts are held out in turn, and advance along the
        path together. 1: one share. Default: 5 below 50,000 ratings where `valid` is not given. Not of
        interactions.
    max_rank : int, optional
        The highest rank to try. Default: 128, of interactions 1024.
    rule : {"best", "one-standard-error"}
        The lowest held-out error; or the smallest rank, and of it the largest λ, whose error is within
        one standard error (between users) of the lowest (Breiman, Friedman, Olshen, Stone 1984). Of
        interactions the highest score, a larger rank only where it is better by more than the standard
        error of the difference; or the smallest rank within one standard error of the highest score.
    popularity : sequence of float
        Of interactions: powers of `Ratings.weighted_by_popularity` to try, such as (0.0, -0.5);
        `chosen.popularity` is what to fit with. The search begins with the first.
    budget : float or text, optional
        Seconds, or text such as "60s" or "10min": the best so far is returned when they are over. What
        is chosen then depends on the machine; without a budget the same seed chooses the same.
    seed : int
        Of the parts and the samples.
    backend : {"native", "numpy"} or Backend
    progress : bool
        Show a progress line on the terminal.
    on_trial : callable, optional
        Told of every trial as it is done.

    Raises
    ------
    ParameterError, DuplicatesError, BackendError
        Also where the budget was over before the first trial.
    DataError
        Too few ratings, or none of the settings could be fitted.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 120, rank=3, seed=0).ratings
    >>> found = hs.select(ratings)
    >>> model = hs.ExplicitMF(**found.parameters).fit(ratings)
    """
    from halfstep.models.explicit import ExplicitMF
    from halfstep.models.fitting import held_out_of
    from halfstep.models.implicit import ImplicitMF

    if isinstance(model, ImplicitMF):
        from halfstep.data.pairs import as_interactions
        from halfstep.selection.implicit import choose_implicit

        for name, table in (("user_features", user_features), ("item_features", item_features)):
            if table is not None:
                raise ParameterError(
                    name, type(table).__name__, "are of models of ratings", "drop it"
                )
        return choose_implicit(
            model,
            as_interactions(X, y),
            validation=None if validation is None else held_out_of(validation, as_interactions),
            valid=valid,
            folds=folds,
            max_rank=max_rank,
            rule=rule,
            popularity=popularity,
            clock=Clock(seconds_of(budget)),
            seed=seed,
            backend=get_backend(backend, dtype=str(model.dtype)),
            progress=progress,
            on_trial=on_trial,
        )
    if tuple(popularity) != (0.0,):
        raise ParameterError(
            "popularity", popularity, "is of interactions", "drop it, or pass model=ImplicitMF(…)"
        )
    if model is None:
        model = ExplicitMF(rank="auto", reg="auto")
    elif type(model).__name__ == "BayesianMF":
        raise ParameterError(
            "model",
            "BayesianMF",
            "needs no selection: it learns how strong its regularization is, and a rank that is too "
            "large does not overfit",
            'fit it as it is; to compare ranks, hs.tune(model, ratings, {"rank": [8, 16, 32]})',
        )
    elif not isinstance(model, ExplicitMF):
        raise ParameterError(
            "model",
            type(model).__name__,
            "must be an ExplicitMF or ImplicitMF",
            "use hs.tune for other models",
        )
    tables = Tables.of(user_features, item_features, implicit=bool(model.implicit_features))
    if tables.any:
        model._check_features(model._check())
    ratings = tables.extended(as_ratings(X, y))
    parts = None
    if validation is not None:
        parts = Parts([part_of(ratings, held_out_of(validation))], 1)
    return choose(
        model,
        ratings,
        tables=tables,
        parts=parts,
        valid=valid,
        folds=folds,
        max_rank=_LARGEST if max_rank is None else max_rank,
        rule=rule,
        clock=Clock(seconds_of(budget)),
        seed=seed,
        backend=get_backend(backend, dtype=str(model.dtype)),
        progress=progress,
        on_trial=on_trial,
    )


def choose(
    model: ExplicitMF,
    ratings: Ratings,
    *,
    tables: Tables | None = None,
    parts: Parts | None,
    backend: Backend,
    clock: Clock,
    valid: float | None = None,
    folds: int | None = None,
    max_rank: int = _LARGEST,
    rule: Rule = "best",
    seed: int = 0,
    progress: bool = False,
    on_trial: Callable[[Trial], object] | None = None,
) -> Selection:
    """See `select`; with the arguments that `ExplicitMF.fit` has looked at already."""
    if valid is not None and (not is_number(valid) or not 0 < valid <= 0.5):
        raise ParameterError("valid", valid, "must be a share in (0, 0.5]", "try valid=0.1")
    if folds is not None:
        check_integer("folds", folds, 1)
    for name, value in (("valid", valid), ("folds", folds)):
        if value is not None and parts is not None:
            raise ParameterError(name, value, "has no effect with validation", "drop one")
    if valid is not None and folds is not None and folds > 1:
        raise ParameterError("valid", valid, f"has no effect with folds={folds}", "drop one")
    check_integer("max_rank", max_rank, 1)
    check_integer("seed", seed, 0)
    check_choice("rule", rule, ("best", "one-standard-error"))
    tables = tables or Tables(implicit=bool(model.implicit_features))
    wanted, stopping = _range(model, ratings, max_rank, featured=tables.any)
    if parts is None:
        parts = parts_of(ratings, valid, folds, seed)
    search = _Search(model, ratings, tables, parts, wanted, stopping, rule, backend, clock, seed)
    from halfstep.progress import trials_progress

    with trials_progress(progress) as told:
        search.listeners = [one for one in (told, on_trial) if one is not None]
        return search.run()


def _range(
    model: ExplicitMF, ratings: Ratings, max_rank: int, *, featured: bool
) -> tuple[Range, Stopping]:
    """What the model leaves open."""
    given = model._check()
    if not given.open:
        raise ParameterError(
            "model", model, "has rank and reg: nothing is to be chosen", 'pass rank="auto"'
        )
    most = min(max_rank, *ratings.shape)
    if given.rank == "auto":
        ranks = (*(rank for rank in _RANKS if rank < most), most)
    elif given.rank == "grow":
        raise ParameterError(
            "rank", "grow", "finds the rank by itself from reg", 'pass rank="auto" or an integer'
        )
    else:
        ranks = (given.rank,)
    scalings: tuple[Scaling, ...] = ("none", "sqrt") if featured else ("none", "count")
    if given.reg_scaling != "auto":
        scalings = (given.reg_scaling,)
    return Range(ranks, given.reg, scalings, bool(model.biases)), given.stopping


class _Search:
    """One selection, on the way."""

    def __init__(
        self,
        model: ExplicitMF,
        ratings: Ratings,
        tables: Tables,
        parts: Parts,
        wanted: Range,
        stopping: Stopping,
        rule: Rule,
        backend: Backend,
        clock: Clock,
        seed: int,
    ) -> None:
        self.model, self.ratings, self.parts, self.wanted = model, ratings, parts, wanted
        self.tables = tables
        self.stopping, self.rule, self.backend = stopping, rule, backend
        self.clock, self.seed = clock, seed
        self.listeners: list[Callable[[Trial], object]] = []
        self.trials: list[Trial] = []

    def run(self) -> Selection:
        """Search, decide, and say why."""
        stopped: Literal["done", "budget"] = "done"
        ladders: list[Ladder] = []
        for step in (self._explore, self._decide):
            try:
                step(ladders)
            except OutOfTime:  # what there is by then is decided on
                stopped = "budget"
        fitted = self._fitted()
        if not fitted and stopped == "budget":
            raise ParameterError(
                "budget",
                self.clock.budget,
                f"was over before one setting was tried, after {self.clock.seconds:.2g} s",
                "allow more time",
            )
        if not fitted:
            raise DataError(
                "ratings",
                self.ratings,
                "could be fitted with none of the settings that were tried",
                "pass rank= and reg=, and the fit says why",
            )
        chosen = self._chosen(fitted)
        return Selection(
            trials=tuple(self.trials),
            chosen=chosen,
            reason=_reason(fitted, chosen, self.rule, stopped),
            stopped=stopped,
            seconds=self.clock.seconds,
            folds=len(self.parts.all),
            held_out=self.parts.held_out,
            sweeps=chosen.sweeps if chosen.final else None,
        )

    def _fitted(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.rmse < float("inf")]

    def _told(self, trial: Trial) -> None:
        self.trials.append(trial)
        for listener in self.listeners:
            listener(trial)

    # ------------------------------------------------------------------- search

    def _explore(self, found: list[Ladder]) -> None:
        """The surface, by samples of the users of growing size; the ladders of the last one."""
        parts = self.parts.all[: self.parts.searched]
        clock = self.clock.part(_SEARCHING)
        trials: Trials | None = None
        ladders: list[Ladder] = []
        for users in rungs_of(self.ratings, _FIRST_RATINGS, self.seed):
            smaller = [restricted(part, users) for part in parts]
            if not all(len(part.held_out.ratings) for part in smaller):
                continue  # a sample of the users without any whose ratings are held out
            trials = Trials(
                self.model, smaller, self.tables, self.backend, clock, self._told, trials
            )
            surface = Surface(trials, self.wanted.reg, self.wanted.biases)
            if ladders:
                ladders = ascend(surface, self.wanted, ladders)
            else:
                train = smaller[0].train
                unit = unit_of(train, train.mean() if self.model.center else 0.0)
                ladders = explore(surface, self.wanted, self._levels(train), unit)
            if users is None:
                refine(surface, self.wanted, ladders)
        found += ladders

    def _levels(self, train: Ratings) -> dict[Scaling, float]:
        if self.wanted.reg is not None:
            return dict.fromkeys(self.wanted.scalings, 1.0)
        mean = train.mean() if self.model.center else 0.0
        found = {
            scaling: highest_level(train, scaling, mean=mean, biases=self.wanted.biases)
            for scaling in self.wanted.scalings
        }
        # where biases explain all, any λ does
        return {scaling: level or 1.0 for scaling, level in found.items()}

    # ----------------------------------------------------------------- decision

    def _decide(self, ladders: list[Ladder]) -> None:
        """The best few settings as the model will be fitted; the best so far where time was short."""
        fitted = self._fitted()
        if not fitted:
            return
        trials = Trials(
            self.model, self.parts.all, self.tables, self.backend, self.clock, self._told
        )
        surface = Surface(trials, self.wanted.reg, self.wanted.biases)
        if self.rule == "one-standard-error":
            settings = [_setting(_simplest(fitted))]
        elif ladders:
            settings = _finalists(surface, ladders)
        else:
            settings = [_setting(lowest(fitted))]
        for setting in settings:
            trials.final(setting, self.stopping)

    def _chosen(self, fitted: list[Trial]) -> Trial:
        if self.rule == "best" or any(trial.final for trial in fitted):
            return lowest(fitted)
        return _simplest(fitted)


def _finalists(surface: Surface, ladders: list[Ladder]) -> list[Setting]:
    """The best few settings of low rank, and the best of high rank, where they are near."""
    found = sorted(
        (error, ladder.scaling, rank, ladder.points[rank])
        for ladder in ladders
        for rank, error in ladder.errors.items()
    )
    near = found[0][0] * (1 + _NEAR)
    low = [one for one in found if one[0] <= near and one[2] <= _HIGH]
    high = [one for one in found if one[0] <= near and one[2] > _HIGH]
    kept = sorted(low[:_FINALISTS] + high[:1])
    return [surface.setting(rank, scaling, point) for _, scaling, rank, point in kept]


def _setting(trial: Trial) -> Setting:
    return Setting(trial.rank, trial.reg, cast("Scaling", trial.reg_scaling))  # of ratings all are


def _simplest(trials: list[Trial]) -> Trial:
    """Of the trials within one standard error of the lowest: the smallest rank, then the largest λ."""
    best = lowest(trials)
    near = [
        trial
        for trial in trials
        if trial.rmse <= best.rmse + best.standard_error
        and (trial.ratings, trial.reg_scaling) == (best.ratings, best.reg_scaling)
    ]
    return min(near, key=lambda trial: (trial.rank, -trial.reg.user, trial.rmse))


def _reason(trials: list[Trial], chosen: Trial, rule: Rule, stopped: str) -> str:
    """The choice in one sentence, beside the best of another rank."""
    what = f"Rank {chosen.rank} with {describe(chosen.reg, chosen.reg_scaling)}"
    error = f"a held-out RMSE of {chosen.rmse:.4f} ± {chosen.standard_error:.4f}"
    if rule == "best":
        alike = [t for t in trials if (t.final, t.ratings) == (chosen.final, chosen.ratings)]
        finals = len(alike) if chosen.final else 0
        why = f"has {error}, the lowest of {len(trials)} trials"
        if finals > 1:
            why = f"has {error}, the lowest of {finals} final fits in {len(trials)} trials"
        elif finals:
            why = f"has {error} in the only final fit of {len(trials)} trials"
        others = [t for t in alike if t.rank != chosen.rank]
        if others:
            next_best = min(others, key=lambda trial: trial.rmse)
            why += f" (rank {next_best.rank} at best {next_best.rmse:.4f})"
    else:
        why = f"has {error} and is the simplest of {len(trials)} trials within one standard error"
    late = "; the time was up before the search was done" if stopped == "budget" else ""
    return f"{what} {why}{late}."


def describe(reg: Reg, scaling: str) -> str:
    """λ in words: «λ = 12.1 per row (3.02 for biases)», or «per rating»."""
    sides = (
        f"{reg.user:g}"
        if reg.user == reg.item
        else f"{reg.user:g} (users) and {reg.item:g} (items)"
    )
    unit = {"count": "per rating", "sqrt": "per root of the ratings", "none": "per row"}[scaling]
    biases = "" if reg.user == reg.item == reg.bias else f" ({reg.bias:g} for biases)"
    return f"λ = {sides} {unit}{biases}"
