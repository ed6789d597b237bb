"""Five-fold error and time on MovieLens, Surprise's SVD, cmfrec's CMF and ours in one run.

    HALFSTEP_DATA=/path/to/data python benchmarks/accuracy.py ml-100k ml-1m
    python benchmarks/accuracy.py --test           seconds, on simulated ratings

The folds are the customary ones: `idx = arange(N); RandomState(0).shuffle(idx)`, contiguous fifths,
rows in the order of the file. Time is that of preparing a fold, fitting it and predicting its test
part, without reading files; every engine is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from driver import Engine, Failed, available, check, main, parser, rounds
from record import Figure

from halfstep.data.simulate import simulate

# Rank and λ chosen inside each training fold.
AUTOMATIC = {"rank": "auto", "reg": "auto"}
# Known to suit the data. Surprise runs with its defaults (K = 100, 20 epochs, rate .005, λ = .02),
# cmfrec with its own (K = 40, 10 sweeps, plain λ = 10).
OURS: dict[str, dict[str, Any]] = {
    "ml-100k": {
        "rank": 10,
        "reg": [15.0, 15.0, 3.0],
        "reg_scaling": "none",
        "max_iter": 30,
        "tol": 0.0,
    },
    "ml-1m": {"rank": 128, "reg": [0.068, 0.068, 0.02], "max_iter": 6, "tol": 0.0},
    "simulated": {"rank": 4, "reg": 0.1},
}
# Beside it, the same model by stochastic gradient descent.
SGD: dict[str, dict[str, Any]] = {
    "ml-1m": {
        "rank": 64,
        "reg": [0.05, 0.05, 0.02],
        "solver": {"name": "sgd", "rate": 0.05},
        "max_iter": 17,
        "tol": 0.0,
    },
    "simulated": {"rank": 4, "reg": 0.1, "solver": "sgd"},
}
# What Surprise's own documentation gives, so that a wrong protocol is noticed.
PUBLISHED = {"ml-100k": 0.934, "ml-1m": 0.873}
FILES = {"ml-100k": ["u.data"], "ml-1m": ["ratings.dat", "ratings.parquet"]}


def find(data: str) -> Path:
    """The file of ratings of `data` under HALFSTEP_DATA."""
    root = os.environ.get("HALFSTEP_DATA")
    if not root:
        raise Failed("HALFSTEP_DATA is not set: give the folder that holds ml-100k and ml-1m")
    for name in FILES[data]:
        if (Path(root) / data / name).exists():
            return Path(root) / data / name
    raise Failed(f"HALFSTEP_DATA={root}: holds no {data}/{' or '.join(FILES[data])}")


def write_columns(data: str, folder: Path) -> None:
    """Users, items and ratings in the order of the file, as arrays in `folder`."""
    if data == "simulated":
        rows = simulate(200, 100, rank=4, seed=0).rows()
        order = np.random.default_rng(0).permutation(len(rows.users))
        columns = [rows.users[order], rows.items[order], rows.ratings[order]]
    elif (path := find(data)).suffix == ".parquet":
        import duckdb

        table = duckdb.execute(
            'SELECT "user", item, rating FROM read_parquet(?)', [str(path)]
        ).fetchnumpy()
        columns = [np.asarray(table[name]) for name in ("user", "item", "rating")]
    else:
        text = path.read_text("latin-1").replace("::", "\t")
        table = np.array([line.split("\t")[:3] for line in text.splitlines()], dtype=np.int64)
        columns = list(table.T)
    for name, column in zip(("users", "items", "ratings"), columns, strict=True):
        np.save(folder / name, column.astype(np.float32 if name == "ratings" else np.int64))


def figures_of(data: str, name: str, results: list[dict[str, Any]], threads: int) -> list[Figure]:
    """Mean errors over the folds, and seconds a fold."""
    folds = [fold for result in results for fold in result["folds"]]
    what = {"part": "accuracy", "case": data, "engine": name, "threads": threads}
    what["version"] = results[0]["version"]
    found = [
        Figure.of([np.mean([fold[key] for fold in folds])], measure=key.upper(), unit="", **what)
        for key in ("rmse", "mae")
    ]
    for label, steps in (
        ("a fold", ("prepare", "fit", "predict")),
        ("of it the fit", ("fit",)),
        ("of it the prediction", ("predict",)),
    ):
        seconds = [sum(fold[step] for step in steps) for fold in folds]
        found.append(Figure.of(seconds, measure=label, unit="s", **what))
    peaks = [result["peak_rss"] / 1e6 for result in results]
    found.append(Figure.of(peaks, measure="peak memory", unit="MB", **what))
    return found


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if unknown := [name for name in given.data if name not in FILES]:
        raise Failed(f"data={unknown[0]}: is not known; choose from {', '.join(FILES)}")
    found = []
    for data in ["simulated"] if given.test else given.data or list(FILES):
        engines = [
            Engine("halfstep", "halfstep_mf.py", options=given.ours or OURS[data]),
            Engine("halfstep, automatic", "halfstep_mf.py", options=AUTOMATIC),
            Engine("Surprise, SVD", "surprise_svd.py", "peers", "scikit-surprise"),
            Engine("cmfrec, CMF", "cmfrec_mf.py", "cmfrec", "cmfrec"),
        ]
        if data in SGD:
            engines.append(Engine("halfstep, SGD", "halfstep_mf.py", options=SGD[data]))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_columns(data, folder)
            spread = float(np.load(folder / "ratings.npy").std())

            def run(
                engine: Engine, folder: Path = folder, data: str = data, spread: float = spread
            ) -> dict[str, Any]:
                figures = engine.run(folder, given.threads)
                rmse = float(np.mean([fold["rmse"] for fold in figures["folds"]]))
                check(rmse < 0.95 * spread, f"{engine.name} on {data}: RMSE {rmse:.4f}")
                if engine.peer == "peers" and data in PUBLISHED:
                    off = abs(rmse - PUBLISHED[data])
                    message = f"{engine.name} on {data}: RMSE {rmse:.4f}, not {PUBLISHED[data]}"
                    check(off < 0.003, message)
                return figures

            runs = rounds(available(engines, given.only), given.repeat, run)
        for name, results in runs.items():
            found += figures_of(data, name, results, given.threads)
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("data", nargs="*", help=f"{' and '.join(FILES)}, the default")
    made.add_argument("--ours", type=json.loads, help="ExplicitMF's parameters, a JSON object")
    main(made, measure, "Five folds")
