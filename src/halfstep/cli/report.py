"""`halfstep report`: figures and tables about the ratings, the fit, its error, and what was learned."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from halfstep.cli.features import FeatureFiles
from halfstep.cli.options import ReadingOptions, check_writable
from halfstep.cli.output import Json, Output, size
from halfstep.cli.saved import ModelFile, TitlesFile

__all__ = ["report"]


def report(
    model_file: ModelFile,
    /,
    *,
    ratings: Annotated[
        Path, Parameter(help="The ratings that the model was fitted to: CSV, Parquet, …")
    ],
    titles: TitlesFile = None,
    output: Annotated[
        Path,
        Parameter(
            name=["--output", "-o"],
            help="Where the report is written: .html is one page that needs no network, .png and "
            ".pdf are its figures on one sheet.",
        ),
    ] = Path("report.html"),
    seed: Annotated[int, Parameter(help="Of the ratings that are held out to measure.")] = 0,
    known: FeatureFiles | None = None,
    reading: ReadingOptions | None = None,
    as_json: Json = False,
) -> None:
    """A report to look at: the ratings, the fit, its error, what was learned.

    The model has seen all its ratings, so a tenth of them is held out at random,
    and a copy of the model, fitted to the rest, is measured. Needs the extra
    halfstep[report].

    For example:
        halfstep report movies.safetensors --ratings ratings.csv
        halfstep report movies.safetensors --ratings ratings.csv -o movies.pdf
    """
    from halfstep.data.titles import read_titles
    from halfstep.models.saving import load
    from halfstep.report.write import check_report, write_report

    out = Output(as_json)
    check_report(output)
    features = known or FeatureFiles()
    check_writable(output, model_file, ratings, titles, *features.paths)
    model = load(model_file)
    named = None if titles is None else read_titles(titles)
    repeats = "sum" if model.learns == "interactions" else None
    table = (reading or ReadingOptions()).read(ratings, duplicates=repeats)
    with _busy(as_json):
        read = features.read(model=model)
        made = write_report(model, table, output, titles=named, seed=seed, **read)
    out.heading(made.title)
    out.facts(made.facts)
    out.say()
    out.facts([("written", f"{output} ({size(output.stat().st_size)})")])
    out.document(
        {
            "command": "report",
            "model": str(model_file),
            "report": str(output),
            "bytes": output.stat().st_size,
            **made.as_dict(),
        }
    )


def _busy(as_json: bool) -> AbstractContextManager[object]:
    """A sign on the terminal that something is going on."""
    if as_json or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status("measuring, drawing …")
