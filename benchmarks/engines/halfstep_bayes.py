"""halfstep's `BayesianMF`: seconds of a sweep, or the error of the running mean, or held-out parts.

`task` says which. "sweeps": all ratings, nothing held out; a sweep's seconds are those of all its
steps, what the next one needs to know of the residuals included. "target": the first part is held
out, and the error of the running mean and the seconds since the ratings were at hand are told after
every sweep, measuring included. "parts": the mean errors and how sure the model is, on every held-out
part, of a model that was saved and loaded. The other options are those of the model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from common import answer, arguments, digest, load, parts, peak_rss

import halfstep as hs

LEVELS = (0.5, 0.8, 0.9, 0.95)


def sweeps(folder: Path, options: dict[str, Any], count: int) -> dict[str, Any]:
    """Seconds of a sweep, the first ones left out."""
    warmup = 2
    ratings = hs.Ratings.from_arrays(*load(folder))
    model = hs.BayesianMF(**options, samples=warmup + count, burn_in=0, keep=2).fit(ratings)
    f = model.factors_
    seconds = [sum(row.seconds.values()) for row in model.trace_]
    return {
        "sweep_seconds": seconds[warmup:],
        "rmse": model.rmse(ratings),
        "bits": digest(f.user_factors, f.item_factors, *(d.users.precision for d in model.draws_)),
    }


def target(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """(seconds, error) after every draw."""
    train, test = next(iter(parts(folder)))
    columns = load(folder)
    ratings = hs.Ratings.from_arrays(*(column[train] for column in columns))
    held = hs.Ratings.from_arrays(*(column[test] for column in columns))
    ends: list[float] = []
    begun = perf_counter()
    model = hs.BayesianMF(**options).fit(
        ratings, validation=held, callbacks=[lambda row: ends.append(perf_counter() - begun)]
    )
    errors = [row.validation_rmse for row in model.trace_]
    return {"curve": list(zip(ends, errors, strict=True)), "again": model.rmse(held)}


def part(
    columns: tuple[np.ndarray, ...], options: dict[str, Any], train: np.ndarray, test: np.ndarray
) -> dict[str, Any]:
    """Errors and the shares that intervals hold, of one held-out part."""
    users, items, ratings = columns
    begun = perf_counter()
    cells = hs.Ratings.from_arrays(users[train], items[train], ratings[train])
    prepared = perf_counter()
    fitted = hs.BayesianMF(**options).fit(cells)
    done = perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        model = hs.load(fitted.save(Path(scratch) / "model.safetensors"))
    pairs, observed = (users[test], items[test]), ratings[test].astype(np.float64)
    loaded = perf_counter()
    mean, std = model.predict(*pairs, std=True)
    predicted = perf_counter()
    scale = ratings[train].min(), ratings[train].max()
    errors = observed - np.clip(mean, *scale)
    z = (observed - mean) / std
    spread = float(np.sqrt(np.mean((observed - mean) ** 2)))  # the best σ for all, seen afterwards
    told = {
        "prepare": prepared - begun,
        "fit": done - prepared,
        "predict": predicted - loaded,
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "mae": float(np.mean(np.abs(errors))),
        "log_score": float(np.mean(-0.5 * z**2 - np.log(std))),
        "log_score_of_one": -0.5 - float(np.log(spread)),
        "sigma": float(model.record_.sigma.mean()),
    }
    for level in LEVELS:
        _, low, high = model.predict(*pairs, interval=level)
        told[f"covered {level:g}"] = float(np.mean((low <= observed) & (observed <= high)))
    return told


def main() -> None:
    given = arguments(__doc__)
    options = {"task": "parts", "sweeps": 5, **given.options}
    task, count = options.pop("task"), options.pop("sweeps")
    hs.set_num_threads(given.threads)
    if task == "sweeps":
        told = sweeps(given.folder, options, count)
    elif task == "target":
        told = target(given.folder, options)
    else:
        columns = load(given.folder)
        told = {"folds": [part(columns, options, *rows) for rows in parts(given.folder)]}
    answer(version=hs.__version__, peak_rss=peak_rss(), **told)


if __name__ == "__main__":
    main()
