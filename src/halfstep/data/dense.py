"""A dense table as `Ratings`: every cell is a rating but those that are marked as missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from halfstep.backends.base import CSR
from halfstep.checks import is_number
from halfstep.data.ids import IdMap, encode_all
from halfstep.data.ratings import Ratings
from halfstep.data.report import Report, Source
from halfstep.errors import DataError

__all__ = ["ratings_of_table"]

Array = npt.NDArray[Any]

_MOST_FLOAT32 = float(np.finfo(np.float32).max)
_MOST_CELLS = 2**32 - 1


def ratings_of_table(table: npt.ArrayLike, users: Any, items: Any, missing: Any) -> Ratings:
    """See `Ratings.from_dense`."""
    try:
        R = np.asarray(table)
    except ValueError:  # rows of unequal lengths
        R = np.asarray(table, dtype=object)
    if R.ndim != 2 or R.dtype.kind not in "iuf":
        raise DataError(
            "table",
            f"{R.dtype.name} array of shape {R.shape}",
            "must be a two-dimensional array of numbers, users in rows",
            "pass a matrix, or use from_arrays",
        )
    if not is_number(missing):
        raise DataError(
            "missing", missing, "must be the number that marks a missing cell", "pass missing=nan"
        )
    m, n = R.shape
    if R.size > _MOST_CELLS:
        raise DataError("table", R.shape, "holds more than 2³² − 1 cells", "split the table")
    observed = _observed(R, missing)
    count = R.size if observed is None else int(np.count_nonzero(observed))
    if count == 0:
        raise DataError("table", R.shape, "holds no ratings", "pass a table with at least one")
    user_ids, user_order = _ids("users", users, m)
    item_ids, item_order = _ids("items", items, n)
    values = R.astype(np.float32)  # a copy of our own
    if user_order is not None:
        values, observed = values[user_order], _taken(observed, user_order)
    if item_order is not None:
        values, observed = values[:, item_order], _taken(observed, (slice(None), item_order))
    indices = np.tile(np.arange(n, dtype=np.uint32), m)
    if observed is None:
        indptr = np.arange(m + 1, dtype=np.int64) * n
        cells = CSR(indptr, indices, np.ascontiguousarray(values).reshape(-1))
    else:
        indptr = np.concatenate([[0], np.cumsum(observed.sum(axis=1, dtype=np.int64))])
        cells = CSR(indptr, indices[observed.reshape(-1)], values[observed])
    return Ratings(
        user_ids, item_ids, cells, report=Report(Source("dense table", count), {}, 0, "error")
    )


def _observed(R: Array, missing: Any) -> Array | None:
    """A mask of the cells that are ratings, all of them finite in float32; None where all are."""
    if R.size and R.dtype.kind == "f" and np.isnan(missing):
        low, high = float(R.min()), float(R.max())  # a NaN is its own minimum
        if low >= -_MOST_FLOAT32 and high <= _MOST_FLOAT32:
            return None
    mask = ~np.isnan(R) if np.isnan(missing) else np.not_equal(R, missing)
    wrong = mask & ~(np.abs(R.astype(np.float64)) <= _MOST_FLOAT32)
    if wrong.any():
        u, i = np.unravel_index(int(np.argmax(wrong)), R.shape)
        raise DataError(
            "table",
            R[u, i].item(),
            f"the cell of row {u} and column {i} is neither finite in float32 nor marked as missing",
            "mend the cell, or say by `missing` what a missing cell holds",
        )
    return None if mask.all() else mask


def _ids(name: str, given: Any, count: int) -> tuple[IdMap, Array | None]:
    """The ids of one side, sorted, and the rows of the table in that order (None: as they stand)."""
    if given is None:
        return IdMap.of_range(count), None
    encoded = encode_all(given, name, count)
    order = np.argsort(encoded.codes)
    return encoded.ids, None if (order == np.arange(count)).all() else order


def _taken(mask: Array | None, where: Any) -> Array | None:
    return None if mask is None else mask[where]
