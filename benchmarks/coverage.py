"""Do 90 % intervals hold 90 % of the ratings? On MovieLens, beside intervals of one width for all.

    HALFSTEP_DATA=/path/to/data python benchmarks/coverage.py ml-100k ml-1m
    python benchmarks/coverage.py --test           seconds, on simulated ratings

Folds as in accuracy.py. Of the four fifths a tenth is kept from the fit: both calibrate on it, and the
untouched fifth tests. Users are grouped into quarters by their ratings in the four fifths, items are
those with fewer than five of them there. Nothing is clipped: a width is that of the whole interval.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from accuracy import FILES, write_columns
from driver import Failed, check, main, parser
from record import Figure

import halfstep as hs
from halfstep.backends.base import Array

LEVEL = 0.9
MODELS: dict[str, list[dict[str, Any]]] = {
    "ml-100k": [
        {"rank": 10, "reg": (15.0, 15.0, 3.0), "reg_scaling": "none", "max_iter": 30, "tol": 0.0},
        {"rank": 32, "reg": 0.1, "max_iter": 30},
        {"rank": 50, "reg": 6.0, "reg_scaling": "none", "max_iter": 30},
    ],
    "ml-1m": [
        {"rank": 64, "reg": (0.068, 0.068, 0.02), "max_iter": 12, "tol": 0.0},
        {"rank": 128, "reg": (0.068, 0.068, 0.02), "max_iter": 6, "tol": 0.0},
    ],
    "simulated": [{"rank": 4, "reg": 0.1}],
}
FEW = "items of < 5 ratings"
QUARTERS = [f"users, quarter {k}" for k in (1, 2, 3, 4)]
# What is asserted of the means over the folds of real data.
WITHIN = {"all": 0.01, **dict.fromkeys(QUARTERS, 0.02), FEW: 0.03}
ENGINES = ("halfstep", "halfstep, one width")


def half_widths(model: hs.ExplicitMF, part: hs.Ratings, test: hs.Ratings) -> dict[str, Any]:
    """(|e| of the test ratings, half of both intervals), and the seconds that ours took."""
    users, items, ratings = test.to_arrays()
    begun = perf_counter()
    model.calibrate(part)
    calibrated = perf_counter()
    mean, low, high = model.predict(users, items, interval=LEVEL)
    done = perf_counter()
    held_users, held_items, held = part.to_arrays()
    scores = np.sort(np.abs(held - model.predict(held_users, held_items)))
    rank = int(np.ceil((len(scores) + 1) * LEVEL))
    return {
        "error": np.abs(ratings - mean),
        ENGINES[0]: (high - low) / 2,
        ENGINES[1]: np.full(len(mean), scores[rank - 1]),
        "calibrate": calibrated - begun,
        "intervals": done - calibrated,
    }


def groups_of(train: hs.Ratings, test: hs.Ratings) -> dict[str, Array]:
    """Masks over the test ratings."""
    by_user, by_item = (np.diff(cells.indptr) for cells in (train.by_user, train.by_item))
    quarter = np.empty(len(by_user), dtype=np.int64)
    quarter[np.argsort(by_user, kind="stable")] = np.arange(len(by_user)) * 4 // len(by_user)
    users, items = test.user_index(), test.by_user.indices
    found = {"all": np.ones(len(test), dtype=bool)}
    found |= {name: quarter[users] == k for k, name in enumerate(QUARTERS)}
    return found | {FEW: by_item[items] < 5}


def measure_model(ratings: hs.Ratings, params: dict[str, Any], folds: int) -> dict[str, Any]:
    """By group and engine the shares covered and the mean widths, one for each fold."""
    found: dict[str, Any] = {"seconds": [], "intervals": [], "ratings": {}}
    for train, test in hs.kfold(ratings, folds, order="file"):
        fitted_on, part = hs.split_random(train, test=0.1, seed=0)
        model = hs.ExplicitMF(**params).fit(fitted_on)
        told = half_widths(model, part, test)
        found["seconds"].append(told["calibrate"])
        found["intervals"].append(told["intervals"])
        for group, mask in groups_of(train, test).items():
            found["ratings"].setdefault(group, []).append(int(mask.sum()))
            for engine in ENGINES:
                if mask.any():
                    own = told[engine][mask]
                    covered = int(np.count_nonzero(told["error"][mask] <= own))
                    found.setdefault((group, engine), []).append((covered, float(2 * own.sum())))
    return found


def figures_of(
    data: str, params: dict[str, Any], found: dict[str, Any], threads: int
) -> list[Figure]:
    """Pooled over the folds, so that small groups count as what they are."""
    what = {"part": "coverage", "threads": threads, "version": hs.__version__}
    what["K"] = params["rank"]
    figures = []
    for group, counts in found["ratings"].items():
        case = f"{data}, {group}"
        for engine in ENGINES:
            if (group, engine) not in found:
                continue
            covered, widths = map(sum, zip(*found[group, engine], strict=True))
            for measure, value in (("covered", covered), ("mean width", widths)):
                figures.append(
                    Figure.of(
                        [value / sum(counts)],
                        measure=measure,
                        unit="",
                        case=case,
                        engine=engine,
                        **what,
                    )
                )
    for measure, seconds in (("calibrate", "seconds"), ("intervals of a fold", "intervals")):
        figures.append(
            Figure.of(
                found[seconds], measure=measure, unit="s", case=data, engine=ENGINES[0], **what
            )
        )
    return figures


def assert_promises(figures: list[Figure], data: str) -> None:
    """What the intervals promise."""
    values = {(f.case, f.engine, f.measure): f.value for f in figures}
    for group, within in WITHIN.items():
        case = f"{data}, {group}"
        found = values.get((case, ENGINES[0], "covered"))
        if data == "simulated" and group != "all":
            continue
        check(found is not None, f"{case}: no ratings")
        off = abs(found - LEVEL)
        allowed = 0.04 if data == "simulated" else within
        check(off <= allowed, f"{case}: {found:.3f} covered, not {LEVEL} ± {allowed}")
    ours, one = (values[f"{data}, all", engine, "mean width"] for engine in ENGINES)
    check(ours <= one * (1.05 if data == "simulated" else 1.0), f"{data}: width {ours} > {one}")


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if unknown := [name for name in given.data if name not in FILES]:
        raise Failed(f"data={unknown[0]}: is not known; choose from {', '.join(FILES)}")
    hs.set_num_threads(given.threads)
    all_figures = []
    for data in ["simulated"] if given.test else given.data or list(FILES):
        with tempfile.TemporaryDirectory() as scratch:
            write_columns(data, Path(scratch))
            columns = [np.load(Path(scratch) / f"{name}.npy") for name in ("users", "items")]
            ratings = np.load(Path(scratch) / "ratings.npy")
        whole = hs.Ratings.from_arrays(*columns, ratings, keep_order=True)
        for params in MODELS[data]:
            figures = figures_of(data, params, measure_model(whole, params, 5), given.threads)
            assert_promises(figures, data)
            all_figures += figures
    return all_figures


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("data", nargs="*", help=f"{' and '.join(FILES)}, the default")
    main(made, measure, "90 % intervals")
