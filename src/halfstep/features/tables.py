"""Tables of users or items as columns: DataFrames, Arrow objects, dicts, relations of DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from halfstep.checks import check_choice
from halfstep.data.columns import choose_id, encode_masked
from halfstep.data.ids import MISSING, Encoded, IdMap, encode
from halfstep.errors import DataError, DuplicatesError
from halfstep.features.columns import Column, Levels, Lists, Numbers, column_of, lists_of

if TYPE_CHECKING:
    import narwhals as nw

    from halfstep.data.fetch import Column as Sql
    from halfstep.data.fetch import Relation

__all__ = ["Request", "Table", "is_table", "read_relation", "read_table", "rows_in_order"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a table.

    The column of ids (None: `usual` where there is one of that name, else it is found), whose ids they
    are, where that is known, which of the other columns (None: all), and those whose values stay the
    text that they are in a file, though they spell numbers.
    """

    id: str | int | None = None
    side: str | None = None
    wanted: Callable[[str], bool] | None = None
    usual: str | None = None
    texts: frozenset[str] = frozenset()

    def find(self, names: Sequence[str] | None, count: int, table: str) -> tuple[int, list[int]]:
        """The positions of the ids and of the wanted columns."""
        if self.side is not None:
            check_choice("side", self.side, ("user", "item"))
        known = named(names, count)
        given = self.id
        if given is None and self.usual in known:
            given = known.index(self.usual)
        position = choose_id(names, count, given, table, self.side)
        others = [k for k in range(count) if k != position]
        return position, [k for k in others if self.wanted is None or self.wanted(known[k])]


def named(names: Sequence[str] | None, count: int) -> list[str]:
    """The names of the columns; «column 0», … where they have none."""
    return [f"column {k}" for k in range(count)] if names is None else list(names)


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table, by name, its rows in the order of their ids.

    `id` names the column of ids; `unread` are the columns that nobody wanted.
    """

    ids: IdMap
    columns: Mapping[str, Column]
    id: str
    unread: tuple[str, ...]


def is_table(value: Any) -> bool:
    """Whether it is a table (and no matrix)."""
    return (
        isinstance(value, Mapping)
        or hasattr(value, "columns")
        or hasattr(value, "__arrow_c_stream__")
    )


def read_table(value: Any, request: Request) -> Table:
    """The columns of a DataFrame, an Arrow object or a dict of columns.

    The named index of a pandas DataFrame counts as a column.

    Raises
    ------
    DataError
        A column that cannot be features, a missing id, no rows, no table.
    DuplicatesError
        An id that stands in two rows.
    """
    if isinstance(value, Mapping):
        return _from_dict(value, request)
    import narwhals as nw
    from narwhals.exceptions import DuplicateError

    from halfstep.data.tables import collected

    native = nw.to_native(value, pass_through=True)
    description = f"{type(native).__module__.split('.')[0].lstrip('_')} {type(native).__name__}"
    try:
        frame = nw.from_native(native, pass_through=True)
    except DuplicateError:  # the columns of pyarrow are not names
        raise _repeated(list(getattr(native, "column_names", native.columns))) from None
    if isinstance(frame, nw.LazyFrame) and (
        frame.implementation.is_polars() or not hasattr(native, "__arrow_c_stream__")
    ):
        frame = collected(frame, description)
    if isinstance(frame, nw.DataFrame):
        return _from_frame(frame, description, request)
    if not hasattr(native, "__arrow_c_stream__"):
        raise DataError(
            "table",
            type(value).__name__,
            "is not a DataFrame, an Arrow table or a dict of columns",
            "use Features.from_scipy or Features.from_arrays for a matrix",
        )
    return _from_arrow(native, description, request)


def _from_dict(value: Mapping[Any, Any], request: Request) -> Table:
    names = [str(name) for name in value]
    position, others = request.find(names, len(names), "the dict")
    given = list(value.values())
    ids = given[position]
    encoded = encode_masked(ids, "id") if isinstance(ids, np.ndarray) else encode(ids, "id")
    return _table(encoded, [column_of(names[k], given[k]) for k in others], names, position)


def _from_frame(frame: nw.DataFrame[Any], description: str, request: Request) -> Table:
    import narwhals as nw

    from halfstep.data.tables import ids_of

    native = nw.to_native(frame)
    index = getattr(native, "index", None)
    name = getattr(index, "name", None)
    if frame.implementation.is_pandas_like() and name is not None and name not in native.columns:
        frame = nw.from_native(native.reset_index(), eager_only=True)
    names = [str(name) for name in frame.columns]
    position, others = request.find(names, len(names), f"the {description}")
    columns = [_of_series(names[k], frame[:, k]) for k in others]
    return _table(ids_of(frame[:, position], "id"), columns, names, position)


def _of_series(name: str, series: nw.Series[Any]) -> Column:
    import narwhals as nw

    from halfstep.data.tables import floats_of, moments_of, text_of

    dtype = series.dtype
    missing = series.is_null().to_numpy().astype(bool) if series.null_count() else None
    if dtype == nw.Boolean:
        there = series if missing is None else series.fill_null(False)
        return Numbers(name, there.to_numpy().astype(np.int64), missing, boolean=True)
    if dtype.is_integer():
        there = series if missing is None else series.fill_null(0)
        return Numbers(name, np.asarray(there.to_numpy()), missing)
    if dtype.is_numeric():
        return column_of(name, floats_of(series))
    if dtype == nw.Datetime or dtype == nw.Date:
        return column_of(name, moments_of(series))
    if dtype in (nw.String, nw.Categorical, nw.Enum):
        return Levels.of(name, text_of(series, name))
    if dtype in (nw.List, nw.Array):
        return lists_of(name, [() if row is None else row for row in series.to_list()])
    if dtype == nw.Object or dtype == nw.Unknown:
        return column_of(name, np.asarray(series.to_numpy(), dtype=object))
    raise _wrong_type(name, dtype)


def _wrong_type(name: str, type_: object) -> DataError:
    return DataError(
        name,
        str(type_),
        "is a type of columns that cannot be features",
        f'convert it to numbers, text or lists, or pass kinds={{{name!r}: "skip"}}',
    )


def _from_arrow(table: Any, description: str, request: Request) -> Table:
    import duckdb

    from halfstep.data.duck import connected
    from halfstep.data.sources import declared
    from halfstep.data.tables import Stream

    stream = table if type(table).__module__.startswith("pyarrow") else Stream(table)
    with connected() as (connection, _):
        try:
            connection.register("arrow_stream", stream)
            # A stream need not come twice
            connection.execute("CREATE TEMP TABLE kept AS SELECT * FROM arrow_stream")
            return read_relation(declared(connection, "kept", f"the {description}"), request)
        except duckdb.Error as error:
            first = str(error).partition(": ")[2].split("\n")[0]
            raise DataError(
                "table", description, f"cannot be read as Arrow: {first}", "pass a DataFrame"
            ) from None


def _table(ids: Encoded, columns: list[Column], listed: Sequence[str], position: int) -> Table:
    """A table of columns whose lengths, ids and names are checked here."""
    count = len(ids.codes)
    for column in columns:
        length = _length(column)
        if length != count:
            raise DataError(
                column.name,
                f"{length} values",
                f"must have as many values as there are ids, {count}",
                "pass columns of the same length",
            )
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise _repeated(names)
    order = rows_in_order(ids)
    unread = tuple(name for k, name in enumerate(listed) if k != position and name not in names)
    taken = {column.name: column.take(order) for column in columns}
    return Table(ids.ids, taken, listed[position], unread)


def _repeated(names: Sequence[Any]) -> DataError:
    repeated = next(name for name in names if names.count(name) > 1)
    return DataError("table", repeated, "is the name of several columns", "rename them")


def _length(column: Column) -> int:
    if isinstance(column, Numbers):
        return len(column.values)
    return len(column.indptr) - 1 if isinstance(column, Lists) else len(column.codes)


def rows_in_order(ids: Encoded) -> Array:
    """The rows in the order of their ids, each of which must stand once."""
    codes = ids.codes
    if not len(codes):
        raise DataError("table", "no rows", "holds no features", "pass at least one row")
    if codes.max() == MISSING:
        row = int(np.argmax(codes == MISSING))
        raise DataError(
            "id", None, f"missing id in row {row + 1} of the features", "remove the row"
        )
    order = np.argsort(codes, kind="stable")
    if len(ids.ids) < len(codes):
        twice = int(np.argmax(codes[order][1:] == codes[order][:-1]))
        first, second = order[twice] + 1, order[twice + 1] + 1
        raise DuplicatesError(
            "id",
            ids.ids.id_at(int(codes[order[twice]])),
            f"stands in rows {first} and {second} of the features",
            "keep one row for each id",
        )
    return order


# ----------------------------------------------------------------- relations of DuckDB

_NOTHING = ("", "na", "n/a", "nan", "null", "none", "?", "-", "\\n")
"""What stands for a missing number in a file of text."""


def read_relation(table: Relation, request: Request) -> Table:
    """The columns of something that DuckDB can select from; as `read_table`."""
    count = len(table.columns)
    names = named(table.names, count)
    position, others = request.find(table.names, count, table.description)
    ids = _ids_of_relation(table, position)
    columns = [_of_relation(table, k, names[k], names[k] in request.texts) for k in others]
    return _table(ids, columns, names, position)


def _ids_of_relation(table: Relation, position: int) -> Encoded:
    from halfstep.data.fetch import canonical, not_canonical

    column = table.columns[position]
    if column.kind == "integer":
        sql = column.sql
    elif column.kind == "float":
        sql = f"{column.sql}::DOUBLE"
    elif (
        column.kind == "loose"
        and not table.counts({"odd": f"WHERE {not_canonical(column)}"})["odd"]
    ):
        sql = canonical(column)
    else:
        sql = f"nullif({column.text}, '')"
    values = table.select({"x": sql})["x"]
    if column.kind == "float" and isinstance(values, np.ma.MaskedArray):
        values = np.asarray(values.filled(np.nan))
    return encode_masked(values, "id")


def _of_relation(table: Relation, position: int, name: str, as_text: bool) -> Column:
    column = table.columns[position]
    x = column.text
    text = f"nullif({x}, '')"
    if column.type == "JSON":
        kinds = table.select({"x": f"DISTINCT json_type({column.sql})"})["x"]
        found = set(np.ma.compressed(np.ma.asarray(kinds))) - {"NULL"}
        if found == {"ARRAY"}:
            return _selected_lists(table, name, f"from_json({column.sql}, '[\"VARCHAR\"]')")
        if found == {"BOOLEAN"}:
            return column_of(name, table.select({"x": f"({x})::BOOLEAN"})["x"])
        if found & {"ARRAY", "OBJECT", "BOOLEAN"}:
            raise _wrong_type(name, " and ".join(sorted(found)))
        if found == {"VARCHAR"}:
            return column_of(name, table.select({"x": text})["x"])
    if column.kind == "loose":
        value = None if as_text else _spelled(table, column)
        return column_of(name, table.select({"x": value or text})["x"])
    if column.kind in ("integer", "boolean"):
        huge = "HUGEINT" in column.type.upper()
        return column_of(name, table.select({"x": f"{column.sql}{'::DOUBLE' * huge}"})["x"])
    if column.kind in ("float", "null"):
        return column_of(name, table.select({"x": f"{column.sql}::DOUBLE"})["x"])
    if column.kind == "time":
        seconds = f"epoch_us({column.sql}::TIMESTAMP WITH TIME ZONE) / 1e6"
        return column_of(name, table.select({"x": seconds})["x"])
    if column.kind == "text":
        return column_of(name, table.select({"x": text})["x"])
    if column.type.endswith("]"):
        return _selected_lists(table, name, f"{column.sql}::VARCHAR[]")
    raise _wrong_type(name, column.type)


def _spelled(table: Relation, column: Sql) -> str | None:
    """The number that every value of a column of a text file spells; None where one spells none.

    A number, a number with a decimal comma, or an ISO date (seconds since 1970). One «007» makes all of
    the column text, as it does with ids.
    """
    from halfstep.data.fetch import ISO, number

    x = column.text
    nothing = ", ".join(f"'{word}'" for word in _NOTHING)
    there = f"lower(trim(coalesce({x}, ''))) NOT IN ({nothing})"
    plain = rf"NOT regexp_matches({x}, '^\s*[+-]?0\d')"
    moment = f"try_cast({x} AS TIMESTAMP WITH TIME ZONE)"
    ways = {
        "number": (f"({number(column)}) IS NOT NULL AND {plain}", number(column)),
        "iso": (
            f"regexp_matches({x}, '{ISO}') AND isfinite({moment})",
            f"epoch_us({moment}) / 1e6",
        ),
    }
    if table.decimal_comma:
        ways["comma"] = (
            rf"regexp_full_match({x}, '\s*[+-]?\d+(,\d+)?\s*') AND {plain}",
            f"try_cast(replace({x}, ',', '.') AS DOUBLE)",
        )
    asked = {
        name: f"WHERE {there} AND NOT coalesce({condition}, false)"
        for name, (condition, _) in ways.items()
    }
    # «1,000» throughout may as well be thousands
    asked["thousands"] = rf"WHERE contains({x}, ',') AND NOT regexp_matches({x}, ',\d\d\d\s*$')"
    odd = table.counts(asked)
    for name, (_, value) in ways.items():
        if not odd[name] and (name != "comma" or odd["thousands"]):
            return f"CASE WHEN {there} THEN {value} END"
    return None


def _selected_lists(table: Relation, name: str, sql: str) -> Lists:
    found = table.select({"x": sql})["x"]
    missing = np.ma.getmaskarray(found)
    rows = [
        () if gone else list(np.ma.compressed(np.ma.asarray(row)))
        for row, gone in zip(np.ma.getdata(found).tolist(), missing, strict=True)
    ]
    return lists_of(name, rows)
