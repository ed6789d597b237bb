"""`read_features`: a table of users or of items in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from halfstep.errors import ParameterError, ReadError
from halfstep.features.encoding import Encoding, not_skipped
from halfstep.features.features import Features
from halfstep.features.tables import Request, Table, read_relation

if TYPE_CHECKING:
    from halfstep.data.fetch import Relation
    from halfstep.data.files import File
    from halfstep.data.text import TextTable, Written
    from halfstep.features.movielens import Layout

__all__ = ["read_features"]


def read_features(
    path: str | os.PathLike[str],
    *,
    id: str | int | None = None,
    kinds: Mapping[str, str] | None = None,
    like: Encoding | None = None,
    side: Literal["user", "item"] | None = None,
    sep: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
) -> Features:
    """Read features of users or of items from CSV, TSV, Parquet, JSON lines or MovieLens' own files.

    A file of text has no types: a column is numeric if each of its values is a number or an ISO date,
    where empty, NA, NaN, null, none, ? and - are missing; one «007» makes all of it text, of which only
    an empty value is missing. `u.user`, `u.item`, `users.dat` and `movies.dat` are known by name and
    shape; of a film they give the genres and the year in its title.

    Parameters
    ----------
    path : path, or pattern such as "parts/*.parquet"
    id : str or int, optional
        Name or position of the column of ids. Default: found by its usual names (`userId`, `movieId`,
        …, `id`); without a header the first.
    kinds : dict, optional
        As in `Features.from_table`.
    like : Encoding, optional
        Encode the file as another table was (`features.encoding`, or that of a model) instead of
        learning from it.
    side : {"user", "item"}, optional
        Whose ids the file has, where its names leave that open.
    sep, header, encoding
        As in `read_ratings`.

    Returns
    -------
    Features

    Raises
    ------
    ReadError
        The file cannot be read as a table, or its column of ids is not found.
    DataError, DuplicatesError, ParameterError
        As in `Features.from_table`.
    """
    from halfstep.data.duck import connected, read_errors
    from halfstep.data.files import find, inspect
    from halfstep.data.read import json_lines
    from halfstep.data.sources import open_json, open_parquet
    from halfstep.data.text import Written

    if like is not None and kinds is not None:
        raise ParameterError("kinds", kinds, "cannot be given with `like`", "pass one of them")
    not_skipped(kinds)  # checked before the file is opened
    files = [inspect(name) for name in find(path)]
    if any(file.kind != files[0].kind for file in files) or files[0].kind in ("sqlite", "duckdb"):
        raise ReadError(
            "path", path, "must be text, Parquet or JSON lines", "export the table as CSV"
        )

    def ask(kinds: Mapping[str, str]) -> Request:
        if like is not None:
            return like.request(id, side)
        texts = frozenset(name for name, kind in kinds.items() if kind in ("categorical", "multi"))
        return Request(id, side, not_skipped(kinds), texts=texts)

    given = dict(kinds or {})
    with connected() as (connection, folder):
        if files[0].kind == "text":
            written = Written(sep, header, encoding)
            table, layout = _open_text(connection, folder, files, written)
            if layout is not None:
                given = {**layout.kinds, **given}
            found = _read_text(table, layout, ask(given))
        else:
            opened = open_parquet if files[0].kind == "parquet" else open_json
            with read_errors("path", files[0].path), json_lines(files):
                found = read_relation(opened(connection, files, files[0].path), ask(given))
    if like is not None:
        return like.encode_table(found)
    return Encoding.of(found, given).encode_table(found)


def _open_text(
    connection: Any, folder: Path, files: list[File], written: Written
) -> tuple[TextTable, Layout | None]:
    from halfstep.data.columns import is_id_name
    from halfstep.data.duck import read_errors
    from halfstep.data.text import Written, open_text
    from halfstep.features.movielens import known_layout

    table = open_text(connection, folder, files, files[0].path, written)
    if table.names is not None:
        return table, None
    dialect = table.parts[0].dialect
    layout = known_layout(files[0].path, dialect.sep, dialect.width)
    if layout is None and written.header is None:
        # A header over columns of text alone looks like a row, but for the name of the ids
        with read_errors("path", files[0].path):
            fields = {f"c{k}": f"c{k}" for k in range(dialect.width)}
            first = table.relation().select(fields, "LIMIT 1")
        if any(is_id_name(str(cell)) for values in first.values() for cell in values):
            written = Written(written.sep, True, written.encoding)
            table = open_text(connection, folder, files, files[0].path, written)
    return table, layout


def _read_text(table: TextTable, layout: Layout | None, request: Request) -> Table:
    import duckdb

    from halfstep.data.duck import translated

    while True:
        relation = table.relation() if layout is None else layout.applied(table.relation())
        try:
            return read_relation(_kept(table, relation), request)
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.Error as error:
            if not table.mended(error):
                path = table.parts[0].file.path
                raise translated("path", path, error, table.originals()) from None


def _kept(table: TextTable, relation: Relation) -> Relation:
    """The rows in a table of DuckDB's own, since every column is looked at several times."""
    from halfstep.data.fetch import Column, Relation

    names = [f"k{k}" for k in range(len(relation.columns))]
    listed = ", ".join(f"{c.sql} AS {n}" for c, n in zip(relation.columns, names, strict=True))
    run = relation.connection.execute
    run(f"CREATE OR REPLACE TEMP TABLE kept AS SELECT {listed} FROM {relation.sql}")
    table.require_rows(run("SELECT count(*) FROM kept").fetchone()[0])
    return Relation(
        relation.connection,
        "kept",
        [Column.loose(name) for name in names],
        relation.names,
        relation.description,
        relation.decimal_comma,
        relation.notes,
    )
