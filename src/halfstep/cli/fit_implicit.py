"""`halfstep fit --implicit`: the job of `fit` where the table holds interactions."""

from __future__ import annotations

import shlex
from time import perf_counter
from typing import Any

import numpy as np

from halfstep.baselines import fit_ranking_baselines, preferences
from halfstep.cli.contest import Contest
from halfstep.cli.fit import WHY, FitJob, Model, sweeps
from halfstep.cli.implicit import metrics_of
from halfstep.cli.output import Column, duration
from halfstep.cli.recommend import MIN_RATINGS
from halfstep.cli.recommend import show as show_recommended
from halfstep.cli.saved import Titles
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError
from halfstep.evaluation import Evaluation, evaluate, split_each_user
from halfstep.evaluation.splits.leaks import cells_of
from halfstep.models.base import FactorModel
from halfstep.models.implicit import ImplicitMF
from halfstep.selection.budget import Clock
from halfstep.wording import counted, metric_title

__all__ = ["ImplicitJob", "rankings_table"]

_MOST_OPERATIONS = 200_000_000  # of a baseline: some seconds
_SHOWN = 5
_SHARE = 0.5
"""Of what is left of the budget, for the first fit; the refit can take the rest."""
_LEAST = 1e-3  # seconds: one sweep is done in any case


class ImplicitJob(FitJob):
    """The same steps; the parts are shares of each user's interactions, and rankings measure."""

    known: Ratings | None = None
    """All that is not in the test part, where there are three parts."""

    def run(self, ratings: Ratings) -> dict[str, Any]:
        document = super().run(ratings)
        assert self.saved is not None
        document["recommend"] = self._someone(self.saved)
        return document

    without_choice = "--valid 0, which chooses nothing"

    def _parts(self, ratings: Ratings) -> tuple[Ratings, Ratings | None, Ratings | None]:
        seed = self.model.seed
        stops = 0.0 if self.open else self.valid  # what chooses holds out parts of its own
        try:
            if stops and self.test:
                train, valid, test = split_each_user(
                    ratings, valid=stops, test=self.test, seed=seed
                )
                # what decided is no miss of a list: it is had before the test part, as train is
                self.known = ratings.select(~cells_of(ratings, test))
                return train, _with_hits(valid), _with_hits(test)
            if stops or self.test:
                train, held = split_each_user(ratings, test=stops or self.test, seed=seed)
                _with_hits(held)
                return (train, held, None) if stops else (train, None, held)
        except DataError as error:
            remedy = f"{error.remedy}; --valid 0 --test 0 fits all of them and measures nothing"
            raise DataError(error.argument, error.value, error.rule, remedy) from None
        return ratings, None, None

    def _fit(
        self, model: Model, train: Ratings, valid: Ratings | None, clock: Clock
    ) -> dict[str, Any]:
        assert isinstance(model, ImplicitMF)
        begun = perf_counter()
        model.fit(train, validation=valid, **self._options(model, _SHARE * clock.left))
        seconds = perf_counter() - begun
        best = model.trace_[model.best_iter_ - 1]
        told = (
            f"{counted(len(train), 'interaction')}, rank {model.rank_}: {sweeps(model.n_iter_)} in "
        )
        why = WHY[model.stopped_]
        if self.selection is not None and model.stopped_ == "max_iter":
            why = "as many as were best on held-out interactions"
        facts = [("fit", f"{told}{duration(seconds)}, {why}")]
        if valid:
            facts.append(
                (
                    "validation",
                    f"{len(valid):,} interactions: {metric_title(model.metric)} "
                    f"{best.validation_score:.4f}, the best, after sweep {model.best_iter_}",
                )
            )
        self.out.facts(facts)
        return {
            "class": type(model).__name__,
            "seconds": seconds,
            "sweeps": model.n_iter_,
            "best_sweep": model.best_iter_,
            "stopped": model.stopped_,
            "objective": best.objective,
            "metric": model.metric,
            "validation_score": best.validation_score,
        }

    def _measure(
        self, model: Model, train: Ratings, test: Ratings, contest: Contest | None
    ) -> dict[str, Any]:
        assert isinstance(model, ImplicitMF)
        wanted = preferences(test)
        metrics = metrics_of(model)
        baselines = fit_ranking_baselines(train, most_operations=_MOST_OPERATIONS)
        named: dict[str, Any] = {**baselines.models, "this model": model}
        known = train if self.known is None else self.known
        found = {
            name: evaluate(one, wanted, metrics, train=known, n_resamples=500 * (one is model))
            for name, one in named.items()
        }
        mine = found["this model"]
        self.out.say()
        self.out.heading(
            f"Lists of the test part: {counted(len(wanted), 'interaction')} that the fit never saw"
        )
        rankings_table(self.out, found)
        self.out.say()
        first = mine[metrics[0]]
        if first.lower == first.lower:  # of one user there is no interval
            self.out.say(
                f"{metric_title(first.name)} of this model over {counted(len(first.ids), 'user')}, "
                f"95 % interval: {first.lower:.4f} to {first.upper:.4f}."
            )
        best = max(baselines.models, key=lambda name: found[name][first.name].value)
        if found[best][first.name].value > first.upper:
            counts = ", or --confidence log or binary" if model.confidence == "linear" else ""
            self.out.say(f"«{best}» ranks better: try another --rank, --alpha0 or --reg{counts}.")
        return {
            **mine.as_dict(),
            "baselines": {
                name: {metric: figure.value for metric, figure in one.items()}
                for name, one in found.items()
                if one is not mine
            },
            "left_out": baselines.left_out,
        }

    def _someone(self, model: FactorModel) -> dict[str, Any]:
        """What a typical user is recommended, and the command that asks for another."""
        history = model._whole_history("recommend")
        sizes = np.diff(history.indptr)
        order = np.argsort(sizes, kind="stable")
        order = order[sizes[order] > 0]
        user = model.factors_.user_ids.id_at(int(order[(len(order) - 1) // 2]))
        self.out.say()
        ranked = model.recommend([user], _SHOWN, min_ratings=MIN_RATINGS)
        titles = Titles(self.titles)
        document = show_recommended(self.out, ranked, model, titles)
        if self.history:  # without, the file cannot leave out what the user has had
            self.out.say()
            words = ["halfstep", "recommend", str(self.path), "--user", str(user)]
            self.out.command(shlex.join(words))
        return {"users": document}


def _with_hits(part: Ratings) -> Ratings:
    """A part that is held out, where a list could hit something of it."""
    if not (part.by_user.values > 0).any():
        raise DataError(
            "counts",
            f"{counted(len(part), 'interaction')} that would be held out",
            "are none above 0, so that no list could hit one",
            "pass more of them, or another --seed",
        )
    return part


def rankings_table(out: Any, found: dict[str, Evaluation]) -> None:
    """A row for each model, a column for each metric."""
    metrics = list(next(iter(found.values())))
    out.table(
        [Column(""), *(Column(metric_title(name), right=True) for name in metrics)],
        [
            [
                name,
                *("–" if one[m].value != one[m].value else f"{one[m].value:.4f}" for m in metrics),
            ]
            for name, one in found.items()
        ],
    )
