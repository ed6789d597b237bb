"""DataFrames and Arrow objects as columns.

    pandas                   columns as they are; text by pandas' own hash table (`factorize`)
    polars, pyarrow, …       numbers through narwhals without a copy
    text, DuckDB relations,  through the Arrow PyCapsule into DuckDB, which encodes text
      anything with __arrow_c_stream__

A column keeps its type: text stays text, and integers that pandas turned into floats because some are
missing are integers again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from halfstep.data.columns import ARGUMENT, Extracted, Given, choose, describe, encode_masked
from halfstep.data.ids import MISSING, Encoded, encode
from halfstep.data.report import Source
from halfstep.errors import DataError

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["Stream", "collected", "extract", "floats_of", "ids_of", "moments_of", "text_of"]

Array = npt.NDArray[Any]


def extract(
    table: Any,
    user: str | int | None = None,
    item: str | int | None = None,
    rating: str | int | None = None,
    time: str | int | None = None,
    weight: str | int | None = None,
) -> Extracted:
    """The columns of a DataFrame or Arrow object; arguments as in `read_ratings`.

    Raises `ReadError` where a column is not found, `DataError` where it cannot hold what it should.
    """
    import narwhals as nw

    given = {"user": user, "item": item, "rating": rating, "time": time, "weight": weight}
    table = nw.to_native(table, pass_through=True)
    frame = nw.from_native(table, pass_through=True)
    description = f"{type(table).__module__.split('.')[0].lstrip('_')} {type(table).__name__}"
    if isinstance(frame, nw.LazyFrame) and (
        frame.implementation.is_polars() or not hasattr(table, "__arrow_c_stream__")
    ):
        frame = collected(frame, description)
        table = nw.to_native(frame)
    if isinstance(frame, nw.DataFrame):
        names = [str(name) for name in frame.columns]
        chosen = choose(names, len(names), given, f"the {description}")
        series = {role: frame[:, position] for role, position in chosen.items()}
        plain = frame.implementation.is_pandas_like() or not hasattr(table, "__arrow_c_stream__")
        if plain or all(column.dtype.is_numeric() for column in series.values()):
            source = Source(description, len(frame), [describe(chosen, names)])
            return _from_series(series, source)
    if not hasattr(table, "__arrow_c_stream__"):
        raise DataError(
            "table",
            type(table).__name__,
            "is not a DataFrame, an Arrow table or a DuckDB relation",
            "use Ratings.from_arrays(users, items, ratings)",
        )
    return _from_arrow(table, given, description, isinstance(frame, nw.DataFrame))


def collected(frame: nw.LazyFrame[Any], description: str) -> nw.DataFrame[Any]:
    """The frame with its rows; `DataError` where its engine fails."""
    try:
        return frame.collect()
    except Exception as error:  # every engine raises its own
        first = (str(error) or type(error).__name__).strip().split("\n")[0]
        raise DataError(
            "table", description, f"cannot be collected: {first}", "collect it first"
        ) from None


# -------------------------------------------------------------------- Arrow streams


class Stream:
    """An Arrow stream and nothing else: DuckDB then needs no pyarrow to read it."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def _from_arrow(table: Any, given: Given, description: str, repeatable: bool) -> Extracted:
    import duckdb

    from halfstep.data.duck import connected, name_literal
    from halfstep.data.fetch import fetch
    from halfstep.data.sources import declared, described

    source = "arrow_stream"
    stream = table if type(table).__module__.startswith("pyarrow") else Stream(table)
    with connected() as (connection, _):
        try:
            connection.register(source, stream)
            names, _types = described(connection, source)
            chosen = choose(names, len(names), given, f"the {description}")
            if not repeatable:
                # A stream need not come twice, or twice in the same order: keep the chosen columns
                wanted = sorted(set(chosen.values()))
                listed = ", ".join(name_literal(names[k]) for k in wanted)
                connection.execute(f"CREATE TEMP TABLE chosen AS SELECT {listed} FROM {source}")
                source, chosen = "chosen", {role: wanted.index(k) for role, k in chosen.items()}
            found = fetch(declared(connection, source, description), chosen)
        except duckdb.Error as error:
            first = str(error).partition(": ")[2].split("\n")[0]
            raise DataError(
                "table", description, f"cannot be read as Arrow: {first}", "use Ratings.from_arrays"
            ) from None
    found.bad_text = None  # the connection is closed
    return found


# ------------------------------------------------------------------- columns at hand


def _from_series(series: Mapping[str, nw.Series[Any]], source: Source) -> Extracted:
    numbers = {
        role: _numbers(column, role)
        for role, column in series.items()
        if role in ("rating", "weight")
    }
    return Extracted(
        ids_of(series["user"], "user"),
        ids_of(series["item"], "item"),
        numbers.get("rating"),
        _times(series["time"], source) if "time" in series else None,
        numbers.get("weight"),
        source,
    )


def _wrong_type(column: nw.Series[Any], role: str, rule: str) -> DataError:
    return DataError(
        ARGUMENT[role],
        column.name,
        f"is a column of type {column.dtype}: {rule}",
        f"convert the column first, or pass {role}= with another",
    )


def ids_of(column: nw.Series[Any], role: str) -> Encoded:
    """A column of ids encoded."""
    import narwhals as nw

    name, dtype = ARGUMENT[role], column.dtype
    if dtype.is_integer():
        if column.null_count():
            mask = column.is_null().to_numpy().astype(bool)
            values = column.fill_null(0).to_numpy()
            return encode_masked(np.ma.MaskedArray(values, mask), name)
        return encode(np.asarray(column.to_numpy()), name)
    if dtype.is_float() or dtype.is_decimal():
        return encode(floats_of(column), name)
    if dtype in (nw.String, nw.Categorical, nw.Enum):
        return text_of(column, name)
    if dtype == nw.Object or dtype == nw.Unknown:
        return encode(np.asarray(column.to_numpy(), dtype=object), name)
    raise _wrong_type(column, role, "ids are integers or text")


def text_of(column: nw.Series[Any], name: str) -> Encoded:
    """A column of text encoded; by pandas' own hash table where it is one of pandas."""
    import narwhals as nw

    native = nw.to_native(column)
    if hasattr(native, "factorize"):
        codes, distinct = native.factorize()
        return _recoded(np.asarray(codes), np.asarray(distinct, dtype=object), name)
    return encode(column.to_numpy(), name)


def _recoded(codes: Array, distinct: Array, name: str) -> Encoded:
    """`encode` of `distinct[codes]` with −1 for missing."""
    ranked = encode(distinct, name)
    rank = np.append(ranked.codes, MISSING)
    return Encoded(ranked.ids, rank[codes])


def floats_of(column: nw.Series[Any]) -> Array:
    """A column of numbers as float64, NaN where one is missing."""
    import narwhals as nw

    whole = column.cast(nw.Float64).fill_null(float("nan"))
    return np.asarray(whole.to_numpy(), dtype=np.float64)


def _numbers(column: nw.Series[Any], role: str) -> Array:
    import narwhals as nw

    dtype = column.dtype
    if (dtype.is_integer() or dtype.is_float()) and not column.null_count():
        return np.asarray(column.to_numpy())
    if dtype.is_numeric() or dtype == nw.Boolean:
        return floats_of(column)
    if dtype == nw.Object or dtype == nw.Unknown:
        values = np.asarray(column.to_numpy(), dtype=object)
        if not any(isinstance(value, (str, bytes)) for value in values):
            try:
                return np.array([np.nan if v is None else float(v) for v in values])
            except (TypeError, ValueError):
                pass
    raise _wrong_type(column, role, "it must hold numbers")


def _times(column: nw.Series[Any], source: Source) -> Array:
    import narwhals as nw

    dtype = column.dtype
    if dtype == nw.Datetime or dtype == nw.Date:
        seconds = moments_of(column)
    elif dtype in (nw.String, nw.Object, nw.Unknown):
        seconds = _seconds_of(column)
    else:
        return _numbers(column, "time")
    source.notes.append("time in seconds since 1970 (UTC)")
    finite = bool(np.isfinite(seconds).all())
    return seconds.astype(np.int64) if finite and (seconds == np.rint(seconds)).all() else seconds


def moments_of(column: nw.Series[Any]) -> Array:
    """Seconds since 1970 (UTC) of a column of dates or timestamps, NaN where one is missing."""
    import narwhals as nw

    stamps = column.cast(nw.Datetime("us")) if column.dtype == nw.Date else column
    return floats_of(stamps.dt.timestamp("us")) / 1e6


def _seconds_of(column: nw.Series[Any]) -> Array:
    """Seconds of ISO text, dates or timestamps, one by one."""
    from halfstep.data.sources import iso_seconds

    values = np.asarray(column.to_numpy(), dtype=object)
    absent = column.is_null().to_numpy().astype(bool)
    seconds = np.full(len(values), np.nan)
    for k in np.flatnonzero(~absent):
        found = values[k] if isinstance(values[k], (int, float)) else iso_seconds(str(values[k]))
        if found is None:
            raise DataError(
                "time",
                values[k],
                f"in row {k + 1} of column {column.name!r} is neither a number nor an ISO date",
                "convert the column, pass time= with another, or time=False to leave it out",
            )
        seconds[k] = found
    return seconds
