"""From something DuckDB can select from to columns as arrays.

A column of a text file has no type. Whether its ids are integers is decided over the whole column:

1. Optimistic pass: every chosen column in one query, as narrow as its first rows are: ids and times
   as 32 or 64-bit integers, ratings as float32. An id becomes an integer where writing that integer
   gives the same text again; anything else («007», « 12», «1e3», beyond its bits) becomes NULL. A
   column with a NULL is looked at again, as wide as can be.
2. Where a column had such an id, all of it is text: the distinct ids are sorted and numbered, and a
   join gives the code of every row. Only distinct ids become Python strings. (An ENUM would do the
   same, but its cast looks up ten million rows six times slower than the join.)
3. A rating or a time that is not a number becomes NaN. If times are ISO dates, or all ratings are
   written with a decimal comma, they are read again as that.

A column with a declared type (Parquet, SQL, Arrow) keeps it: text stays text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from halfstep.data.columns import ARGUMENT, Choice, Extracted, describe, encode_masked
from halfstep.data.duck import Connection
from halfstep.data.ids import MISSING, TEXT, Encoded, IdMap
from halfstep.data.report import Source
from halfstep.errors import DataError

__all__ = ["ISO", "Column", "Relation", "canonical", "fetch", "not_canonical", "number"]

Array = npt.NDArray[Any]

_INTEGERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}
_WHOLE = ("INTEGER", "BIGINT")
_FLOATS = ("FLOAT", "DOUBLE", "DECIMAL")
_TEXTS = ("VARCHAR", "ENUM", "UUID")
_TIMES = ("DATE", "TIMESTAMP")

_FLOAT_EXACT = 2.0**53
ISO = r"^\s*\d{4}-\d{1,2}-\d{1,2}([ T].*)?$"


@dataclass(frozen=True, slots=True)
class Column:
    """One column as SQL: `text` is its text; `kind` what it may hold.

    "loose" is text whose type is not declared (of a text file), `raw` its text with JSON's quotes.
    """

    sql: str
    kind: str  # loose, integer, float, text, time, boolean, null, other
    type: str
    text: str
    raw: str

    @classmethod
    def loose(cls, sql: str) -> Column:
        """A column of a text file."""
        return cls(sql, "loose", "text", sql, sql)

    @classmethod
    def json(cls, sql: str) -> Column:
        """A column of DuckDB's JSON type: the number 7 is an integer, the string "7" is text."""
        return cls(sql, "loose", "JSON", f"({sql} ->> '$')", f"{sql}::VARCHAR")

    @classmethod
    def declared(cls, sql: str, type_: str) -> Column:
        """A column with a type."""
        plain = type_.upper()
        if plain in _INTEGERS:
            kind = "integer"
        elif plain.startswith(_FLOATS) and not plain.endswith("]"):
            kind = "float"
        elif plain.startswith(_TEXTS) and not plain.endswith("]"):
            kind = "text"
        elif plain.startswith(_TIMES) and not plain.endswith("]"):
            kind = "time"
        elif plain in ("BOOLEAN", '"NULL"', "NULL"):
            kind = "boolean" if plain == "BOOLEAN" else "null"
        else:
            kind = "other"
        return cls(sql, kind, type_, f"{sql}::VARCHAR", f"{sql}::VARCHAR")


@dataclass(slots=True)
class Relation:
    """A table inside DuckDB: something to select from, and its columns.

    The same query must give the same rows in the same order each time.
    """

    connection: Connection
    sql: str
    columns: Sequence[Column]
    names: Sequence[str] | None
    description: str
    decimal_comma: bool = True  # whether «4,5» may be a number
    notes: list[str] = field(default_factory=list)

    def select(self, expressions: Mapping[str, str], tail: str = "") -> dict[str, Array]:
        """A numpy array (masked where there are NULLs) for each expression."""
        listed = ", ".join(f"{sql} AS {name}" for name, sql in expressions.items())
        found: dict[str, Array] = self.connection.execute(
            f"SELECT {listed} FROM {self.sql} {tail}"
        ).fetchnumpy()
        return found

    def counts(self, expressions: Mapping[str, str]) -> dict[str, int]:
        """How many rows fulfil each condition."""
        return {
            name: int(value[0])
            for name, value in self.select(
                {name: f"count(*) FILTER ({sql})" for name, sql in expressions.items()}
            ).items()
        }


def fetch(table: Relation, chosen: Choice) -> Extracted:
    """The chosen columns of a table; values that cannot be read are NaN or `MISSING`.

    Raises `DataError` where a column cannot hold what it was chosen for.
    """
    columns = {role: table.columns[position] for role, position in chosen.items()}
    _check_types(table, chosen, columns)
    texts, widths = _probe(table, columns)
    others = {r: _narrow(r, c, widths.get(r)) for r, c in columns.items() if r not in texts}
    encoded: dict[str, Encoded] = {}
    if texts:
        encoded, got = _select_with_texts(table, {r: columns[r] for r in texts}, others)
    else:
        got = table.select(others)
    late = _late_texts(table, columns, got)
    if late:
        encoded |= _select_with_texts(table, {role: columns[role] for role in late}, {})[0]
    for role, column in columns.items():
        narrow = others.get(role)
        if role not in late and np.ma.is_masked(got.get(role)) and narrow != _wide(role, column):
            got[role] = table.select({role: _wide(role, column)})[role]
    for role in ("user", "item"):
        if role not in encoded:
            encoded[role] = encode_masked(_whole(got.pop(role), columns[role]), ARGUMENT[role])
    numbers = {
        role: _numbers(table, role, chosen[role], columns[role], got.pop(role))
        for role in ("rating", "weight")
        if role in columns
    }
    time = _times(table, columns["time"], got.pop("time")) if "time" in columns else None
    table.notes.append(describe(chosen, table.names))
    by_argument = {ARGUMENT[role]: column for role, column in columns.items()}

    def bad_text(argument: str, row: int) -> str:
        found = table.select({"x": by_argument[argument].text}, f"LIMIT 1 OFFSET {row}")["x"]
        return "" if np.ma.getmaskarray(found).any() else str(found[0])

    return Extracted(
        encoded["user"],
        encoded["item"],
        numbers.get("rating"),
        time,
        numbers.get("weight"),
        Source(table.description, len(encoded["user"].codes), table.notes),
        bad_text,
    )


def _check_types(table: Relation, chosen: Choice, columns: Mapping[str, Column]) -> None:
    allowed = {
        "user": ("loose", "integer", "float", "text", "null"),
        "item": ("loose", "integer", "float", "text", "null"),
        "rating": ("loose", "integer", "float", "boolean", "null"),
        "weight": ("loose", "integer", "float", "boolean", "null"),
        "time": ("loose", "integer", "float", "text", "time", "null"),
    }
    rules = {
        "user": "ids are integers or text",
        "item": "ids are integers or text",
        "time": "times are numbers, timestamps or ISO dates",
    }
    for role, column in columns.items():
        if column.kind in allowed[role]:
            continue
        name = chosen[role] if table.names is None else table.names[chosen[role]]
        raise DataError(
            ARGUMENT[role],
            name,
            f"is a column of type {column.type}: {rules.get(role, 'it must hold numbers')}",
            f"convert the column first, or pass {role}= with another",
        )


# ------------------------------------------------------------------------------ ids


def canonical(column: Column, integer: str = "BIGINT") -> str:
    """The id as an integer where its text is that integer's own, else NULL."""
    x = column.raw
    if column.kind == "integer":
        return f"try_cast({column.sql} AS {integer})"
    # The reader would push a bare TRY_CAST down into the scan as a CAST that raises; not this one.
    return (
        f"CASE WHEN try_cast({x} AS {integer})::VARCHAR = {x} THEN try_cast({x} AS {integer}) END"
    )


def not_canonical(column: Column) -> str:
    """Whether there is an id whose text is not that of an integer."""
    return f"nullif({column.text}, '') IS NOT NULL AND ({canonical(column)}) IS NULL"


def _probe(table: Relation, columns: Mapping[str, Column]) -> tuple[list[str], dict[str, str]]:
    """What the first rows tell: the id columns that are text, and the width of whole numbers."""
    sides = {role: columns[role] for role in ("user", "item")}
    texts = [role for role, column in sides.items() if column.kind in ("text", "null")]
    whole = {
        role: column
        for role, column in columns.items()
        if role in ("user", "item", "time") and column.kind in ("loose", "integer")
    }
    if not whole:
        return texts, {}
    asked = {f"{r}_{k}": canonical(c, k) for r, c in whole.items() for k in _WHOLE}
    asked |= {f"{r}_odd": not_canonical(c) for r, c in whole.items() if c.kind == "loose"}
    first = table.select(asked, "LIMIT 1000")
    texts += [role for role in sides if f"{role}_odd" in first and first[f"{role}_odd"].any()]
    fits = {
        role: [k for k in _WHOLE if not np.ma.is_masked(first[f"{role}_{k}"])] for role in whole
    }
    return texts, {role: kinds[0] for role, kinds in fits.items() if kinds}


def _late_texts(
    table: Relation, columns: Mapping[str, Column], got: Mapping[str, Array]
) -> list[str]:
    """The id columns in which the optimistic pass met an id that is not an int64."""
    doubtful = {
        role: columns[role]
        for role in ("user", "item")
        if role in got
        and columns[role].kind in ("loose", "integer")
        and isinstance(got[role], np.ma.MaskedArray)
    }
    if not doubtful:
        return []
    odd = table.counts({role: f"WHERE {not_canonical(c)}" for role, c in doubtful.items()})
    return [role for role in doubtful if odd[role]]


def _select_with_texts(
    table: Relation, texts: Mapping[str, Column], others: Mapping[str, str]
) -> tuple[dict[str, Encoded], dict[str, Array]]:
    """Text columns encoded, and the other expressions as arrays, from one scan of the table."""
    run = table.connection.execute
    columns = [f"nullif({column.text}, '') AS {role}" for role, column in texts.items()]
    columns += [f"{sql} AS {role}" for role, sql in others.items()]
    run(f"CREATE OR REPLACE TEMP TABLE kept_rows AS SELECT {', '.join(columns)} FROM {table.sql}")
    sets = ", ".join(f"({role})" for role in texts)
    run(
        f"CREATE OR REPLACE TEMP TABLE distinct_ids AS SELECT {', '.join(texts)} FROM kept_rows "
        f"GROUP BY GROUPING SETS ({sets})"
    )
    maps = {}
    joins = ""
    for role in texts:
        # DuckDB compares text by its UTF-8 bytes, which is the order of the code points
        run(
            f"CREATE OR REPLACE TEMP TABLE {role}_ids AS SELECT {role}, "
            f"(row_number() OVER (ORDER BY {role}) - 1)::UINTEGER AS code FROM distinct_ids "
            f"WHERE {role} IS NOT NULL"
        )
        values = run(f"SELECT {role} FROM {role}_ids ORDER BY code").fetchnumpy()[role]
        maps[role] = IdMap(np.asarray(values, dtype=object).astype(TEXT))
        joins += f" LEFT JOIN {role}_ids ON kept_rows.{role} = {role}_ids.{role}"
    names = [f"{role}_ids.code AS {role}" for role in texts]
    names += [f"kept_rows.{role} AS {role}" for role in others]
    got: dict[str, Array] = run(
        f"SELECT kept_rows.rowid AS position, {', '.join(names)} FROM kept_rows{joins}"
    ).fetchnumpy()
    for name in ("distinct_ids", "kept_rows", *(f"{role}_ids" for role in texts)):
        run(f"DROP TABLE {name}")
    position = got.pop("position")
    if not (position[1:] > position[:-1]).all():  # a join does not promise the order of the rows
        order = np.argsort(position)
        got = {role: values[order] for role, values in got.items()}
    return {role: _encoded(maps[role], got.pop(role)) for role in texts}, got


def _encoded(ids: IdMap, codes: Array) -> Encoded:
    if isinstance(codes, np.ma.MaskedArray):
        codes = np.asarray(codes.filled(MISSING))
    return Encoded(ids, codes.astype(np.uint32, copy=False))


def _whole(values: Array, column: Column) -> Array:
    if column.kind == "float" and isinstance(values, np.ma.MaskedArray):
        return np.asarray(values.filled(np.nan))
    return values


# -------------------------------------------------------------------------- numbers


def _narrow(role: str, column: Column, integer: str | None) -> str:
    """What the optimistic pass asks for: NULL where it is too narrow."""
    if integer is not None:
        return canonical(column, integer)
    if role == "rating":
        return f"try_cast({number(column)} AS FLOAT)"
    return _wide(role, column)


def _wide(role: str, column: Column) -> str:
    """The same without a limit: NULL where there is no number."""
    if role in ("user", "item"):
        return f"{column.sql}::DOUBLE" if column.kind == "float" else canonical(column)
    if column.kind == "time":
        return _seconds(column.sql)
    return number(column)


def number(column: Column) -> str:
    """The value as a number, NULL where it is none."""
    if column.kind not in ("loose", "text"):
        return f"{column.sql}::DOUBLE"
    x = column.text
    # DuckDB reads «1_000» as a number; and see `canonical` for why this is not a bare TRY_CAST
    return f"CASE WHEN contains({x}, '_') THEN NULL ELSE try_cast({x} AS DOUBLE) END"


def _filled(values: Array) -> Array:
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(values.filled(np.nan))
    return values


def _numbers(table: Relation, role: str, position: int, column: Column, values: Array) -> Array:
    if column.kind == "loose" and isinstance(values, np.ma.MaskedArray):
        x = column.text
        present = f"nullif({x}, '') IS NOT NULL"
        comma = rf"regexp_full_match({x}, '\s*[+-]?\d+,\d+\s*')"
        plain = rf"regexp_full_match({x}, '\s*[+-]?\d+\s*')"
        counts = table.counts(
            {
                "commas": f"WHERE {comma}",
                "others": f"WHERE {present} AND NOT {comma} AND NOT {plain}",
                "thousands": rf"WHERE regexp_full_match({x}, '\s*[+-]?\d+,\d\d\d\s*')",
            }
        )
        all_commas = counts["commas"] and not counts["others"]
        if table.decimal_comma and all_commas and counts["thousands"] < counts["commas"]:
            spelled = f"CASE WHEN {present} THEN try_cast(replace({x}, ',', '.') AS DOUBLE) END"
            values = table.select({role: spelled})[role]
            table.notes.append(f"{ARGUMENT[role]} with a decimal comma")
        elif np.ma.getmaskarray(values).all():
            first = table.select({"x": x}, f"WHERE {present} LIMIT 1")["x"]
            raise DataError(
                ARGUMENT[role],
                str(first[0]) if len(first) else None,
                f"none of the values of column {table.names[position]!r} is a number"
                if table.names is not None
                else f"none of the values of column {position} is a number",
                f"pass {role}= with the name or position of another column, or {role}=False",
            )
    return _filled(values)


def _seconds(x: str) -> str:
    return f"epoch_us({x}::TIMESTAMP WITH TIME ZONE) / 1e6"


def _times(table: Relation, column: Column, values: Array) -> Array | None:
    if len(values) and np.ma.getmaskarray(values).all():
        there = table.counts({"values": f"WHERE nullif({column.text}, '') IS NOT NULL"})
        if not there["values"]:
            table.notes.append("time: the column is empty")
            return None
    if column.kind in ("loose", "text") and isinstance(values, np.ma.MaskedArray):
        x = column.text
        parsed = f"try_cast({x} AS TIMESTAMP WITH TIME ZONE)"
        iso = rf"regexp_matches({x}, '{ISO}') AND isfinite({parsed})"
        present = f"nullif({x}, '') IS NOT NULL"
        counts = table.counts(
            {
                "present": f"WHERE {present}",
                "iso": f"WHERE {iso}",
                "numbers": f"WHERE ({number(column)}) IS NOT NULL",
            }
        )
        if counts["iso"] > counts["numbers"]:
            seconds = f"CASE WHEN {iso} THEN epoch_us({parsed}) / 1e6 END"
            values = table.select({"time": seconds})["time"]
            table.notes.append("time from ISO dates, in seconds since 1970 (UTC)")
        elif counts["present"] and not counts["numbers"]:
            first = table.select({"x": x}, f"WHERE {present} LIMIT 1")["x"]
            raise DataError(
                "time",
                str(first[0]),
                "is neither a number nor an ISO date (2024-01-31, 2024-01-31 12:00:00)",
                "convert the column, pass time= with another, or time=False to leave it out",
            )
    elif column.kind == "time":
        table.notes.append("time in seconds since 1970 (UTC)")
    if values.dtype.kind == "i" and not np.ma.is_masked(values):
        return np.asarray(values, dtype=np.int64)
    numbers = _filled(values)
    finite = np.isfinite(numbers)
    if not finite.all() or not (numbers == np.rint(numbers)).all():
        return numbers
    if len(numbers) and np.abs(numbers).max() > _FLOAT_EXACT and column.kind != "time":
        exact = table.select({"time": canonical(column)})["time"]  # nanoseconds
        return numbers if isinstance(exact, np.ma.MaskedArray) else exact
    return numbers.astype(np.int64)
