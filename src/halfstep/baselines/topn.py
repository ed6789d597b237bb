"""The n highest of every row of a dense table of scores."""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import Array

__all__ = ["best_of_rows", "filter_rows"]


def best_of_rows(scores: Array, n: int) -> tuple[Array, Array]:
    """(columns, scores), each (rows, n): the n highest of every row, equal ones by column.

    −∞ is never among them: where fewer than n are left, the column is −1 and the score NaN.

    >>> best_of_rows(np.array([[1.0, 3.0, 3.0, -np.inf]]), 2)[0]
    array([[1, 2]])
    """
    rows, columns = scores.shape
    if n < columns:
        limit = np.partition(scores, columns - n, axis=1)[:, columns - n, None]
        above, equal = scores > limit, scores == limit
        room = n - np.count_nonzero(above, axis=1)[:, None]
        taken = above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= room))
        index = np.nonzero(taken)[1].reshape(rows, n)
    else:
        index = np.tile(np.arange(columns), (rows, 1))
    found = np.take_along_axis(scores, index, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    index, found = np.take_along_axis(index, order, 1), np.take_along_axis(found, order, 1)
    missing = np.isneginf(found)
    index[missing], found[missing] = -1, np.nan
    if n > columns:
        wide = ((0, 0), (0, n - columns))
        index = np.pad(index, wide, constant_values=-1)
        found = np.pad(found, wide, constant_values=np.nan)
    return index, found


def filter_rows(
    scores: Array,
    part: slice,
    excluded: tuple[Array, Array] | None,
    only: tuple[Array, Array] | None,
    allowed: Array | None,
) -> None:
    """Write −∞ over what the rows `part` of the lists may not be given.

    `excluded` and `only` are (indptr, columns) over all rows of the lists, `allowed` is a mask.
    """
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    if only is not None:
        others = np.ones(scores.shape, dtype=bool)
        others[_places(only, part)] = False
        scores[others] = -np.inf
    if excluded is not None:
        scores[_places(excluded, part)] = -np.inf


def _places(lists: tuple[Array, Array], part: slice) -> tuple[Array, Array]:
    indptr, columns = lists
    bounds = indptr[part.start : part.stop + 1]
    rows = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return rows, columns[bounds[0] : bounds[-1]]
