"""myFM's Gibbs sampler of a factorization machine of users and items, with a prior for each side.

The same tasks as `halfstep_bayes.py` has. Its sampler uses one thread. Seconds are those between its
callbacks, without what the callback does: predicting the held-out part with the draw. The mean begins
after several numbers of sweeps at once, and the best of these counts.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sps
from common import answer, arguments, load, parts, peak_rss

os.environ["TQDM_DISABLE"] = "1"  # no progress bars
import myfm

FIRST = (5, 10, 20, 40, 80)


def one_hot(users: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> sps.csr_matrix:
    """Two ones in every row."""
    rows = len(users)
    columns = np.column_stack([users, shape[0] + items]).ravel()
    indptr = 2 * np.arange(rows + 1)
    return sps.csr_matrix((np.ones(2 * rows), columns, indptr), shape=(rows, sum(shape)))


def blocks(users: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> list[Any]:
    """The same as its relations: one row for each user and each item."""
    return [
        myfm.RelationBlock(index, sps.identity(size, format="csr"))
        for index, size in zip((users, items), shape, strict=True)
    ]


def main() -> None:
    given = arguments(__doc__)
    options = {"task": "sweeps", "rank": 32, "sweeps": 5, "relations": False, "seed": 0}
    options |= given.options
    users, items, ratings = load(given.folder)
    users, items = (np.unique(ids, return_inverse=True)[1] for ids in (users, items))
    shape = int(users.max()) + 1, int(items.max()) + 1
    train, test = np.arange(len(ratings)), np.arange(len(ratings))
    if options["task"] == "target":
        train, test = next(iter(parts(given.folder)))
    X = {"X": one_hot(users[train], items[train], shape)}
    if options["relations"]:
        X = {"X": None, "X_rel": blocks(users[train], items[train], shape)}
    held = one_hot(users[test], items[test], shape)
    observed = ratings[test].astype(np.float64)
    scale = float(ratings[train].min()), float(ratings[train].max())
    warmup = 2
    count = options["sweeps"] + (warmup if options["task"] == "sweeps" else 0)
    seconds: list[float] = []
    curve: list[tuple[float, float]] = []
    sums = {first: np.zeros(len(test)) for first in FIRST}
    last = [perf_counter()]

    def after_sweep(sweep: int, machine: Any, *_: Any) -> tuple[bool, str | None]:
        seconds.append(perf_counter() - last[0])
        if options["task"] == "target":
            drawn = machine.predict_score(held, [])
            errors = []
            for first, total in sums.items():
                if sweep >= first:
                    total += drawn
                    found = np.clip(total / (sweep + 1 - first), *scale)
                    errors.append(float(np.sqrt(np.mean((observed - found) ** 2))))
            curve.append((sum(seconds), min(errors, default=float(np.std(observed)))))
        last[0] = perf_counter()
        return False, None

    model = myfm.MyFMRegressor(rank=options["rank"], random_seed=options["seed"])
    last[0] = perf_counter()
    model.fit(
        **X,
        y=ratings[train].astype(np.float64),
        n_iter=count,
        n_kept_samples=1,
        group_shapes=list(shape),
        callback=after_sweep,
    )
    if options["task"] == "target":
        answer(version=version("myfm"), peak_rss=peak_rss(), curve=curve)
        return
    given_X = {"X": held} if not options["relations"] else {"X": None, "X_rel": X["X_rel"]}
    fitted = model.predict(**given_X)
    answer(
        version=version("myfm"),
        peak_rss=peak_rss(),
        sweep_seconds=seconds[warmup:],
        rmse=float(np.sqrt(np.mean((observed - fitted) ** 2))),
    )


if __name__ == "__main__":
    main()
