"""Time of a sweep as the data grow: ratings per row and per column, and K, stay the same.

    python benchmarks/growth.py                    10⁶ and 10⁷ ratings, K = 64
    python benchmarks/growth.py --huge             10⁸ as well (about 8 GB of memory)
    python benchmarks/growth.py --netflix          480,189 users, 17,770 items, 10⁸ ratings instead
    python benchmarks/growth.py --test             seconds; checks the answers, means nothing else

The answers are checked as those of sweep.py are. `--peers` measures the peers too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from driver import available, main, parser, room_for, rounds
from instance import NETFLIX, scaled, write_columns
from record import Figure
from sweep import ENGINES, OURS, figures_of, run_checked


def recipes(given: argparse.Namespace) -> list[dict[str, Any]]:
    """What to simulate."""
    if given.test:
        given.sizes, given.share, given.rank, given.sweeps = [20_000, 50_000], 0.001, 8, 3
    if given.netflix:
        sizes = ("n_users", "n_items", "n_draws")
        return [NETFLIX | {size: max(1, round(NETFLIX[size] * given.share)) for size in sizes}]
    sizes = given.sizes + ([10**8] if given.huge else [])
    return [scaled(size, items_power=1.0) for size in sizes]


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    part = "netflix" if given.netflix else "growth"
    engines = available(ENGINES, given.only) if given.peers or given.only else [OURS]
    found = []
    for recipe in recipes(given):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            room_for(folder, 12.0 * recipe["n_draws"])
            count = write_columns(folder, recipe)
            options = {"rank": given.rank, "sweeps": given.sweeps}
            runs = rounds(
                engines,
                given.repeat,
                lambda e, f=folder, o=options: run_checked(e, f, given.threads, o),
            )
        case = f"{recipe['n_users']:,} × {recipe['n_items']:,}, {count:,} ratings"
        found += figures_of(part, case, runs, given.rank, given.threads)
        for name, results in runs.items():
            seconds = [second for result in results for second in result["sweep_seconds"]]
            what = {"part": part, "case": case, "engine": name, "K": given.rank}
            what |= {"version": results[0]["version"], "threads": given.threads}
            values = [1e9 * second / count for second in seconds]
            found.append(Figure.of(values, measure="sweep, a rating", unit="ns", **what))
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--rank", type=int, default=64, help="K (default 64)")
    made.add_argument("--sweeps", type=int, default=5, help="timed sweeps a round (default 5)")
    made.add_argument("--sizes", type=int, nargs="+", default=[10**6, 10**7], help="ratings")
    made.add_argument("--huge", action="store_true", help="10⁸ ratings as well")
    made.add_argument("--netflix", action="store_true", help="the shape of the Netflix prize")
    made.add_argument("--share", type=float, default=1.0, help="of that shape's users and items")
    made.add_argument("--peers", action="store_true", help="the peers too")
    main(made, measure, "A sweep as the data grow")
