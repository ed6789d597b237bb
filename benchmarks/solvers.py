"""Every solver on one objective: J, how far it is from the optimum, the certificate's gap, seconds.

    HALFSTEP_DATA=/path/to/data python benchmarks/solvers.py      simulated ratings and MovieLens 100K
    python benchmarks/solvers.py simulated                        only these
    python benchmarks/solvers.py --test                           seconds; checks the answers

The objective is plain (λ does not grow with the counts), with regularized biases, and K is above the
rank of its convex form, so that all of them have one optimum. A dense proximal gradient method on that
convex form, which shares no code with ours, is beside them: J of every solver is held against the
smallest of all.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from accuracy import write_columns as write_movielens
from driver import Engine, available, check, main, parser, rounds
from instance import write_columns
from record import Figure

# (recipe of `simulate` or a data set, K, reg)
CASES: dict[str, tuple[dict[str, Any] | None, int, list[float]]] = {
    "simulated": (
        {"n_users": 1500, "n_items": 1000, "rank": 8, "ratings_per_user": 100, "seed": 0},
        64,
        [20.0, 20.0, 3.0],
    ),
    "ml-100k": (None, 100, [15.0, 15.0, 3.0]),
    "test": ({"n_users": 120, "n_items": 80, "rank": 3, "seed": 0}, 40, [4.0, 4.0, 1.0]),
}
# name: (solver, what differs from `COMMON`, how near J must come to the smallest)
SOLVERS: dict[str, tuple[Any, dict[str, Any], float]] = {
    "ALS, exact": ("als-cholesky", {}, 1e-4),
    "ALS, CG": ("als-cg", {}, 1e-4),
    "ALS, blocks": ("als-subspace", {}, 1e-4),
    "L-BFGS": ("lbfgs", {}, 1e-4),
    "GD": ("gd", {"max_iter": 3000}, 1e-3),
    "SGD": ("sgd", {"max_iter": 300}, 1e-3),
}
COMMON = {"reg_scaling": "none", "dtype": "float64", "max_iter": 2000, "tol": 1e-10}
GAP = 1e-6


def engines(rank: int, reg: list[float]) -> list[Engine]:
    """The dense check and ours."""
    dense = {"reg": reg, "gap": GAP / 10}
    found = [Engine("convex, dense", "dense_convex.py", options=dense)]
    for name, (solver, changes, _) in SOLVERS.items():
        options = {**COMMON, **changes, "solver": solver, "rank": rank, "reg": reg}
        found.append(Engine(f"halfstep, {name}", "halfstep_solver.py", options=options))
    return found


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    figures: list[Figure] = []
    for case in ["test"] if given.test else given.cases or ["simulated", "ml-100k"]:
        recipe, rank, reg = CASES[case]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if recipe is None:
                write_movielens(case, folder)
            else:
                write_columns(folder, recipe)
            runs = rounds(
                available(engines(rank, reg), given.only),
                given.repeat,
                lambda engine, folder=folder: engine.run(folder, given.threads),
            )
        figures += figures_of(case, rank, given.threads, runs)
    return figures


def figures_of(
    case: str, rank: int, threads: int, runs: dict[str, list[dict[str, Any]]]
) -> list[Figure]:
    """J, its distance, the gap, the rank, seconds and sweeps of every solver."""
    best = min(result["objective"] for results in runs.values() for result in results)
    found = []
    for name, results in runs.items():
        what = {"part": "solvers", "case": case, "engine": name, "K": rank, "threads": threads}
        what["version"] = results[0]["version"]
        above = [result["objective"] / best - 1 for result in results]
        near = SOLVERS.get(name.removeprefix("halfstep, "), (None, {}, 1e-6))[2]
        check(max(above) <= near, f"{name} on {case}: J is {max(above):.2g} above the smallest")
        if name == "halfstep, ALS, exact":
            gap = max(result["gap"] for result in results)
            check(gap <= GAP, f"{name} on {case}: the certificate's gap is {gap:.2g}")
        for measure, unit, values in (
            ("J", "", [result["objective"] for result in results]),
            ("above the smallest J", "of J", above),
            ("gap", "of J", [result["gap"] for result in results]),
            ("rank", "", [result["rank"] for result in results]),
            ("fit", "s", [result["seconds"] for result in results]),
            ("sweeps", "", [result["sweeps"] for result in results]),
        ):
            found.append(Figure.of(values, measure=measure, unit=unit, **what))
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument(
        "cases", nargs="*", choices=[[], "simulated", "ml-100k"], help="default: both"
    )
    main(made, measure, "One objective, every solver")
