"""Stochastic gradient descent: seconds of an epoch, and until LIBMF's best held-out error.

    python benchmarks/sgd.py                       14 million training ratings, K = 64
    python benchmarks/sgd.py --ratings 3000000     a smaller instance of the same shape
    python benchmarks/sgd.py --test                seconds; checks the answers, means nothing else

λ and the rate are chosen for LIBMF, on a grid of 3 × 3, by the error on a tenth of the ratings that is
held out; ours takes the same λ and its own default rate. Then the two take turns. LIBMF's seconds are
those of a whole fit of as many epochs as serve it best, ours those of a fit until its error is as low:
both from the columns in memory on, ours with and without sorting them into `Ratings`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from driver import Engine, Failed, available, check, main, parser, rounds
from instance import scaled, write_columns
from record import Figure

LIBMF = Engine("LIBMF, SGD", "libmf_fit.py", "libmf", "libmf", hours=0.15)
OURS = Engine("halfstep, SGD", "halfstep_sgd.py")
REGS = [0.02, 0.05, 0.1]
RATES = [0.05, 0.1, 0.2]


def hold_out(folder: Path, share: float = 0.1) -> int:
    """Move a share of the rows, of known users and items, to `folder`/held; the number left."""
    names = ("users", "items", "ratings")
    columns = [np.load(folder / f"{name}.npy") for name in names]
    held = np.random.default_rng(0).random(len(columns[0])) < share
    known = held.copy()
    for ids in columns[:2]:
        left = np.zeros(int(ids.max()) + 1, dtype=bool)
        left[ids[~held]] = True
        known &= left[ids]
    (folder / "held").mkdir()
    for name, column in zip(names, columns, strict=True):
        np.save(folder / "held" / name, column[known])
        np.save(folder / name, column[~held])
    return int(np.count_nonzero(~held))


def best_of(fits: list[list[float]]) -> tuple[float, int]:
    """The lowest error (that is a number), and its epochs."""
    found = [(rmse, int(epochs)) for epochs, _, rmse in fits if rmse == rmse]
    return min(found, default=(float("inf"), 0))


def patiently(given: argparse.Namespace, folder: Path, **options: Any) -> dict[str, Any]:
    """LIBMF's figures. Now and then its threads wait for each other for ever: then once more."""
    engine = replace(LIBMF, hours=0.01) if given.test else LIBMF
    for _ in range(2):
        try:
            return engine.run(folder, given.threads, **options)
        except Failed as failure:
            print(failure, file=sys.stderr)
    return engine.run(folder, given.threads, **options)


def tuned(folder: Path, given: argparse.Namespace) -> tuple[float, float, int]:
    """LIBMF's λ, rate and epochs of the lowest held-out error."""
    found = []
    for reg in REGS:
        for rate in RATES:
            told = patiently(
                given, folder, rank=given.rank, reg=reg, rate=rate, epochs=given.epochs
            )
            found.append((*best_of(told["fits"]), reg, rate))
    _, epochs, reg, rate = min(found)
    return reg, rate, epochs


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if given.test:
        given.ratings, given.rank, given.epochs = 60_000, 8, [4, 8]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_columns(folder, scaled(given.ratings))
        count = hold_out(folder)
        spread = float(np.load(folder / "held" / "ratings.npy").std())
        engines = available([OURS, LIBMF], given.only)
        reg, rate, epochs = REGS[1], RATES[1], given.epochs[-1]
        if LIBMF in engines:
            reg, rate, epochs = tuned(folder, given)

        def run(engine: Engine) -> dict[str, Any]:
            if engine is LIBMF:
                lengths = sorted({1, *(e for e in range(epochs - 2, epochs + 3) if e > 1)})
                told = patiently(given, folder, rank=given.rank, reg=reg, rate=rate, epochs=lengths)
                check(best_of(told["fits"])[0] < spread, f"{engine.name}: no better than the mean")
                return told
            options = {"rank": given.rank, "reg": reg, "epochs": 4 * max(given.epochs)}
            told = engine.run(folder, given.threads, **options)
            lowest = min(told["rmse"])
            check(lowest < spread, f"{engine.name}: no better than the mean")
            off = abs(told["best_again"] - lowest)
            check(off < 1e-5, f"{engine.name}: RMSE {lowest}, recomputed {told['best_again']}")
            alone = engine.run(folder, 1, **options) if given.test else told
            check(alone["bits"] == told["bits"], f"{engine.name}: other bits on one thread")
            return told

        runs = rounds(engines, given.repeat, run)
    what = {"part": "sgd", "case": f"{count:,} ratings, λ = {reg:g}", "K": given.rank}
    return figures_of(runs, what | {"threads": given.threads})


def figures_of(runs: dict[str, list[dict[str, Any]]], what: dict[str, Any]) -> list[Figure]:
    """Seconds of an epoch and until the target, and the lowest errors."""
    found = []
    theirs, ours = runs.get(LIBMF.name, []), runs.get(OURS.name, [])
    target = min((best_of(told["fits"])[0] for told in theirs), default=float("inf"))
    if theirs:
        named = what | {"engine": LIBMF.name, "version": theirs[0]["version"]}
        lasts = [(told["fits"][0], told["fits"][-1]) for told in theirs]
        times = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in lasts]
        found.append(Figure.of(times, measure="an epoch", unit="s", **named))
        found.append(Figure.of([target], measure="lowest held-out RMSE", unit="", **named))
        best = [
            min((f for f in told["fits"] if f[2] == f[2]), key=lambda f: f[2]) for told in theirs
        ]
        found.append(Figure.of([f[1] for f in best], measure="to LIBMF's best", unit="s", **named))
        found.append(Figure.of([f[0] for f in best], measure="epochs to that", unit="", **named))
    if ours:
        named = what | {"engine": OURS.name, "version": ours[0]["version"]}
        times = [float(np.median(told["epoch_seconds"])) for told in ours]
        found.append(Figure.of(times, measure="an epoch", unit="s", **named))
        lowest = [min(told["rmse"]) for told in ours]
        found.append(Figure.of(lowest, measure="lowest held-out RMSE", unit="", **named))
        at = [next((e for e, x in enumerate(t["rmse"]) if x <= target), None) for t in ours]
        if target < float("inf") and None not in at:
            pairs = [(told, e) for told, e in zip(ours, at, strict=True) if e is not None]
            seconds = [told["seconds"][e] for told, e in pairs]
            found.append(Figure.of(seconds, measure="to LIBMF's best", unit="s", **named))
            label = "to LIBMF's best, Ratings made"
            whole = [told["prepare"] + told["seconds"][e] for told, e in pairs]
            found.append(Figure.of(whole, measure=label, unit="s", **named))
            epochs = [e + 1 for _, e in pairs]
            found.append(Figure.of(epochs, measure="epochs to that", unit="", **named))
    return found


if __name__ == "__main__":
    made = parser(__doc__, repeat=3)
    made.add_argument("--ratings", type=int, default=16_000_000, help="size of the instance")
    made.add_argument("--rank", type=int, default=64, help="K (default 64)")
    made.add_argument("--epochs", type=int, nargs="+", default=[8, 11], help="of LIBMF's grid")
    main(made, measure, "Stochastic gradient descent")
