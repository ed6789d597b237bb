"""`halfstep fit`: choose on the training part, report on a test part, refit on everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from cyclopts import Parameter

from halfstep.backends import get_backend
from halfstep.baselines import compare_baselines
from halfstep.cli.options import Budget, ModelOptions, ReadingOptions, check_writable
from halfstep.cli.output import LABEL, Column, Json, Output, duration, note, size, watched
from halfstep.cli.saved import TitlesFile
from halfstep.cli.select import show as show_selection
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation import split_random
from halfstep.models.explicit import ExplicitMF
from halfstep.selection.budget import Clock, seconds_of
from halfstep.selection.result import Selection
from halfstep.selection.select import choose

__all__ = ["FitJob", "fit"]


def fit(
    table: Annotated[Path, Parameter(help="The ratings: CSV, TSV, Parquet, JSON or a database.")],
    /,
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="Where the model is written.")
    ] = Path("model.safetensors"),
    valid: Annotated[
        float | None,
        Parameter(
            help="Share of the ratings that decides: what rank and regularization to take, or else when "
            "to stop; 0 for none. [default: 0.1; small tables choose by five folds]",
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
    reading: ReadingOptions | None = None,
    as_json: Json = False,
) -> None:
    """Fit a model to a table of ratings, show its error, and save it.

    The ratings are split at random. Rank and regularization are chosen on the
    training part, by the error of ratings that are held out of it in turn; the error
    on the test part, which neither the choice nor the fit ever saw, is the error to
    expect. Then the model is fitted again, on all ratings, and saved. Where rank and
    regularization are given, a validation part says when to stop. Ctrl-C ends the
    fit and saves what there is.

    For example:
        halfstep fit ratings.csv -o movies.safetensors
        halfstep fit ratings.csv --budget 60s --report report.html
        halfstep fit ratings.csv --rank 64 --reg 0.08
        halfstep fit log.parquet --user uid --item sku --rating stars
    """
    out = Output(as_json)
    options = model or ModelOptions()
    check_writable(output, table)
    if report is not None:
        from halfstep.report.write import check_report

        check_report(report)
        check_writable(report, table, output, titles)
    named = None
    if titles is not None:
        from halfstep.data.titles import read_titles

        named = read_titles(titles)
    job = FitJob(
        out,
        options.model(),
        output,
        given_valid=valid,
        test=test,
        refit=refit,
        history=history,
        budget=seconds_of(budget),
        report=report,
        titles=named,
    )
    job.check()
    ratings = (reading or ReadingOptions()).read(table)
    out.document(job.run(ratings))


@dataclass
class FitJob:
    """The main job, on ratings that are read. `run` returns the document of `--json`."""

    out: Output
    model: ExplicitMF
    path: Path
    given_valid: float | None = None
    test: float = 0.1
    refit: bool = True
    history: bool = True
    budget: float | None = None
    report: Path | None = None
    titles: Mapping[Any, str] | None = None
    selection: Selection | None = None

    @property
    def valid(self) -> float:
        """The share that decides."""
        return 0.1 if self.given_valid is None else self.given_valid

    @property
    def open(self) -> bool:
        """Whether rank or regularization are to be chosen."""
        return self.model._check().open

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
                "try valid=0.1, or pass both",
            )

    def run(self, ratings: Ratings) -> dict[str, Any]:
        """Fit, measure, refit, save. Ctrl-C saves the last model of which a sweep was finished."""
        out, seed = self.out, self.model.seed
        clock = Clock(self.budget)
        summary = ratings.summary()
        out.facts(summary.rows())
        out.lines("\n".join(summary.bars(LABEL)))
        out.say()
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
        first, final = self.model, None
        try:
            if self.open:
                self.selection, document["selection"] = self._select(train, clock)
            document["fit"] = self._fit(first, train, valid, clock)
            if test:
                document["test"] = self._measure(first, train, test)
            if self.refit and train is not ratings:
                final = self._again()
                document["refit"] = self._refit(final, ratings, clock)
        except KeyboardInterrupt:
            done = [m for m in (final, first) if m is not None and hasattr(m, "factors_")]
            if not done:
                note("interrupted before a sweep was finished: nothing is saved")
                raise
            self._interrupted(done[0], document)
            raise SystemExit(130) from None
        document["model"] = self._save(final or first)
        out.say()
        out.facts([("saved", f"{self.path} ({size(self.path.stat().st_size)})")])
        if self.report is not None:
            document["report"] = self._report(self.report, final or first, first, ratings, test)
        return document

    # ------------------------------------------------------------------- steps

    def _parts(self, ratings: Ratings) -> tuple[Ratings, Ratings | None, Ratings | None]:
        seed = self.model.seed
        if self.valid and self.test and not self.open:
            train, valid, test = split_random(ratings, valid=self.valid, test=self.test, seed=seed)
            return train, valid, test
        if self.valid and not self.open:
            train, valid = split_random(ratings, test=self.valid, seed=seed)
            return train, valid, None
        if self.test:
            train, test = split_random(ratings, test=self.test, seed=seed)
            return train, None, test
        return ratings, None, None

    def _select(self, train: Ratings, clock: Clock) -> tuple[Selection, dict[str, Any]]:
        found = choose(
            self.model,
            train,
            parts=None,
            backend=get_backend("native", dtype=self.model.dtype),
            clock=clock.part(_SEARCHING),
            valid=self.given_valid,
            seed=self.model.seed,
            progress=watched(self.out),
        )
        show_selection(self.out, found)
        return found, found.as_dict()

    def _fit(
        self, model: ExplicitMF, train: Ratings, valid: Ratings | None, clock: Clock
    ) -> dict[str, Any]:
        begun = perf_counter()
        model.fit(
            train,
            validation=valid,
            selection=self.selection,
            progress=watched(self.out),
            budget=None if self.budget is None else max(clock.left / 2, _LEAST),
        )
        seconds = perf_counter() - begun
        best = model.trace_[model.best_iter_ - 1]
        told = f"{len(train):,} ratings, rank {model.rank_}: {_sweeps(model.n_iter_)}"
        why = _WHY[model.stopped_]
        if self.selection is not None and model.stopped_ == "max_iter":
            why = "as many as were best on held-out ratings"
        told += f" in {duration(seconds)}, {why}"
        facts = [("fit", told)]
        if valid:
            facts.append(
                (
                    "validation",
                    f"{len(valid):,} ratings: RMSE {best.validation_rmse:.4f}, "
                    f"the best, after sweep {model.best_iter_}",
                )
            )
        self.out.facts(facts)
        return {
            "seconds": seconds,
            "sweeps": model.n_iter_,
            "best_sweep": model.best_iter_,
            "stopped": model.stopped_,
            "objective": best.objective,
            "train_rmse": best.train_rmse,
            "validation_rmse": best.validation_rmse,
        }

    def _measure(self, model: ExplicitMF, train: Ratings, test: Ratings) -> dict[str, Any]:
        rmse, mae = model.rmse(test), model.mae(test)
        measured = compare_baselines(train, test, most_operations=_MOST_OPERATIONS)
        baselines = {name: error for name, error in measured.items() if error.left_out is None}
        self.out.say()
        self.out.heading(f"Error on the test part: {len(test):,} ratings that the fit never saw")
        rows = [
            (name, f"{error.rmse:.4f}", f"{error.mae:.4f}") for name, error in baselines.items()
        ]
        self.out.table(
            [Column(""), Column("RMSE", right=True), Column("MAE", right=True)],
            [*rows, ("this model", f"{rmse:.4f}", f"{mae:.4f}")],
        )
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
        model: ExplicitMF,
        measured: ExplicitMF,
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
        )
        self.out.facts([("report", f"{path} ({size(path.stat().st_size)})")])
        return str(path)

    def _again(self) -> ExplicitMF:
        if self.selection is not None:  # which says how many sweeps
            return ExplicitMF(**self.model.get_params())
        return self.model.settled()

    def _refit(self, model: ExplicitMF, ratings: Ratings, clock: Clock) -> dict[str, Any]:
        begun = perf_counter()
        model.fit(
            ratings,
            selection=self.selection,
            progress=watched(self.out),
            budget=None if self.budget is None else max(clock.left, _LEAST),
        )
        seconds = perf_counter() - begun
        why = "as many as were best before" if self.valid else "as many as before"
        if model.stopped_ != "max_iter":
            why = _WHY[model.stopped_]
        self.out.say()
        self.out.facts(
            [
                (
                    "refit",
                    f"on all {len(ratings):,} ratings, {_sweeps(model.n_iter_)} ({why}), "
                    f"in {duration(seconds)}",
                )
            ]
        )
        return {"seconds": seconds, "sweeps": model.n_iter_, "ratings": len(ratings)}

    def _save(self, model: ExplicitMF) -> dict[str, Any]:
        model.save(self.path, history=self.history)
        return {
            "path": str(self.path),
            "bytes": self.path.stat().st_size,
            "users": len(model.factors_.user_ids),
            "items": len(model.factors_.item_ids),
            "rank": model.rank_,
            "history": self.history,
        }

    def _interrupted(self, model: ExplicitMF, document: dict[str, Any]) -> None:
        document["model"] = self._save(model)
        document["interrupted"] = True
        note(f"interrupted: the model of sweep {model.best_iter_} is saved as {self.path}")
        self.out.document(document)


_WHY = {
    "converged": "converged",
    "max_iter": "the most allowed (--max-iter)",
    "validation": "stopped by the validation part",
    "budget": "the time was up",
}
_MOST_OPERATIONS = 20_000_000  # of a baseline: about a second
_SEARCHING = 0.6
"""Of the budget; the rest is for the fit and the refit."""
_LEAST = 1e-3  # seconds: one sweep is done in any case


def _sweeps(count: int) -> str:
    return f"{count} sweep{'' if count == 1 else 's'}"
