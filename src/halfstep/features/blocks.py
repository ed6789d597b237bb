"""Blocks of features: sparse rows whose columns stand in named groups.

Every source of features (a column of a table, a matrix, the items that a user rated) is a block of
columns of its own; `hstack` puts blocks side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from halfstep.backends.base import CSR
from halfstep.checks import check_choice
from halfstep.errors import DataError

if TYPE_CHECKING:
    from halfstep.data.ratings import Ratings

__all__ = ["Group", "at_most_one", "hstack", "implicit_features", "implicit_rows"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Group:
    """The columns `start`, …, `stop` − 1 of a matrix of features, which come from one source.

    >>> Group("age", 0, 2).slice
    slice(0, 2, None)
    """

    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """The columns of the group."""
        return slice(self.start, self.stop)


def hstack(
    blocks: Sequence[tuple[CSR, Sequence[Group]]],
) -> tuple[CSR, tuple[Group, ...]]:
    """Blocks of the same rows side by side: [X_1, X_2, …], and their groups behind one another.

    Parameters
    ----------
    blocks : pairs (cells, groups)
        The groups of a block cover all of its columns, in order. None of the cells has weights.

    Returns
    -------
    cells : CSR
        A row holds its cells of the first block, then those of the second, …
    groups : tuple of Group

    Raises
    ------
    DataError
        No block, or blocks of unequal numbers of rows.
    """
    if not blocks:
        raise DataError("blocks", [], "must hold at least one block", "pass (cells, groups)")
    rows = blocks[0][0].n_rows
    for cells, _ in blocks:
        if cells.n_rows != rows:
            raise DataError(
                "blocks",
                [block.n_rows for block, _ in blocks],
                "must have the same number of rows",
                "align them to the same ids first (features.aligned)",
            )
    counts = [np.diff(cells.indptr) for cells, _ in blocks]
    indptr = np.zeros(rows + 1, dtype=np.int64)
    for count in counts:
        indptr[1:] += count
    np.cumsum(indptr, out=indptr)
    indices = np.empty(indptr[-1], dtype=np.uint32)
    values = np.empty(indptr[-1], dtype=np.float32)
    groups: list[Group] = []
    place, width = indptr[:-1].copy(), 0
    for (cells, parts), count in zip(blocks, counts, strict=True):
        target = np.repeat(place - cells.indptr[:-1], count) + np.arange(cells.nnz)
        indices[target] = cells.indices + np.uint32(width)
        values[target] = cells.values
        place += count
        groups += [Group(part.name, part.start + width, part.stop + width) for part in parts]
        width += parts[-1].stop if parts else 0
    return CSR(indptr, indices, values), tuple(groups)


def at_most_one(columns: Array, values: Array) -> CSR:
    """Rows of at most one cell each: `columns` (−1: none) and `values` per row."""
    there = columns >= 0
    indptr = np.concatenate([[0], np.cumsum(there, dtype=np.int64)])
    return CSR(indptr, columns[there].astype(np.uint32), values[there].astype(np.float32))


def implicit_features(ratings: Ratings, side: Literal["user", "item"]) -> CSR:
    """Which items a user rated, as features of the user (for items: which users rated it).

        x_uj = 1 / √n_u for every item j that u rated, whatever the rating, else 0

    n_u is the number of the user's ratings, so that every row has norm 1. Where a prior mean depends
    linearly on these, it is |N(u)|^(−1/2) Σ_{j ∈ N(u)} y_j, as in SVD++ (Koren, "Factorization meets
    the neighborhood", KDD 2008, eq. 15).

    Parameters
    ----------
    ratings : Ratings
        A rating of 0 counts; a row of weight 0 is absent.
    side : {"user", "item"}

    Returns
    -------
    CSR (m × n for users, n × m for items)
        The rows and columns are those of the ratings.

    Raises
    ------
    ParameterError
        Another side.
    """
    check_choice("side", side, ("user", "item"))
    return implicit_rows(ratings.by_user if side == "user" else ratings.by_item)


def implicit_rows(cells: CSR) -> CSR:
    """1 / √n in every cell of a row of n cells."""
    count = np.diff(cells.indptr)
    value = (1.0 / np.sqrt(np.maximum(count, 1))).astype(np.float32)
    return CSR(cells.indptr, cells.indices, np.repeat(value, count))
