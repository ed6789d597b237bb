"""`halfstep fit`: choose on a validation part, report on a test part, refit on everything."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from cyclopts import Parameter

from halfstep.cli.options import ModelOptions, ReadingOptions, check_writable
from halfstep.cli.output import LABEL, Column, Json, Output, duration, note, size
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation import baseline_rmse, split_random
from halfstep.models.explicit import ExplicitMF

__all__ = ["FitJob", "fit", "watched"]


def fit(
    table: Annotated[Path, Parameter(help="The ratings: CSV, TSV, Parquet, JSON or a database.")],
    /,
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="Where the model is written.")
    ] = Path("model.safetensors"),
    valid: Annotated[
        float, Parameter(help="Share of the ratings that decides when to stop; 0 for none.")
    ] = 0.1,
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
    model: ModelOptions | None = None,
    reading: ReadingOptions | None = None,
    as_json: Json = False,
) -> None:
    """Fit a model to a table of ratings, show its error, and save it.

    The ratings are split at random. The model is fitted on the training part until
    the error of the validation part no longer falls; its error on the test part,
    which the fit never saw, is the error to expect. Then the model is fitted again,
    on all ratings, and saved. Ctrl-C ends the fit and saves what there is.

    For example:
        halfstep fit ratings.csv -o movies.safetensors
        halfstep fit ratings.csv --rank 64 --reg 0.08
        halfstep fit log.parquet --user uid --item sku --rating stars
    """
    out = Output(as_json)
    options = model or ModelOptions()
    check_writable(output, table)
    job = FitJob(out, options.model(), output, valid, test, refit, history)
    job.check()
    ratings = (reading or ReadingOptions()).read(table)
    out.document(job.run(ratings))


@dataclass
class FitJob:
    """The main job, on ratings that are read. `run` returns the document of `--json`."""

    out: Output
    model: ExplicitMF
    path: Path
    valid: float = 0.1
    test: float = 0.1
    refit: bool = True
    history: bool = True

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

    def run(self, ratings: Ratings) -> dict[str, Any]:
        """Fit, measure, refit, save. Ctrl-C saves the last model of which a sweep was finished."""
        out, seed = self.out, self.model.seed
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
            document["fit"] = self._fit(first, train, valid)
            if test:
                document["test"] = self._measure(first, train, test)
            if self.refit and train is not ratings:
                final = self._again()
                document["refit"] = self._refit(final, ratings)
        except KeyboardInterrupt:
            done = [m for m in (final, first) if m is not None and hasattr(m, "factors_")]
            if not done:
                raise
            self._interrupted(done[0], document)
            raise SystemExit(130) from None
        document["model"] = self._save(final or first)
        out.say()
        out.facts([("saved", f"{self.path} ({size(self.path.stat().st_size)})")])
        return document

    # ------------------------------------------------------------------- steps

    def _parts(self, ratings: Ratings) -> tuple[Ratings, Ratings | None, Ratings | None]:
        seed = self.model.seed
        if self.valid and self.test:
            train, valid, test = split_random(ratings, valid=self.valid, test=self.test, seed=seed)
            return train, valid, test
        if self.valid:
            train, valid = split_random(ratings, test=self.valid, seed=seed)
            return train, valid, None
        if self.test:
            train, test = split_random(ratings, test=self.test, seed=seed)
            return train, None, test
        return ratings, None, None

    def _fit(self, model: ExplicitMF, train: Ratings, valid: Ratings | None) -> dict[str, Any]:
        begun = perf_counter()
        model.fit(train, validation=valid, progress=watched(self.out))
        seconds = perf_counter() - begun
        best = model.trace_[model.best_iter_ - 1]
        told = f"{len(train):,} ratings, rank {model.rank_}: {_sweeps(model.n_iter_)}"
        told += f" in {duration(seconds)}, {_WHY[model.stopped_]}"
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
        baselines = baseline_rmse(train, test)
        self.out.say()
        self.out.heading(f"Error on the test part: {len(test):,} ratings that the fit never saw")
        rows = [(name, f"{value:.4f}", "") for name, value in baselines.items()]
        self.out.table(
            [Column(""), Column("RMSE", right=True), Column("MAE", right=True)],
            [*rows, ("this model", f"{rmse:.4f}", f"{mae:.4f}")],
        )
        return {"rmse": rmse, "mae": mae, "baseline_rmse": baselines}

    def _again(self) -> ExplicitMF:
        first = self.model
        params = {**first.get_params(), "max_iter": first.best_iter_}
        if first.rank != "grow":  # there `tol` is the gap to reach, not a step
            params["tol"] = 0.0
        return ExplicitMF(**params)

    def _refit(self, model: ExplicitMF, ratings: Ratings) -> dict[str, Any]:
        begun = perf_counter()
        model.fit(ratings, progress=watched(self.out))
        seconds = perf_counter() - begun
        why = "as many as were best before" if self.valid else "as many as before"
        if model.n_iter_ < model.max_iter:
            why = "then nothing was left to gain"
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
}


def _sweeps(count: int) -> str:
    return f"{count} sweep{'' if count == 1 else 's'}"


def watched(out: Output) -> bool:
    """Whether somebody is there to see a progress line."""
    return sys.stderr.isatty() and not out.as_json
