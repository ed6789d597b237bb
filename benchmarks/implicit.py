"""Implicit ALS: seconds of sweeps until J is within 0.1 % of its converged value.

    python benchmarks/implicit.py                  16 million interactions, K = 64, 128 and 256
    python benchmarks/implicit.py --ranks 64 --ratings 2000000
    python benchmarks/implicit.py --gowalla --ranks 1024     check-ins, in the folder HALFSTEP_DATA
    python benchmarks/implicit.py --test           seconds; checks the answers, means nothing else

Two objectives with the same parameters for both sides of each comparison: that of irspack («ials», the
confidence is the rating) with its three solvers, and that of implicit («wrmf», confidence 1 + rating).
The converged J is the smallest that any engine of the objective reaches in its sweeps, and the peers'
lowest the smallest that any peer does. Seconds are those of the sweeps: no reading, no measuring of J.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from driver import Engine, available, check, main, parser, rounds
from instance import scaled, write_columns
from objective import NEAR, seconds_to
from record import Figure

OURS = ["als-cholesky", "als-cg", "als-subspace", "als-accelerated"]
LONG = 128
"""From this K on implicit runs with conjugate gradients alone, above it irspack without Cholesky: what
is left out takes hours."""


def engines(given: argparse.Namespace, rank: int) -> dict[str, list[Engine]]:
    """The engines of each objective."""
    found: dict[str, list[Engine]] = {"ials": [], "wrmf": []}
    for loss, sweeps in (("ials", given.sweeps), ("wrmf", given.sweeps)):
        for solver in given.solver or OURS:
            options = {"solver": solver, "loss": loss, "sweeps": sweeps, "warmup": 0}
            name = f"halfstep, {loss}, {solver}"
            found[loss].append(Engine(name, "halfstep_ials.py", options=options))
    options = {"warmup": 0, "trace": True}
    for solver in ("CHOLESKY", "CG", "IALSPP"):
        if solver == "CHOLESKY" and rank > LONG:
            continue
        own = {**options, "solver": solver, "sweeps": given.peer_sweeps}
        engine = Engine(f"irspack, {solver}", "irspack_ials.py", "peers", "irspack", own)
        found["ials"].append(engine)
    for solver, cg in (("Cholesky", False), ("CG", True)):
        if cg or rank < LONG:
            own = {**options, "cg": cg, "more": True, "sweeps": given.implicit_sweeps}
            engine = Engine(f"implicit, {solver}", "implicit_als.py", "peers", "implicit", own)
            found["wrmf"].append(engine)
    return found


def without_gaps(folder: Path) -> None:
    """Number users and items from 0 without gaps: s of an objective counts all numbers there are."""
    for name in ("users", "items"):
        column = np.load(folder / f"{name}.npy")
        np.save(folder / name, np.unique(column, return_inverse=True)[1].astype(column.dtype))


def write_gowalla(folder: Path) -> int:
    """The columns of the training part of the published split; their length."""
    import halfstep as hs

    train = hs.read_lightgcn(Path(os.environ["HALFSTEP_DATA"]) / "gowalla").train
    np.save(folder / "users", train.user_index())
    np.save(folder / "items", train.by_user.indices.astype(np.int64))
    np.save(folder / "ratings", train.by_user.values)
    return len(train)


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if given.test:
        given.ratings, given.ranks, given.sweeps = 30_000, [8], 12
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if given.gowalla:
            count = write_gowalla(folder)
        else:
            count = write_columns(folder, scaled(given.ratings))
            without_gaps(folder)
        for rank in given.ranks:
            for loss, named in engines(given, rank).items():
                if given.loss and loss != given.loss:
                    continue
                runs = rounds(
                    available(named, given.only),
                    given.repeat,
                    lambda e, rank=rank: e.run(folder, given.threads, rank=rank),
                )
                case = f"{'Gowalla' if given.gowalla else f'{count:,} interactions'}, {loss}"
                found += figures_of(runs, case, rank, given.threads)
    return found


def figures_of(
    runs: dict[str, list[dict[str, Any]]], case: str, rank: int, threads: int
) -> list[Figure]:
    """Seconds to the target, seconds of a sweep, and peak memory."""
    found: list[Figure] = []
    traces = [result["trace"] for results in runs.values() for result in results]
    best = min((value for trace in traces for _, value in trace), default=0.0)
    theirs = min(
        (r["trace"][-1][1] for name, rs in runs.items() if not name.startswith("half") for r in rs),
        default=None,
    )
    for name, results in runs.items():
        for result in results:
            values = [value for _, value in result["trace"]]
            check(values[-1] < values[0], f"{name}: the objective does not fall")
            if result.get("exact"):
                residual = result["residual"]
                check(residual < 1e-3, f"{name}: a row's system is off by {residual:.1e}")
        what = {"part": "implicit", "engine": name, "version": results[0]["version"]}
        what |= {"case": case, "K": rank, "threads": threads}
        sweeps = [seconds for r in results for seconds, _ in r["trace"]]
        found.append(Figure.of(sweeps, measure="sweep", unit="s", **what))
        times = [seconds_to(r["trace"], best * (1 + NEAR)) for r in results]
        if all(t == t for t in times):
            label = f"to {NEAR:.1%} of the converged J"
            found.append(Figure.of(times, measure=label, unit="s", **what))
        if theirs is not None:
            times = [seconds_to(r["trace"], theirs * (1 + NEAR)) for r in results]
            if all(t == t for t in times):
                label = f"to {NEAR:.1%} of the peers' lowest J"
                found.append(Figure.of(times, measure=label, unit="s", **what))
        gaps = [r["trace"][-1][1] / best - 1 for r in results]
        found.append(Figure.of(gaps, measure="J left at the end, of J", unit="share", **what))
        peaks = [r["peak_rss"] for r in results]
        found.append(Figure.of(peaks, measure="peak memory", unit="B", **what))
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--ratings", type=int, default=16_000_000, help="size of the instance")
    made.add_argument("--ranks", type=int, nargs="+", default=[64, 128, 256], help="all K")
    made.add_argument("--gowalla", action="store_true", help="real check-ins instead")
    made.add_argument("--loss", choices=("ials", "wrmf"), help="only one of the objectives")
    made.add_argument("--sweeps", type=int, default=30, help="of ours (default 30)")
    made.add_argument("--peer-sweeps", type=int, default=20, help="of irspack (default 20)")
    made.add_argument("--implicit-sweeps", type=int, default=15, help="of implicit (default 15)")
    made.add_argument("--solver", action="append", help="one of ours; repeatable")
    main(made, measure, "Implicit ALS")
