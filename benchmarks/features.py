"""Five-fold error on MovieLens with implicit features and with tables, and that of cold users and items.

    HALFSTEP_DATA=/path/to/data python benchmarks/features.py ml-100k ml-1m
    python benchmarks/features.py --test           seconds, on simulated ratings

Known users and items: the folds of accuracy.py; λ is chosen inside each training fold, of `LEVELS`, by a
tenth of it. Cold ones: all ratings of a fifth of the users (items) are held out, five times; the model
knows their features alone and is compared with the means of the other side (every item's mean rating
for cold users), which is all that a model without features can say. Its intervals are from 1,000
resamples of the cold users (items).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from accuracy import FILES, find
from driver import Failed, check, main, parser
from record import Figure

import halfstep as hs
from halfstep.evaluation.splits import check_split

TABLES = {"ml-100k": ("u.user", "u.item"), "ml-1m": ("users.dat", "movies.dat")}
RANK = {"ml-100k": 10, "ml-1m": 32, "simulated": 3}
LEVELS = {"none": (12.0, 15.0, 20.0, 30.0, 40.0), "sqrt": (1.0, 1.5, 2.0, 2.5, 3.0)}
SWEEPS = 15
FITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "side": {"side": True},
    "implicit": {"implicit_features": True},
    "implicit and side": {"implicit_features": True, "side": True},
}


def tables_of(data: str) -> dict[str, Any]:
    """The tables of features of both sides; zip codes stand once or twice and are left out."""
    if data == "simulated":
        rng = np.random.default_rng(0)
        return {
            "user_features": (rng.normal(size=(200, 3)), np.arange(200)),
            "item_features": (rng.normal(size=(100, 3)), np.arange(100)),
        }
    folder = Path(os.environ["HALFSTEP_DATA"]) / data
    users, items = TABLES[data]
    return {
        "user_features": hs.read_features(folder / users, kinds={"zip": "skip"}),
        "item_features": hs.read_features(folder / items),
    }


def ratings_of(data: str) -> hs.Ratings:
    """The ratings, as in accuracy.py."""
    if data != "simulated":
        return hs.read_ratings(find(data), keep_order=True)
    tables = tables_of(data)
    (X, _), (Y, _) = tables["user_features"], tables["item_features"]
    rng = np.random.default_rng(1)
    truth = 3 + (X @ rng.normal(size=(3, 3))) @ (Y @ rng.normal(size=(3, 3))).T / 3
    u, i = np.nonzero(rng.random((200, 100)) < 0.3)
    return hs.Ratings.from_arrays(u, i, truth[u, i] + rng.normal(0, 0.3, len(u)), keep_order=True)


def fitted(
    data: str,
    train: hs.Ratings,
    how: dict[str, Any],
    tables: dict[str, Any],
    scaling: str,
    λ: float,
) -> hs.ExplicitMF:
    """One fit: λ_b = λ / 4, and λ_f its default."""
    options = {name: value for name, value in how.items() if name != "side"}
    model = hs.ExplicitMF(
        RANK[data],
        reg=(λ, λ, λ / 4),
        reg_scaling=scaling,
        max_iter=SWEEPS,
        tol=0.0,
        **options,
    )
    return model.fit(train, **(tables if how.get("side") else {}))


def chosen(
    data: str, train: hs.Ratings, how: dict[str, Any], tables: dict[str, Any], scaling: str
) -> float:
    """λ, by a tenth of the training part."""
    inner, held_out = hs.split_random(train, test=0.1, seed=0)
    check_split(inner, held_out, of=train)
    errors = {
        λ: fitted(data, inner, how, tables, scaling, λ).rmse(held_out, clip=True)
        for λ in LEVELS[scaling]
    }
    return min(errors, key=errors.__getitem__)


def folds_of(ratings: hs.Ratings, count: int) -> Iterator[tuple[hs.Ratings, hs.Ratings]]:
    """The customary folds of the file's order."""
    for number, (train, test) in enumerate(hs.kfold(ratings, 5, seed=0, order="file")):
        if number == count:
            return
        check_split(train, test, of=ratings)
        yield train, test


def known(data: str, given: argparse.Namespace) -> list[Figure]:
    """Users and items that have ratings."""
    ratings, tables = ratings_of(data), tables_of(data)
    found = []
    for name, how in FITS.items():
        if given.only and given.only not in name:
            continue
        for scaling in given.scalings:
            errors, levels, seconds = [], [], []
            for train, test in folds_of(ratings, given.folds):
                λ = chosen(data, train, how, tables, scaling)
                begun = perf_counter()
                model = fitted(data, train, how, tables, scaling, λ)
                seconds.append(perf_counter() - begun)
                levels.append(λ)
                errors.append(model.rmse(test, clip=True))
            check(np.mean(errors) < 0.95 * ratings.by_user.values.std(), f"{name}: {errors}")
            what = {"part": "features", "case": data, "engine": f"halfstep, {name}, {scaling}"}
            what |= {"version": hs.__version__, "threads": given.threads, "K": RANK[data]}
            mean = [float(np.mean(errors))]
            found.append(Figure.of(mean, measure="RMSE", unit="", **what))
            found.append(Figure.of(levels, measure="λ", unit="", **what))
            found.append(Figure.of(seconds, measure="a fit", unit="s", **what))
    return found


def cold(data: str, side: str, given: argparse.Namespace) -> list[Figure]:
    """Users (items) of whom features alone are known."""
    ratings, tables = ratings_of(data), tables_of(data)
    other = "item" if side == "user" else "user"
    gaps: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"means": [], "features": []}
    for number, (train, test) in enumerate(hs.kfold_cold(ratings, side, 5, seed=0)):
        if number == given.folds:
            break
        check_split(train, test, kind=f"cold-{side}", of=ratings)
        λ = chosen(data, train, {"side": True}, tables, "sqrt")
        model = fitted(data, train, {"side": True}, tables, "sqrt", λ)
        rows = test.user_index() if side == "user" else test.by_user.indices
        others = test.by_user.indices if side == "user" else test.user_index()
        users, items, r = test.to_arrays()
        for name, guess in (
            ("means", means_of(train, other)[others]),
            ("features", model.predict(users, items, clip=True)),
        ):
            squares = (r.astype(np.float64) - guess) ** 2
            size = len(ratings.users if side == "user" else ratings.items)
            gaps[name].append((np.bincount(rows, squares, size), np.bincount(rows, minlength=size)))
    case = f"{data}, cold {side}s"
    what = {"part": "features", "case": case, "version": hs.__version__, "threads": given.threads}
    found = []
    errors = {}
    for name, parts in gaps.items():
        squares, counts = (np.add.reduce([part[k] for part in parts]) for k in (0, 1))
        errors[name] = resampled(squares, counts)
        label = "features" if name == "features" else f"{other} means"
        figure = [errors[name][0], *np.quantile(errors[name][1:], (0.025, 0.975))]
        found.append(
            Figure.of(figure, measure="RMSE", unit="", engine=f"halfstep, {label}", **what)
        )
    differences = errors["features"] - errors["means"]
    figure = [differences[0], *np.quantile(differences[1:], (0.025, 0.975))]
    found.append(
        Figure.of(figure, measure="features − means", unit="", engine="halfstep, features", **what)
    )
    check(errors["features"][0] < 1.05 * errors["means"][0], f"{case}: {figure}")
    return found


def means_of(train: hs.Ratings, side: str) -> np.ndarray:
    """The mean rating of every row of a side; where it has none, that of all."""
    cells = train.by_user if side == "user" else train.by_item
    rows = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
    sums, counts = np.bincount(rows, cells.values, cells.n_rows), np.diff(cells.indptr)
    return np.where(counts > 0, sums / np.maximum(counts, 1), train.mean())


def resampled(squares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """RMSE, and behind it that of 1,000 resamples of the rows; the same ones for every model."""
    there = np.flatnonzero(counts)
    rng = np.random.default_rng(0)
    found = [np.sqrt(squares.sum() / counts.sum())]
    for _ in range(1000):
        rows = rng.choice(there, size=len(there))
        found.append(np.sqrt(squares[rows].sum() / counts[rows].sum()))
    return np.array(found)


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if unknown := [name for name in given.data if name not in FILES]:
        raise Failed(f"data={unknown[0]}: is not known; choose from {', '.join(FILES)}")
    hs.set_num_threads(given.threads)
    if given.test:
        given.folds = 2
        LEVELS.update({"none": (1.0,), "sqrt": (0.3,)})
    found = []
    for data in ["simulated"] if given.test else given.data or list(FILES):
        if given.what != "cold":
            found += known(data, given)
        if given.what != "known":
            for side in ("user", "item"):
                found += cold(data, side, given)
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("data", nargs="*", help=f"{' and '.join(FILES)}, the default")
    made.add_argument("--what", choices=("all", "known", "cold"), default="all")
    made.add_argument("--folds", type=int, default=5, help="do so many of the five")
    made.add_argument("--scalings", nargs="+", default=["none", "sqrt"], choices=list(LEVELS))
    main(made, measure, "Features")
