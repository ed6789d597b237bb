"""`read_ratings`: a table of ratings in a file, a set of files or a database.

files ─ files.py (which, what kind) ─ sniff.py (separator, header)
  → one relation in DuckDB ─ text.py, sources.py
  → which column is what ─ columns.py
  → arrays ─ fetch.py
  → Ratings ─ assemble.py
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from halfstep.data.columns import Extracted, Given
from halfstep.errors import ParameterError, ReadError

if TYPE_CHECKING:
    from halfstep.data.duck import Connection
    from halfstep.data.fetch import Relation
    from halfstep.data.files import File
    from halfstep.data.ratings import Ratings
    from halfstep.data.text import Written

__all__ = ["json_lines", "opened", "read_ratings"]

_LIKE_A_TIME = 1e8  # seconds since 1970 are more, ratings less

PathArgument = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None


def read_ratings(
    path: PathArgument = None,
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    rating: str | int | None = None,
    time: str | int | None = None,
    weight: str | int | None = None,
    sep: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
    format: str | None = None,
    query: str | None = None,
    duplicates: str | None = None,
    invalid: str = "error",
    keep_order: bool = False,
) -> Ratings:
    """Read ratings from CSV, TSV, MovieLens `::`, Parquet, JSON lines or a database.

    What the file does not say is found out and written into `ratings.report.source.notes`:
    separator, header, encoding, columns. An argument overrules what was found. Gzip and zstd are
    unpacked while reading.

    Parameters
    ----------
    path : path, pattern such as "parts/*.csv.gz", or a list of them
        Files of one table, read one after the other. With `query`, a DuckDB or SQLite file, or None.
    user, item, rating, time, weight : name or position of a column, optional
        Found by their usual names (`userId`, `movieId`, `rating`, `timestamp`, `weight`, …); without a
        header the order is user, item, rating, time. False means that there is none. Without ratings
        every row counts 1.
    sep : str, optional
        The separator; "tab" and "blanks" (any run of spaces and tabs) may be spelled out.
    header : bool, optional
        Whether the first line names the columns.
    encoding : str, optional
        Default UTF-8, or Latin-1 where the bytes are not UTF-8.
    format : {"text", "parquet", "json"}, optional
        Default: by the first bytes of the file.
    query : str, optional
        SQL whose result is the table: over the tables of a database file, over files named in it
        (`select … from 'x.parquet'`), or over the file at `path`, which is then called `data`.
    duplicates, invalid, keep_order
        As in `Ratings.from_arrays`.

    Returns
    -------
    Ratings
        Ids of a text file are integers if each of them is the canonical form of a 64-bit integer, else
        text: one «007» makes all of its column text. Times are seconds or whatever number stands there.

    Raises
    ------
    ReadError, DataError, ParameterError
    """
    from halfstep.data.assemble import assemble

    given = {"user": user, "item": item, "rating": rating, "time": time, "weight": weight}
    with opened(
        path, given, sep=sep, header=header, encoding=encoding, format=format, query=query
    ) as found:
        return assemble(found, duplicates=duplicates, invalid=invalid, keep_order=keep_order)


@contextmanager
def opened(
    path: PathArgument,
    given: Given,
    *,
    sep: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
    format: str | None = None,
    query: str | None = None,
) -> Iterator[Extracted]:
    """The columns of a table; `bad_text` works until the end of the `with`."""
    from halfstep.data.duck import connected
    from halfstep.data.files import find, inspect
    from halfstep.data.sources import from_sqlite
    from halfstep.data.text import Written

    if header is not None and not isinstance(header, bool):
        raise ParameterError("header", header, "must be True, False or None", "try header=True")
    if query is not None and (not isinstance(query, str) or not query.strip()):
        raise ParameterError("query", query, "must be SQL", 'try query="SELECT * FROM ratings"')
    if path is None and query is None:
        raise ReadError("path", None, "names no file", "pass a path, or query=")
    files = [] if path is None else [inspect(name, format) for name in find(path)]
    described = _description(path, files)
    _check_one_kind(files, query, described)
    if files and files[0].kind == "sqlite" and query is not None:
        yield from_sqlite(files[0].path, query, given, described)
        return
    written = Written(sep, header, encoding)
    with connected() as (connection, folder):
        if files and files[0].kind == "text":
            yield _from_text(connection, folder, files, described, given, query, written)
        else:
            yield _from_typed(connection, files, described, given, query)


def _description(path: PathArgument, files: list[File]) -> str:
    if not files:
        return "query"
    if len(files) == 1:
        return files[0].path
    shown = os.fspath(path) if isinstance(path, (str, os.PathLike)) else f"{files[0].path}, …"
    return f"{shown} ({len(files)} files)"


def _check_one_kind(files: list[File], query: str | None, described: str) -> None:
    from halfstep.data.duck import connected, read_errors
    from halfstep.data.sources import tables_of

    if not files:
        return
    first = files[0]
    for file in files:
        if file.kind != first.kind:
            raise ReadError(
                "path",
                file.path,
                f"holds {file.kind}, {first.path} holds {first.kind}",
                "read them one at a time",
            )
    if first.kind not in ("sqlite", "duckdb"):
        return
    if len(files) > 1:
        raise ReadError("path", described, "names several databases", "read them one at a time")
    if query is None:
        with connected() as (connection, _), read_errors("path", first.path):
            names = tables_of(connection, first)
        raise ReadError(
            "query",
            None,
            f"{first.path} is a database with the tables {', '.join(names) or '(none)'}",
            f'pass query="SELECT … FROM {names[0] if names else "…"}"',
        )


def _from_text(
    connection: Connection,
    folder: Path,
    files: list[File],
    described: str,
    given: Given,
    query: str | None,
    written: Written,
) -> Extracted:
    import duckdb

    from halfstep.data.duck import name_literal, translated
    from halfstep.data.sources import from_query
    from halfstep.data.text import open_text

    table = open_text(connection, folder, files, described, written)
    hint = "" if written.sep is not None else ", or sep= if the separator is another"
    while True:
        relation = table.relation()
        try:
            if query is not None:
                columns = relation.sql
                if relation.names is not None:
                    named = (
                        f"c{k} AS {name_literal(name)}" for k, name in enumerate(relation.names)
                    )
                    columns = f"(SELECT {', '.join(named)} FROM {relation.sql})"
                connection.execute(f"CREATE OR REPLACE TEMP VIEW data AS SELECT * FROM {columns}")
                notes = relation.notes
                relation = from_query(connection, query, None, described, loose=True)
                relation.notes[:0] = notes
            found = _extract(relation, given, hint)
            if query is None:
                table.require_rows(found.source.rows)
            return found
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.Error as error:
            if table.mended(error):
                continue
            if query is not None and "CSV Error" not in str(error):
                raise translated("query", query, error) from None
            raise translated("path", files[0].path, error, table.originals()) from None


def _from_typed(
    connection: Connection,
    files: list[File],
    described: str,
    given: Given,
    query: str | None,
) -> Extracted:
    from halfstep.data.duck import read_errors
    from halfstep.data.sources import from_query, open_json, open_parquet

    about = ("path", described) if query is None else ("query", query)
    with read_errors(*about):
        if not files or files[0].kind == "duckdb":
            database = files[0].path if files else None
            return _extract(from_query(connection, query or "", database, described), given)
        open_table = open_parquet if files[0].kind == "parquet" else open_json
        with read_errors("path", files[0].path), json_lines(files):
            relation = open_table(connection, files, described)
        if query is not None:
            connection.execute(f"CREATE TEMP VIEW data AS SELECT * FROM {relation.sql}")
            notes = relation.notes
            relation = from_query(connection, query, None, described)
            relation.notes[:0] = notes
        with json_lines(files):
            return _extract(relation, given)


@contextmanager
def json_lines(files: list[File]) -> Iterator[None]:
    """DuckDB's complaint about JSON, with the line that is wrong."""
    import duckdb

    from halfstep.data.sources import malformed_line

    try:
        yield
    except duckdb.Error as error:
        array = files[0].head.lstrip().startswith(b"[")
        named = malformed_line(files) if "JSON" in str(error) and not array else None
        if named is None:
            raise
        raise named from None


def _extract(relation: Relation, given: Given, hint: str = "") -> Extracted:
    from halfstep.data.columns import choose
    from halfstep.data.fetch import fetch

    names = relation.names
    chosen = choose(names, len(relation.columns), given, relation.description, hint=hint)
    found = fetch(relation, chosen)
    ratings = found.ratings
    unsaid = names is None and given.get("rating") is None
    # NaN where one is missing, and then it is not greater
    if unsaid and ratings is not None and len(ratings) and ratings.min() >= _LIKE_A_TIME:
        x = relation.columns[chosen["rating"]].text
        lowest = relation.select({"x": f"min(try_cast({x} AS DOUBLE))"})["x"][0]
        raise ReadError(
            "rating",
            None,
            f"column {chosen['rating']} of {relation.description} has no name and looks like a "
            f"time (its lowest value is {lowest:.0f})",
            f"pass time={chosen['rating']}, rating=False or rating={chosen['rating']}",
        )
    return found
