"""Folding in: the factors of new or changed rows, the other side held fixed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ids import IdMap, union
from halfstep.data.ratings import take_rows
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors
from halfstep.features.features import Features
from halfstep.objectives import Objective, Shared, Side

__all__ = ["FoldedIn", "joined_history", "merge_rows"]


@dataclass(frozen=True, slots=True)
class FoldedIn:
    """Rows solved against a model.

    Attributes
    ----------
    side : "user" or "item"
    ids : IdMap
        Who the rows are.
    factors : array (rows, K)
    bias : array (rows,) or None
    cells : CSR
        Their ratings, columns as row numbers of the model.
    features : Features or None
        What a table says of them.
    """

    side: Side
    ids: IdMap
    factors: Array
    bias: Array | None
    cells: CSR
    features: Features | None = field(default=None, kw_only=True)

    @classmethod
    def solve(
        cls,
        side: Side,
        ids: IdMap,
        cells: CSR,
        model: Factors,
        objective: Objective,
        backend: Backend,
        mean: Array | None = None,
        features: Features | None = None,
        shared: Shared | None = None,
    ) -> FoldedIn:
        """Solve the row problem of every row of `cells`, drawn to the rows of `mean` in place of 0.

        `shared` is that of the fixed side, where it is there already.
        """
        if side == "user":
            fixed, offset, biased = model.item_factors, model.item_bias, model.user_bias
        else:
            fixed, offset, biased = model.user_factors, model.user_bias, model.item_bias
        problem = objective.row_problem(side, cells, model.rank, model.dtype)
        taken = objective.cells(cells)
        if mean is not None:
            problem = problem.around(mean, cells)
        factors = np.empty((cells.n_rows, model.rank), dtype=model.dtype)
        bias = None if biased is None else np.empty(cells.n_rows, dtype=model.dtype)
        try:
            problem.solve(taken, (fixed, offset), (factors, bias), backend, shared=shared)
        except SingularSystemError as error:
            row = error.row or 0
            raise SingularSystemError(
                f"the system of {side} {ids.id_at(row)!r} has no unique solution; "
                "fold in more ratings or fit with a larger reg",
                side=side,
                row=row,
            ) from None
        return cls(side, ids, factors, bias, cells, features=features)


def merge_rows(model: Factors, history: CSR | None, folded: FoldedIn) -> tuple[Factors, CSR | None]:
    """The model's arrays and history with the folded-in rows added or replaced."""
    old_ids = model.user_ids if folded.side == "user" else model.item_ids
    ids, old_rows, new_rows = union(old_ids, folded.ids, folded.side)

    def joined(old: Array | None, new: Array | None) -> Array | None:
        if old is None or new is None:
            return None
        whole = np.empty((len(ids), *old.shape[1:]), dtype=old.dtype)
        whole[old_rows] = old
        whole[new_rows] = new
        return whole

    if folded.side == "item":
        factors = joined(model.item_factors, folded.factors)
        assert factors is not None
        if history is not None:  # the columns move, the cells stay
            history = CSR(
                history.indptr,
                old_rows[history.indices].astype(np.uint32),
                history.values,
                history.weights,
            )
        bias = joined(model.item_bias, folded.bias)
        return replace(model, item_factors=factors, item_bias=bias, item_ids=ids), history

    factors = joined(model.user_factors, folded.factors)
    assert factors is not None
    if history is not None:
        history = joined_history(history, folded.cells, old_rows, new_rows, len(ids))
    bias = joined(model.user_bias, folded.bias)
    return replace(model, user_factors=factors, user_bias=bias, user_ids=ids), history


def joined_history(old: CSR, new: CSR, old_rows: Array, new_rows: Array, rows: int) -> CSR:
    """One CSR of `rows` rows in which the new cells stand in place of the old ones of their row."""
    weights = None
    if old.weights is not None or new.weights is not None:
        weights = np.concatenate(
            [
                np.ones(cells.nnz, dtype=np.float32) if cells.weights is None else cells.weights
                for cells in (old, new)
            ]
        )
    stacked = CSR(
        np.concatenate([old.indptr, old.nnz + new.indptr[1:]]),
        np.concatenate([old.indices, new.indices]),
        np.concatenate([old.values, new.values]),
        weights,
    )
    source = np.empty(rows, dtype=np.int64)
    source[old_rows] = np.arange(old.n_rows)
    source[new_rows] = old.n_rows + np.arange(new.n_rows)
    return take_rows(stacked, source)
