"""`Ratings`: the observed cells of a users × items table, checked once and immutable.

Observed means stored, whatever the value: a rating of 0 is a rating. Both orientations are kept as
compressed rows (by user for the user half-step, by item for the item half-step): 4 bytes of index and
4 of value a rating each, 16 bytes a rating together, without offsets, ids, times and weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from halfstep import _native
from halfstep.backends.base import CSR
from halfstep.checks import is_number
from halfstep.data.ids import Encoded, IdMap, encode, encode_all, union
from halfstep.errors import DataError, ParameterError

if TYPE_CHECKING:
    from halfstep.data.report import Report
    from halfstep.data.summary import Summary

__all__ = ["Ratings"]

Array = npt.NDArray[Any]


class Ratings:
    """Observed ratings of m users and n items, with the ids that they came with.

    Make one with `read_ratings`, `Ratings.from_arrays`, `Ratings.from_table`,
    `Ratings.from_scipy` or `Ratings.from_dense`; the constructor is for code that has checked its
    arrays itself.

    Attributes
    ----------
    users, items : IdMap
        Sorted ids; their positions are the rows and columns.
    by_user, by_item : CSR
        The cells by user and by item (int64 offsets, uint32 indices, float32 values and weights).
    time : array (cells,) or None
        In the order of `by_user`.
    file_rank : array (cells,) or None
        The rank of each cell of `by_user` in the table's own order (`keep_order=True`).
    report : Report
        What was read, dropped and merged.

    Examples
    --------
    >>> ratings = Ratings.from_arrays(["ann", "ann", "bob"], [10, 20, 10], [5.0, 0.0, 3.0])
    >>> ratings
    Ratings(3 ratings, 2 users, 2 items)
    """

    __slots__ = ("by_item", "by_user", "file_rank", "items", "report", "time", "users")

    def __init__(
        self,
        users: IdMap,
        items: IdMap,
        by_user: CSR,
        *,
        time: Array | None = None,
        file_rank: Array | None = None,
        report: Report,
    ) -> None:
        self.users, self.items, self.by_user = users, items, by_user
        self.by_item = transpose(by_user, len(items))
        self.time, self.file_rank, self.report = time, file_rank, report
        arrays = [time, file_rank]
        for cells in (self.by_user, self.by_item):
            arrays += [cells.indptr, cells.indices, cells.values, cells.weights]
        for array in arrays:
            if array is not None:
                array.setflags(write=False)

    # ------------------------------------------------------------------ makers

    @classmethod
    def from_arrays(
        cls,
        users: npt.ArrayLike,
        items: npt.ArrayLike,
        ratings: npt.ArrayLike | None = None,
        time: npt.ArrayLike | None = None,
        weight: npt.ArrayLike | None = None,
        duplicates: str | None = None,
        invalid: str = "error",
        keep_order: bool = False,
    ) -> Ratings:
        """Ratings from one array per column.

        Parameters
        ----------
        users, items : array-like of integers or text
        ratings : array-like of numbers, optional
            None means 1 for every row (interactions).
        time, weight : array-like of numbers, optional
            Weights are the c_ui of the objective: 2 is the row twice, 0 is the row absent.
        duplicates : {"error", "mean", "sum", "first", "last", "merge"}, optional
            What to do where a (user, item) pair stands more than once. Default "error" for ratings
            and "sum" for interactions. "mean": the (weighted) mean rating, the mean weight.
            "merge": the weighted mean, the weights added. "sum": the ratings added, the mean weight.
            "first" and "last": the earliest and the latest by `time`, else by position.
        invalid : {"error", "drop"}
            What to do with rows that hold a NaN, an infinity, a missing id or a negative weight.
        keep_order : bool
            Remember the order of the rows (`file_rank`), for protocols that are defined by it.

        Raises
        ------
        DataError, DuplicatesError, ParameterError
        """
        from halfstep.data.assemble import assemble
        from halfstep.data.columns import Extracted
        from halfstep.data.report import Source

        encoded = encode(users, "users")
        found = Extracted(
            encoded,
            encode(items, "items"),
            None if ratings is None else np.asarray(ratings),
            None if time is None else np.asarray(time),
            None if weight is None else np.asarray(weight),
            Source("arrays", len(encoded.codes)),
        )
        del encoded
        return assemble(found, duplicates=duplicates, invalid=invalid, keep_order=keep_order)

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        user: str | int | None = None,
        item: str | int | None = None,
        rating: str | int | None = None,
        time: str | int | None = None,
        weight: str | int | None = None,
        duplicates: str | None = None,
        invalid: str = "error",
        keep_order: bool = False,
    ) -> Ratings:
        """Ratings from any DataFrame or Arrow object (pandas, polars, pyarrow, DuckDB relations, …).

        Columns are found by their usual names (`userId`, `movieId`, `rating`, `timestamp`, …) or
        given by name or position. Policies as in `from_arrays`.
        """
        from halfstep.data.assemble import assemble
        from halfstep.data.tables import extract

        found = extract(table, user=user, item=item, rating=rating, time=time, weight=weight)
        return assemble(found, duplicates=duplicates, invalid=invalid, keep_order=keep_order)

    @classmethod
    def from_scipy(
        cls,
        matrix: Any,
        *,
        users: npt.ArrayLike | None = None,
        items: npt.ArrayLike | None = None,
        duplicates: str | None = None,
        invalid: str = "error",
    ) -> Ratings:
        """Ratings from a scipy sparse matrix or array, users in rows; every stored cell is observed.

        A stored 0 is a rating of 0. `users` and `items` are the ids of the rows and columns
        (distinct; default 0, 1, 2, …); rows and columns without cells are kept.
        """
        from halfstep.data.assemble import assemble
        from halfstep.data.columns import Extracted
        from halfstep.data.report import Source

        if not hasattr(matrix, "tocoo") or not hasattr(matrix, "nnz"):
            raise DataError(
                "matrix", type(matrix).__name__, "must be a scipy sparse array", "use from_arrays"
            )
        cells = matrix.tocoo()
        sides = []
        for name, given, count, index in (
            ("users", users, cells.shape[0], cells.row),
            ("items", items, cells.shape[1], cells.col),
        ):
            if given is None:
                sides.append(Encoded(IdMap.of_range(count), index.astype(np.uint32)))
                continue
            encoded = encode_all(given, name, count)
            sides.append(Encoded(encoded.ids, encoded.codes[index]))
        source = Source(f"scipy {matrix.format} matrix", matrix.nnz)
        found = Extracted(sides[0], sides[1], cells.data, None, None, source)
        return assemble(
            found, duplicates=duplicates, invalid=invalid, keep_order=False, keep_ids=True
        )

    @classmethod
    def from_dense(
        cls,
        table: npt.ArrayLike,
        *,
        users: npt.ArrayLike | None = None,
        items: npt.ArrayLike | None = None,
        missing: float = np.nan,
    ) -> Ratings:
        """Ratings from a two-dimensional array, users in rows; a 0 is a rating of 0.

        The same ratings as those of its cells passed one by one, without sorting anything.

        Parameters
        ----------
        table : array (m, n) of numbers
        users, items : array-like of ids, optional
            Of the rows and columns (distinct; default 0, 1, 2, …); rows and columns without ratings
            are kept.
        missing : number
            What a cell holds that is not a rating.

        Raises
        ------
        DataError

        Examples
        --------
        >>> Ratings.from_dense([[5.0, 0.0], [3.0, np.nan]])
        Ratings(3 ratings, 2 users, 2 items)
        """
        from halfstep.data.dense import ratings_of_table

        return ratings_of_table(table, users, items, missing)

    # ----------------------------------------------------------------- answers

    def __len__(self) -> int:
        """The number of observed cells."""
        return self.by_user.nnz

    def __repr__(self) -> str:
        return (
            f"Ratings({len(self):,} ratings, {len(self.users):,} users, {len(self.items):,} items)"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n): users and items."""
        return len(self.users), len(self.items)

    @property
    def density(self) -> float:
        """|Ω| / (m n)."""
        m, n = self.shape
        return len(self) / (m * n)

    @property
    def is_complete(self) -> bool:
        """Whether every user has rated every item, with no weights."""
        m, n = self.shape
        return len(self) == m * n and self.by_user.weights is None

    def mean(self) -> float:
        """μ = Σ c r / Σ c, summed in float64 in the sorted order of the cells."""
        values = self.by_user.values
        if self.by_user.weights is None:
            return float(np.add.reduce(values, dtype=np.float64)) / len(values)
        weights = self.by_user.weights.astype(np.float64)
        return float(np.add.reduce(weights * values) / np.add.reduce(weights))

    def scale(self) -> tuple[float, float]:
        """The lowest and the highest rating."""
        return float(self.by_user.values.min()), float(self.by_user.values.max())

    def user_index(self) -> Array:
        """The user row of every cell, in the order of `by_user` (int64)."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.by_user.indptr))

    def to_arrays(self) -> tuple[Array, Array, Array]:
        """(user ids, item ids, ratings), sorted by user and item."""
        return (
            self.users.take(self.user_index()),
            self.items.take(self.by_user.indices),
            self.by_user.values.copy(),
        )

    def to_scipy(self) -> Any:
        """A scipy CSR array (m × n), float32; a rating of 0 is a stored 0."""
        from scipy.sparse import csr_array

        cells = self.by_user
        return csr_array((cells.values, cells.indices, cells.indptr), shape=self.shape, copy=True)

    def facts(self) -> dict[str, Any]:
        """Where the ratings came from and how many there are, as plain values (a model keeps them)."""
        m, n = self.shape
        return {
            "source": self.report.source.description,
            "rows_read": self.report.source.rows,
            "dropped": dict(self.report.dropped),
            "repeats": self.report.repeats,
            "duplicates": self.report.policy,
            "ratings": len(self),
            "users": m,
            "items": n,
            "weighted": self.by_user.weights is not None,
            "timed": self.time is not None,
        }

    def summary(self) -> Summary:
        """What was read, dropped and merged, and what the ratings look like."""
        from halfstep.data.summary import summarize

        return summarize(self)

    # -------------------------------------------------------------- other sets

    def select(self, cells: npt.ArrayLike) -> Ratings:
        """The ratings at these cells (a mask over, or positions in, `by_user`), over the same ids."""
        wanted = np.asarray(cells)
        if wanted.dtype != np.bool_:
            mask = np.zeros(len(self), dtype=bool)
            mask[wanted] = True
        else:
            mask = wanted
        chosen = self.by_user.select(mask)
        rank = None
        if self.file_rank is not None:
            rank = np.empty(chosen.nnz, dtype=np.int64)
            rank[np.argsort(self.file_rank[mask], kind="stable")] = np.arange(chosen.nnz)
        return Ratings(
            self.users,
            self.items,
            chosen,
            time=None if self.time is None else self.time[mask],
            file_rank=rank,
            report=self.report,
        )

    def with_weights(self, weights: npt.ArrayLike) -> Ratings:
        """The same ratings with these weights (one per cell of `by_user`); 0 is the cell absent."""
        given = np.asarray(weights, dtype=np.float64)
        if given.shape != (len(self),):
            raise DataError(
                "weights", given.shape, f"must have shape ({len(self)},)", "pass one per rating"
            )
        with np.errstate(over="ignore"):
            stored = given.astype(np.float32)
        wrong = ~np.isfinite(stored) | (given < 0)
        if wrong.any():
            raise DataError(
                "weights",
                float(given[np.argmax(wrong)]),
                "must be finite in float32 and not negative",
                "remove those rows",
            )
        present = stored > 0
        if not present.any():
            raise DataError("weights", 0.0, "must not all be 0", "give some row a weight")
        old = self.by_user
        cells = CSR(old.indptr, old.indices, old.values, stored)
        whole = Ratings(
            self.users,
            self.items,
            cells,
            time=self.time,
            file_rank=self.file_rank,
            report=self.report,
        )
        return whole if present.all() else whole.select(present)

    def weighted_by_popularity(self, power: float = -0.5) -> Ratings:
        """The same ratings with their weights times n_i^power / (the mean of that over the ratings).

        n_i is the number of ratings of the item. A power below 0 lets what few have chosen say more of a
        user than what everybody has: for interactions of many items it often ranks better
        (`docs/implicit.md`); 0 changes nothing.

        Raises `ParameterError` where `power` is not a finite number.

        Examples
        --------
        >>> ratings = Ratings.from_arrays(["ann", "bob", "bob"], [10, 10, 20])
        >>> ratings.weighted_by_popularity(-1.0).by_user.weights
        array([0.75, 0.75, 1.5 ], dtype=float32)
        """
        if not is_number(power) or not np.isfinite(power):
            raise ParameterError("power", power, "must be a finite number", "try power=-0.5")
        counts = np.maximum(np.diff(self.by_item.indptr), 1).astype(np.float64)
        found = (counts**power)[self.by_user.indices]
        if not len(found):
            return self
        found /= float(np.add.reduce(found)) / len(found)
        if self.by_user.weights is not None:
            found *= self.by_user.weights
        return self.with_weights(found)

    def with_ids(self, users: IdMap | None = None, items: IdMap | None = None) -> Ratings:
        """The same ratings over more users and items: those given too, without ratings."""
        if users is None and items is None:
            return self
        all_users, user_rows, _ = union(self.users, users or self.users, "user")
        all_items, item_rows, _ = union(self.items, items or self.items, "item")
        old = self.by_user
        counts = np.zeros(len(all_users), dtype=np.int64)
        counts[user_rows] = np.diff(old.indptr)
        cells = CSR(
            np.concatenate([[0], np.cumsum(counts)]),
            item_rows.astype(np.uint32)[old.indices],
            old.values,
            old.weights,
        )
        return Ratings(
            all_users,
            all_items,
            cells,
            time=self.time,
            file_rank=self.file_rank,
            report=self.report,
        )

    def rows_of(self, user_rows: Array) -> CSR:
        """The cells of these users (row numbers), as rows of their own."""
        return take_rows(self.by_user, user_rows)


def transpose(cells: CSR, n_columns: int) -> CSR:
    """The same cells by column."""
    return CSR(
        *_native.transpose(cells.indptr, cells.indices, cells.values, cells.weights, n_columns)
    )


def take_rows(cells: CSR, rows: Array) -> CSR:
    """These rows of a CSR, in the order given, as a CSR of their own."""
    start, stop = cells.indptr[rows], cells.indptr[np.asarray(rows) + 1]
    indptr = np.concatenate([[0], np.cumsum(stop - start)]).astype(np.int64)
    position = np.arange(indptr[-1]) + np.repeat(start - indptr[:-1], stop - start)
    return CSR(
        indptr,
        cells.indices[position],
        cells.values[position],
        None if cells.weights is None else cells.weights[position],
    )
