"""`Features`: what is known of users or of items beside their ratings, as a sparse matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from halfstep.backends.base import CSR
from halfstep.data.ids import IdMap, encode
from halfstep.data.ratings import take_rows
from halfstep.errors import DataError
from halfstep.features.blocks import Group
from halfstep.features.encoders import Matrix
from halfstep.features.encoding import Encoding, not_skipped
from halfstep.features.tables import Request, is_table, read_table, rows_in_order

__all__ = ["Features", "as_features"]

Array = npt.NDArray[Any]

_MOST_FLOAT32 = float(np.finfo(np.float32).max)


class Features:
    """Features x_u of users, or x_i of items: a sparse matrix X, a row for each id.

    Make them with `read_features`, `Features.from_table`, `Features.from_scipy` or
    `Features.from_arrays`; the constructor is for code that has checked its arrays itself.

    Attributes
    ----------
    ids : IdMap
        Sorted ids; their positions are the rows of X.
    cells : CSR
        X: int64 offsets, uint32 columns (ascending in a row), float32 values.
    encoding : Encoding
        How X came from the table; `encoding.encode` applies it to other rows.

    Examples
    --------
    >>> Features.from_table({"user": [1, 2, 3], "age": [20, 30, 40], "sex": ["f", "m", "f"]})
    Features(3 rows, 3 columns: age 1, sex 2)
    """

    __slots__ = ("cells", "encoding", "ids")

    def __init__(self, ids: IdMap, cells: CSR, encoding: Encoding) -> None:
        self.ids, self.cells, self.encoding = ids, cells, encoding
        for array in (cells.indptr, cells.indices, cells.values):
            array.setflags(write=False)

    # ------------------------------------------------------------------ makers

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        id: str | int | None = None,
        kinds: Mapping[str, str] | None = None,
    ) -> Features:
        """Features of a table with one row for each user, or for each item.

        Parameters
        ----------
        table : DataFrame, Arrow table, DuckDB relation, or dict of columns
        id : str or int, optional
            Name or position of the column of ids. Default: found by its usual names (`userId`,
            `movieId`, …, `id`); the named index of a pandas DataFrame counts as a column.
        kinds : dict, optional
            "numeric", "categorical", "multi" or "skip" by the name of a column. Default: by its values
            (`Encoding`).

        Raises
        ------
        ReadError
            The column of ids is not found.
        DuplicatesError
            An id stands in two rows.
        DataError
            A missing id, an infinite value, a column that is no feature, or none that differs between
            rows.
        ParameterError
            A kind that there is not.
        """
        found = read_table(table, Request(id, wanted=not_skipped(kinds)))
        return Encoding.of(found, kinds).encode_table(found)

    @classmethod
    def from_scipy(
        cls,
        matrix: Any,
        ids: npt.ArrayLike | None = None,
        *,
        columns: npt.ArrayLike | None = None,
        name: str = "features",
    ) -> Features:
        """The columns of a scipy sparse matrix or array as they stand, in one group.

        Parameters
        ----------
        matrix : sparse (rows × columns)
            Cells that stand twice are added; a stored 0 is dropped.
        ids : array-like, optional
            One for each row, distinct; default 0, 1, 2, …
        columns : sequence of str, optional
            Distinct names of the columns; default «features 0», …
        name : str
            The name of the group.

        Raises
        ------
        DataError
        """
        if not hasattr(matrix, "tocsr") or not hasattr(matrix, "nnz"):
            raise DataError(
                "matrix",
                type(matrix).__name__,
                "must be a scipy sparse array",
                "use Features.from_table or Features.from_arrays",
            )
        if matrix.ndim != 2:
            raise DataError(
                "matrix", matrix.shape, "must be two-dimensional", "pass rows × columns"
            )
        whole = matrix.tocsr(copy=True)
        _check_dtype(whole.dtype)
        whole.sum_duplicates()
        cells = CSR(
            whole.indptr.astype(np.int64), whole.indices.astype(np.uint32), _single(whole.data)
        )
        cells = cells.select(cells.values != 0)
        return _of_matrix(cells, matrix.shape, ids, columns, name)

    @classmethod
    def from_arrays(
        cls,
        ids: npt.ArrayLike | None,
        values: npt.ArrayLike,
        *,
        columns: npt.ArrayLike | None = None,
        name: str = "features",
    ) -> Features:
        """The columns of a dense two-dimensional array as they stand, in one group.

        Parameters and errors as in `from_scipy`; `values` has one row for each of `ids`.
        """
        try:
            X = np.asarray(values)
        except ValueError:  # rows of unequal lengths
            X = np.asarray(values, dtype=object)
        _check_dtype(X.dtype)
        if X.ndim != 2:
            raise DataError("values", X.shape, "must be two-dimensional", "pass rows × columns")
        there = X != 0  # a NaN is not 0
        indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1, dtype=np.int64))])
        indices = np.nonzero(there)[1].astype(np.uint32)
        return _of_matrix(CSR(indptr, indices, _single(X[there])), X.shape, ids, columns, name)

    # ------------------------------------------------------------------- facts

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ids)

    def __repr__(self) -> str:
        groups = self.groups
        told = ", ".join(f"{group.name} {len(group):,}" for group in groups[:8])
        more = f", … ({len(groups)} groups)" if len(groups) > 8 else ""
        return f"Features({len(self):,} rows, {self.shape[1]:,} columns: {told}{more})"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of X."""
        return len(self.ids), self.encoding.width

    @property
    def groups(self) -> tuple[Group, ...]:
        """The columns of X that come from each column of the table."""
        return self.encoding.groups

    def column_names(self) -> list[str]:
        """The names of the columns of X."""
        return self.encoding.column_names()

    def to_scipy(self) -> Any:
        """X as a scipy CSR array, float32."""
        from scipy.sparse import csr_array

        cells = self.cells
        return csr_array((cells.values, cells.indices, cells.indptr), shape=self.shape, copy=True)

    # ------------------------------------------------------------------- other rows

    def aligned(self, ids: IdMap) -> CSR:
        """The rows of X in the order of other ids; an id that has no features has an empty row.

        An integer and its canonical text are the same id («12» and 12).
        """
        if ids == self.ids:
            return self.cells
        row = self.ids.lookup(ids.values)
        known = row >= 0
        found = take_rows(self.cells, row[known])
        count = np.zeros(len(ids), dtype=np.int64)
        count[known] = np.diff(found.indptr)
        indptr = np.concatenate([[0], np.cumsum(count)])
        return CSR(indptr, found.indices, found.values)


def as_features(
    value: Any,
    *,
    name: str = "features",
    side: str | None = None,
) -> Features:
    """`Features` of what a user passes: `Features`, a table, or a pair (matrix, ids).

    Parameters
    ----------
    value
        A table is what `Features.from_table` takes; a matrix is a scipy sparse or a dense
        two-dimensional array.
    name : str
        The argument, for the error.
    side : {"user", "item"}, optional
        Whose ids the table has.

    Raises
    ------
    DataError, ReadError
    """
    if isinstance(value, Features):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        matrix, ids = value
        if hasattr(matrix, "tocsr"):
            return Features.from_scipy(matrix, ids)
        if not is_table(matrix):
            return Features.from_arrays(ids, matrix)
    elif is_table(value):
        table = read_table(value, Request(side=side))
        return Encoding.of(table).encode_table(table)
    raise DataError(
        name,
        type(value).__name__,
        "must be Features, a table with a column of ids, or a pair (matrix, ids)",
        "make them with Features.from_table",
    )


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iufb":
        raise DataError("matrix", dtype.name, "must hold numbers", "pass a table for other columns")


def _single(values: Array) -> Array:
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    wrong = ~np.isfinite(single)
    if wrong.any():
        raise DataError(
            "matrix",
            float(values[np.argmax(wrong)]),
            "must be finite in float32",
            "mend the cell; a missing value is 0, or has a column of its own",
        )
    return single


def _of_matrix(cells: CSR, shape: tuple[int, int], ids: Any, columns: Any, name: str) -> Features:
    rows, width = shape
    if not rows or not width:
        raise DataError("matrix", shape, "holds no features", "pass at least one row and column")
    if width >= 2**32:
        raise DataError("matrix", shape, "has 2³² columns or more", "hash them into fewer")
    given: tuple[str, ...] | int = width
    if columns is not None:
        given = tuple(map(str, np.asarray(columns, dtype=object).tolist()))
        if len(given) != width or len(set(given)) < width:
            raise DataError(
                "columns", columns, f"must be {width} distinct names", "name every column, or none"
            )
    encoding = Encoding((Matrix(name, given),))
    if ids is None:
        return Features(IdMap.of_range(rows), cells, encoding)
    encoded = encode(ids, "ids")
    if len(encoded.codes) != rows:
        raise DataError(
            "ids", f"{len(encoded.codes)} ids", f"must be one for each of {rows} rows", "pass them"
        )
    return Features(encoded.ids, take_rows(cells, rows_in_order(encoded)), encoding)
