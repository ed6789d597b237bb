"""Time to the objective: seconds of sweeps until J is within 0.1 % of its converged value.

    python benchmarks/objective.py                 2 million ratings, K = 128 and 256
    python benchmarks/objective.py --solver '{"name": "als"}' --solver ...      our solvers to compare
    python benchmarks/objective.py --traces traces.csv                          every sweep as well
    python benchmarks/objective.py --test          seconds; checks the answers, means nothing else

The converged J is the smallest that any of the solvers of one objective reaches, the exact one among
them; irspack's three are held against their own objective likewise. Seconds are those of the sweeps:
no reading, no measuring of J. A solver that does not get there in its sweeps has no seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

from driver import Engine, available, check, main, parser, rounds
from instance import scaled, write_columns
from record import Figure, replace

SOLVERS: list[Any] = ["als-cholesky", "als-cg", "als-subspace"]
NEAR = 1e-3


def engines(solvers: list[Any], sweeps: int, peers: bool) -> list[tuple[str, Engine]]:
    """(whose objective, engine) of every solver; the `peers` too."""
    found = []
    for solver in solvers:
        name = solver if isinstance(solver, str) else json.dumps(solver)
        options = {"solver": solver, "sweeps": sweeps, "warmup": 0}
        found.append(("ours", Engine(f"halfstep, {name}", "halfstep_als.py", options=options)))
    for solver in ("CHOLESKY", "CG", "IALSPP") if peers else ():
        options = {"solver": solver, "sweeps": sweeps, "warmup": 0, "trace": True}
        name = f"irspack, implicit, {solver}"
        found.append(("irspack", Engine(name, "irspack_ials.py", "peers", "irspack", options)))
    return found


def seconds_to(trace: list[list[float]], target: float) -> float:
    """Seconds of the sweeps until the objective is at most `target`; NaN where it never is."""
    total = 0.0
    for seconds, value in trace:
        total += seconds
        if value <= target:
            return total
    return float("nan")


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if given.test:
        given.ratings, given.ranks, given.sweeps = 30_000, [8], 30
    found: list[Figure] = []
    lines: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        count = write_columns(folder, scaled(given.ratings))
        for rank in given.ranks:
            solvers = [json_or_name(solver) for solver in given.solver or SOLVERS]
            pairs = engines(solvers, given.sweeps, peers=rank == given.ranks[0])
            runs = rounds(
                available([engine for _, engine in pairs], given.only),
                given.repeat,
                lambda e, rank=rank: e.run(folder, given.threads, rank=rank),
            )
            found += figures_of(pairs, runs, f"{count:,} ratings", rank, given.threads)
            for name, results in runs.items():
                for sweep, (seconds, value) in enumerate(results[0]["trace"], 1):
                    lines.append([name, rank, sweep, seconds, value])
    if given.traces:
        head = ["engine", "K", "sweep", "seconds", "objective"]
        replace(given.traces, lambda file: csv.writer(file).writerows([head, *lines]))
    return found


def json_or_name(solver: Any) -> Any:
    """A solver given as text: JSON where it is an object, else a name."""
    return json.loads(solver) if isinstance(solver, str) and solver.startswith("{") else solver


def figures_of(
    pairs: list[tuple[str, Engine]],
    runs: dict[str, list[dict[str, Any]]],
    case: str,
    rank: int,
    threads: int,
) -> list[Figure]:
    """Seconds to the target of each objective."""
    found = []
    for whose in ("ours", "irspack"):
        named = {e.name: runs[e.name] for w, e in pairs if w == whose and e.name in runs}
        if not named:
            continue
        best = min(v for rs in named.values() for r in rs for _, v in r["trace"])
        for name, results in named.items():
            for result in results:
                values = [value for _, value in result["trace"]]
                check(values[-1] < values[0], f"{name}: the objective does not fall")
            times = [seconds_to(r["trace"], best * (1 + NEAR)) for r in results]
            reached = [t for t in times if t == t]
            what = {"part": "objective", "engine": name, "version": results[0]["version"]}
            what |= {"case": f"{case}, J of {whose}", "K": rank, "threads": threads}
            if len(reached) == len(times):
                label = f"to {NEAR:.1%} of the converged J"
                found.append(Figure.of(times, measure=label, unit="s", **what))
            gaps = [r["trace"][-1][1] / best - 1 for r in results]
            found.append(Figure.of(gaps, measure="J left at the end, of J", unit="share", **what))
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--ratings", type=int, default=2_000_000, help="size of the instance")
    made.add_argument("--ranks", type=int, nargs="+", default=[128, 256], help="all K")
    made.add_argument("--sweeps", type=int, default=30, help="sweeps of a fit (default 30)")
    made.add_argument("--solver", action="append", help="a name or a JSON object; repeatable")
    made.add_argument("--traces", type=Path, help="write every sweep's seconds and J to this CSV")
    main(made, measure, "Time to the objective")
