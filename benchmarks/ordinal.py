"""Ratings as ordered levels or as numbers with normal noise: errors and log loss on MovieLens.

    HALFSTEP_DATA=/path/to/data python benchmarks/ordinal.py ml-100k ml-1m
    python benchmarks/ordinal.py --test           seconds, on simulated ratings

Folds as in accuracy.py. The normal distribution gives a level the probability between the midpoints to
its neighbours, with the mean and the standard deviation of every pair. Asserted: probabilities sum to 1,
the log loss is below that of normal noise that all share, and the RMSE at most 1 % above its.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from accuracy import FILES, write_columns
from driver import Failed, check, main, parser
from record import Figure
from scipy.special import ndtr

import halfstep as hs
from halfstep.backends.base import Array

MODELS: dict[str, dict[str, Any]] = {
    "ml-100k": {"rank": 10, "samples": 200, "burn_in": 30},
    "ml-1m": {"rank": 32, "samples": 100, "burn_in": 30},
    "simulated": {"rank": 4, "samples": 60, "burn_in": 60},
}
ENGINES: dict[str, dict[str, Any]] = {
    "halfstep, ordinal": {"likelihood": "ordinal"},
    "halfstep, gaussian, shared noise": {"noise": "shared"},
    "halfstep, gaussian": {},
}
UNITS = {"RMSE": "", "log loss": "nats", "a fold": "s"}


def chances_of_levels(model: hs.BayesianMF, users: Array, items: Array, values: Array) -> Array:
    """The probability of every level for every pair, (N, L)."""
    if model.likelihood == "ordinal":
        found: Array = model.predict_proba(users, items)[1]
        return found
    mean, std = (part.astype(np.float64)[:, None] for part in model.predict(users, items, std=True))
    below = ndtr((0.5 * (values[1:] + values[:-1]) - mean) / std)
    return np.diff(below, axis=1, prepend=0.0, append=1.0)


def measure_fold(train: hs.Ratings, test: hs.Ratings, params: dict[str, Any]) -> dict[str, float]:
    """What the figures are made of, of one fit."""
    begun = perf_counter()
    model = hs.BayesianMF(**params).fit(train)
    seconds = perf_counter() - begun
    users, items, ratings = test.to_arrays()
    values = np.unique(train.by_user.values).astype(np.float64)
    chances = chances_of_levels(model, users, items, values)
    check(bool(np.allclose(chances.sum(axis=1), 1.0)), "probabilities do not sum to 1")
    own = chances[np.arange(len(ratings)), np.searchsorted(values, ratings)]
    return {
        "RMSE": model.rmse(test),
        "log loss": float(-np.log(np.maximum(own, np.finfo(np.float64).eps)).mean()),
        "a fold": seconds,
    }


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if unknown := [name for name in given.data if name not in FILES]:
        raise Failed(f"data={unknown[0]}: is not known; choose from {', '.join(FILES)}")
    hs.set_num_threads(given.threads)
    figures = []
    for data in ["simulated"] if given.test else given.data or list(FILES):
        with tempfile.TemporaryDirectory() as scratch:
            write_columns(data, Path(scratch))
            columns = [np.load(Path(scratch) / f"{n}.npy") for n in ("users", "items", "ratings")]
        whole = hs.Ratings.from_arrays(*columns, keep_order=True)
        errors: dict[tuple[str, str], float] = {}
        for engine, own in ENGINES.items():
            params = MODELS[data] | own
            folds = [
                measure_fold(train, test, params)
                for train, test in islice(hs.kfold(whole, 5, order="file"), given.folds)
            ]
            for name, unit in UNITS.items():
                values = [fold[name] for fold in folds]
                errors[engine, name] = float(np.mean(values))
                figures.append(
                    Figure.of(
                        values if name == "a fold" else [errors[engine, name]],
                        measure=name,
                        unit=unit,
                        case=data,
                        engine=engine,
                        part="ordinal",
                        K=params["rank"],
                        threads=given.threads,
                        version=hs.__version__,
                    )
                )
        # simulated ratings are normal numbers but for rounding: there is nothing to gain
        for name, most in (("log loss", 1.03 if data == "simulated" else 1.0), ("RMSE", 1.01)):
            ours, other = (errors[engine, name] for engine in list(ENGINES)[:2])
            check(ours < most * other, f"{data}: {name} {ours:.4f}, of normal noise {other:.4f}")
    return figures


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("data", nargs="*", help=f"{' and '.join(FILES)}, the default")
    made.add_argument("--folds", type=int, default=5, help="how many of the five")
    main(made, measure, "Ordered levels")
