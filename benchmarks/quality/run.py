"""Published splits, measured by their own protocols: our models, the peers, and what papers report.

    HALFSTEP_DATA=/path/to/data python benchmarks/quality/run.py ncf gowalla
    python benchmarks/quality/run.py gowalla --only EASE
    python benchmarks/quality/run.py ncf --choose PureSVD     parameters, on a held-out part of train
    python benchmarks/quality/run.py --test                   seconds, on a simulated split

`ncf` is MovieLens 1M with 99 listed negatives (He et al. 2017; the folder ml-1m-ncf), `gowalla` the
split of He et al. 2020. Every model is measured by the same evaluator: a peer leaves its factors.
Seconds are those of the fit, reading and measuring not included. Published figures are marked, and on
which part their parameters were chosen: on Gowalla the test part, and so above what a held-out part
finds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from choose import choices, fitted
from driver import Engine, Failed, available, check, parser
from record import Figure, machine
from rich.console import Console
from rich.table import Table
from rows import OURS, PEERS, PUBLISHED

import halfstep as hs

FOLDERS = {"ncf": "ml-1m-ncf", "gowalla": "gowalla"}
READERS = {"ncf": hs.read_ncf, "gowalla": hs.read_lightgcn}
Split = hs.LeaveOneOut | hs.FullRanking


def split_of(data: str) -> Split:
    """The split of that name; "simulated" needs no files."""
    if data == "simulated":
        ratings = hs.simulate(200, 100, rank=4, seed=0).ratings
        ones = hs.Ratings.from_arrays(*ratings.to_arrays()[:2])
        return hs.FullRanking(*hs.split_random(ones, test=0.2, seed=0))
    root = os.environ.get("HALFSTEP_DATA")
    if not root:
        raise Failed("HALFSTEP_DATA is not set: give the folder that holds ml-1m-ncf and gowalla")
    try:
        return READERS[data](Path(root) / FOLDERS[data])
    except hs.HalfstepError as error:
        raise Failed(f"{data}: {error}") from None


def measured(split: Split, model: Any) -> dict[str, float]:
    """The figures of the protocol."""
    found = split.evaluate(model, n_resamples=0)
    return {name: figure.value for name, figure in found.items()}


def by_peer(split: Split, engine: Engine, threads: int) -> tuple[dict[str, float], dict[str, Any]]:
    """The figures of a peer's factors, and what its engine tells."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.save(folder / "users.npy", split.train.user_index())
        np.save(folder / "items.npy", split.train.by_user.indices.astype(np.int64))
        told = engine.run(folder, threads, shape=split.train.shape)
        W, Z = (np.load(folder / f"{name}_factors.npy") for name in ("user", "item"))
    rows = split.train.users.lookup
    return measured(split, lambda users: W[rows(users)] @ Z.T), told


def lines_of(data: str, split: Split, only: str | None, threads: int) -> list[dict[str, Any]]:
    """One line for each model: its figures, seconds, and where they come from."""
    lines = []
    for row in OURS[data]:
        if only and only not in row.name:
            continue
        seconds, runs = [], []
        for seed in range(row.seeds):
            begun = perf_counter()
            model = fitted(row, split.train, seed)
            seconds.append(perf_counter() - begun)
            runs.append(measured(split, model))
        figures = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
        told = repr(row.model) + (f", c = n_i^-{row.damping:g}" if row.damping else "")
        if row.seeds > 1:
            deviations = (f"{np.std([run[name] for run in runs]):.4f}" for name in figures)
            told += f", {row.seeds} seeds, deviations {', '.join(deviations)}"
        what = {"name": row.name, "version": hs.__version__, "source": told}
        lines.append({**what, "figures": figures, "seconds": float(np.median(seconds))})
    for engine in available(PEERS[data], only):
        try:
            figures, told = by_peer(split, engine, threads)
        except Failed as failure:
            print(failure, file=sys.stderr)
            continue
        what = {
            "name": engine.name,
            "version": told["version"],
            "source": json.dumps(engine.options),
        }
        lines.append({**what, "figures": figures, "seconds": told["seconds"]})
    for paper in PUBLISHED[data]:
        if only and only not in paper.name:
            continue
        source = f"{paper.source}; chosen on: {paper.chosen_on}"
        figures = dict(zip(split.metrics, paper.values, strict=True))
        what = {"name": f"{paper.name} (published)", "version": "", "source": source}
        lines.append({**what, "figures": figures, "seconds": None})
    least = {name: 0.5 * value for name, value in lines[0]["figures"].items()} if lines else {}
    for line in lines:  # far below the most popular items is a wrong answer
        for name, value in line["figures"].items():
            check(0 <= value <= 1, f"{line['name']} on {data}: {name} is {value}")
            if not only:
                check(value >= least[name], f"{line['name']} on {data}: {name} is {value:.4f}")
    return lines


def figures_of(data: str, lines: list[dict[str, Any]], threads: int) -> list[Figure]:
    """The lines as a record keeps them."""
    made = []
    for line in lines:
        what = {"part": "quality", "case": data, "engine": line["name"], "threads": threads}
        what["version"] = line["version"]
        for name, value in line["figures"].items():
            made.append(Figure.of([value], measure=name, unit="", **what))
        if line["seconds"] is not None:
            made.append(Figure.of([line["seconds"]], measure="fit", unit="s", **what))
    return made


def table_of(data: str, split: Split, lines: list[dict[str, Any]]) -> Table:
    """The lines, best last metric first."""
    made = Table(title=data, expand=False)
    made.add_column("model", overflow="fold")
    for name in (*split.metrics, "fit, s"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("parameters, or source", overflow="fold")
    for line in sorted(lines, key=lambda line: -list(line["figures"].values())[-1]):
        seconds = "" if line["seconds"] is None else f"{line['seconds']:.1f}"
        figures = [f"{value:.4f}" for value in line["figures"].values()]
        made.add_row(
            f"{line['name']} [dim]{line['version']}[/dim]", *figures, seconds, line["source"]
        )
    return made


def main() -> None:
    made = parser(__doc__)
    made.add_argument("data", nargs="*", help=f"{' and '.join(FOLDERS)}, the default")
    made.add_argument("--choose", help="look through the grid of the models of this name instead")
    given = made.parse_args()
    console = Console(width=None if Console().is_terminal else 160)
    hs.set_num_threads(given.threads)
    figures = []
    try:
        for data in ["simulated"] if given.test else given.data or list(FOLDERS):
            if data not in OURS:
                raise Failed(f"data={data}: is not known; choose from {', '.join(FOLDERS)}")
            split = split_of(data)
            if given.choose:
                named = [row for row in OURS[data] if given.choose in row.name and row.grid]
                if not named:
                    raise Failed(
                        f"--choose {given.choose}: no model of {data} with a grid is so named"
                    )
                for row in named:
                    for line in choices(row, data, split.train):
                        print(json.dumps({"data": data, "model": row.name, **line}), flush=True)
                continue
            lines = lines_of(data, split, given.only, given.threads)
            figures += figures_of(data, lines, given.threads)
            if not given.json:
                console.print(table_of(data, split, lines))
    except Failed as failure:
        raise SystemExit(str(failure)) from None
    if given.json and not given.choose:
        told = [figure.to_dict() for figure in figures]
        print(json.dumps({"machine": machine(given.threads), "figures": told}))


if __name__ == "__main__":
    main()
