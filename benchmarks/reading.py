"""Reading ratings from CSV and Parquet: ours, and what only reads the table.

    python benchmarks/reading.py                   14.3 million rows
    python benchmarks/reading.py --ratings 1000000
    python benchmarks/reading.py --test            seconds; checks the answers, means nothing else

The file has MovieLens' columns userId, movieId, rating, timestamp. halfstep's `read_ratings` returns
checked ratings, ids looked up and cells sorted both ways; the others return columns. Every read is
the first one of a process of its own, the file in the system's cache. Checked: rows and Σ ratings.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from driver import Engine, available, check, main, parser, room_for, rounds
from instance import scaled
from record import Figure

from halfstep.data.simulate import simulate

LIBRARIES = ["duckdb", "pyarrow", "polars", "pandas"]
ENGINES = [
    Engine("halfstep", "halfstep_read.py"),
    *(Engine(name, "tables_read.py", "tables", name, {"library": name}) for name in LIBRARIES),
]


def write_files(folder: Path, ratings: int) -> tuple[int, float]:
    """ratings.parquet and ratings.csv; rows and Σ ratings."""
    whole = folder / "whole.parquet"
    simulate(**scaled(ratings)).to_parquet(whole)
    table = (
        "SELECT user + 1 AS userId, item + 1 AS movieId, rating, timestamp "
        f"FROM read_parquet('{whole}')"
    )
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"COPY ({table}) TO '{folder / 'ratings.parquet'}' (FORMAT parquet)")
        written = f"SELECT * FROM read_parquet('{folder / 'ratings.parquet'}')"
        connection.execute(f"COPY ({written}) TO '{folder / 'ratings.csv'}' (HEADER)")
        count, total = connection.execute(
            f"SELECT count(*), sum(rating::DOUBLE) FROM ({written})"
        ).fetchone()
    whole.unlink()
    return int(count), float(total)


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if given.test:
        given.ratings = 20_000
    found = []
    engines = available(ENGINES, given.only)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        room_for(folder, 80.0 * given.ratings)
        count, total = write_files(folder, given.ratings)
        for name in ("ratings.csv", "ratings.parquet"):
            (folder / name).read_bytes()  # into the system's cache

            def run(engine: Engine, name: str = name) -> dict[str, Any]:
                figures = engine.run(folder, given.threads, file=name)
                check(figures["rows"] == count, f"{engine.name}: {figures['rows']} rows of {count}")
                same = np.isclose(figures["total"], total, rtol=1e-9)
                check(bool(same), f"{engine.name}: Σ ratings {figures['total']}, not {total}")
                return figures

            runs = rounds(engines, given.repeat, run)
            for measure, key, unit, scale in (
                ("read", "seconds", "s", 1.0),
                ("whole process", "process_seconds", "s", 1.0),
                ("peak memory", "peak_rss", "MB", 1e-6),
            ):
                for engine, results in runs.items():
                    found.append(
                        Figure.of(
                            [scale * result[key] for result in results],
                            part="reading",
                            case=f"{name.partition('.')[2]}, {count:,} rows",
                            engine=engine,
                            version=results[0]["version"],
                            threads=given.threads,
                            measure=measure,
                            unit=unit,
                        )
                    )
    return found


if __name__ == "__main__":
    made = parser(__doc__, repeat=5)
    made.add_argument("--ratings", type=int, default=14_300_000, help="rows of the file")
    main(made, measure, "Reading a table of ratings")
