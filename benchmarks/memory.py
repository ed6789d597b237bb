"""Peak memory of `Ratings` and a fit beyond the columns that they are made from.

    python benchmarks/memory.py                    16 million ratings, K = 64
    python benchmarks/memory.py --test             seconds; means nothing else

Held against 16 bytes a rating (the cells by user and by item: index and value), twice the factors and
200 MB. Needs Linux, where a process can reset its own high-water mark.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from driver import Engine, available, check, main, parser, rounds
from instance import scaled, write_columns
from record import Figure

ENGINES = [Engine("halfstep", "halfstep_memory.py")]


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if given.test:
        given.ratings, given.rank = 50_000, 8
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        count = write_columns(folder, scaled(given.ratings))
        runs = rounds(
            available(ENGINES, given.only),
            given.repeat,
            lambda engine: engine.run(folder, given.threads, rank=given.rank),
        )
    found = []
    for name, results in runs.items():
        for result in results:
            check(result["cells"] == count, f"{name}: {result['cells']} of {count} ratings")
            check(0 < result["rmse"] < 2, f"{name}: RMSE {result['rmse']}")
        bound = 16 * count + 2 * results[0]["factors"] + 200e6
        for label, unit, values in (
            ("beyond the columns", "MB", [r["beyond"] / 1e6 for r in results]),
            ("beyond the columns, a rating", "bytes", [r["beyond"] / count for r in results]),
            ("of the bound", "share", [r["beyond"] / bound for r in results]),
            ("Ratings, while made", "MB", [r["prepare"] / 1e6 for r in results]),
            ("Ratings, held", "MB", [r["ratings"] / 1e6 for r in results]),
            ("the fit beyond Ratings", "MB", [r["fit"] / 1e6 for r in results]),
        ):
            what = {"part": "memory", "case": f"{count:,} ratings", "engine": name}
            what |= {"version": results[0]["version"], "K": given.rank, "threads": given.threads}
            found.append(Figure.of(values, measure=label, unit=unit, **what))
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--ratings", type=int, default=16_000_000, help="size of the instance")
    made.add_argument("--rank", type=int, default=64, help="K (default 64)")
    main(made, measure, "Memory")
