"""Answers as files: CSV, Parquet, or JSON lines; written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from halfstep.errors import ParameterError
from halfstep.files import replace_file

__all__ = ["check_kind", "write_table"]


def check_kind(path: Path) -> None:
    """Raise where the name of the file does not say what to write."""
    if path.suffix.lower() not in _WRITERS:
        raise ParameterError(
            "path", str(path), "has no known ending", f"choose one of {', '.join(_WRITERS)}"
        )


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """One row for each entry of the columns (arrays or lists of equal length)."""
    check_kind(path)
    write = _WRITERS[path.suffix.lower()]
    replace_file(path, lambda temporary: write(Path(temporary), columns))


def _lists(columns: Mapping[str, Any]) -> list[list[Any]]:
    return [c.tolist() if isinstance(c, np.ndarray) else list(c) for c in columns.values()]


def _cells(columns: Mapping[str, Any]) -> list[list[Any]]:
    return [
        [str(v) for v in c] if isinstance(c, np.ndarray) and c.dtype.kind == "f" else listed
        for c, listed in zip(columns.values(), _lists(columns), strict=True)
    ]


def _csv(path: Path, columns: Mapping[str, Any]) -> None:
    import csv

    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*_cells(columns), strict=True))


def _jsonl(path: Path, columns: Mapping[str, Any]) -> None:
    import json

    with open(path, "w", encoding="utf-8") as file:
        for row in zip(*_lists(columns), strict=True):
            entry = {
                name: None if isinstance(value, float) and value != value else value
                for name, value in zip(columns, row, strict=True)
            }
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _parquet(path: Path, columns: Mapping[str, Any]) -> None:
    import duckdb

    from halfstep.data.duck import literal

    arrays = {
        name: column if isinstance(column, np.ndarray) else np.array(column, dtype=object)
        for name, column in columns.items()
    }
    with duckdb.connect(":memory:") as connection:
        connection.register("answers", arrays)
        connection.execute(
            f"COPY (SELECT * FROM answers) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
        )


_WRITERS: dict[str, Callable[[Path, Mapping[str, Any]], None]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".jsonl": _jsonl,
}
