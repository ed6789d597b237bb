"""Seconds of one exact ALS sweep (every user and every item), ours and the peers' in one run.

    python benchmarks/sweep.py                     16 million ratings, K = 64, about 3 minutes
    python benchmarks/sweep.py --ratings 2000000   a smaller instance of the same shape
    python benchmarks/sweep.py --test              seconds; checks the answers, means nothing else

Every engine is a process of its own, reads the same three columns, and prints the seconds of each
sweep after a warm-up, its peak memory and its objective. The answers are checked: the rows solved
last must satisfy their normal equations in float64, and the objective must not rise. Rounds alternate
between the engines, so that a busy machine hurts all of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from driver import Engine, available, check, cores, machine
from rich.console import Console
from rich.table import Table

from halfstep.data.simulate import BENCHMARK_16M, simulate

OURS = "halfstep, Cholesky"
PEER = "irspack, implicit, Cholesky"
ENGINES = [
    Engine(OURS, "halfstep_als.py"),
    Engine(PEER, "irspack_ials.py", peer=True),
]
MORE = [
    Engine("irspack, implicit, CG", "irspack_ials.py", peer=True, options={"solver": "CG"}),
    Engine("irspack, implicit, iALS++", "irspack_ials.py", peer=True, options={"solver": "IALSPP"}),
]
EXACT = 1e-3  # the worst relative residual of a row solved exactly in float32


def write_instance(folder: Path, ratings: int) -> None:
    """The benchmark's instance, or one of its shape with about `ratings` ratings."""
    share = ratings / 16_000_000
    recipe = dict(BENCHMARK_16M)
    for size, power in (("n_users", 1.0), ("n_draws", 1.0), ("n_items", 0.5)):
        recipe[size] = max(1, round(recipe[size] * share**power))
    rows = simulate(**recipe).rows()
    for name in ("users", "items", "ratings"):
        np.save(folder / f"{name}.npy", getattr(rows, name))


def check_answer(name: str, figures: dict[str, Any]) -> None:
    """The rows are solved, the objective falls, and halfstep's is what it says it is."""
    if "CG" not in name:  # not exact
        residual = figures["residual"]
        check(residual < EXACT, f"{name} leaves a residual of {residual:.1e}")
    objective = figures["objective"]
    rises = [after / before - 1 for before, after in pairwise(objective)]
    check(all(rise <= 1e-6 for rise in rises), f"the objective of {name} rises: {objective}")
    if "objective_again" in figures:
        off = abs(figures["objective_again"] / objective[-1] - 1)
        check(off < 1e-5, f"the objective of {name} is off by {off:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=16_000_000, help="size of the instance")
    parser.add_argument("--rank", type=int, default=64, help="K (default 64)")
    parser.add_argument("--sweeps", type=int, default=5, help="timed sweeps a round (default 5)")
    parser.add_argument("--repeat", type=int, default=1, help="rounds (default 1)")
    parser.add_argument("--threads", type=int, default=cores(), help="default: all cores")
    parser.add_argument("--all", action="store_true", help="irspack's approximate solvers too")
    parser.add_argument("--only", help="only engines whose name contains this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--test", action="store_true", help="a tiny instance")
    given = parser.parse_args()
    if given.test:
        given.ratings, given.rank, given.sweeps = 50_000, 16, 5

    engines = ENGINES + (MORE if given.all else [])
    engines = available([e for e in engines if not given.only or given.only in e.name])
    where = machine(given.threads)
    rounds: dict[str, list[dict[str, Any]]] = {engine.name: [] for engine in engines}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_instance(folder, given.ratings)
        for _ in range(given.repeat):
            for engine in engines:
                figures = engine.run(folder, given.threads, rank=given.rank, sweeps=given.sweeps)
                check_answer(engine.name, figures)
                rounds[engine.name].append(figures)

    if given.json:
        print(json.dumps({"machine": where, "rank": given.rank, "rounds": rounds}))
        return
    report(rounds, given.rank, where)


def report(rounds: dict[str, list[dict[str, Any]]], rank: int, where: str) -> None:
    """Print the table."""
    middle = {
        name: median(second for figures in runs for second in figures["sweep_seconds"])
        for name, runs in rounds.items()
    }
    first = next(iter(rounds.values()))[0]
    table = Table(
        title=f"One ALS sweep: {first['cells']:,} ratings, {first['rows']:,} rows, K = {rank}",
        caption=f"{where}. GFLOP/s counts |Ω| K (K + 1) a side and (m + n) K³ / 3.",
    )
    table.add_column("engine")
    titles = (
        "seconds, median",
        "fastest",
        "slowest",
        "÷ irspack",
        "GFLOP/s",
        "peak MB",
        "residual",
    )
    for title in titles:
        table.add_column(title, justify="right")
    for name, runs in rounds.items():
        seconds = [second for figures in runs for second in figures["sweep_seconds"]]
        cells, rows = runs[0]["cells"], runs[0]["rows"]
        work = 2 * cells * rank * (rank + 1) + rows * rank**3 / 3
        table.add_row(
            f"{name} ({runs[0]['version']})",
            f"{middle[name]:.3f}",
            f"{min(seconds):.3f}",
            f"{max(seconds):.3f}",
            f"{middle[name] / middle[PEER]:.2f}" if PEER in middle else "–",
            f"{work / middle[name] / 1e9:.0f}",
            f"{median(figures['peak_rss'] for figures in runs) / 1e6:,.0f}",
            f"{max(figures['residual'] for figures in runs):.0e}",
        )
    Console(width=None if Console().is_terminal else 140).print(table)


if __name__ == "__main__":
    main()
