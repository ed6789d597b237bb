"""Five-fold error and time on MovieLens, Surprise's SVD and ours in one run.

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
from driver import Engine, available, check, cores, machine
from rich.console import Console
from rich.table import Table

from halfstep.data.simulate import simulate

# The options of ours; Surprise runs with its defaults (K = 100, 20 epochs, rate .005, λ = .02).
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
# What Surprise's own documentation gives, so that a wrong protocol is noticed.
PUBLISHED = {"ml-100k": 0.934, "ml-1m": 0.873}
FILES = {"ml-100k": ["u.data"], "ml-1m": ["ratings.dat", "ratings.parquet"]}


def find(data: str) -> Path:
    """The file of ratings of `data` under HALFSTEP_DATA."""
    root = os.environ.get("HALFSTEP_DATA")
    if not root:
        raise SystemExit("HALFSTEP_DATA is not set: give the folder that holds ml-100k and ml-1m")
    for name in FILES[data]:
        if (Path(root) / data / name).exists():
            return Path(root) / data / name
    raise SystemExit(f"HALFSTEP_DATA={root}: holds no {data}/{' or '.join(FILES[data])}")


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


def mean(figures: dict[str, Any], *names: str) -> float:
    """The mean over the folds of the sum of these figures."""
    return float(np.mean([sum(fold[name] for name in names) for fold in figures["folds"]]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", help=f"{' and '.join(FILES)}, the default")
    parser.add_argument("--ours", type=json.loads, help="ExplicitMF's parameters, a JSON object")
    parser.add_argument("--threads", type=int, default=cores(), help="default: all cores")
    parser.add_argument("--only", choices=["halfstep", "surprise"])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--test", action="store_true", help="tiny simulated data")
    given = parser.parse_args()
    if unknown := [name for name in given.data if name not in FILES]:
        parser.error(f"data={unknown[0]}: is not known; choose from {', '.join(FILES)}")

    where = machine(given.threads)
    table = Table(title="Five folds: mean error, and seconds a fold", caption=f"{where}.")
    for title in ("data", "engine"):
        table.add_column(title)
    for title in ("RMSE", "MAE", "prepare", "fit", "predict", "all", "peak MB"):
        table.add_column(title, justify="right")
    results: dict[str, dict[str, Any]] = {}
    for data in ["simulated"] if given.test else given.data or list(FILES):
        engines = [
            Engine("halfstep", "halfstep_mf.py", options=given.ours or OURS[data]),
            Engine("surprise", "surprise_svd.py", peer=True),
        ]
        engines = available([e for e in engines if given.only in (None, e.name)])
        results[data] = {}
        with tempfile.TemporaryDirectory() as scratch:
            write_columns(data, Path(scratch))
            for engine in engines:
                results[data][engine.name] = engine.run(Path(scratch), given.threads)
            spread = float(np.load(Path(scratch) / "ratings.npy").std())
        for name, figures in results[data].items():
            rmse = mean(figures, "rmse")
            check(rmse < 0.95 * spread, f"{name} on {data}: RMSE {rmse:.4f}")
            if name == "surprise" and data in PUBLISHED:
                off = abs(rmse - PUBLISHED[data])
                check(off < 0.003, f"surprise on {data}: RMSE {rmse:.4f}, not {PUBLISHED[data]}")
            seconds = [mean(figures, part) for part in ("prepare", "fit", "predict")]
            table.add_row(
                data,
                f"{name} ({figures['version']})",
                f"{rmse:.4f}",
                f"{mean(figures, 'mae'):.4f}",
                *(f"{part:.2f}" for part in [*seconds, sum(seconds)]),
                f"{figures['peak_rss'] / 1e6:,.0f}",
            )
    if given.json:
        print(json.dumps({"machine": where, "results": results}))
    else:
        Console(width=None if Console().is_terminal else 120).print(table)


if __name__ == "__main__":
    main()
