"""`halfstep select`: which rank and regularization, and how the held-out error depends on them."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from halfstep.cli.features import FeatureOptions, facts
from halfstep.cli.implicit import hint_at_interactions
from halfstep.cli.options import (
    Budget,
    ModelOptions,
    ReadingOptions,
    check_writable,
    integer,
    repeated,
)
from halfstep.cli.output import Column, Json, Output, duration, watched
from halfstep.errors import ParameterError
from halfstep.selection.result import Selection, Trial
from halfstep.selection.select import select as select_settings

__all__ = ["select", "show"]


def select(
    table: Annotated[Path, Parameter(help="The ratings: CSV, TSV, Parquet, JSON or a database.")],
    /,
    *,
    valid: Annotated[
        float | None,
        Parameter(
            help="Share of the ratings that is held out. [default: 0.1; of small tables five folds]",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        int | None,
        Parameter(
            converter=integer,
            help="Hold out so many parts in turn; 1 for one share. [default: by the number of ratings]",
            show_default=False,
        ),
    ] = None,
    max_rank: Annotated[int, Parameter(converter=integer, help="The highest rank to try.")] = 128,
    rule: Annotated[
        Literal["best", "one-standard-error"],
        Parameter(help="The lowest error, or the simplest model within one standard error of it."),
    ] = "best",
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="Draw the surface: a PNG or SVG file."),
    ] = None,
    budget: Budget = None,
    bayes: Annotated[bool, Parameter(show=False, negative="")] = False,
    model: ModelOptions | None = None,
    known: FeatureOptions | None = None,
    reading: ReadingOptions | None = None,
    as_json: Json = False,
) -> None:
    """Choose rank and regularization by held-out error, and show the surface.

    What `halfstep fit` does first. The table has one line for each rank and kind of
    regularization, at the best strength that was found; the command in the last line
    fits with what was chosen.

    For example:
        halfstep select ratings.csv
        halfstep select ratings.csv --rule one-standard-error -o surface.png
    """
    out = Output(as_json)
    options, reader = model or ModelOptions(), reading or ReadingOptions()
    features = known or FeatureOptions()
    if bayes:
        raise ParameterError(
            "bayes",
            True,
            "needs no selection: the strength of the regularization is learned, and a rank that is too "
            "large does not overfit",
            "run halfstep fit --bayes, with another --rank where you like",
        )
    unfitted = options.model(features.implicit_features)
    if not unfitted._check().open:
        raise ParameterError(
            "rank", unfitted.rank, "is given, and reg too: nothing is to be chosen", "leave one out"
        )
    if output is not None:
        from halfstep.report.picture import check_picture

        check_picture(output)
        check_writable(output, table, *features.paths)
    ratings = reader.read(table)
    hint_at_interactions(ratings, "use halfstep fit --implicit")
    m, n = ratings.shape
    read = features.read(ratings)
    told = [("ratings", f"{len(ratings):,} of {m:,} users and {n:,} items")]
    out.facts([*told, *facts(read, ratings)])
    found = select_settings(
        ratings,
        model=unfitted,
        valid=valid,
        folds=folds,
        max_rank=max_rank,
        rule=rule,
        budget=budget,
        seed=unfitted.seed,
        progress=watched(out),
        **read,
    )
    show(out, found)
    out.say()
    words = ["halfstep", "fit", str(table), *_flags(found, options), *features.words()]
    words += repeated(reader)
    out.command(shlex.join(words))
    picture = None
    if output is not None:
        from halfstep.report.picture import write_picture
        from halfstep.report.sections.choice import surface_chart

        write_picture(surface_chart(found), output)
        picture = str(output)
        out.facts([("drawn", picture)])
    out.document(
        {
            "command": "select",
            "data": ratings.summary().as_dict(),
            "parameters": found.parameters,
            "selection": found.as_dict(),
            "picture": picture,
        }
    )


def show(out: Output, found: Selection) -> None:
    """The best of each rank and scaling, and the choice."""
    parts = f"{found.folds} parts" if found.folds > 1 else "one part"
    out.facts(
        [
            (
                "selection",
                f"{len(found.trials)} trials in {duration(found.seconds)}, "
                f"{found.held_out:,} ratings held out in {parts}",
            )
        ]
    )
    out.say()
    out.table(
        [
            Column("rank", right=True),
            Column("λ", right=True),
            Column("λ of biases", right=True),
            Column("scaling"),
            Column("ratings", right=True),
            Column("held-out RMSE", right=True),
            Column("±", right=True),
            Column(""),
        ],
        [_line(trial, found.chosen) for trial in _best_of_each(found)],
    )
    out.say()
    out.say(found.reason)


def _best_of_each(found: Selection) -> list[Trial]:
    """The trial of each rank and scaling that says most: final before others, then more ratings."""
    best: dict[tuple[str, int], Trial] = {}
    for trial in found.trials:
        key = (trial.reg_scaling, trial.rank)
        if math.isfinite(trial.rmse) and (key not in best or _weight(trial) < _weight(best[key])):
            best[key] = trial
    best[found.chosen.reg_scaling, found.chosen.rank] = found.chosen
    return [best[key] for key in sorted(best)]


def _weight(trial: Trial) -> tuple[bool, int, float]:
    return (not trial.final, -trial.ratings, trial.rmse)


def _line(trial: Trial, chosen: Trial) -> list[str]:
    mark = "chosen" if trial is chosen else "final" if trial.final else ""
    return [
        str(trial.rank),
        f"{trial.reg.user:.3g}",
        f"{trial.reg.bias:.3g}",
        trial.reg_scaling,
        f"{trial.ratings:,}",
        f"{trial.rmse:.4f}",
        f"{trial.standard_error:.4f}",
        mark,
    ]


def _flags(found: Selection, options: ModelOptions) -> list[str]:
    """The options of `fit` that repeat the choice, and all else that was given for the model."""
    chosen = found.chosen
    reg = ",".join(_digits(value) for value in (chosen.reg.user, chosen.reg.item, chosen.reg.bias))
    flags = ["--rank", str(chosen.rank), "--reg", reg, "--reg-scaling", chosen.reg_scaling]
    settled = ["rank", "reg", "reg_scaling"]
    if found.sweeps is not None:
        flags += ["--max-iter", str(found.sweeps), "--tol", "0", "--valid", "0"]
        settled += ["max_iter", "tol"]
    return [*flags, *repeated(options, but=settled)]


def _digits(value: float) -> str:
    """The shortest text that is read as this number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
