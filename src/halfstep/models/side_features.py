"""What a fitted model knows of the features of its rows, and what it is drawn to by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ids import IdMap, union
from halfstep.data.ratings import take_rows
from halfstep.errors import ParameterError
from halfstep.features.features import Features
from halfstep.features.prior import prior_mean
from halfstep.objectives import Side

if TYPE_CHECKING:
    from halfstep.models.fitted import Fitted

__all__ = [
    "as_fitted",
    "fit_tables",
    "known_features",
    "merged",
    "prior_means",
    "refuse_features",
    "selected",
    "table_rows",
]


def prior_means(
    model: Fitted, side: Side, cells: CSR, table: CSR | None, dtype: str, backend: Backend
) -> Array | None:
    """A'x of rows with these ratings and these rows of the table; None where the side has no features.

    The columns of `cells` are row numbers of the model.
    """
    design, f = model.features_.side(side), model.factors_
    A = f.user_map if side == "user" else f.item_map
    if design is None or A is None:
        return None
    others = f.item_ids if side == "user" else f.user_ids
    X = design.rows_of(table, cells, others)
    unrated = np.diff(cells.indptr) == 0
    return prior_mean(X, A.astype(dtype, copy=False), design.typical, unrated, backend)


def table_rows(model: Fitted, side: Side, rows: Array) -> CSR | None:
    """The features of these rows of the model, from tables; a row number of −1 has none."""
    table = known_features(model, side)
    if table is None:
        return None
    cells = table.aligned(model._ids(side))
    known = rows >= 0
    found = take_rows(cells, rows[known])
    sizes = np.zeros(len(rows), dtype=np.int64)
    sizes[known] = np.diff(found.indptr)
    return CSR(np.concatenate([[0], np.cumsum(sizes)]), found.indices, found.values)


def known_features(model: Fitted, side: Side) -> Features | None:
    """The table of features that the model remembers of a side."""
    return model._tables[0 if side == "user" else 1]


def fit_tables(model: Fitted) -> dict[str, Features]:
    """The tables that `fit` had, by argument: for another fit like it.

    None of a model saved without its history, which may know those of newcomers alone.
    """
    if model.history_ is None:
        return {}
    user, item = model._tables
    tables = {"user_features": user, "item_features": item}
    return {name: table for name, table in tables.items() if table is not None}


def as_fitted(model: Fitted, side: Side, features: Any, argument: str) -> Features:
    """Features of other rows, encoded as those of the fit.

    Raises `ParameterError` where the fit had none, and what `Encoding.encode` raises.
    """
    design = model.features_.side(side)
    if design is None or design.encoding is None:
        raise ParameterError(
            argument,
            type(features).__name__,
            f"is of no use: the model was fitted without a table of {side} features",
            f"fit with {side}_features=",
        )
    return design.encoding.encode(features)


def merged(old: Features | None, new: Features | None) -> Features | None:
    """Both tables in one, the rows of `new` in place of those of `old`."""
    if old is None or new is None:
        return old if new is None else new
    ids, old_rows, new_rows = union(old.ids, new.ids, "features")
    source = np.empty(len(ids), dtype=np.int64)
    source[old_rows] = np.arange(len(old.ids))
    source[new_rows] = len(old.ids) + np.arange(len(new.ids))
    stacked = CSR(
        np.concatenate([old.cells.indptr, old.cells.nnz + new.cells.indptr[1:]]),
        np.concatenate([old.cells.indices, new.cells.indices]),
        np.concatenate([old.cells.values, new.cells.values]),
    )
    return Features(ids, take_rows(stacked, source), old.encoding)


def selected(features: Features, keep: Array) -> Features:
    """The rows of a mask."""
    rows = np.flatnonzero(keep)
    return Features(
        IdMap(features.ids.values[rows]), take_rows(features.cells, rows), features.encoding
    )


def refuse_features(model: Fitted, what: str) -> None:
    """Raise `ParameterError` where the rows of the model have features."""
    if model.features_.user is not None or model.features_.item is not None:
        raise ParameterError(
            "model",
            type(model).__name__,
            f"was fitted with features, for which there is no {what}",
            "fit without features to ask for it",
        )
