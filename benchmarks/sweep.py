"""Seconds of one ALS sweep (every user and every item), ours and the peers' in one run.

    python benchmarks/sweep.py                     16 million ratings, K = 64
    python benchmarks/sweep.py --ratings 1000000   a smaller instance of the same shape
    python benchmarks/sweep.py --test              seconds; checks the answers, means nothing else

Every engine is a process of its own, reads the same three columns, and prints the seconds of a
sweep after a warm-up, its peak memory and its objective. The answers are checked: the rows solved
last must satisfy their normal equations in float64, the objective must not rise, and halfstep's
factors must have the same bits on one thread and on all. Rounds alternate between the engines.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from driver import Engine, available, check, main, parser, rounds
from instance import scaled, write_columns
from record import Figure

EXACTLY = {"solver": "als-cholesky"}
OURS = Engine("halfstep, Cholesky", "halfstep_als.py", options=EXACTLY)
ENGINES = [
    OURS,
    Engine("halfstep, Cholesky, biases", "halfstep_als.py", options={**EXACTLY, "biases": True}),
    Engine("halfstep, Cholesky, AVX2", "halfstep_als.py", options=EXACTLY, isa="avx2"),
    Engine("halfstep, CG", "halfstep_als.py", options={"solver": "als-cg"}),
    Engine("irspack, implicit, Cholesky", "irspack_ials.py", "peers", "irspack"),
    Engine("irspack, implicit, CG", "irspack_ials.py", "peers", "irspack", {"solver": "CG"}),
    Engine(
        "irspack, implicit, iALS++", "irspack_ials.py", "peers", "irspack", {"solver": "IALSPP"}
    ),
    Engine("implicit, Cholesky", "implicit_als.py", "peers", "implicit"),
    Engine("implicit, CG", "implicit_als.py", "peers", "implicit", {"cg": True}),
    Engine("cmfrec, Cholesky", "cmfrec_als.py", "cmfrec", "cmfrec"),
    Engine("cmfrec, CG", "cmfrec_als.py", "cmfrec", "cmfrec", {"cg": True}),
    Engine("LensKit, Cholesky", "lenskit_als.py", "lenskit", "lenskit"),
    Engine("LIBMF, SGD epoch", "libmf_sgd.py", "libmf", "libmf"),
]
EXACT = 1e-3  # the worst relative residual of a row solved exactly in float32


def operations(cells: int, rows: int, rank: int) -> float:
    """The useful floating-point operations of an exact sweep."""
    return 2 * cells * rank * (rank + 1) + rows * rank**3 / 3


def check_answer(name: str, figures: dict[str, Any]) -> None:
    """The rows are solved, the objective falls, and halfstep's is what it says it is.

    With biases only that the objective falls.
    """
    if "Cholesky" in name and "residual" in figures:
        residual = figures["residual"]
        check(residual < EXACT, f"{name} leaves a residual of {residual:.1e}")
    objective = figures["objective"]
    rises = [after / before - 1 for before, after in pairwise(objective)]
    check(all(rise <= 1e-6 for rise in rises), f"the objective of {name} rises: {objective}")
    if "objective_again" in figures:
        off = abs(figures["objective_again"] / objective[-1] - 1)
        check(off < 1e-5, f"the objective of {name} is off by {off:.1e}")


def figures_of(
    part: str, case: str, runs: dict[str, list[dict[str, Any]]], rank: int, threads: int
) -> list[Figure]:
    """Seconds, operations and memory of the rounds."""
    found = []
    for unit, measure in (("s", "sweep"), ("GFLOP/s", "useful operations"), ("MB", "peak memory")):
        for name, results in runs.items():
            if unit == "GFLOP/s" and "Cholesky" not in name:
                continue
            cells, rows = results[0]["cells"], results[0]["rows"]
            seconds = [second for run in results for second in run["sweep_seconds"]]
            work = operations(cells, rows, rank) / 1e9
            values = {
                "s": seconds,
                "GFLOP/s": [work / second for second in seconds],
                "MB": [run["peak_rss"] / 1e6 for run in results],
            }[unit]
            what = {"part": part, "case": case, "engine": name, "version": results[0]["version"]}
            what |= {"K": rank, "threads": threads}
            found.append(Figure.of(values, measure=measure, unit=unit, **what))
    return found


def run_checked(
    engine: Engine, folder: Path, threads: int, options: dict[str, Any]
) -> dict[str, Any]:
    """One run whose answer is right."""
    figures = engine.run(folder, threads, **options)
    check_answer(engine.name, figures)
    return figures


def same_bits(
    engine: Engine, folder: Path, threads: int, options: dict[str, Any], bits: str
) -> tuple[int, dict[str, Any]]:
    """halfstep on one thread (on two where one was measured): the same bits."""
    others = 1 if threads > 1 else 2
    again = run_checked(engine, folder, others, options)
    check(again["bits"] == bits, f"{engine.name}: other bits on {others} threads than on {threads}")
    return others, again


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if given.test:
        given.ratings, given.rank, given.sweeps = 50_000, 16, 4
    options = {"rank": given.rank, "sweeps": given.sweeps}
    engines = available(ENGINES, given.only)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        case = f"{write_columns(folder, scaled(given.ratings)):,} ratings"
        runs = rounds(
            engines, given.repeat, lambda e: run_checked(e, folder, given.threads, options)
        )
        found = figures_of("sweep", case, runs, given.rank, given.threads)
        if OURS.name in runs:
            bits = runs[OURS.name][0]["bits"]
            others, again = same_bits(OURS, folder, given.threads, options, bits)
            found += figures_of("sweep", case, {OURS.name: [again]}, given.rank, others)
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--ratings", type=int, default=16_000_000, help="size of the instance")
    made.add_argument("--rank", type=int, default=64, help="K (default 64)")
    made.add_argument("--sweeps", type=int, default=5, help="timed sweeps a round (default 5)")
    main(made, measure, "One sweep over all users and all items")
