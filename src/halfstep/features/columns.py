"""One column of a table of features before it is encoded: numbers, levels, or several levels a row.

    Numbers   integers, floats, dates (seconds since 1970) and booleans
    Levels    text
    Lists     lists of text or integers

Each can be looked at as another: numbers as levels (a zip code), text as numbers, text with
«|» as lists.
"""

from __future__ import annotations

import datetime
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from halfstep.backends.base import CSR
from halfstep.data.ids import MISSING, Encoded, encode
from halfstep.data.ratings import take_rows
from halfstep.errors import DataError

__all__ = ["SEPARATOR", "Column", "Levels", "Lists", "Numbers", "column_of", "lists_of"]

Array = npt.NDArray[Any]

SEPARATOR = "|"
"""What stands between several values in one text, as in MovieLens' genres."""

_BOOLEANS = ("False", "True")


@dataclass(frozen=True, slots=True)
class Numbers:
    """Integers or floats; `missing` is a mask, or None where no value is missing."""

    name: str
    values: Array
    missing: Array | None = None
    boolean: bool = False

    def take(self, order: Array) -> Numbers:
        """The rows in this order."""
        missing = None if self.missing is None else self.missing[order]
        return Numbers(self.name, self.values[order], missing, self.boolean)

    def numbers(self) -> Array:
        """float64, NaN where a value is missing."""
        if self.missing is None:
            return self.values.astype(np.float64)
        return np.where(self.missing, np.nan, self.values)

    def levels(self) -> Levels:
        """Every value as a level, in ascending order: «7», «2.5», «True»."""
        codes = np.full(len(self.values), -1, dtype=np.int64)
        there = slice(None) if self.missing is None else ~self.missing
        distinct, found = np.unique(self.values[there], return_inverse=True)
        codes[there] = found
        if self.boolean:
            return Levels(self.name, tuple(_BOOLEANS[int(v)] for v in distinct), codes)
        return Levels(self.name, tuple(map(_number_text, distinct.tolist())), codes)

    def lists(self) -> Lists:
        """One value a row."""
        return self.levels().lists(split=False)


@dataclass(frozen=True, slots=True)
class Levels:
    """Text: `codes` (int64, −1: missing) are positions in `names`, which are distinct."""

    name: str
    names: tuple[str, ...]
    codes: Array

    @classmethod
    def of(cls, name: str, encoded: Encoded) -> Levels:
        """Of a column encoded as ids are."""
        codes = encoded.codes.astype(np.int64)
        codes[encoded.codes == MISSING] = -1
        return cls(name, tuple(map(str, encoded.ids.values.tolist())), codes)

    def take(self, order: Array) -> Levels:
        """The rows in this order."""
        return Levels(self.name, self.names, self.codes[order])

    def numbers(self) -> Array:
        """The text as float64, NaN where it is missing.

        Raises `DataError` where it spells no number.
        """
        spelled = np.empty(len(self.names) + 1)
        spelled[-1] = np.nan
        for k, text in enumerate(self.names):
            try:
                spelled[k] = np.nan if "_" in text else float(text)
            except ValueError:
                spelled[k] = np.nan
            if np.isnan(spelled[k]) and text.strip().lower() != "nan":
                raise DataError(
                    self.name,
                    text,
                    "is not a number, and the column is numeric",
                    f'mend the value, or pass kinds={{{self.name!r}: "categorical"}}',
                )
        return spelled[self.codes]

    def levels(self) -> Levels:
        """The column itself."""
        return self

    def lists(self, split: bool = True) -> Lists:
        """The values between «|» (`split`), without blanks around them; else one value a row."""
        parts = [
            [part for part in map(str.strip, text.split(SEPARATOR)) if part] if split else [text]
            for text in self.names
        ]
        return lists_of(self.name, parts).take(self.codes)


@dataclass(frozen=True, slots=True)
class Lists:
    """Several levels a row: the distinct codes of row u stand at `indptr[u]:indptr[u + 1]`, ascending.

    A missing list has no codes.
    """

    name: str
    names: tuple[str, ...]
    indptr: Array
    codes: Array

    def take(self, order: Array) -> Lists:
        """The rows in this order; −1 is a row without values."""
        # One empty row more, which −1 means
        indptr = np.append(self.indptr, self.indptr[-1])
        ones = np.ones(len(self.codes), dtype=np.float32)
        found = take_rows(
            CSR(indptr, self.codes, ones), np.where(order < 0, len(indptr) - 2, order)
        )
        return Lists(self.name, self.names, found.indptr, found.indices)

    def numbers(self) -> Array:
        """Raises `DataError`: lists are no numbers."""
        raise self._is_lists("numeric")

    def levels(self) -> Levels:
        """Raises `DataError`: a list is no single value."""
        raise self._is_lists("categorical")

    def _is_lists(self, kind: str) -> DataError:
        return DataError(
            self.name,
            "lists",
            f"a column of lists cannot be {kind}",
            f'pass kinds={{{self.name!r}: "multi"}} or "skip"',
        )

    def lists(self) -> Lists:
        """The column itself."""
        return self


Column = Numbers | Levels | Lists


def _number_text(value: float | int) -> str:
    return str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)


def lists_of(name: str, rows: list[Any]) -> Lists:
    """A column of lists; None among their values is left out."""
    counts = np.fromiter((len(row) for row in rows), np.int64, len(rows))
    chained = itertools.chain.from_iterable(rows)
    flat = np.fromiter(chained, dtype=object, count=int(counts.sum()))
    if any(type(value) is bool for value in flat):
        flat = np.array([str(v) if type(v) is bool else v for v in flat], dtype=object)
    try:
        encoded = encode(flat, name)
    except DataError as error:
        raise DataError(
            name, error.value, "is in a list, and lists hold text, or integers", "convert them"
        ) from None
    there = encoded.codes != MISSING
    row = np.repeat(np.arange(len(rows)), counts)[there]
    n = max(len(encoded.ids), 1)
    key = np.unique(row * n + encoded.codes[there].astype(np.int64))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(key // n, minlength=len(rows)))])
    names = tuple(map(str, encoded.ids.values.tolist()))
    return Lists(name, names, indptr.astype(np.int64), key % n)


# ------------------------------------------------------------------- arrays as columns


def column_of(name: str, values: Any) -> Column:
    """A column of an array or a sequence, by the types of its values.

    Raises `DataError` where it holds no numbers, text or lists, or several of them.
    """
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise DataError(name, values, "must be a column", "pass one value a row")
    mask: Array | None = None
    if isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), values.data
    array = values if isinstance(values, np.ndarray) else _as_array(values)
    if array.ndim == 2 and array.dtype.kind in "iuUT":
        return lists_of(name, array.tolist())
    if array.ndim != 1:
        raise DataError(name, array.shape, "must be one value or one list a row", "pass a list")
    kind = array.dtype.kind
    if kind == "b":
        return Numbers(name, array.astype(np.int64), _some(mask), boolean=True)
    if kind in "iu":
        return Numbers(name, array, _some(mask))
    if kind == "f":
        return _floats(name, array.astype(np.float64), mask)
    if kind == "M":
        seconds = array.astype("datetime64[us]").astype(np.int64) / 1e6
        absent = np.isnat(array)
        return _floats(name, np.where(absent, np.nan, seconds), mask)
    if kind in "SUT":
        return _masked(Levels.of(name, encode(array, name)), mask)
    if kind == "O":
        return _of_objects(name, array, mask)
    raise DataError(name, array.dtype.name, "is not a type of features", "convert or leave it out")


def _as_array(values: Any) -> Array:
    if hasattr(values, "__array__"):
        return np.asarray(values)
    listed = list(values)
    return np.fromiter(listed, dtype=object, count=len(listed))


def _some(mask: Array | None) -> Array | None:
    return mask if mask is not None and mask.any() else None


def _floats(name: str, values: Array, mask: Array | None) -> Numbers:
    missing = np.isnan(values)
    return Numbers(name, values, _some(missing if mask is None else missing | mask))


def _masked(levels: Levels, mask: Array | None) -> Levels:
    if mask is None:
        return levels
    return Levels(levels.name, levels.names, np.where(mask, -1, levels.codes))


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(value != value)


def _of_objects(name: str, array: Array, mask: Array | None) -> Column:
    listed = array.tolist()
    kinds = set(map(type, listed))
    absent = np.zeros(len(listed), dtype=bool) if mask is None else mask.copy()
    if any(kind in (type(None), float) or kind.__name__.startswith("Na") for kind in kinds):
        absent |= np.fromiter(map(_is_missing, listed), bool, len(listed))
    present = array[~absent]
    kinds = set(map(type, present.tolist()))
    if kinds and all(issubclass(kind, (list, tuple, set, frozenset, np.ndarray)) for kind in kinds):
        return lists_of(
            name, [() if gone else row for row, gone in zip(listed, absent, strict=True)]
        )
    if not kinds:
        return Numbers(name, np.zeros(len(listed)), absent)
    if all(issubclass(kind, (str, bytes)) for kind in kinds):
        text = array.copy()
        text[absent] = None
        return Levels.of(name, encode(text, name))
    if all(issubclass(kind, datetime.date) for kind in kinds):
        seconds = np.full(len(listed), np.nan)
        seconds[~absent] = [_moment(value) for value in present.tolist()]
        return _floats(name, seconds, absent)
    boolean = all(issubclass(kind, (bool, np.bool_)) for kind in kinds)
    dtype: type = np.float64
    if boolean or all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        dtype = np.int64
    elif not _all_numbers(kinds):
        raise DataError(
            name,
            present[0],
            f"the column mixes or holds other types ({', '.join(sorted(k.__name__ for k in kinds))})",
            f'make it numbers, text or lists, or pass kinds={{{name!r}: "skip"}}',
        )
    values: Array = np.zeros(len(listed), dtype=dtype)
    try:
        values[~absent] = present.astype(dtype)
    except OverflowError:
        values = np.zeros(len(listed))
        values[~absent] = present.astype(np.float64)
    return Numbers(name, values, _some(absent), boolean)


def _moment(day: datetime.date) -> float:
    """Seconds since 1970 (UTC) of a date or a timestamp."""
    if not isinstance(day, datetime.datetime):
        day = datetime.datetime.combine(day, datetime.time())
    return (day if day.tzinfo else day.replace(tzinfo=datetime.UTC)).timestamp()


def _all_numbers(kinds: set[type]) -> bool:
    from decimal import Decimal

    numbers = (int, float, np.integer, np.floating, Decimal)
    return all(issubclass(k, numbers) and k is not bool for k in kinds)
