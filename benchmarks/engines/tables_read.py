"""A table read whole by the library of the option `library`; nothing is looked up or sorted."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from common import answer, arguments, memory, peak_rss


def read_duckdb(duckdb: Any, path: Path, threads: int) -> np.ndarray:
    scan = "read_csv" if path.suffix == ".csv" else "read_parquet"
    with duckdb.connect(":memory:", config={"threads": threads}) as connection:
        table = connection.execute(f"SELECT * FROM {scan}(?)", [str(path)]).fetchnumpy()
    return table["rating"]


def read_pyarrow(pyarrow: Any, path: Path, threads: int) -> np.ndarray:
    pyarrow.set_cpu_count(threads)
    if path.suffix == ".csv":
        table = pyarrow.csv.read_csv(path)
    else:
        table = pyarrow.parquet.read_table(path)
    return table["rating"].to_numpy()


def read_polars(polars: Any, path: Path, threads: int) -> np.ndarray:
    table = polars.read_csv(path) if path.suffix == ".csv" else polars.read_parquet(path)
    return table["rating"].to_numpy()


def read_pandas(pandas: Any, path: Path, threads: int) -> np.ndarray:
    table = pandas.read_csv(path) if path.suffix == ".csv" else pandas.read_parquet(path)
    return table["rating"].to_numpy()


READERS: dict[str, Callable[[Any, Path, int], np.ndarray]] = {
    "duckdb": read_duckdb,
    "pyarrow": read_pyarrow,
    "polars": read_polars,
    "pandas": read_pandas,
}
SUBMODULES = {"pyarrow": ["pyarrow.csv", "pyarrow.parquet"]}


def main() -> None:
    given = arguments(__doc__)
    library = import_module(given.options["library"])
    for more in SUBMODULES.get(given.options["library"], []):
        import_module(more)
    path = given.folder / given.options["file"]
    before = memory()
    begun = perf_counter()
    ratings = READERS[given.options["library"]](library, path, given.threads)
    seconds = perf_counter() - begun
    peak = peak_rss()
    answer(
        version=library.__version__,
        seconds=seconds,
        peak_rss=peak,
        beyond=peak - before,
        rows=len(ratings),
        total=float(np.sum(ratings, dtype=np.float64)),
    )


if __name__ == "__main__":
    main()
