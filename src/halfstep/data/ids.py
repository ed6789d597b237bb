"""Who is row 17: the user's own ids on one side, row numbers 0, 1, 2, … on the other.

Ids are integers (int64) or text, one kind to a column. The sorted order of the ids decides the row
number, so that the order of the table never matters. Text sorts by code point, which is the order
of its UTF-8 bytes too; it is compared as it stands, without Unicode normalization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from halfstep import _native
from halfstep.errors import DataError, UnknownIdError

__all__ = ["MISSING", "Encoded", "IdMap", "encode", "encode_all", "union"]

Array = npt.NDArray[Any]

MISSING = np.uint32(0xFFFFFFFF)
"""The code of a missing id (None, NaN, empty text)."""

TEXT = np.dtypes.StringDType()

_INT64_MAX = 2**63 - 1
_FLOAT_EXACT = 2.0**53


class IdMap:
    """Sorted, distinct ids of one side; position = row number in the factors.

    Parameters
    ----------
    values : array of int64 or of text (numpy's StringDType), strictly ascending
    """

    __slots__ = ("_rows", "kind", "values")

    values: Array
    _rows: dict[str, int] | None
    kind: Literal["int", "str"]

    def __init__(self, values: Array) -> None:
        self.values = values
        self.values.setflags(write=False)
        self.kind = "int" if values.dtype.kind == "i" else "str"
        self._rows = None

    @classmethod
    def of_range(cls, n: int) -> IdMap:
        """The ids 0, …, n − 1."""
        return cls(np.arange(n, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdMap):
            return NotImplemented
        return self is other or (
            self.kind == other.kind
            and len(self) == len(other)
            and bool(np.array_equal(self.values, other.values))
        )

    __hash__ = None  # type: ignore[assignment]  # compared by value

    def __repr__(self) -> str:
        head = ", ".join(repr(v) for v in self.values[:3].tolist())
        return f"IdMap({len(self)} {self.kind} ids: {head}{', …' if len(self) > 3 else ''})"

    def take(self, codes: Any) -> Array:
        """The ids of these row numbers: int64, or Python strings in an object array."""
        found: Array = self.values[codes]
        return found if self.kind == "int" else found.astype(object)

    def id_at(self, row: int) -> int | str:
        """The id of one row, as a Python value."""
        value: int | str = self.values[row : row + 1].tolist()[0]
        return value

    def lookup(self, ids: npt.ArrayLike, name: str = "ids") -> Array:
        """Row numbers (int64) of `ids`; −1 where an id is not in the map.

        A canonical integer matches its own text («12» and 12 are the same id, «012» is another), so
        that a table whose ids are all integers can be asked about from one whose ids are not.

        Raises `DataError` where `ids` cannot be ids at all (fractions, booleans).
        """
        wanted, missing = normalize(ids, name)
        if self.kind == "int" and wanted.dtype.kind != "i":
            wanted, other = _canonical_integers(wanted)
            missing = other if missing is None else missing | other
        elif self.kind == "str" and wanted.dtype.kind == "i":
            wanted = wanted.astype(TEXT)
        if self.kind == "str":
            return self._lookup_text(wanted, missing)
        if not len(self):
            return np.full(len(wanted), -1, dtype=np.int64)
        position = np.searchsorted(self.values, wanted)
        position[position == len(self)] = 0
        unknown = self.values[position] != wanted
        if missing is not None:
            unknown |= missing
        position[unknown] = -1
        return position.astype(np.int64, copy=False)

    def _lookup_text(self, wanted: Array, missing: Array | None) -> Array:
        # A dictionary, not a binary search: numpy's search in text relies on an order of its own.
        if self._rows is None:
            self._rows = {value: row for row, value in enumerate(self.values.tolist())}
        rows = self._rows
        found = np.fromiter((rows.get(v, -1) for v in wanted.tolist()), np.int64, len(wanted))
        if missing is not None:
            found[missing] = -1
        return found


@dataclass(frozen=True, slots=True)
class Encoded:
    """A column of ids as row numbers: `codes` is uint32, `MISSING` where there is no id."""

    ids: IdMap
    codes: Array

    def without_codes(self) -> Encoded:
        """The ids alone."""
        return Encoded(self.ids, np.empty(0, dtype=np.uint32))


def encode(array: npt.ArrayLike, name: str) -> Encoded:
    """The distinct ids of a column, sorted, and the position of each row's id among them.

    Raises `DataError` (with `name` as the argument) where the column cannot hold ids.
    """
    values, missing = normalize(array, name)
    present = values if missing is None else values[~missing]
    if values.dtype.kind == "i":
        distinct, present_codes = _native.factorize(np.require(present, requirements=["C", "A"]))
    else:
        distinct, present_codes = _encode_text(present)
    if len(distinct) >= int(MISSING):
        raise DataError(
            name, len(distinct), "holds more than 2³² − 2 distinct ids", "split the table"
        )
    if missing is None:
        return Encoded(IdMap(distinct), present_codes)
    codes = np.full(len(values), MISSING, dtype=np.uint32)
    codes[~missing] = present_codes
    return Encoded(IdMap(distinct), codes)


def encode_all(ids: Any, name: str, count: int) -> Encoded:
    """`encode` of the ids of all `count` rows of a side.

    Raises `DataError` where they are not one distinct id for each.
    """
    encoded = encode(ids, name)
    if len(encoded.codes) != count or len(encoded.ids) != count:
        raise DataError(
            name,
            ids,
            f"must hold one distinct id for each of the {count} rows of that side",
            "remove repeats or pass None",
        )
    return encoded


def normalize(array: npt.ArrayLike, name: str) -> tuple[Array, Array | None]:
    """A column of ids as integers or text, and a mask of the missing ones (None: none is missing).

    Integers are int64, or int32 where they came so.
    """
    column = array if isinstance(array, np.ndarray) else _as_column(array)
    if column.ndim != 1:
        raise DataError(name, column.shape, "must be one-dimensional", "pass one id per row")
    kind = column.dtype.kind
    if kind == "i":
        return (column if column.dtype == np.int32 else column.astype(np.int64, copy=False)), None
    if kind == "u":
        if len(column) and int(column.max()) > _INT64_MAX:
            return column.astype(TEXT), None
        return column.astype(np.int64), None
    if kind == "f":
        return _from_floats(column, name)
    if kind == "S":
        try:
            column = np.char.decode(column, "utf-8")
        except UnicodeDecodeError as error:
            raise _unusable(name, error.object, "is not UTF-8") from None
        kind = "U"
    if kind in "UT":
        text = column.astype(TEXT, copy=False)
        empty = text == ""
        return text, (empty if empty.any() else None)
    if kind == "O":
        return _from_objects(column, name)
    raise _unusable(name, column.dtype.name, "is not a type of ids")


def _unusable(name: str, value: object, rule: str) -> DataError:
    return DataError(name, value, f"{rule}: ids are integers or text", "convert the column first")


def _as_column(values: Any) -> Array:
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        return np.asarray(values)
    # np.asarray would turn ["a", 1] into ["a", "1"], and [1, None] is an object array anyway
    if all(type(v) is int for v in values):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _from_floats(column: Array, name: str) -> tuple[Array, Array | None]:
    missing = np.isnan(column)
    whole = np.where(missing, 0.0, column)
    wrong = (whole != np.rint(whole)) | (np.abs(whole) > _FLOAT_EXACT)
    if wrong.any():
        raise _unusable(name, float(whole[np.argmax(wrong)]), "is not a whole number")
    return whole.astype(np.int64), (missing if missing.any() else None)


def _from_objects(column: Array, name: str) -> tuple[Array, Array | None]:
    listed = column.tolist()
    kinds = set(map(type, listed))
    missing: Array | None = None
    absent = {
        kind for kind in kinds if kind is type(None) or kind.__name__ in ("NAType", "NaTType")
    }
    if float in kinds and any(v != v for v in listed if type(v) is float):
        absent.add(float)
    if absent:
        missing = np.fromiter(
            (type(v) in absent and (type(v) is not float or v != v) for v in listed),
            bool,
            len(listed),
        )
        listed = column[~missing].tolist()
        kinds = set(map(type, listed))
    if not kinds:
        return np.zeros(len(column), dtype=np.int64), missing
    present: Array
    if all(issubclass(k, (int, np.integer)) and k is not bool for k in kinds):
        try:
            present = np.array(listed, dtype=np.int64)
        except OverflowError:
            present = np.array([str(v) for v in listed], dtype=TEXT)
    elif all(issubclass(k, (str, bytes)) for k in kinds):
        if any(issubclass(k, bytes) for k in kinds):
            listed = [v.decode() if isinstance(v, bytes) else v for v in listed]
        try:
            present = np.array(listed, dtype=TEXT)
        except UnicodeEncodeError as error:
            raise _unusable(name, error.object, "cannot be written as UTF-8") from None
        empty = present == ""
        if empty.any():
            if missing is None:
                return present, empty
            missing[np.flatnonzero(~missing)[empty]] = True
            present = present[~empty]
    elif all(issubclass(k, (float, int, np.integer, np.floating)) for k in kinds - {bool}) and (
        bool not in kinds
    ):
        present, _ = _from_floats(np.array(listed, dtype=np.float64), name)
    else:
        odd = next(v for v in listed if not isinstance(v, (str, bytes)))
        raise DataError(
            name,
            odd,
            f"mixes ids of several types ({', '.join(sorted(k.__name__ for k in kinds))})",
            "make them all integers or all text",
        )
    if missing is None:
        return present, None
    whole = np.zeros(len(column), dtype=present.dtype)
    whole[~missing] = present
    return whole, missing


def _encode_text(values: Array) -> tuple[Array, Array]:
    # A dictionary of the distinct ids: sorting only those is faster than sorting the column.
    listed = values.tolist()
    ordered = sorted(dict.fromkeys(listed))
    rank = {value: code for code, value in enumerate(ordered)}
    codes = np.fromiter(map(rank.__getitem__, listed), dtype=np.uint32, count=len(listed))
    return np.array(ordered, dtype=TEXT), codes


def _canonical_integers(text: Array) -> tuple[Array, Array]:
    """Text as int64 where it is the canonical form of one, and a mask of where it is not."""
    numbers = np.zeros(len(text), dtype=np.int64)
    other = np.zeros(len(text), dtype=bool)
    for position, value in enumerate(text.tolist()):
        number = parse_integer(value)
        if number is None:
            other[position] = True
        else:
            numbers[position] = number
    return numbers, other


def parse_integer(text: str) -> int | None:
    """The int64 of which `text` is the canonical form («7», «-3», not «007» or «+7»), or None."""
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        return None
    number = int(text)
    if str(number) != text or not -_INT64_MAX - 1 <= number <= _INT64_MAX:
        return None
    return number


def require_known(codes: Array, ids: npt.ArrayLike, side: str) -> None:
    """Raise `UnknownIdError` naming the first id that `IdMap.lookup` did not find."""
    if (codes < 0).any():
        position = int(np.argmax(codes < 0))
        value = np.asarray(ids, dtype=object)[position] if np.ndim(ids) else ids
        raise UnknownIdError(
            side,
            value,
            "is not known to the model",
            f"pass one of the {side}s in the training ratings, or fold it in (model.fold_in)",
        )


def union(old: IdMap, new: IdMap, side: str) -> tuple[IdMap, Array, Array]:
    """The sorted union of two id maps, and where the rows of each stand in it.

    A canonical integer and its text are the same id; other text cannot be added to integers.
    """
    values = new.values
    if old.kind != new.kind:
        if old.kind == "int":
            values, other = _canonical_integers(new.values)
            if other.any():
                raise DataError(
                    side,
                    str(new.values[np.argmax(other)]),
                    "is text, and the ids that it is added to are integers",
                    "pass integer ids, or text for all of them",
                )
        else:
            values = new.values.astype(TEXT)
    union = encode(np.concatenate([old.values, values]), side)
    rows = union.codes.astype(np.int64)
    return union.ids, rows[: len(old)], rows[len(old) :]
