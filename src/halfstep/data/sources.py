"""Parquet, JSON lines, SQL over DuckDB and SQLite: tables whose columns have names (and types)."""

from __future__ import annotations

import codecs
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from halfstep.data.columns import Extracted, Given, choose, describe
from halfstep.data.duck import Connection, file_literal, literal, name_literal, read_errors
from halfstep.data.fetch import Column, Relation
from halfstep.data.files import File
from halfstep.data.ids import TEXT, encode
from halfstep.data.report import Source
from halfstep.errors import DataError, ReadError

__all__ = ["from_query", "from_sqlite", "malformed_line", "open_json", "open_parquet", "tables_of"]

Array = npt.NDArray[Any]

_BATCH = 1 << 16
_SAMPLED = 1000  # JSON objects whose keys are taken for the columns


def described(connection: Connection, source: str) -> tuple[list[str], list[str]]:
    """Names and types of the columns of something to select from."""
    rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return [row[0] for row in rows], [row[1] for row in rows]


def declared(
    connection: Connection,
    source: str,
    description: str,
    notes: Sequence[str] = (),
    loose: bool = False,
) -> Relation:
    """A relation whose columns have types (`loose`: text is text of a file, of undeclared type)."""
    names, types = described(connection, source)
    columns = [
        Column.json(name_literal(name))
        if type_ == "JSON"
        else Column.loose(name_literal(name))
        if loose and type_ == "VARCHAR"
        else Column.declared(name_literal(name), type_)
        for name, type_ in zip(names, types, strict=True)
    ]
    return Relation(connection, source, columns, names, description, notes=list(notes))


def open_parquet(connection: Connection, files: Sequence[File], description: str) -> Relation:
    """Parquet files with the same columns, one after the other."""
    first: list[str] | None = None
    for file in files:
        names, _ = described(connection, f"read_parquet({file_literal(file.path)})")
        if first is None:
            first = names
        elif names != first:
            raise ReadError(
                "path",
                file.path,
                f"has columns {', '.join(names)}, {files[0].path} has {', '.join(first)}",
                "read them one at a time",
            )
    listed = ", ".join(file_literal(file.path) for file in files)
    return declared(connection, f"read_parquet([{listed}])", description, ["Parquet"])


def open_json(connection: Connection, files: Sequence[File], description: str) -> Relation:
    """JSON: one object per line, or one array of objects; the keys are the columns."""
    sources = []
    names: dict[str, None] = {}
    for file in files:
        if file.head.startswith(codecs.BOM_UTF8):
            raise ReadError(
                "path", file.path, "is JSON behind a byte-order mark", "remove its first 3 bytes"
            )
        array = file.head.lstrip().startswith(b"[")
        how = "array" if array else "newline_delimited"
        packed = "uncompressed" if file.compression == "none" else file.compression
        options = f"{file_literal(file.path)}, format = '{how}', compression = '{packed}'"
        rows = connection.execute(
            f"SELECT json_keys(json) FROM read_json_objects({options}) LIMIT {_SAMPLED}"
        ).fetchall()
        keys = dict.fromkeys(key for (found,) in rows for key in found or ())
        if not keys:
            raise ReadError(
                "path", file.path, "holds no JSON objects with keys", "write one object per line"
            )
        if names and not keys.keys() & names.keys():
            raise ReadError(
                "path",
                file.path,
                f"has keys {', '.join(keys)}, {files[0].path} has {', '.join(names)}",
                "read them one at a time",
            )
        names |= keys
        sources.append(options)
    columns = ", ".join(f"{literal(name)}: 'JSON'" for name in names)
    sql = " UNION ALL ".join(
        f"SELECT * FROM read_json({options}, auto_detect = false, columns = {{{columns}}})"
        for options in sources
    )
    return Relation(
        connection,
        f"({sql})",
        [Column.json(name_literal(name)) for name in names],
        list(names),
        description,
        notes=["JSON lines"],
    )


def malformed_line(files: Sequence[File]) -> ReadError | None:
    """The error that names the first line that is not a JSON object."""
    for file in files:
        try:
            with file.open() as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.strip():
                        continue
                    try:
                        found = json.loads(line.decode("utf-8-sig"))
                    except ValueError:
                        found = None
                    if not isinstance(found, dict):
                        text = line.decode("utf-8", "replace").strip()
                        return ReadError(
                            "path",
                            file.path,
                            f"line {number} ({text[:60]!r}) is not a JSON object",
                            "write one object per line, or one array of objects",
                        )
        except (OSError, EOFError, ModuleNotFoundError):
            return None
    return None


def from_query(
    connection: Connection,
    query: str,
    database: str | None,
    description: str,
    loose: bool = False,
) -> Relation:
    """The result of a query, kept in a temporary table: a query need not repeat its order."""
    if database is not None:
        with read_errors("path", database):
            connection.execute(f"ATTACH {literal(database)} AS source (READ_ONLY)")
        connection.execute("USE source")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE halfstep_rows AS {query.strip().rstrip(';')}")
    if database is not None:
        connection.execute("USE memory")
        connection.execute("DETACH source")
    return declared(connection, "temp.main.halfstep_rows", description, loose=loose)


# --------------------------------------------------------------------------- SQLite


def _open_sqlite(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)


def tables_of(connection: Connection, file: File) -> list[str]:
    """The tables of a database file, for the error that asks for a query."""
    if file.kind == "sqlite":
        with closing(_open_sqlite(file.path)) as opened:
            rows = opened.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
            ).fetchall()
    else:
        connection.execute(f"ATTACH {literal(file.path)} AS source (READ_ONLY)")
        rows = connection.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_catalog = 'source' ORDER BY table_name"
        ).fetchall()
        connection.execute("DETACH source")
    return [row[0] for row in rows]


def from_sqlite(path: str, query: str, given: Given, description: str) -> Extracted:
    """The result of a query over a SQLite file, in batches, through the standard library."""
    try:
        with closing(_open_sqlite(path)) as opened:
            cursor = opened.execute(query)
            if cursor.description is None:
                raise ReadError("query", query, "returns no table", "pass a SELECT")
            names = [column[0] for column in cursor.description]
            chosen = choose(names, len(names), given, description)
            batches: dict[str, list[Array]] = {role: [] for role in chosen}
            while rows := cursor.fetchmany(_BATCH):
                for role, position in chosen.items():
                    values = [row[position] for row in rows]
                    make = _ids if role in ("user", "item") else _numbers
                    batches[role].append(make(values, role))
    except sqlite3.Error as error:
        rule = str(error)
        if "not a database" in rule or "malformed" in rule:
            raise ReadError("path", path, rule, "check that the file is whole") from None
        raise ReadError("query", query, rule, "check the SQL") from None
    arrays = {role: _joined(parts) for role, parts in batches.items()}
    users, items = encode(arrays["user"], "users"), encode(arrays["item"], "items")
    time = arrays.get("time")
    if time is not None and np.isfinite(time).all() and (time == np.rint(time)).all():
        time = time.astype(np.int64)
    return Extracted(
        users,
        items,
        arrays.get("rating"),
        time,
        arrays.get("weight"),
        Source(description, len(users.codes), ["SQLite", describe(chosen, names)]),
    )


def _ids(values: list[Any], role: str) -> Array:
    kinds = set(map(type, values))
    if kinds == {int}:
        return np.array(values, dtype=np.int64)
    if kinds == {str}:
        return np.array(values, dtype=TEXT)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _numbers(values: list[Any], role: str) -> Array:
    try:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    except (TypeError, ValueError):
        pass
    numbers = np.empty(len(values), dtype=np.float64)
    for k, value in enumerate(values):
        numbers[k] = _number(value, role)
    return numbers


def _number(value: Any, role: str) -> float:
    if value is None:
        return np.nan
    if role == "time" and isinstance(value, str):
        found = iso_seconds(value)
        if found is not None:
            return found
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(
            role, value, "is not a number", "convert it in the query (CAST … AS REAL)"
        ) from None


def iso_seconds(text: str) -> float | None:
    """Seconds since 1970 (UTC) of an ISO date or timestamp."""
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _joined(parts: list[Array]) -> Array:
    if not parts:
        return np.empty(0)
    kinds = {part.dtype.kind for part in parts}
    if len(kinds) == 1 and kinds != {"O"}:
        return np.concatenate(parts)
    # SQLite's columns may hold anything: integers and text together are text
    whole = np.concatenate([part.astype(object) for part in parts])
    types = {type(value) for value in whole if value is not None}
    if types == {int, str}:
        whole = np.array([None if v is None else str(v) for v in whole], dtype=object)
    return whole
