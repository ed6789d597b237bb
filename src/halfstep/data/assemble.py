"""From columns to `Ratings`: checks, policies, and the report of what was done.

    columns → invalid rows (named or dropped) → weight 0 (absent) → sort by (user, item)
            → duplicates (named or merged) → Ratings

Nothing is dropped silently: every row that does not become a cell of its own is counted in `Report`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from halfstep import _native
from halfstep.backends.base import CSR
from halfstep.data.columns import Extracted
from halfstep.data.ids import MISSING, Encoded, IdMap
from halfstep.data.ratings import Ratings
from halfstep.data.report import Report
from halfstep.errors import DataError, DuplicatesError, ParameterError

__all__ = ["DUPLICATES", "INVALID", "assemble"]

Array = npt.NDArray[Any]

DUPLICATES = ("error", "mean", "sum", "first", "last", "merge")
INVALID = ("error", "drop")

_MOST_FLOAT32 = float(np.finfo(np.float32).max)
_ZERO_FLOAT32 = 2.0**-150  # the largest number that float32 rounds to 0
_MOST_ROWS = 2**32 - 1


def assemble(
    found: Extracted,
    *,
    duplicates: str | None,
    invalid: str,
    keep_order: bool,
    keep_ids: bool = False,
) -> Ratings:
    """Check the columns, apply the policies, and build both orientations.

    The columns leave `found`, each when it is used up, so that they need not be held to the end;
    `keep_ids` keeps ids that no remaining cell has (`from_scipy`'s empty rows).
    """
    users, items = found.users, found.items
    columns = {"ratings": found.ratings, "time": found.time, "weight": found.weight}
    found.users, found.items = users.without_codes(), items.without_codes()
    found.ratings = found.time = found.weight = None
    if duplicates is None:
        duplicates = "sum" if columns["ratings"] is None else "error"
    _check_choice("duplicates", duplicates, DUPLICATES)
    _check_choice("invalid", invalid, INVALID)
    rows = len(users.codes)
    for name, column in {"items": items.codes, **columns}.items():
        if column is not None and column.shape != (rows,):
            raise DataError(
                name,
                column.shape,
                f"must be one value for each of the {rows} users",
                "pass columns of equal length",
            )
    table = found.source.description
    if rows == 0:
        raise DataError("table", table, "holds no ratings", "pass a table with at least one row")
    if rows > _MOST_ROWS:
        raise DataError("table", rows, "holds more than 2³² − 1 rows", "split the table")
    columns = {n: _numbers(n, c) for n, c in columns.items()}
    dropped, keep = _find_invalid(users, items, columns, invalid, found.bad_text)
    if columns["weight"] is not None:
        present = columns["weight"] > _ZERO_FLOAT32
        if not present.all():
            zero = int(np.count_nonzero(~present if keep is None else ~present & keep))
            if zero:
                dropped["weight of 0 (absent)"] = zero
            keep = present if keep is None else keep & present
    if keep is not None and not keep.any():
        raise DataError(
            "table",
            table,
            f"holds no usable row ({', '.join(f'{v} × {k}' for k, v in dropped.items())})",
            "check which columns were read",
        )
    if keep is not None:
        users, items = (Encoded(side.ids, side.codes[keep]) for side in (users, items))
        columns = {n: None if c is None else c[keep] for n, c in columns.items()}
        if not keep_ids:
            users, items = _compact(users), _compact(items)

    user_ids, item_ids = users.ids, items.ids
    rows = len(users.codes)
    indptr, moved, repeats = _native.sort_pairs(
        users.codes, items.codes, len(user_ids), len(item_ids)
    )
    order: Array | None
    indices, order = (items.codes, None) if moved is None else moved
    del users, items, moved
    values = _in_order(_single(columns.pop("ratings")), order)
    if values is None:
        values = np.ones(rows, dtype=np.float32)
    weights = _in_order(_single(columns.pop("weight")), order)
    times = _in_order(columns.pop("time"), order)
    if order is None:
        order = np.arange(rows if repeats or keep_order else 0, dtype=np.uint32)
    if repeats:
        first = _first_of_pair(indptr, indices)
        if duplicates == "error":
            cell = int(np.argmin(first))
            row = int(np.searchsorted(indptr, cell, side="right")) - 1
            pair = (user_ids.id_at(row), item_ids.id_at(int(indices[cell])))
            raise DuplicatesError(
                "duplicates",
                "error",
                f"the table holds {repeats:,} repeated (user, item) "
                f"pair{'s' if repeats > 1 else ''}, the first is {pair[0]!r}, {pair[1]!r}",
                f"choose a policy: {', '.join(DUPLICATES[1:])}",
            )
        with np.errstate(over="ignore"):  # told below
            values, weights, times, order = _merge(duplicates, first, values, weights, times, order)
        for column in (values, weights):
            if column is not None and not np.isfinite(column).all():
                raise DataError(
                    "duplicates",
                    duplicates,
                    "adds repeats up to more than float32 holds",
                    "choose another policy, or scale the column",
                )
        before = np.concatenate([[0], np.cumsum(first, dtype=np.int64)])
        indptr, indices = before[indptr], indices[first]
    rank = None
    if keep_order:
        kept = np.zeros(rows, dtype=np.int64)
        kept[order] = 1
        rank = (np.cumsum(kept) - 1)[order]
    del order
    report = Report(found.source, dropped, repeats, duplicates)
    cells = CSR(indptr, indices, values, weights)
    return Ratings(user_ids, item_ids, cells, time=times, file_rank=rank, report=report)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ParameterError(name, value, "is not a policy", f"choose one of {', '.join(choices)}")


def _numbers(name: str, column: Array | None) -> Array | None:
    """A column as float or int numbers; text that spells numbers is not guessed at."""
    if column is None:
        return None
    kind = column.dtype.kind
    if kind == "b":
        return column.astype(np.float64)
    if column.dtype == np.float16:  # limits of float32 are infinite in it
        return column.astype(np.float32)
    if kind in "iuf":
        return column.astype(column.dtype.newbyteorder("="), copy=False)
    if kind == "M":
        seconds = column.astype("datetime64[s]").astype(np.int64)
        absent = np.isnat(column)
        return np.where(absent, np.nan, seconds) if absent.any() else seconds
    if kind == "O":
        try:
            return column.astype(np.float64)
        except (TypeError, ValueError):
            pass
    raise DataError(name, column.dtype.name, "must hold numbers", "convert the column first")


def _find_invalid(
    users: Encoded,
    items: Encoded,
    columns: dict[str, Array | None],
    invalid: str,
    bad_text: Callable[[str, int], str] | None,
) -> tuple[dict[str, int], Array | None]:
    """Counts of invalid rows by reason, and a mask of the rows to keep (None: all)."""
    wrong: dict[tuple[str, str], Array] = {}
    for name, codes in (("users", users.codes), ("items", items.codes)):
        if codes.max() == MISSING:
            wrong[name, "missing id"] = codes == MISSING
    for name, column in columns.items():
        if column is None or _is_clean(name, column):
            continue
        if column.dtype.kind == "f":
            wrong[name, "not a number"] = np.isnan(column)
            wrong[name, "infinite"] = np.isinf(column)
        if name == "weight":
            wrong[name, "negative"] = column < 0
        if name != "time":
            too_large = np.abs(column) > _MOST_FLOAT32
            wrong[name, "beyond float32"] = (
                too_large & np.isfinite(column) if column.dtype.kind == "f" else too_large
            )
    dropped: dict[str, int] = {}
    bad: Array | None = None
    for (name, reason), mask in wrong.items():
        if not mask.any():
            continue
        if invalid == "error":
            row, count = int(np.argmax(mask)), int(np.count_nonzero(mask))
            if bad_text is not None:
                value: object = bad_text(name, row)
            elif name in columns:
                value = np.asarray(columns[name])[row].item()
            else:
                value = None
            raise DataError(
                name,
                value,
                f"{reason} in row {row + 1} of the table"
                + (f" and in {count - 1:,} more" if count > 1 else ""),
                'mend the rows, or pass invalid="drop" to leave them out',
            )
        fresh = mask if bad is None else mask & ~bad
        if fresh.any():
            dropped[f"{name}: {reason}"] = int(np.count_nonzero(fresh))
        bad = mask if bad is None else bad | mask
    return dropped, (None if bad is None else ~bad)


def _is_clean(name: str, column: Array) -> bool:
    """Whether no value of a column can be wrong; a NaN is its own minimum and fails."""
    low, high = column.min(), column.max()
    most = np.finfo(np.float64).max if name == "time" else _MOST_FLOAT32
    return bool((0 if name == "weight" else -most) <= low and high <= most)


def _compact(side: Encoded) -> Encoded:
    """Without the ids that no remaining row has."""
    used = np.zeros(len(side.ids), dtype=bool)
    used[side.codes] = True
    if used.all():
        return side
    rank = np.cumsum(used, dtype=np.int64) - 1
    return Encoded(IdMap(side.ids.values[used]), rank[side.codes].astype(np.uint32))


def _single(column: Array | None) -> Array | None:
    return None if column is None else column.astype(np.float32, copy=False)


def _in_order(column: Array | None, order: Array | None) -> Array | None:
    """The column in the order of the cells, never the caller's own array."""
    if column is None or order is None:
        return None if column is None else column.copy()
    if column.dtype not in (np.float32, np.float64, np.int64):
        return column[order]
    return _native.take(np.require(column, requirements=["C", "A"]), order)


def _first_of_pair(indptr: Array, indices: Array) -> Array:
    """A mask over sorted cells: True where a (user, item) pair begins."""
    first = np.ones(len(indices), dtype=bool)
    first[1:] = indices[1:] != indices[:-1]
    starts = indptr[:-1][np.diff(indptr) > 0]
    first[starts] = True
    return first


def _merge(
    policy: str,
    first: Array,
    values: Array,
    weights: Array | None,
    times: Array | None,
    order: Array,
) -> tuple[Array, Array | None, Array | None, Array]:
    """One cell for every pair. Only the groups with repeats are touched.

    Within a group the rows are put in an order that does not depend on the table's (by rating and
    weight), so that sums are the same bits for any order of the rows; "first" and "last" go by time
    where there is one (ties by rating), else by position, which `order` ascends in.
    """
    group = np.cumsum(first) - 1
    counts = np.bincount(group)
    touched = np.flatnonzero(counts[group] > 1)
    ranked = ["first", "last"]
    keys = [values[touched]]
    if weights is not None:
        keys.insert(0, weights[touched])
    if policy in ranked:
        keys = [order[touched]] if times is None else [*keys, times[touched]]
    touched = touched[np.lexsort([*keys, group[touched]])]
    lead = np.flatnonzero(np.diff(group[touched], prepend=-1))  # where each group begins in touched
    size = np.diff(np.append(lead, len(touched)))
    target = group[touched[lead]]

    new_values, new_order = values[first], order[first]
    new_weights = None if weights is None else weights[first]
    new_times = None if times is None else times[first]
    new_order[target] = np.minimum.reduceat(order[touched], lead)
    if policy in ranked:
        kept = touched[lead if policy == "first" else lead + size - 1]
        new_values[target] = values[kept]
        new_order[target] = order[kept]
        if new_weights is not None and weights is not None:
            new_weights[target] = weights[kept]
        if new_times is not None and times is not None:
            new_times[target] = times[kept]
        return new_values, new_weights, new_times, new_order

    c = np.ones(len(touched)) if weights is None else weights[touched].astype(np.float64)
    r = values[touched].astype(np.float64)
    total = np.add.reduceat(c, lead)
    if policy == "sum":
        new_values[target] = np.add.reduceat(r, lead)
    else:
        new_values[target] = np.add.reduceat(c * r, lead) / total
    if policy == "merge":
        if new_weights is None:
            new_weights = np.ones(len(new_values), dtype=np.float32)
        new_weights[target] = total
    elif new_weights is not None:
        new_weights[target] = total / size
    if new_times is not None and times is not None:
        new_times[target] = np.maximum.reduceat(times[touched], lead)
    return new_values, new_weights, new_times, new_order
