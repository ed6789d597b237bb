"""`halfstep fit`: fit on the training part, report on a test part, refit on everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, ClassVar

from cyclopts import Parameter

from halfstep.baselines import compare_baselines
from halfstep.cli.bayes import BayesOptions, affordable, refuse_draws, unfitted
from halfstep.cli.contest import Contest, Rival
from halfstep.cli.features import FeatureOptions, facts
from halfstep.cli.implicit import ImplicitOptions, hint_at_interactions
from halfstep.cli.options import Budget, ModelOptions, ReadingOptions, check_writable
from halfstep.cli.output import LABEL, Column, Json, Output, duration, note, size, watched
from halfstep.cli.saved import TitlesFile
from halfstep.cli.select import show as show_selection
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, HalfstepError, ParameterError
from halfstep.evaluation import split_random
from halfstep.models.bayesian import BayesianMF
from halfstep.models.explicit import ExplicitMF
from halfstep.models.implicit import ImplicitMF
from halfstep.selection.budget import Clock, seconds_of
from halfstep.selection.result import Selection
from halfstep.selection.select import select

__all__ = ["FitJob", "Model", "fit"]

Model = ExplicitMF | BayesianMF | ImplicitMF

_BEST = {"samples": 500, "burn_in": 50}
"""What `--best` draws where it is not told."""


def fit(
    table: Annotated[Path, Parameter(help="The ratings: CSV, TSV, Parquet, JSON or a database.")],
    /,
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="Where the model is written.")
    ] = Path("model.safetensors"),
    fast: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Fit ALS alone, with rank and regularization chosen: a small model, soon done.",
        ),
    ] = False,
    best: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help=f"Fit the Bayesian model alone, with {_BEST['samples']} draws (or --samples): the "
            "lowest error, and the most time.",
        ),
    ] = False,
    valid: Annotated[
        float | None,
        Parameter(
            help="Share of the ratings that decides: what model, what rank and regularization to take, "
            "or else when to stop; 0 for none. [default: 0.1; small tables choose by five folds]",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        float, Parameter(help="Share of the ratings that only measures the error; 0 for none.")
    ] = 0.1,
    refit: Annotated[bool, Parameter(help="Fit once more on all ratings at the end.")] = True,
    history: Annotated[
        bool,
        Parameter(
            help="Keep each user's ratings in the file: recommend (to leave out what was seen) and "
            "explain need them."
        ),
    ] = True,
    budget: Budget = None,
    report: Annotated[
        Path | None,
        Parameter(
            help="Write a report too, to look at: an HTML page, or a PNG or PDF file (needs the extra "
            "halfstep[report])."
        ),
    ] = None,
    titles: TitlesFile = None,
    model: ModelOptions | None = None,
    bayes: BayesOptions | None = None,
    interactions: ImplicitOptions | None = None,
    known: FeatureOptions | None = None,
    reading: ReadingOptions | None = None,
    as_json: Json = False,
) -> None:
    """Fit a model to a table of ratings, show its error, and save it.

    The ratings are split at random. Without an option two models are fitted to the
    same training part, ALS with rank and regularization chosen on it and a Bayesian
    model, and a validation part decides between them; one line says what the better
    one costs. The error on the test part, which neither the choice nor the fit ever
    saw, is the error to expect. Then the model is fitted again, on all ratings, and
    saved. Options of ALS (--rank, --reg, …) fit ALS alone, as --fast does. Ctrl-C
    ends the fit and saves what there is.

    With --implicit the table holds clicks, plays or purchases in place of ratings: a
    model of interactions ranks what each user has not had yet, and the test part
    says how many of its held-out items stand at the top of the lists. Of --rank,
    --alpha0 and --reg what is not given is chosen by other held-out items (--valid 0:
    is the library's default).

    For example:
        halfstep fit ratings.csv -o movies.safetensors
        halfstep fit ratings.csv --fast --report report.html
        halfstep fit ratings.csv --rank 64 --reg 0.08
        halfstep fit ratings.csv --best --user-features users.csv
        halfstep fit clicks.parquet --implicit
        halfstep fit log.parquet --user uid --item sku --rating stars
    """
    out = Output(as_json)
    options, draws = model or ModelOptions(), bayes or BayesOptions()
    features, implicit = known or FeatureOptions(), interactions or ImplicitOptions()
    made: Model
    if implicit.implicit:
        _refuse_ratings_options(draws, features, fast, best)
        # without a part that decides nothing is chosen
        made, rival = implicit.model(options, choosing=valid != 0), None
    else:
        implicit.refuse()
        made, rival = _models(options, draws, features.implicit_features, fast, best)
    check_writable(output, table, *features.paths)
    if report is not None:
        from halfstep.report.write import check_report

        check_report(report)
        check_writable(report, table, output, titles, *features.paths)
    named = None
    if titles is not None:
        from halfstep.data.titles import read_titles

        named = read_titles(titles)
    kind = FitJob
    if implicit.implicit:
        from halfstep.cli.fit_implicit import ImplicitJob as kind
    job = kind(
        out,
        made,
        output,
        rival=rival,
        given_valid=valid,
        test=test,
        refit=refit,
        history=history,
        budget=seconds_of(budget),
        report=report,
        titles=named,
    )
    job.check()
    reader = reading or ReadingOptions()
    if implicit.implicit:
        ratings = implicit.read(reader, table)
    else:
        ratings = reader.read(table)
        hint_at_interactions(ratings)
    job.features = features.read(ratings)
    out.document(job.run(ratings))


def _refuse_ratings_options(
    bayes: BayesOptions, features: FeatureOptions, fast: bool, best: bool
) -> None:
    """Raise where an option of models of ratings stands beside --implicit."""
    given = [
        *(["--fast"] if fast else []),
        *(["--best"] if best else []),
        *(f"--{name.replace('_', '-')}" for name in bayes.changed()),
        *(features.words()[:1] if features.given else []),
    ]
    if given:
        raise HalfstepError(f"{given[0]} is of models of ratings, and not of --implicit; drop one")


_NEUTRAL = ("seed", "dtype")
"""Options of the model that say nothing of its kind."""


def _models(
    options: ModelOptions, bayes: BayesOptions, implicit: bool, fast: bool, best: bool
) -> tuple[ExplicitMF | BayesianMF, BayesianMF | None]:
    """The model to fit, and the one to compare it with."""
    given = [
        flag for flag, on in (("--fast", fast), ("--best", best), ("--bayes", bayes.bayes)) if on
    ]
    if len(given) > 1 and given != ["--best", "--bayes"]:
        raise HalfstepError(f"{given[0]} and {given[1]} ask for different models; drop one")
    if best:
        own = bayes.changed()
        more = {name: value for name, value in _BEST.items() if name not in own}
        return bayes.model(options, implicit, **more), None
    made = unfitted(options, bayes, implicit)
    if fast or bayes.bayes or any(name not in _NEUTRAL for name in options.changed_names()):
        return made, None
    refuse_draws(bayes)
    return made, BayesOptions().model(options, implicit)


@dataclass
class FitJob:
    """The main job, on ratings that are read. `run` returns the document of `--json`."""

    out: Output
    model: Model
    path: Path
    rival: BayesianMF | None = None
    given_valid: float | None = None
    test: float = 0.1
    refit: bool = True
    history: bool = True
    budget: float | None = None
    report: Path | None = None
    titles: Mapping[Any, str] | None = None
    features: dict[str, Any] = field(default_factory=dict)
    selection: Selection | None = None
    saved: Model | None = None

    @property
    def valid(self) -> float:
        """The share that decides; a sampler alone has nothing to decide."""
        if isinstance(self.model, BayesianMF):
            return self.given_valid or 0.0
        return 0.1 if self.given_valid is None else self.given_valid

    @property
    def open(self) -> bool:
        """Whether rank or regularization are to be chosen."""
        return not isinstance(self.model, BayesianMF) and self.model._check().open

    without_choice: ClassVar[str] = "pass both"
    """What to do where no part is to be held out to choose by."""

    def check(self) -> None:
        """Shares that no table allows, before the table is read."""
        for name, share in (("valid", self.valid), ("test", self.test)):
            if not 0 <= share < 1:
                raise ParameterError(
                    name, share, "must be a share of the ratings, in [0, 1)", f"try {name}=0.1"
                )
        if self.valid + self.test >= 1:
            raise ParameterError(
                "valid",
                self.valid,
                f"leaves nothing to train on beside test={self.test}",
                "lower both",
            )
        if self.open and not 0 < self.valid <= 0.5:
            raise ParameterError(
                "valid",
                self.valid,
                "must be in (0, 0.5] where rank or reg are chosen",
                f"try valid=0.1, or {self.without_choice}",
            )

    def run(self, ratings: Ratings) -> dict[str, Any]:
        """Fit, measure, refit, save. Ctrl-C saves the last model of which a sweep was finished."""
        out, seed = self.out, self.model.seed
        clock = Clock(self.budget)
        summary = ratings.summary()
        out.facts(summary.rows(learns=self.model.learns))
        if summary.lowest < summary.highest or self.model.learns == "ratings":
            out.lines("\n".join(summary.bars(LABEL)))
        out.say()
        if self.features:
            out.facts(facts(self.features, ratings))
        train, valid, test = self._parts(ratings)
        document: dict[str, Any] = {
            "command": "fit",
            "data": summary.as_dict(),
            "parameters": self.model.get_params(),
            "split": {
                "train": len(train),
                "valid": len(valid) if valid else 0,
                "test": len(test) if test else 0,
                "seed": seed,
            },
        }
        first, final, contest = self.model, None, None
        try:
            if self.open:
                self.selection, document["selection"] = self._select(train, clock)
            watched_part = None if self.rival else valid
            document["fit"] = self._fit(first, train, watched_part, clock)
            if self.rival is not None and valid is not None:
                seconds = clock.seconds
                contest = Contest(first, seconds, self._fit_rival(self.rival, train, clock))
                contest.decide(valid)
                first = contest.winner
                document["parameters"] = first.get_params()
            if test:
                document["test"] = self._measure(first, train, test, contest)
            if contest is not None:
                document["comparison"] = contest.as_dict()
                out.say()
                out.say(contest.told())
            if self.refit and train is not ratings:
                final = self._again(first)
                document["refit"] = self._refit(final, ratings, clock)
        except KeyboardInterrupt:
            done = [m for m in (final, first) if m is not None and hasattr(m, "factors_")]
            if not done:
                note("interrupted before a sweep was finished: nothing is saved")
                raise
            self._interrupted(done[0], document)
            raise SystemExit(130) from None
        self.saved = final or first
        document["model"] = self._save(self.saved)
        out.say()
        out.facts([("saved", f"{self.path} ({size(self.path.stat().st_size)})")])
        if self.report is not None:
            document["report"] = self._report(self.report, self.saved, first, ratings, test)
        return document

    # ------------------------------------------------------------------- steps

    def _parts(self, ratings: Ratings) -> tuple[Ratings, Ratings | None, Ratings | None]:
        try:
            return self._split(ratings)
        except DataError as error:
            remedy = f"{error.remedy}; --bayes --test 0 fits all of them and measures nothing"
            raise DataError(error.argument, error.value, error.rule, remedy) from None

    def _split(self, ratings: Ratings) -> tuple[Ratings, Ratings | None, Ratings | None]:
        seed = self.model.seed
        part = self.valid and (not self.open or self.rival is not None)
        if part and self.test:
            train, valid, test = split_random(ratings, valid=self.valid, test=self.test, seed=seed)
            return train, valid, test
        if part:
            train, valid = split_random(ratings, test=self.valid, seed=seed)
            return train, valid, None
        if self.test:
            train, test = split_random(ratings, test=self.test, seed=seed)
            return train, None, test
        return ratings, None, None

    def _select(self, train: Ratings, clock: Clock) -> tuple[Selection, dict[str, Any]]:
        assert not isinstance(self.model, BayesianMF)
        share = _SEARCHING if self.rival is None else _SEARCHING_TOO
        try:
            found = select(
                train,
                model=self.model,
                valid=self.given_valid,
                budget=None if self.budget is None else max(share * clock.left, _SHORTEST),
                seed=self.model.seed,
                progress=watched(self.out),
                **self.features,
            )
        except ParameterError as error:
            if error.argument != "budget":
                raise
            raise ParameterError("budget", self.budget, error.rule, error.remedy) from None
        show_selection(self.out, found)
        return found, found.as_dict()

    def _options(self, model: Model, budget: float) -> dict[str, Any]:
        """The arguments of its fit."""
        given: dict[str, Any] = {**self.features, "progress": watched(self.out)}
        if not isinstance(model, BayesianMF):
            given["selection"] = self.selection
            given["budget"] = None if self.budget is None else max(budget, _LEAST)
        return given

    def _fit(
        self, model: Model, train: Ratings, valid: Ratings | None, clock: Clock
    ) -> dict[str, Any]:
        if isinstance(model, BayesianMF):
            model = self._within(model, train, _TRYING * clock.left)
        begun = perf_counter()
        share = 0.5 if self.rival is None else _TRYING / 2
        model.fit(train, validation=valid, **self._options(model, share * clock.left))
        seconds = perf_counter() - begun
        best = model.trace_[model.best_iter_ - 1]
        facts = [("fit", self._told(model, len(train), seconds))]
        if valid:
            how = "the best, " if isinstance(model, ExplicitMF) else ""
            facts.append(
                (
                    "validation",
                    f"{len(valid):,} ratings: RMSE {best.validation_rmse:.4f}, "
                    f"{how}after sweep {model.best_iter_}",
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
            "train_rmse": best.train_rmse,
            "validation_rmse": best.validation_rmse,
        }

    def _told(self, model: Model, ratings: int, seconds: float) -> str:
        told = f"{ratings:,} ratings, rank {model.rank_}: {sweeps(model.n_iter_)}"
        told += f" in {duration(seconds)}"
        if isinstance(model, BayesianMF):
            return f"{told}, Bayesian: {_draws(model)}"
        if self.selection is not None and model.stopped_ == "max_iter":
            return f"{told}, as many as were best on held-out ratings"
        return f"{told}, {WHY[model.stopped_]}"

    def _within(self, model: BayesianMF, train: Ratings, seconds: float) -> BayesianMF:
        """A sampler of as many draws as the budget allows, itself where there is none."""
        if self.budget is None:
            return model
        found = affordable(model, train, max(seconds, _LEAST), **self.features)
        if found is None:
            raise ParameterError(
                "budget",
                self.budget,
                "is too short for eighty sweeps of the sampler",
                "allow more time, or pass --fast",
            )
        model.set_params(**found.get_params())
        return model

    def _fit_rival(self, model: BayesianMF, train: Ratings, clock: Clock) -> Rival:
        """Fit the Bayesian model, or say why not."""
        left = None if self.budget is None else max(_TRYING * clock.left, _LEAST)
        found = affordable(model, train, left, **self.features)
        if found is None:
            why = "the table is too large for eighty of its sweeps; --best fits it all the same"
            if left is not None:
                why = "eighty of its sweeps do not fit into the budget"
            return Rival(None, 0.0, why)
        begun = perf_counter()
        found.fit(train, **self._options(found, 0.0))
        seconds = perf_counter() - begun
        self.out.facts([("", self._told(found, len(train), seconds))])
        return Rival(found, seconds, "")

    def _measure(
        self,
        model: Model,
        train: Ratings,
        test: Ratings,
        contest: Contest | None,
    ) -> dict[str, Any]:
        measured = compare_baselines(train, test, most_operations=_MOST_OPERATIONS)
        baselines = {name: error for name, error in measured.items() if error.left_out is None}
        named: dict[str, Any] = {"this model": model}
        if contest is not None:
            contest.measure(test)
            named = contest.models
        errors = {name: (one.rmse(test), one.mae(test)) for name, one in named.items()}
        self.out.say()
        self.out.heading(f"Error on the test part: {len(test):,} ratings that the fit never saw")
        rows = [
            (name, f"{error.rmse:.4f}", f"{error.mae:.4f}") for name, error in baselines.items()
        ]
        rows += [(name, f"{rmse:.4f}", f"{mae:.4f}") for name, (rmse, mae) in errors.items()]
        self.out.table([Column(""), Column("RMSE", right=True), Column("MAE", right=True)], rows)
        rmse, mae = next(errors[name] for name, one in named.items() if one is model)
        return {
            "rmse": rmse,
            "mae": mae,
            "baselines": {
                name: {"rmse": error.rmse, "mae": error.mae} for name, error in baselines.items()
            },
        }

    def _report(
        self,
        path: Path,
        model: Model,
        measured: Model,
        ratings: Ratings,
        test: Ratings | None,
    ) -> str:
        from halfstep.report.write import write_report

        write_report(
            model,
            ratings,
            path,
            titles=self.titles,
            test=test,
            measured=None if test is None or measured is model else measured,
            **self.features,
        )
        self.out.facts([("report", f"{path} ({size(path.stat().st_size)})")])
        return str(path)

    def _again(self, model: Model) -> Model:
        if not isinstance(model, BayesianMF) and self.selection is not None:
            return type(model)(**self.model.get_params())  # the selection says how many sweeps
        return model.settled()

    def _refit(self, model: Model, ratings: Ratings, clock: Clock) -> dict[str, Any]:
        begun = perf_counter()
        model.fit(ratings, **self._options(model, clock.left))
        seconds = perf_counter() - begun
        why = "as many as were best before" if self.valid else "as many as before"
        if isinstance(model, BayesianMF):
            why = _draws(model)
        elif model.stopped_ != "max_iter":
            why = WHY[model.stopped_]
        self.out.say()
        self.out.facts(
            [
                (
                    "refit",
                    f"on all {len(ratings):,} {model.learns}, {sweeps(model.n_iter_)} ({why}), "
                    f"in {duration(seconds)}",
                )
            ]
        )
        return {"seconds": seconds, "sweeps": model.n_iter_, "ratings": len(ratings)}

    def _save(self, model: Model) -> dict[str, Any]:
        model.save(self.path, history=self.history)
        return {
            "path": str(self.path),
            "class": type(model).__name__,
            "bytes": self.path.stat().st_size,
            "users": len(model.factors_.user_ids),
            "items": len(model.factors_.item_ids),
            "rank": model.rank_,
            "history": self.history,
        }

    def _interrupted(self, model: Model, document: dict[str, Any]) -> None:
        document["model"] = self._save(model)
        document["interrupted"] = True
        note(f"interrupted: the model of sweep {model.best_iter_} is saved as {self.path}")
        self.out.document(document)


WHY = {
    "converged": "converged",
    "max_iter": "the most allowed (--max-iter)",
    "validation": "stopped by the validation part",
    "budget": "the time was up",
}
_MOST_OPERATIONS = 20_000_000  # of a baseline: about a second
_SEARCHING, _SEARCHING_TOO = 0.6, 0.3
"""Of the budget, alone and beside a Bayesian model; the rest is for the fit and the refit."""
_TRYING = 0.4
"""Of what is left of the budget: a fit of the sampler, so that its refit can take the rest."""
_LEAST = 1e-3  # seconds: one sweep is done in any case
_SHORTEST = 1e-9  # that a search can be given


def sweeps(count: int) -> str:
    return f"{count} sweep{'' if count == 1 else 's'}"


def _draws(model: BayesianMF) -> str:
    chains = f" in {model.chains} chains" if model.chains > 1 else ""
    return f"{model.chains * model.samples} draws{chains}"
