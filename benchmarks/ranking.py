"""BPR: seconds of an epoch, and until implicit's best AUC on held-out interactions.

    python benchmarks/ranking.py                       the interactions in 16 million ratings, K = 64
    python benchmarks/ranking.py --ratings 3000000     a smaller instance of the same shape
    python benchmarks/ranking.py --test                seconds; checks the answers, means nothing else

Interactions are the simulated ratings of 4 and more. A tenth is held out, and each is compared with one
item that the user has no interaction with, drawn uniformly or as often as items have interactions. The
rate is chosen for each engine, of three, by the highest AUC on these pairs. Then the two take turns.
Seconds are those of the fit, measuring left out.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from driver import Engine, available, check, main, parser, rounds
from instance import scaled, write_columns
from record import Figure

IMPLICIT = Engine("implicit, BPR", "implicit_bpr.py", "peers", "implicit")
OURS = Engine("halfstep, BPR", "halfstep_ranking.py")
RATES = {IMPLICIT.name: [0.01, 0.05, 0.1], OURS.name: [0.1, 0.2, 0.5]}
LIKED = 4.0
SAMPLING = {"uniform": "uniform", "proportional": 1.0}
"""How the compared items are drawn, and ours draws its negatives."""


def interactions(folder: Path, how: str) -> int:
    """Keep the ratings of `LIKED` and more, a tenth of them in `folder`/held; how many are left."""
    users, items, ratings = (
        np.load(folder / f"{name}.npy") for name in ("users", "items", "ratings")
    )
    liked = ratings >= LIKED
    # users and items numbered anew, so that both engines have the same rows
    users, items = (np.unique(ids[liked], return_inverse=True)[1] for ids in (users, items))
    m, n = int(users.max()) + 1, int(items.max()) + 1
    generator = np.random.default_rng(0)
    held = generator.random(len(users)) < 0.1
    for ids, size in ((users, m), (items, n)):
        left = np.bincount(ids[~held], minlength=size)
        held &= left[ids] > 0
    seen = np.sort(users * np.int64(n) + items)
    u, others = users[held], np.empty(int(held.sum()), dtype=np.int64)
    open_ = np.arange(len(u))
    while len(open_):
        drawn = generator.integers(0, n, len(open_))
        if how == "proportional":
            drawn = items[generator.integers(0, len(items), len(open_))]
        key = u[open_] * np.int64(n) + drawn
        free = seen[np.minimum(np.searchsorted(seen, key), len(seen) - 1)] != key
        others[open_[free]] = drawn[free]
        open_ = open_[~free]
    (folder / "held").mkdir()
    for name, column in (("users", users), ("items", items)):
        np.save(folder / "held" / name, column[held])
        np.save(folder / name, column[~held])
    np.save(folder / "held" / "others", others)
    return int(np.count_nonzero(~held))


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if given.test:
        given.ratings, given.rank, given.epochs = 60_000, 8, 4
    found = []
    for how, sampling in SAMPLING.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_columns(folder, scaled(given.ratings))
            count = interactions(folder, how)
            runs = runs_of(folder, given, sampling)
        case = f"{count:,} interactions, {how} pairs"
        what = {"part": "ranking", "case": case, "K": given.rank, "threads": given.threads}
        found += figures_of(runs, what)
    return found


def runs_of(folder: Path, given: argparse.Namespace, sampling: str | float) -> dict[str, Any]:
    """What both engines tell of the instance in `folder`."""
    engines = available([OURS, IMPLICIT], given.only)
    options = {"rank": given.rank, "epochs": given.epochs}

    def own(engine: Engine, rate: float) -> dict[str, Any]:
        found = options | {"rate": rate}
        return found | {"sampling": sampling} if engine is OURS else found

    def best(engine: Engine) -> float:
        rates = RATES[engine.name]
        if given.test:
            return rates[0]
        runs = [engine.run(folder, given.threads, **own(engine, rate)) for rate in rates]
        return rates[int(np.argmax([max(told["auc"]) for told in runs]))]

    rates = {engine.name: best(engine) for engine in engines}

    def run(engine: Engine) -> dict[str, Any]:
        chosen = own(engine, rates[engine.name])
        told = engine.run(folder, given.threads, **chosen)
        off = abs(told["auc"][-1] - told["auc_again"])
        check(off < 1e-3, f"{engine.name}: AUC {told['auc'][-1]}, recomputed {told['auc_again']}")
        if engine is OURS:
            check(max(told["auc"]) > 0.5, f"{engine.name}: no better than chance")
            alone = engine.run(folder, 1, **chosen) if given.test else told
            check(alone["bits"] == told["bits"], f"{engine.name}: other bits on one thread")
        return told

    return rounds(engines, given.repeat, run)


def figures_of(runs: dict[str, list[dict[str, Any]]], what: dict[str, Any]) -> list[Figure]:
    """Seconds of an epoch and until implicit's best, and the highest AUC."""
    found = []
    theirs = runs.get(IMPLICIT.name, [])
    target = min((max(told["auc"]) for told in theirs), default=float("inf"))
    for engine in (OURS, IMPLICIT):
        told = runs.get(engine.name, [])
        if not told:
            continue
        named = what | {"engine": engine.name, "version": told[0]["version"]}
        times = [float(np.median(one["epoch_seconds"])) for one in told]
        found.append(Figure.of(times, measure="an epoch", unit="s", **named))
        highest = [max(one["auc"]) for one in told]
        found.append(Figure.of(highest, measure="highest AUC", unit="", **named))
        at = [next((e for e, x in enumerate(one["auc"]) if x >= target), None) for one in told]
        if None in at:
            continue
        seconds = [one["seconds"][e] for one, e in zip(told, at, strict=True) if e is not None]
        found.append(Figure.of(seconds, measure="to implicit's best", unit="s", **named))
        epochs = [e + 1 for e in at if e is not None]
        found.append(Figure.of(epochs, measure="epochs to that", unit="", **named))
    return found


if __name__ == "__main__":
    made = parser(__doc__, repeat=3)
    made.add_argument("--ratings", type=int, default=16_000_000)
    made.add_argument("--rank", type=int, default=64)
    made.add_argument("--epochs", type=int, default=30)
    main(made, measure, "Ranking by BPR")
