"""Titles of items: `movies.dat`, `u.item`, `movies.csv`, or any table with an id and a title."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from halfstep.data.ids import parse_integer
from halfstep.errors import ReadError

if TYPE_CHECKING:
    from halfstep.data.fetch import Relation

__all__ = ["Titles", "read_titles"]

_TITLE = [
    *("title", "movietitle", "itemtitle", "booktitle", "producttitle"),
    *("name", "itemname", "productname"),
]


class Titles(Mapping[int | str, str]):
    """The title of each item. An integer and its text are the same id: `titles[7] == titles["7"]`.

    Iteration gives the ids as integers if all of them are, else as text.
    """

    __slots__ = ("_by_text", "_integers")

    def __init__(self, by_text: Mapping[str, str]) -> None:
        self._by_text = dict(by_text)
        self._integers = all(parse_integer(key) is not None for key in self._by_text)

    def __getitem__(self, item: int | str) -> str:
        return self._by_text[str(item)]

    def __iter__(self) -> Iterator[int | str]:
        return map(int, self._by_text) if self._integers else iter(self._by_text)

    def __len__(self) -> int:
        return len(self._by_text)

    def __repr__(self) -> str:
        return f"Titles({len(self)} items)"


def read_titles(
    path: str | os.PathLike[str],
    *,
    item: str | int | None = None,
    title: str | int | None = None,
    sep: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
) -> Titles:
    """Read the titles of items from text, Parquet or JSON lines.

    Parameters
    ----------
    path : path
    item, title : name or position of a column, optional
        Found by their usual names; without a header they are the first and the second column.
    sep, header, encoding
        As in `read_ratings`.

    Raises
    ------
    ReadError
    """
    import duckdb

    from halfstep.data.duck import connected, read_errors, translated
    from halfstep.data.files import find, inspect
    from halfstep.data.sources import open_json, open_parquet
    from halfstep.data.text import Written, open_text

    files = [inspect(name) for name in find(path)]
    if any(file.kind != files[0].kind for file in files) or files[0].kind in ("sqlite", "duckdb"):
        raise ReadError(
            "path", path, "must be text, Parquet or JSON lines", "export the titles as CSV"
        )
    name = files[0].path
    with connected() as (connection, folder):
        if files[0].kind != "text":
            opened = open_parquet if files[0].kind == "parquet" else open_json
            with read_errors("path", name):
                return _collect(opened(connection, files, name), item, title)
        table = open_text(connection, folder, files, name, Written(sep, header, encoding))
        while True:
            try:
                return _collect(table.relation(), item, title)
            except duckdb.Error as error:
                if not table.mended(error):
                    raise translated("path", name, error, table.originals()) from None


def _collect(table: Relation, item: str | int | None, title: str | int | None) -> Titles:
    from halfstep.data.columns import choose

    names, count = table.names, len(table.columns)
    if title is None:
        title = _title_column(names, table.description)
    if names is None and item is None:
        item = 0
    # The roles of `choose` are those of ratings: the title stands in for the user.
    chosen = choose(
        names,
        count,
        {"user": title, "item": item, "rating": False, "time": False, "weight": False},
        table.description,
    )
    found = table.select(
        {"id": table.columns[chosen["item"]].text, "title": table.columns[chosen["user"]].text},
        "",
    )
    titles: dict[str, str] = {}
    for key, value in zip(found["id"].tolist(), found["title"].tolist(), strict=True):
        if key and value:
            titles.setdefault(key, value)
    if not titles:
        raise ReadError(
            "path", table.description, "holds no titles", "pass item= and title= with the columns"
        )
    return Titles(titles)


def _title_column(names: Sequence[str] | None, table: str) -> str | int:
    if names is None:
        return 1
    plain = [re.sub(r"[\W_]+", "", name).lower() for name in names]
    for known in _TITLE:
        if known in plain:
            return plain.index(known)
    raise ReadError(
        "title",
        None,
        f"no column of {table} is known to hold titles: {', '.join(map(repr, names))}",
        "pass title= with the name or position of that column",
    )
