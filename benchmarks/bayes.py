"""`BayesianMF` on MovieLens: a sweep beside ALS and the peers, time to an error, errors, calibration.

    HALFSTEP_DATA=/path/to/data python benchmarks/bayes.py ml-100k ml-1m
    python benchmarks/bayes.py --tasks sweeps target        only these of: sweeps, target, errors
    python benchmarks/bayes.py --test                       seconds, on simulated ratings

The last data set named is the one that times are taken on. A sweep draws every user and every item once.
«To the error» is the time from ratings in memory until the mean of the draws is as near to the first
held-out fifth as GOAL says: ours measuring included, myFM's without. Errors, intervals and log scores
are those of models that were saved and loaded; five folds as in accuracy.py, and parts that come with
MovieLens 100K. The log score is that of N(mean, std²), beside that of one σ for all: the best one,
chosen on the held-out ratings themselves.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import FILES, find, write_columns
from driver import Engine, Failed, available, check, main, parser, rounds
from record import Figure
from sweep import EXACTLY

OURS = Engine("halfstep, Gibbs", "halfstep_bayes.py")
SHARED = Engine("halfstep, Gibbs, shared noise", "halfstep_bayes.py", options={"noise": "shared"})
ALS = Engine("halfstep, exact ALS", "halfstep_als.py", options={**EXACTLY, "biases": True})
PEERS = [
    Engine("myFM, Gibbs", "myfm_gibbs.py", "bayes", "myfm"),
    Engine("myFM, Gibbs, relations", "myfm_gibbs.py", "bayes", "myfm", options={"relations": True}),
    Engine("smurff, BPMF", "smurff_gibbs.py", "bayes", "smurff"),
]
TASKS = ("sweeps", "target", "errors")
# Where «to the error» ends, and how many sweeps of ours the mean waits; the K of our fits of parts.
GOAL = {"ml-100k": 0.905, "ml-1m": 0.837, "simulated": 0.81}
WAIT = 10
RANKS = {"ml-100k": [10, 30, 100], "ml-1m": [32], "simulated": [4]}
GIVEN = {"ml-100k": ["u3", "u1"]}
LEVELS = (0.5, 0.8, 0.9, 0.95)
# What is promised of MovieLens 1M at K = 32: at most so many sweeps of ALS, at least so many times
# as fast as the peers; how far coverage may be from what it is to be.
DEARER, FASTER, SOONER, WITHIN = 1.5, 10.0, 5.0, 0.02


def write_given(name: str, folder: Path) -> None:
    """A part that comes with MovieLens 100K, its test ratings last, and their mask."""
    tables = []
    for ending in ("base", "test"):
        path = find("ml-100k").with_name(f"{name}.{ending}")
        if not path.exists():
            raise Failed(f"{path}: is not there")
        tables.append(np.loadtxt(path, dtype=np.int64)[:, :3])
    table = np.concatenate(tables)
    for column, values in zip(("users", "items", "ratings"), table.T, strict=True):
        np.save(folder / column, values.astype(np.float32 if column == "ratings" else np.int64))
    np.save(folder / "test", np.arange(len(table)) >= len(tables[0]))


def figure(values: list[float], measure: str, unit: str, what: dict[str, Any]) -> Figure:
    """One figure of this part."""
    return Figure.of(values, measure=measure, unit=unit, part="bayes", **what)


def time_sweeps(given: argparse.Namespace, data: str, folder: Path) -> list[Figure]:
    """A sweep of ours, of ALS, and of the peers at the first K."""
    found = []
    spread = float(np.load(folder / "ratings.npy").std())
    for rank in given.ranks:
        engines = [OURS, SHARED, ALS, *(PEERS if rank == given.ranks[0] else [])]

        def run(engine: Engine, rank: int = rank) -> dict[str, Any]:
            options: dict[str, Any] = {"rank": rank, "sweeps": given.sweeps}
            if engine is not ALS:
                options["task"] = "sweeps"
            told = engine.run(folder, given.threads, **options)
            if engine is not ALS:
                check(told["rmse"] < 0.95 * spread, f"{engine.name}: RMSE {told['rmse']:.4f}")
            if engine is OURS and given.threads > 1:
                alone = engine.run(folder, 1, **options)
                check(alone["bits"] == told["bits"], f"{engine.name}: other bits on one thread")
            return told

        runs = rounds(available(engines, given.only), given.repeat, run)
        medians = {}
        for name, results in runs.items():
            what = {"case": data, "K": rank, "threads": given.threads, "engine": name}
            what["version"] = results[0]["version"]
            times = [t for told in results for t in told["sweep_seconds"]]
            found.append(figure(times, "a sweep", "s", what))
            medians[name] = found[-1].value
            peaks = [told["peak_rss"] / 1e6 for told in results]
            found.append(figure(peaks, "peak memory", "MB", what))
        if data == "ml-1m" and rank == 32 and OURS.name in medians and not given.loose:
            promise(medians, OURS.name)
    return found


def promise(medians: dict[str, float], ours: str) -> None:
    """What a sweep must cost."""
    own = medians[ours]
    if ALS.name in medians:
        ratio = own / medians[ALS.name]
        check(ratio <= DEARER, f"a sweep of ours takes {ratio:.2f} of ALS, promised {DEARER}")
    for peer in PEERS:
        if peer.name in medians:
            ratio = medians[peer.name] / own
            check(ratio >= FASTER, f"ours is {ratio:.1f} × as fast as {peer.name}")


def first_time(curve: list[list[float]], goal: float) -> float | None:
    """Seconds until the error is as low as that."""
    return next((seconds for seconds, error in curve if error <= goal), None)


def time_to_error(given: argparse.Namespace, data: str, folder: Path) -> list[Figure]:
    """Seconds until the mean of the draws is near enough to the first held-out fifth."""
    goal, rank = GOAL[data], given.ranks[0]
    count = max(given.samples, 2)

    def run(engine: Engine) -> dict[str, Any]:
        options: dict[str, Any] = {"rank": rank, "task": "target"}
        if engine.script == OURS.script:
            told = engine.run(folder, given.threads, **options, samples=count, burn_in=WAIT)
            off = abs(told["again"] - told["curve"][-1][1])
            message = f"{engine.name}: RMSE {told['curve'][-1][1]}, of the model {told['again']}"
            check(off < 0.003, message)
            return told
        return engine.run(folder, given.threads, **options, sweeps=count + WAIT)

    runs = rounds(available([OURS, *PEERS], given.only), given.repeat, run)
    found, times = [], {}
    for name, results in runs.items():
        what = {"case": data, "K": rank, "threads": given.threads, "engine": name}
        what["version"] = results[0]["version"]
        lowest = [min(error for _, error in told["curve"]) for told in results]
        found.append(figure(lowest, "lowest RMSE of the first fold", "", what))
        reached = [first_time(told["curve"], goal) for told in results]
        whole = [seconds for seconds in reached if seconds is not None]
        if len(whole) == len(reached):
            found.append(figure(whole, f"to an RMSE of {goal}", "s", what))
            times[name] = found[-1].value
        else:
            message = f"{name}: does not come to {goal}, but to {min(lowest):.4f}"
            print(message, file=sys.stderr)
    if data == "ml-1m" and not given.only and not given.loose:
        check(OURS.name in times, f"ours does not come to {goal}")
        for peer in PEERS[:2]:
            if peer.name in times:
                ratio = times[peer.name] / times[OURS.name]
                check(ratio >= SOONER, f"ours is {ratio:.1f} × as soon as {peer.name}")
    return found


def errors(given: argparse.Namespace, data: str, folder: Path, case: str) -> list[Figure]:
    """Errors, coverage and log scores on the held-out parts that `folder` has."""
    found = []
    spread = float(np.load(folder / "ratings.npy").std())
    ranks = RANKS[data] if case.endswith("folds") else RANKS[data][:1]
    for rank in ranks:
        options = {"rank": rank, "samples": given.samples, "burn_in": given.burn_in}
        if given.test:
            options["keep"] = 10
        told = OURS.run(folder, given.threads, task="parts", **options)
        parts = told["folds"]
        what = {"case": case, "K": rank, "threads": given.threads, "engine": OURS.name}
        what["version"] = told["version"]

        def mean(key: str, parts: list[dict[str, float]] = parts) -> float:
            return float(np.mean([part[key] for part in parts]))

        check(mean("rmse") < 0.95 * spread, f"{case}: RMSE {mean('rmse'):.4f}")
        for key in ("rmse", "mae"):
            found.append(figure([mean(key)], key.upper(), "", what))
        seconds = [part["prepare"] + part["fit"] + part["predict"] for part in parts]
        found.append(figure(seconds, "a part", "s", what))
        found.append(figure([mean("sigma")], "σ", "", what))
        for level in LEVELS:
            share = mean(f"covered {level:g}")
            allowed = 0.06 if given.test else WITHIN
            check(abs(share - level) <= allowed, f"{case}: {share:.3f} covered, not {level}")
            found.append(figure([share], f"covered by {100 * level:.0f} % intervals", "", what))
        found.append(figure([mean("log_score")], "log score", "", what))
        one = what | {"engine": f"{OURS.name}, one σ for all"}
        found.append(figure([mean("log_score_of_one")], "log score", "", one))
        if not given.test:
            better = mean("log_score") > mean("log_score_of_one")
            check(better, f"{case}: the log score is not above that of one σ")
    return found


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if unknown := [name for name in given.data if name not in FILES]:
        raise Failed(f"data={unknown[0]}: is not known; choose from {', '.join(FILES)}")
    if given.test:
        given.sweeps, given.samples, given.burn_in, given.ranks = 3, 60, 20, [4]
    named = ["simulated"] if given.test else given.data or list(FILES)
    found = []
    for data in named:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_columns(data, folder)
            if data == named[-1] and "sweeps" in given.tasks:
                found += time_sweeps(given, data, folder)
            if data == named[-1] and "target" in given.tasks:
                found += time_to_error(given, data, folder)
            if "errors" in given.tasks:
                found += errors(given, data, folder, f"{data}, five folds")
        for name in GIVEN.get(data, []) if "errors" in given.tasks else []:
            with tempfile.TemporaryDirectory() as scratch:
                write_given(name, Path(scratch))
                found += errors(given, data, Path(scratch), f"{data}, {name}")
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("data", nargs="*", help=f"{' and '.join(FILES)}, the default")
    made.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="default: all")
    made.add_argument("--ranks", type=int, nargs="+", default=[32, 64], help="K of the times")
    made.add_argument("--sweeps", type=int, default=10, help="timed sweeps a round (default 10)")
    made.add_argument("--samples", type=int, default=200, help="draws of a fit (default 200)")
    made.add_argument("--burn-in", type=int, default=30, help="sweeps before them (default 30)")
    made.add_argument("--loose", action="store_true", help="hold no times to what is promised")
    main(made, measure, "Bayesian matrix factorization")
