"""The files of MovieLens that describe users and films without a header: u.user, u.item, *.dat.

A file is known by its name, its separator and the number of its fields; the columns are those of the
README files beside the ratings (GroupLens, ml-100k and ml-1m).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from halfstep.data.duck import literal, name_literal
from halfstep.data.fetch import Column, Relation

__all__ = ["Layout", "known_layout"]

# fmt: off
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller",
    "War", "Western",
)
# fmt: on
_FLAGS = ", ".join(
    f"CASE WHEN c{5 + k} = '1' THEN {literal(genre)} END" for k, genre in enumerate(_GENRES)
)
_YEAR = r"regexp_extract(c1, '.*\((\d{4})\)', 1)"
"""The year that ends a title, «Heat (1995)»; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a file as SQL over its fields c0, c1, …; `kinds` of those whose values mislead."""

    sep: str
    width: int
    columns: Mapping[str, str]
    kinds: Mapping[str, str]

    def applied(self, table: Relation) -> Relation:
        """The table with these columns."""
        listed = ", ".join(f"{sql} AS {name_literal(name)}" for name, sql in self.columns.items())
        return Relation(
            table.connection,
            f"(SELECT {listed} FROM {table.sql})",
            [Column.loose(name_literal(name)) for name in self.columns],
            list(self.columns),
            table.description,
            table.decimal_comma,
            table.notes,
        )


_LAYOUTS = {
    "u.user": Layout(
        "|",
        5,
        {"user": "c0", "age": "c1", "gender": "c2", "occupation": "c3", "zip": "c4"},
        {"zip": "categorical"},
    ),
    "u.item": Layout(
        "|",
        5 + len(_GENRES),
        {"item": "c0", "title": "c1", "year": _YEAR, "genres": f"concat_ws('|', {_FLAGS})"},
        {"title": "skip", "genres": "multi"},
    ),
    "users.dat": Layout(
        "::",
        5,
        {"user": "c0", "gender": "c1", "age": "c2", "occupation": "c3", "zip": "c4"},
        # The age and the occupation are codes: 1 is «under 18», and 12 a programmer
        {"age": "categorical", "occupation": "categorical", "zip": "categorical"},
    ),
    "movies.dat": Layout(
        "::",
        3,
        {"item": "c0", "title": "c1", "year": _YEAR, "genres": "c2"},
        {"title": "skip", "genres": "multi"},
    ),
}


def known_layout(path: str, sep: str, width: int) -> Layout | None:
    """The layout of a file of MovieLens, None where it is another file."""
    found = _LAYOUTS.get(os.path.basename(path))
    return found if found is not None and (found.sep, found.width) == (sep, width) else None
