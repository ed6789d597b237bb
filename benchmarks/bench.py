"""Everything at full size: every part in turn, one table, one record, one picture.

    python benchmarks/bench.py                     fifty minutes; into benchmarks/record/
    python benchmarks/bench.py --quick             minutes; into benchmarks/record-quick/
    python benchmarks/bench.py sweep topn          only these parts; the others' figures stay

A part's figures enter the record when the part is done, so that one that fails, or Ctrl-C, loses no
other's. Every file of the record is replaced whole. Exit status 1 where a part failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from driver import HERE, cores
from picture import draw
from record import Figure, merge, number, ratios, read_rows, together
from rich.console import Console
from rich.table import Table

# (program and its options, what --quick adds)
PARTS: dict[str, tuple[list[str], list[str]]] = {
    "peak": (["peak.py"], ["--repeat", "1"]),
    "sweep": (["sweep.py"], ["--ratings", "1000000", "--sweeps", "3"]),
    "kernels": (["kernels.py"], ["--ratings", "1000000", "--sweeps", "3"]),
    "topn": (["topn.py"], ["--ratings", "1000000", "--calls", "3"]),
    "reading": (["reading.py"], ["--ratings", "1000000", "--repeat", "3"]),
    "memory": (["memory.py"], ["--ratings", "1000000"]),
    "growth": (
        ["growth.py", "--sizes", "1000000", "10000000", "100000000"],
        ["--sizes", "100000", "1000000"],
    ),
    "netflix": (["growth.py", "--netflix"], ["--share", "0.02"]),
    "objective": (["objective.py"], ["--ratings", "100000", "--ranks", "32"]),
    "solvers": (["solvers.py"], ["simulated"]),
    "sgd": (["sgd.py"], ["--ratings", "1000000"]),
    "ranking": (["ranking.py"], ["--ratings", "1000000"]),
    "implicit": (["implicit.py"], ["--ratings", "300000", "--ranks", "32"]),
    "foldin": (["foldin.py"], ["--ratings", "300000"]),
    "quality": (["quality/run.py"], ["ncf"]),
    "selection": (["selection.py"], ["ml-100k", "--seeds", "1"]),
    "budget": (["selection.py", "--simulated", "--seeds", "1"], ["--ratings", "1000000"]),
    "accuracy": (["accuracy.py"], ["ml-100k"]),
    "coverage": (["coverage.py"], ["ml-100k"]),
    "bayes": (["bayes.py"], ["ml-100k", "--sweeps", "3", "--samples", "60"]),
    "features": (["features.py", "--scalings", "none"], ["ml-100k"]),
    "ordinal": (["ordinal.py"], ["ml-100k"]),
}
# The table shows these; figures.csv holds everything.
HEADLINES = [
    "float32 multiply-adds",
    "memory, read",
    "sweep",
    "sweep, a rating",
    "all users",
    "one user",
    "read",
    "beyond the columns",
    "of the bound",
    "to 0.1% of the converged J",
    "above the smallest J",
    "gap",
    "fit",
    "an epoch",
    "to LIBMF's best",
    "to implicit's best",
    "above the smallest J",
    "RMSE",
    "log loss",
    "chosen and fitted",
    "a fold",
    "covered",
    "mean width",
    "a sweep",
    "to an RMSE of 0.837",
    "a part",
    "log score",
]


def run(part: str, threads: int, quick: bool, record: Path) -> dict[str, Any] | None:
    """The part's machine and figures, None where it failed; its messages pass through."""
    program, smaller = PARTS[part]
    command = [sys.executable, str(HERE / program[0]), *program[1:], *(smaller if quick else [])]
    command += ["--json", f"--threads={threads}"]
    if part == "objective":
        record.mkdir(parents=True, exist_ok=True)
        command += ["--traces", str(record / "traces.csv")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return None
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def summary(figures: list[Figure], where: str) -> Table:
    """The headlines: who took what, and how that compares to ours."""
    made = Table(title="halfstep and its peers", caption=where)
    for name in ("part", "what", "engine"):
        made.add_column(name, overflow="fold")
    for name in ("K", "threads", "median", "÷ ours"):
        made.add_column(name, justify="right", no_wrap=True)
    shown = together([figure for figure in figures if figure.measure in HEADLINES])
    before = None
    for figure, ratio in zip(shown, ratios(shown), strict=True):
        new = figure.question != before
        if new and before is not None and figure.part != before[0]:
            made.add_section()
        what = " · ".join(word for word in (figure.case, figure.measure) if word)
        made.add_row(
            figure.part if new else "",
            what if new else "",
            figure.engine,
            "" if figure.K is None else str(figure.K),
            str(figure.threads),
            f"{number(figure.value)} {figure.unit}".strip(),
            "" if ratio is None else f"{ratio:.2f}",
        )
        before = figure.question
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"default: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small instances")
    parser.add_argument("--record", type=Path, help="the folder of the record")
    parser.add_argument("--threads", type=int, default=cores(), help="default: all cores")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"part {unknown[0]!r} is not known; choose from {', '.join(PARTS)}")
    record: Path = given.record or HERE / ("record-quick" if given.quick else "record")

    drawable = find_spec("matplotlib") is not None
    if not drawable:
        print("no picture: pip install --group bench", file=sys.stderr)
    console = Console(width=None if Console().is_terminal else 120)
    failed, summed = [], ""
    for part in given.parts or PARTS:
        console.print(f"[bold]{part}[/bold] …")
        begun = perf_counter()
        told = run(part, given.threads, given.quick, record)
        if told is None:
            failed.append(part)
            continue
        merge(record, [Figure(**line) for line in told["figures"]], told["machine"])
        if given.quick:
            (record / ".gitignore").write_text("*\n")
        summed = told["machine"]["summary"]
        console.print(f"{part}: {perf_counter() - begun:,.0f} s")
    figures = [Figure.from_row(row) for row in read_rows(record / "figures.csv")]
    if figures:
        figures.sort(key=lambda figure: list(PARTS).index(figure.part))  # stable
        console.print(summary(figures, summed))
        if drawable:
            draw(figures, record)
        console.print(f"the record is in {record}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
