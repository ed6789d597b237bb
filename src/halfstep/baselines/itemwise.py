"""`Itemwise`: baselines that score an item by a weighted sum over the items that the user has rated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.baselines.base import Baseline
from halfstep.baselines.topn import best_of_rows, filter_rows
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError
from halfstep.models.asked import AskedLists
from halfstep.models.uncertainty import rows_or_empty
from halfstep.objectives import row_weights

__all__ = ["CELLS", "Itemwise", "chunks", "rows_of_cells", "sparse", "sums_by", "user_weights"]

CELLS = 1 << 21
"""Scores, or terms of sums, that are held at a time: 16 MiB in float64."""


class Itemwise(Baseline):
    """score_ui = base_ui + Σ_{j rated by u} x_uj M_ji.

    x is a 1, a rating, or a residual r − μ − b_u − b_i. In the last case base_ui = μ + b_u + b_i; else
    it is 0, and a user without ratings is given x̄_i, the mean of the column over all users.

    Attributes
    ----------
    column_means_ : array (n,) or None
        x̄_i = Σ_u x_ui / m; None where x is a residual.
    """

    column_means_: Array | None

    @abstractmethod
    def _values(self, users: Array, cells: CSR) -> Array:
        """x of cells, whose users (row numbers) are given one for each."""

    @abstractmethod
    def _sums(self) -> Callable[[Any], Array]:
        """The function from rows of x (scipy CSR) to Σ_j x_uj M_ji of all items, dense."""

    def _best(self, lists: AskedLists) -> tuple[Array, Array]:
        count, n = len(lists.rows), len(self.items_)
        index = np.empty((count, lists.n), dtype=np.int64)
        scores = np.empty((count, lists.n))
        sums = self._sums()
        for part in chunks(count, max(1, CELLS // n)):
            rows = lists.rows[part]
            cells = rows_or_empty(self._history("recommend"), rows)
            x = self._values(rows[rows_of_cells(cells)], cells)
            found = sums(sparse(cells, x, n))
            found += self._bases(rows, np.diff(cells.indptr) > 0)
            filter_rows(found, part, lists.excluded, lists.only, lists.allowed)
            index[part], scores[part] = best_of_rows(found, lists.n)
        return index, scores

    def _bases(self, rows: Array, rated: Array) -> Array:
        """base_ui, (users, n); `rated` says which users have ratings."""
        if self.column_means_ is not None:
            return np.where(rated[:, None], 0.0, self.column_means_)
        b_u = np.where(rows < 0, 0.0, self.user_bias_[rows])
        return self.mean_ + b_u[:, None] + self.item_bias_


def sums_by(M: Any) -> Callable[[Any], Array]:
    """The sums of a matrix M (n, n), dense or sparse."""

    def sums(x: Any) -> Array:
        # scipy copies the whole of M where its numbers are not those of x
        found: Any = x.astype(M.dtype, copy=False) @ M
        dense: Array = found if isinstance(found, np.ndarray) else found.toarray()
        return dense

    return sums


def chunks(count: int, step: int) -> Iterator[slice]:
    """0, …, count − 1 in parts of `step`."""
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def rows_of_cells(cells: CSR) -> Array:
    """The row of every cell."""
    return np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))


def sparse(cells: CSR, values: Array, columns: int) -> Any:
    """These values at the places of the cells, as a scipy CSR array."""
    from scipy.sparse import csr_array

    indices = cells.indices.view(np.int32)  # as scipy has them: there are no 2³¹ items
    return csr_array((values, indices, cells.indptr), shape=(cells.n_rows, columns))


def user_weights(ratings: Ratings) -> Array:
    """c_u; 1 of a user without ratings."""
    cells = ratings.by_user
    sizes = np.diff(cells.indptr)
    if cells.weights is None:
        return np.ones(len(sizes))
    c_u = np.where(sizes > 0, row_weights(cells) / np.maximum(sizes, 1), 1.0)
    differ = np.abs(cells.weights - c_u[ratings.user_index()]) > 1e-6 * cells.weights
    if differ.any():
        user = ratings.users.id_at(int(ratings.user_index()[np.argmax(differ)]))
        raise DataError(
            "weights",
            f"of user {user}",
            "must be equal for all ratings of a user: the closed form has no other",
            "fit without weights",
        )
    return c_u
