"""`Encoding`: what was learned of a table of features, to be applied to other tables and saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from halfstep.backends.base import CSR
from halfstep.errors import DataError, ParameterError
from halfstep.features.blocks import Group, hstack
from halfstep.features.columns import Column
from halfstep.features.encoders import (
    KINDS,
    Categorical,
    Encoder,
    Matrix,
    Multi,
    damaged,
    encoder_from_document,
    learn,
    natural_kind,
)
from halfstep.features.tables import Request, Table, is_table, read_table

if TYPE_CHECKING:
    from halfstep.features.features import Features

__all__ = ["Encoding"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a table of users or items becomes a sparse matrix X, one row for each.

    Every column of the table is a group of columns of X:

    - numeric: (x − mean) / standard deviation over the rows that have a value. A missing value is 0, and
      1 in a column «age is missing», which is there where a value was missing when this was learned.
    - categorical: a column for each level, 1 in that of the row. A missing value has a level of its own
      on the same condition; a level that is met later has no entry.
    - multi (lists, or text with «|» between values): 1 / √k in the columns of the row's k values.
    - a matrix: its columns as they stand.

    Integers and floats are numeric, also where they are codes: a zip code or an occupation needs
    `kinds={"zip": "categorical"}`. Text and booleans are categorical with any number of levels; text
    that names nearly every row anew, such as a title, is skipped: of at least 100 values, more than 9 of
    10 are distinct. Dates are numeric. A column that is the same in all rows, or missing in all, is
    dropped.

    Attributes
    ----------
    encoders : tuple
        What was learned of each column.
    id : str or None
        The column that names the rows; None where ids were given beside a matrix.
    dropped : dict
        Columns of the table that are not features, and why.

    Examples
    --------
    >>> encoding = Encoding.learn({"user": [1, 2, 3], "age": [20, 30, 40], "sex": ["f", "m", "f"]})
    >>> encoding.column_names()
    ['age', 'sex=f', 'sex=m']
    """

    encoders: tuple[Encoder | Matrix, ...]
    id: str | None = None
    dropped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def learn(
        cls,
        table: Any,
        *,
        id: str | int | None = None,
        kinds: Mapping[str, str] | None = None,
    ) -> Encoding:
        """Learn how the columns of a table are encoded; arguments as in `Features.from_table`."""
        return cls.of(read_table(table, Request(id, wanted=not_skipped(kinds))), kinds)

    @classmethod
    def of(cls, table: Table, kinds: Mapping[str, str] | None = None) -> Encoding:
        """Learn it of a table whose columns have been read, those of kind "skip" or not."""
        wanted = _checked_kinds(kinds, table)
        encoders: list[Encoder | Matrix] = []
        dropped = dict.fromkeys(table.unread, "skipped")
        for name, column in table.columns.items():
            kind = wanted.get(name) or natural_kind(column)
            if kind == "skip":
                own = "nearly every row has a value of its own"
                dropped[name] = "skipped" if name in wanted else own
                continue
            learned = learn(column, kind)
            if isinstance(learned, str):
                dropped[name] = learned
            else:
                encoders.append(learned)
        if not encoders:
            told = "; ".join(f"{name}: {why}" for name, why in dropped.items())
            raise DataError(
                "table",
                f"{len(table.ids)} rows",
                f"no column tells the rows apart ({told or 'there is none beside the ids'})",
                "pass a table with at least one column that differs between rows",
            )
        return cls(tuple(encoders), table.id, dropped)

    # ----------------------------------------------------------------------- facts

    @property
    def width(self) -> int:
        """The number of columns of X."""
        return sum(encoder.width for encoder in self.encoders)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The columns of X that come from each column of the table."""
        found, start = [], 0
        for encoder in self.encoders:
            found.append(Group(encoder.name, start, start + encoder.width))
            start += encoder.width
        return tuple(found)

    def column_names(self) -> list[str]:
        """The names of the columns of X: «age», «age is missing», «sex=f»."""
        return [name for encoder in self.encoders for name in encoder.columns()]

    def summary(self) -> str:
        """One line for each column of the table: what became of it."""
        lines = []
        for encoder in self.encoders:
            kind = encoder.to_document()["kind"]
            plural = "s" * (encoder.width != 1)
            lines.append(f"{encoder.name}: {kind}, {encoder.width:,} column{plural}")
        lines += [f"{name}: dropped ({why})" for name, why in self.dropped.items()]
        return "\n".join(lines)

    # -------------------------------------------------------------------- encoding

    def encode(self, value: Any, *, id: str | int | None = None) -> Features:
        """The features of other rows, by what was learned.

        Parameters
        ----------
        value : table, pair (matrix, ids), or Features
            A table has the columns that this was learned from; others are ignored. A pair, where this is
            of a matrix; its columns are the same.
        id : str or int, optional
            The column of ids. Default: named as it was, else found.

        Returns
        -------
        Features

        Raises
        ------
        DataError
            A column is absent or of another kind, or a matrix has another number of columns.
        """
        from halfstep.features.features import Features, as_features

        if isinstance(value, Features):
            if value.encoding != self:
                raise DataError(
                    "features",
                    value,
                    "were encoded in another way than those that the model was fitted with",
                    "pass the table itself",
                )
            return value
        if not is_table(value):
            found = as_features(value)
            if len(self.encoders) != 1 or not isinstance(self.encoders[0], Matrix):
                raise DataError(
                    "features", "a matrix", "must be a table, as at the fit", "pass the table"
                )
            if found.shape[1] != self.width:
                raise DataError(
                    "features",
                    f"{found.shape[1]} columns",
                    f"must have the {self.width} columns that the model was fitted with",
                    "pass a matrix of that width",
                )
            return Features(found.ids, found.cells, self)
        return self.encode_table(read_table(value, self.request(id)))

    def request(self, id: str | int | None = None, side: str | None = None) -> Request:
        """What a table is asked for: the columns that this was learned from."""
        names = {encoder.name for encoder in self.encoders}
        levels = (encoder for encoder in self.encoders if isinstance(encoder, Categorical | Multi))
        texts = frozenset(encoder.name for encoder in levels)
        return Request(id, side, names.__contains__, self.id, texts)

    def encode_table(self, table: Table) -> Features:
        """`encode` of a table whose columns have been read."""
        from halfstep.features.features import Features

        blocks: list[tuple[CSR, tuple[Group, ...]]] = []
        for encoder in self.encoders:
            if isinstance(encoder, Matrix):
                raise DataError(
                    "features", "a table", "must be a matrix, as at the fit", "pass (matrix, ids)"
                )
            cells = encoder.encode(_column(table, encoder.name))
            blocks.append((cells, (Group(encoder.name, 0, encoder.width),)))
        return Features(table.ids, hstack(blocks)[0], self)

    # ----------------------------------------------------------------- as a document

    def to_document(self) -> dict[str, Any]:
        """Plain values that JSON can hold; `from_document` is the inverse."""
        return {
            "version": _VERSION,
            "id": self.id,
            "columns": [encoder.to_document() for encoder in self.encoders],
            "dropped": dict(self.dropped),
        }

    @classmethod
    def from_document(cls, document: Any) -> Encoding:
        """The encoding that `to_document` has written.

        Raises
        ------
        ModelFileError
            The document is damaged or of another version.
        """
        if not isinstance(document, Mapping):
            raise damaged(f"is a {type(document).__name__}, not a document")
        if document.get("version") != _VERSION:
            raise damaged(
                f"has version {document.get('version')!r}, this halfstep reads {_VERSION}"
            )
        id, columns, dropped = (document.get(key) for key in ("id", "columns", "dropped"))
        if not (id is None or isinstance(id, str)):
            raise damaged(f"has id {id!r}, which is no name")
        if not isinstance(columns, list) or not columns:
            raise damaged("names no columns")
        if not isinstance(dropped, Mapping) or not all(
            isinstance(text, str) for pair in dropped.items() for text in pair
        ):
            raise damaged("does not say in text which columns were dropped")
        encoders = tuple(map(encoder_from_document, columns))
        if len({encoder.name for encoder in encoders}) < len(encoders):
            raise damaged("names a column twice")
        return cls(encoders, id, dict(dropped))


def not_skipped(kinds: Mapping[str, str] | None) -> Callable[[str], bool]:
    """Whether a column is to be read; one that is skipped may hold what it likes."""
    if kinds is not None and not isinstance(kinds, Mapping):
        raise ParameterError(
            "kinds", kinds, "must say the kind by column", 'try kinds={"zip": "categorical"}'
        )
    skipped = {name for name, kind in (kinds or {}).items() if kind == "skip"}
    return lambda name: name not in skipped


def _checked_kinds(kinds: Mapping[str, str] | None, table: Table) -> Mapping[str, str]:
    if kinds is None:
        return {}
    for name, kind in kinds.items():
        if name not in table.columns and name not in table.unread:
            told = ", ".join(map(repr, [*table.columns, *table.unread][:30]))
            raise ParameterError(
                "kinds", name, "is not a column of features of this table", f"choose from {told}"
            )
        if kind not in KINDS:
            raise ParameterError(
                f"kinds[{name!r}]", kind, "is not a choice", f"choose one of {', '.join(KINDS)}"
            )
    return kinds


def _column(table: Table, name: str) -> Column:
    if name not in table.columns:
        told = ", ".join(map(repr, [table.id, *table.columns, *table.unread][:30]))
        raise DataError(
            "features",
            name,
            f"this column, which the encoding was learned with, is not in the table: {told}",
            "pass a table with the same columns",
        )
    return table.columns[name]
