"""How each column of a table becomes columns of a matrix: what was learned of it, and the formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from halfstep.backends.base import CSR
from halfstep.errors import DataError, ModelFileError
from halfstep.features.blocks import at_most_one
from halfstep.features.columns import SEPARATOR, Column, Levels, Lists, Numbers

__all__ = [
    "KINDS",
    "Categorical",
    "Encoder",
    "Matrix",
    "Multi",
    "Numeric",
    "encoder_from_document",
    "learn",
    "natural_kind",
]

Array = npt.NDArray[Any]

KINDS = ("numeric", "categorical", "multi", "skip")

_NAMES_ROWS = 0.9
_FEW_ROWS = 100
_MOST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Numeric:
    """(x − mean) / scale, and a column that is 1 where x is missing, if any was when this was learned.

    `scale` is the standard deviation over the rows that have a value (with divisor their number); 0
    where all of them have the same one, and then the column says only whether it is missing.
    """

    name: str
    mean: float
    scale: float
    missing: bool

    @property
    def width(self) -> int:
        return (self.scale > 0) + self.missing

    def columns(self) -> list[str]:
        return [self.name] * (self.scale > 0) + [f"{self.name} is missing"] * self.missing

    def encode(self, column: Column) -> CSR:
        x = _finite(column)
        absent = np.isnan(x)
        value = np.zeros(len(x))
        place = np.full(len(x), -1, dtype=np.int64)
        if self.scale > 0:
            with np.errstate(over="ignore"):
                value = (x - self.mean) / self.scale
            far = np.abs(value) > _MOST_FLOAT32
            if far.any():
                raise DataError(
                    self.name,
                    float(x[np.argmax(far)]),
                    "is too far from the mean of this column to be a float32",
                    "mend the value, or clip the column",
                )
            place[~absent & (value != 0)] = 0
        if self.missing:
            place[absent] = int(self.scale > 0)
            value[absent] = 1.0
        return at_most_one(place, value)

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "numeric",
            "name": self.name,
            "mean": self.mean,
            "scale": self.scale,
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True)
class Categorical:
    """One column for each level, and one for missing values, if any was missing when this was learned.

    A level that is not among them has no entry.
    """

    name: str
    levels: tuple[str, ...]
    missing: bool

    @property
    def width(self) -> int:
        return len(self.levels) + self.missing

    def columns(self) -> list[str]:
        named = [f"{self.name}={level}" for level in self.levels]
        return named + [f"{self.name} is missing"] * self.missing

    def encode(self, column: Column) -> CSR:
        found = column.levels()
        place = _places(found.names, self.levels, len(self.levels) if self.missing else -1)
        return at_most_one(place[found.codes], np.ones(len(found.codes)))

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "categorical",
            "name": self.name,
            "levels": list(self.levels),
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True)
class Multi:
    """One column for each level; a row with k distinct values has 1 / √k in each of their columns.

    A value that is not among the levels has no entry, but counts in k.
    """

    name: str
    levels: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.levels)

    def columns(self) -> list[str]:
        return [f"{self.name}={level}" for level in self.levels]

    def encode(self, column: Column) -> CSR:
        found = column.lists()
        count = np.diff(found.indptr)
        value = np.repeat(1.0 / np.sqrt(np.maximum(count, 1)), count).astype(np.float32)
        place = _places(found.names, self.levels, -1)[found.codes]
        row = np.repeat(np.arange(len(count)), count)
        order = np.lexsort([place, row])  # the levels of a new table may stand in another order
        cells = CSR(found.indptr, place[order], value)
        known = cells.select(cells.indices >= 0)
        return CSR(known.indptr, known.indices.astype(np.uint32), known.values)

    def to_document(self) -> dict[str, Any]:
        return {"kind": "multi", "name": self.name, "levels": list(self.levels)}


@dataclass(frozen=True, slots=True)
class Matrix:
    """The columns of a matrix as they stand: their names, or their number."""

    name: str
    given: tuple[str, ...] | int

    @property
    def width(self) -> int:
        return self.given if isinstance(self.given, int) else len(self.given)

    def columns(self) -> list[str]:
        if isinstance(self.given, int):
            return [f"{self.name} {k}" for k in range(self.given)]
        return list(self.given)

    def to_document(self) -> dict[str, Any]:
        given = self.given if isinstance(self.given, int) else list(self.given)
        return {"kind": "matrix", "name": self.name, "columns": given}


Encoder = Numeric | Categorical | Multi


def _places(names: tuple[str, ...], levels: tuple[str, ...], missing: int) -> Array:
    """The position in `levels` of every name (−1: unknown), and at −1 what a missing value gets."""
    known = {level: k for k, level in enumerate(levels)}
    place = np.empty(len(names) + 1, dtype=np.int64)
    place[:-1] = np.fromiter((known.get(name, -1) for name in names), np.int64, len(names))
    place[-1] = missing
    return place


def _finite(column: Column) -> Array:
    x = column.numbers()
    wrong = np.abs(x) > _MOST_FLOAT32
    if wrong.any():
        value = float(x[np.argmax(wrong)])
        raise DataError(
            column.name,
            value,
            "is infinite" if np.isinf(value) else "is beyond float32",
            "mend the value, or leave it missing",
        )
    return x


# -------------------------------------------------------------------------- learning


def natural_kind(column: Column) -> str:
    """What a column is where the caller does not say.

    Lists are multi, and text in which a value holds «|»; other text and booleans are categorical;
    integers and floats are numeric. Text that names nearly every row anew, such as a title, is skipped:
    of at least 100 values, more than 9 of 10 are distinct.
    """
    if isinstance(column, Numbers):
        return "categorical" if column.boolean else "numeric"
    if isinstance(column, Lists):
        return "multi"
    if any(SEPARATOR in name for name in column.names):
        split = column.lists()
        return "skip" if _names_rows(len(split.names), len(split.codes)) else "multi"
    present = int(np.count_nonzero(column.codes >= 0))
    return "skip" if _names_rows(len(column.names), present) else "categorical"


def _names_rows(distinct: int, values: int) -> bool:
    return values >= _FEW_ROWS and distinct > _NAMES_ROWS * values


def learn(column: Column, kind: str) -> Encoder | str:
    """What to remember of a column, or why it is dropped."""
    if kind == "numeric":
        return _learn_numeric(column)
    if kind == "categorical":
        return _learn_categorical(column.levels())
    found = column.lists()
    rows = len(found.indptr) - 1
    if not len(found.codes):
        return "all values are missing"
    levels = _used(found.names, found.codes)
    if len(found.codes) == rows * len(levels):
        return "all rows have the same values"
    return Multi(found.name, levels)


def _used(names: tuple[str, ...], codes: Array) -> tuple[str, ...]:
    count = np.bincount(codes, minlength=len(names))
    return tuple(name for name, times in zip(names, count.tolist(), strict=True) if times)


def _learn_numeric(column: Column) -> Numeric | str:
    x = _finite(column)
    there = x[~np.isnan(x)]
    missing = len(there) < len(x)
    if not len(there):
        return "all values are missing"
    mean, scale = float(there[0]), 0.0
    if there.min() < there.max():
        mean = float(np.add.reduce(there) / len(there))
        away = there - mean
        most = float(np.abs(away).max())  # squares of tiny values would be 0
        scale = most * float(np.sqrt(np.add.reduce((away / most) ** 2) / len(there)))
    if scale == 0 and not missing:
        return "all values are the same"
    return Numeric(column.name, mean, scale, missing)


def _learn_categorical(column: Levels) -> Categorical | str:
    levels = _used(column.names, column.codes[column.codes >= 0])
    missing = bool((column.codes < 0).any())
    if not levels:
        return "all values are missing"
    if len(levels) == 1 and not missing:
        return "all values are the same"
    return Categorical(column.name, levels, missing)


# ------------------------------------------------------------------------- documents


def encoder_from_document(document: Any) -> Encoder | Matrix:
    """The inverse of `to_document`; `ModelFileError` where the document is damaged."""
    kind, name = _entry(document, "kind", str), _entry(document, "name", str)
    if kind == "numeric":
        mean, scale = (_entry(document, key, float) for key in ("mean", "scale"))
        if not (np.isfinite(mean) and np.isfinite(scale) and scale >= 0):
            raise damaged(f"column {name!r} has mean {mean} and scale {scale}")
        found: Encoder | Matrix = Numeric(name, mean, scale, _entry(document, "missing", bool))
    elif kind == "categorical":
        missing = _entry(document, "missing", bool)
        found = Categorical(name, _names(document, "levels"), missing)
    elif kind == "multi":
        found = Multi(name, _names(document, "levels"))
    elif kind == "matrix":
        given = _entry(document, "columns", int, list)
        found = Matrix(name, given if isinstance(given, int) else _names(document, "columns"))
    else:
        raise damaged(f"column {name!r} is of kind {kind!r}")
    if found.width < 1:
        raise damaged(f"column {name!r} has no columns")
    return found


def damaged(rule: str) -> ModelFileError:
    """The error about a document that `Encoding.to_document` has not written."""
    return ModelFileError("encoding", "features", rule, "save the model again or restore a copy")


def _entry(document: Any, key: str, *types: type) -> Any:
    value = document.get(key) if isinstance(document, Mapping) else None
    if type(value) not in types:
        raise damaged(f"{key!r} is {value!r}, not {' or '.join(t.__name__ for t in types)}")
    return value


def _names(document: Any, key: str) -> tuple[str, ...]:
    names = _entry(document, key, list)
    if not (names and all(type(name) is str for name in names) and len(set(names)) == len(names)):
        raise damaged(f"{key!r} are not distinct texts")
    return tuple(names)
