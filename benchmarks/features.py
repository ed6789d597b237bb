"""Five-fold error on MovieLens with implicit features and with tables, and that of cold users and items.

    HALFSTEP_DATA=/path/to/data python benchmarks/features.py ml-100k ml-1m
    python benchmarks/features.py --models bayes   the Bayesian model alone
    python benchmarks/features.py --test           seconds, on simulated ratings

Known users and items: the folds of accuracy.py; λ is chosen inside each training fold, of `LEVELS`, by a
tenth of it. Cold ones: all ratings of a fifth of the users (items) are held out, five times; λ and its
scaling are chosen inside the training fold by holding out a fifth of its users (items) in the same way.
The Bayesian model has nothing to choose; its errors are those of models that were saved and loaded.
A model knows the features of the cold ones alone and is compared with the means of the other side
(every item's mean rating for cold users), which is all that a model without features can say. Intervals
are from 1,000 resamples of the cold users (items).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator
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
GIVEN = {"ml-100k": ("u1", "u3")}
FITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "side": {"side": True},
    "implicit": {"implicit_features": True},
    "implicit and side": {"implicit_features": True, "side": True},
}


BAYES: dict[str, dict[str, Any]] = {
    **{f"{name}, Bayesian": how for name, how in FITS.items() if name != "plain"},
    "implicit and side, ordinal": {**FITS["implicit and side"], "likelihood": "ordinal"},
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
    values = np.round(2 * np.clip(truth[u, i] + rng.normal(0, 0.3, len(u)), 0, 6)) / 2
    return hs.Ratings.from_arrays(u, i, values, keep_order=True)


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


def drawn(
    data: str,
    train: hs.Ratings,
    how: dict[str, Any],
    tables: dict[str, Any],
    given: argparse.Namespace,
) -> hs.BayesianMF:
    """One Bayesian model, from its file."""
    options = {name: value for name, value in how.items() if name != "side"}
    model = hs.BayesianMF(RANK[data], samples=given.samples, **options)
    model.fit(train, **(tables if how.get("side") else {}))
    with tempfile.TemporaryDirectory() as folder:
        return hs.load(model.save(Path(folder) / "model.safetensors"))


def chosen(
    data: str,
    parts: tuple[hs.Ratings, ...],
    how: dict[str, Any],
    tables: dict[str, Any],
    scalings: Iterable[str],
) -> tuple[str, float]:
    """The scaling and λ of the lowest error on the second of two parts of the training part."""
    inner, held_out = parts
    errors = {
        (scaling, λ): fitted(data, inner, how, tables, scaling, λ).rmse(held_out, clip=True)
        for scaling in scalings
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
    for name, how in BAYES.items():
        if "bayes" not in given.models or (given.only and given.only not in name):
            continue
        errors, seconds = [], []
        for train, test in parts_of(data, ratings, given):
            begun = perf_counter()
            model = drawn(data, train, how, tables, given)
            seconds.append(perf_counter() - begun)
            errors.append(model.rmse(test, clip=True))
        found += figures(data, f"halfstep, {name}", errors, seconds, given)
    for name, how in FITS.items():
        if "als" not in given.models or (given.only and given.only not in name):
            continue
        for scaling in given.scalings:
            errors, levels, seconds = [], [], []
            for train, test in folds_of(ratings, given.folds):
                parts = hs.split_random(train, test=0.1, seed=0)
                _, λ = chosen(data, parts, how, tables, [scaling])
                begun = perf_counter()
                model = fitted(data, train, how, tables, scaling, λ)
                seconds.append(perf_counter() - begun)
                levels.append(λ)
                errors.append(model.rmse(test, clip=True))
            engine = f"halfstep, {name}, {scaling}"
            found += figures(data, engine, errors, seconds, given, levels)
    return found


def figures(
    data: str,
    engine: str,
    errors: list[float],
    seconds: list[float],
    given: argparse.Namespace,
    levels: list[float] | None = None,
) -> list[Figure]:
    """Of one way to fit: the mean error of the folds, λ, the seconds; and each part that is given."""
    check(np.mean(errors) < 0.95 * ratings_of(data).by_user.values.std(), f"{engine}: {errors}")
    what = {"part": "features", "engine": engine, "version": hs.__version__}
    what |= {"threads": given.threads, "K": RANK[data]}
    own, extra = errors[: given.folds], errors[given.folds :]
    mean = [float(np.mean(own))]
    found = [Figure.of(mean, measure="RMSE", unit="", case=data, **what)]
    if levels is not None:
        found.append(Figure.of(levels, measure="λ", unit="", case=data, **what))
    found.append(Figure.of(seconds, measure="a fit", unit="s", case=data, **what))
    for part, error in zip(GIVEN.get(data, ()), extra, strict=bool(extra)):
        case = f"{data}, {part}"
        found.append(Figure.of([error], measure="RMSE", unit="", case=case, **what))
    return found


def parts_of(
    data: str, ratings: hs.Ratings, given: argparse.Namespace
) -> Iterator[tuple[hs.Ratings, hs.Ratings]]:
    """The folds, and the parts that come with MovieLens 100K."""
    yield from folds_of(ratings, given.folds)
    for part in GIVEN.get(data, ()):
        pair = (find(data).with_name(f"{part}.{ending}") for ending in ("base", "test"))
        train, test = (hs.read_ratings(path) for path in pair)
        yield train, test


def cold(data: str, side: str, given: argparse.Namespace) -> list[Figure]:
    """Users (items) of whom features alone are known."""
    ratings, tables = ratings_of(data), tables_of(data)
    other = "item" if side == "user" else "user"
    gaps: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"means": []}
    for number, (train, test) in enumerate(hs.kfold_cold(ratings, side, 5, seed=0)):
        if number == given.folds:
            break
        check_split(train, test, kind=f"cold-{side}", of=ratings)
        models: dict[str, Any] = {}
        if "als" in given.models:
            parts = hs.split_cold(train, side, test=0.2, seed=0)
            best = chosen(data, parts, {"side": True}, tables, given.scalings)
            models["features"] = fitted(data, train, {"side": True}, tables, *best)
        if "bayes" in given.models:
            models["features, Bayesian"] = drawn(data, train, {"side": True}, tables, given)
        rows = test.user_index() if side == "user" else test.by_user.indices
        others = test.by_user.indices if side == "user" else test.user_index()
        users, items, r = test.to_arrays()
        for name, guess in (
            ("means", means_of(train, other)[others]),
            *((name, model.predict(users, items, clip=True)) for name, model in models.items()),
        ):
            squares = (r.astype(np.float64) - guess) ** 2
            size = len(ratings.users if side == "user" else ratings.items)
            gaps.setdefault(name, []).append(
                (np.bincount(rows, squares, size), np.bincount(rows, minlength=size))
            )
    case = f"{data}, cold {side}s"
    what = {"part": "features", "case": case, "version": hs.__version__, "threads": given.threads}
    found = []
    errors = {}
    for name, parts in gaps.items():
        squares, counts = (np.add.reduce([part[k] for part in parts]) for k in (0, 1))
        errors[name] = resampled(squares, counts)
        label = f"{other} means" if name == "means" else name
        figure = [errors[name][0], *np.quantile(errors[name][1:], (0.025, 0.975))]
        found.append(
            Figure.of(figure, measure="RMSE", unit="", engine=f"halfstep, {label}", **what)
        )
    for name in [name for name in gaps if name != "means"]:
        differences = errors[name] - errors["means"]
        figure = [differences[0], *np.quantile(differences[1:], (0.025, 0.975))]
        found.append(
            Figure.of(
                figure, measure="features − means", unit="", engine=f"halfstep, {name}", **what
            )
        )
        check(errors[name][0] < 1.05 * errors["means"][0], f"{case}, {name}: {figure}")
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
        given.folds, given.samples = 2, 20
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
    made.add_argument("--models", nargs="+", default=["als", "bayes"], choices=("als", "bayes"))
    made.add_argument("--samples", type=int, default=200, help="draws of a Bayesian model")
    made.add_argument("--scalings", nargs="+", default=["none", "sqrt"], choices=list(LEVELS))
    main(made, measure, "Features")
