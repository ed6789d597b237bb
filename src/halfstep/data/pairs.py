"""What `fit`, `predict` and `score` accept: `Ratings`, tables, or scikit-learn's (X, y)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ReadError

__all__ = ["as_interactions", "as_ratings", "require_ratings", "split_pairs"]


def split_pairs(X: Any) -> tuple[Any, Any]:
    """The two columns of an (N, 2) array, list of pairs, or two-column frame."""
    if hasattr(X, "columns") or hasattr(X, "__arrow_c_stream__"):
        import narwhals as nw

        frame = nw.from_native(X, eager_only=True)
        if len(frame.columns) != 2:
            raise _not_pairs(f"columns {', '.join(map(str, frame.columns))}")
        first, second = (column.to_numpy() for column in frame.iter_columns())
        return first, second
    if hasattr(X, "tocoo"):
        raise _not_pairs("a sparse matrix")
    if isinstance(X, (list, tuple)):
        pairs = list(X)
        if any(not hasattr(pair, "__len__") or len(pair) != 2 for pair in pairs):
            raise _not_pairs(f"a {type(X).__name__} of other things")
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    array = np.asarray(X)
    if array.ndim != 2 or array.shape[1] != 2:
        raise _not_pairs(f"shape {array.shape}")
    return array[:, 0], array[:, 1]


def _not_pairs(value: object) -> DataError:
    return DataError(
        "X", value, "must hold pairs: one column of users, one of items", "pass shape (N, 2)"
    )


def require_ratings(value: Any, name: str = "ratings") -> None:
    """Raise `DataError` where an argument is anything but `Ratings`."""
    if not isinstance(value, Ratings):
        raise DataError(
            name,
            value,
            "must be Ratings",
            "make them with Ratings.from_arrays, Ratings.from_table or read_ratings",
        )


def as_ratings(
    X: Any, y: npt.ArrayLike | None = None, sample_weight: npt.ArrayLike | None = None
) -> Ratings:
    """`Ratings` of whatever `fit` takes: `Ratings`, a table with a rating column, or (X, y).

    A pair that stands twice in (X, y) is two observations, so that the weighted mean with the
    weights added has the same optimum (`duplicates="merge"`).
    """
    if isinstance(X, Ratings):
        if y is not None:
            raise DataError("y", "an array", "must be None where X is Ratings", "pass X alone")
        if not len(X):
            raise DataError("X", X, "holds no ratings", "pass at least one")
        return X if sample_weight is None else X.with_weights(sample_weight)
    if y is None:
        if hasattr(X, "columns") or hasattr(X, "__arrow_c_stream__"):
            ratings = Ratings.from_table(X)
            return ratings if sample_weight is None else ratings.with_weights(sample_weight)
        raise DataError(
            "y", None, "must hold one rating for each pair of X", "pass y, or Ratings as X"
        )
    users, items = split_pairs(X)
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return Ratings.from_arrays(users, items, values, weight=sample_weight, duplicates="merge")


def as_interactions(
    X: Any, y: npt.ArrayLike | None = None, sample_weight: npt.ArrayLike | None = None
) -> Ratings:
    """`Ratings` of interactions: `Ratings`, a table with or without counts, or pairs with or without y.

    Counts of a pair that stands more than once are added (`duplicates="sum"`); without counts each
    row is 1. Two columns whose names say nothing are a user and an item, in this order.
    """
    if isinstance(X, Ratings):
        return as_ratings(X, y, sample_weight)
    named = hasattr(X, "columns") or hasattr(X, "__arrow_c_stream__")
    if y is None and named:
        try:
            ratings = Ratings.from_table(X, duplicates="sum")
        except ReadError:
            if len(getattr(X, "columns", ())) != 2:
                raise
        else:
            return ratings if sample_weight is None else ratings.with_weights(sample_weight)
    users, items = split_pairs(X)
    values = None if y is None else np.asarray(y).reshape(-1)
    return Ratings.from_arrays(users, items, values, weight=sample_weight, duplicates="sum")
