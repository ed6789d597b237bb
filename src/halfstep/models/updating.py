"""More interactions for a fitted model, and users forgotten: only the rows that are touched are solved.

    updated          cells ← cells + new ones, of the touched users T and items I alone
                     users of T from their cells of known items, Z as it was
                     items of I from all their cells
                     users of T from all their cells
    without_users    users, and their cells, go; their items from the cells that are left

Every step is the row problem of the fit, solved exactly, so that it gives what `fold_in` of the same
rows gives. μ, the numbers of users and items in the scales of implicit feedback, the maps of features
and all other rows stay what the fit has made of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.checks import check_flag
from halfstep.data.ids import IdMap, union
from halfstep.data.ratings import Ratings, take_rows, transpose
from halfstep.errors import DataError, UnknownIdError
from halfstep.factors import Factors
from halfstep.models.foldin import joined_history
from halfstep.models.rows import Rows
from halfstep.models.side_features import known_features, selected
from halfstep.models.uncertainty import rows_or_empty
from halfstep.objectives import Side

__all__ = ["Updating"]


class Updating(Rows):
    """`updated`, `without_users`, with all of `Rows`."""

    def updated(
        self,
        X: Any,
        y: Any = None,
        *,
        items: bool = True,
        sample_weight: npt.ArrayLike | None = None,
        backend: str | Backend = "native",
    ) -> Self:
        """A model that knows these ratings or interactions too, without another fit.

        The history takes them in: counts of implicit feedback are added to those of a known pair (their
        weights averaged, as in one table), a rating takes the place of the old one. The users in X,
        known or new, are solved from their whole history; with `items` so are the items in X, from the
        histories of all their users, and the users once more, so that they are what `fold_in` of
        their history gives. Every other row, μ and the maps of features stay as they are, and the model
        drifts from what another fit would give: fit again now and then, from here (`init=`).

        It costs what the touched rows have cells, and copies of the factors and of the history.

        Parameters
        ----------
        X, y : what `fit` takes
            New ones alone, not the whole table.
        items : bool
            Whether items are solved. Where they are not, X may hold none that is new, and the items are
            the same as before: so are then the scores of all other users.
        sample_weight : array, optional
            One weight for each.
        backend : {"native", "numpy"} or Backend

        Returns
        -------
        another model; `explain` takes all its users for solutions of their rows only where `items` is
        False or no item was known. A calibration is kept with `items=False`.

        Raises
        ------
        NotFittedError, HistoryRequiredError, DataError, SingularSystemError
        UnknownIdError
            A new item, with `items=False`.
        """
        self._check_fitted()
        check_flag("items", items)
        history = self._whole_history("updated")
        ratings = self._taken(X, y, sample_weight)
        new = _New.of(ratings)
        f = self.factors_
        known = f.item_ids.lookup(new.items.values) >= 0
        if not items and not known.all():
            raise UnknownIdError(
                "item",
                new.items.id_at(int(np.argmin(known))),
                f"is not known to the model ({np.count_nonzero(~known):,} such ids)",
                "pass items=True, which solves new items too",
            )
        user_ids, old_users, touched = union(f.user_ids, new.users, "user")
        item_ids, old_items, columns = union(f.item_ids, new.items, "item")
        fresh = self._with(_placed(f, user_ids, old_users, item_ids, old_items))
        fresh._forget("_by_item")
        order = np.argsort(touched)
        rows = touched[order]
        before = rows_or_empty(history, f.user_ids.lookup(new.users.values)[order])
        own = _merged(
            _with_columns(before, old_items),
            _with_columns(take_rows(new.cells, order), columns),
            len(item_ids),
            add=self._adds_counts,
        )
        moved = history if len(item_ids) == len(f.item_ids) else _with_columns(history, old_items)
        fresh.history_ = joined_history(moved, own, old_users, rows, len(user_ids))
        fresh.data_summary_ = self._facts_of(fresh)
        if not self._adds_counts:  # a scale of ratings
            low, high = self.scale_
            fresh.scale_ = (
                min(low, float(new.cells.values.min())),
                max(high, float(new.cells.values.max())),
            )
        runs_on = get_backend(backend, dtype=f.dtype)
        if items:
            fresh.calibration_ = None
            there = np.zeros(len(item_ids), dtype=bool)
            there[old_items] = True
            fresh._solve_again("user", rows, own.select(there[own.indices]), runs_on)
            fresh._solve_items(np.sort(columns), runs_on)
            if known.any() or self._adds_counts:  # where each item is in P, new ones are too
                fresh._exact_users = False
        fresh._solve_again("user", rows, own, runs_on)
        return fresh

    def without_users(
        self, users: Any, *, items: bool = True, backend: str | Backend = "native"
    ) -> Self:
        """A model that holds nothing of these users: no factors, ids, history or table of features.

        With `items` the items that they had are solved again, exactly, from the cells that are left;
        an item that nobody else had is then 0 (its id stays). A calibration is dropped, whose scores
        may be theirs.

        What cannot be undone short of another fit: μ and what was learned of all users together (maps
        and levels of features, rank and λ where they were chosen, the figures of the trace), what the
        other users have from the items as they were, and through them the items that are solved again.
        With `items=False` the items are still those that they helped to make.

        Parameters
        ----------
        users : id or array-like of ids
        items : bool
            Whether their items are solved again. It needs the history.
        backend : {"native", "numpy"} or Backend

        Raises
        ------
        NotFittedError, HistoryRequiredError, UnknownIdError, SingularSystemError
        DataError
            These are all users.
        """
        self._check_fitted()
        check_flag("items", items)
        f = self.factors_
        listed = [users] if np.ndim(users) == 0 else users
        gone = f.user_ids.lookup(listed, "users")
        if (gone < 0).any():
            raise UnknownIdError(
                "user",
                np.asarray(listed, dtype=object)[int(np.argmax(gone < 0))],
                f"is not known to the model ({np.count_nonzero(gone < 0):,} such ids)",
                "pass users that it knows",
            )
        keep = np.ones(len(f.user_ids), dtype=bool)
        keep[gone] = False
        if not keep.any():
            raise DataError(
                "users", listed, "are all users of the model", "leave one, or delete the model"
            )
        left = np.flatnonzero(keep)
        history = self._whole_history("without_users") if items else self.history_
        fresh = self._with(
            replace(
                f,
                user_factors=f.user_factors[left],
                item_factors=f.item_factors.copy(),
                user_bias=None if f.user_bias is None else f.user_bias[left],
                item_bias=None if f.item_bias is None else f.item_bias.copy(),
                user_ids=IdMap(f.user_ids.values[left]),
            )
        )
        fresh._forget("_by_item")
        fresh.calibration_ = None
        fresh._forget_features_of(f.user_ids, keep)
        if history is not None:
            fresh.history_ = take_rows(history, left)
            fresh.data_summary_ = self._facts_of(fresh)
            if items:
                touched = np.unique(take_rows(history, np.unique(gone)).indices)
                fresh._solve_items(touched, get_backend(backend, dtype=f.dtype))
                if len(touched):
                    fresh._exact_users = False
        return fresh

    def _forget_features_of(self, users: IdMap, keep: Array) -> None:
        """Drop the rows of users from what features say: of their tables, and as features of items."""
        table, other = self._tables
        if table is not None:
            self._tables = selected(table, _kept(table.ids, users, keep)), other
        design, A = self.features_.item, self.factors_.item_map
        if design is None or design.implicit is None:
            return
        stays = _kept(design.implicit, users, keep)
        columns = np.append(np.ones(design.width - len(stays), dtype=bool), stays)
        typical = None if design.typical is None else design.typical[columns]
        fewer = replace(design, implicit=IdMap(design.implicit.values[stays]), typical=typical)
        self.features_ = replace(self.features_, item=fewer)
        self.factors_ = replace(self.factors_, item_map=None if A is None else A[columns])

    def _facts_of(self, fresh: Self) -> dict[str, Any]:
        """The data's summary with the numbers of another model's history."""
        assert fresh.history_ is not None
        f = fresh.factors_
        return {
            **self.data_summary_,
            "ratings": fresh.history_.nnz,
            "users": len(f.user_ids),
            "items": len(f.item_ids),
            "weighted": fresh.history_.weights is not None,
        }

    def _solve_again(self, side: Side, rows: Array, cells: CSR, backend: Backend) -> None:
        """Solve these rows (ascending) from these cells, into the arrays of this model."""
        ids = IdMap(self._ids(side).values[rows])
        folded = self._folded(side, ids, cells, backend, known_features(self, side))
        f = self.factors_
        factors, bias = f.user_side if side == "user" else f.item_side
        factors[rows] = folded.factors
        if bias is not None:
            bias[rows] = folded.bias
        self._forget("_shared_item" if side == "user" else "_shared_user")  # made of what was here

    def _solve_items(self, items: Array, backend: Backend) -> None:
        """Solve these items (ascending) from the history of all their users."""
        assert self.history_ is not None
        place = np.full(len(self.factors_.item_ids), -1)
        place[items] = np.arange(len(items))
        chosen = self.history_.select(place[self.history_.indices] >= 0)
        cells = CSR(
            chosen.indptr, place[chosen.indices].astype(np.uint32), chosen.values, chosen.weights
        )
        self._solve_again("item", items, transpose(cells, len(items)), backend)
        names = self.factors_.item_ids.take(items)
        self._told_items = self._told_items.difference(names.tolist())


class _New(NamedTuple):
    """New cells, without the users and items that have none."""

    users: IdMap
    items: IdMap
    cells: CSR

    @classmethod
    def of(cls, ratings: Ratings) -> _New:
        cells = ratings.by_user
        rows = np.flatnonzero(np.diff(cells.indptr))
        columns, indices = np.unique(cells.indices, return_inverse=True)
        return cls(
            IdMap(ratings.users.values[rows]),
            IdMap(ratings.items.values[columns]),
            CSR(
                np.append(0, cells.indptr[1:][rows]),
                indices.astype(np.uint32),
                cells.values,
                cells.weights,
            ),
        )


def _kept(ids: IdMap, users: IdMap, keep: Array) -> Array:
    """A mask over `ids`: those that are not among the users of whom `keep` is False."""
    rows = users.lookup(ids.values)
    found: Array = (rows < 0) | keep[rows]
    return found


def _placed(f: Factors, users: IdMap, old_users: Array, items: IdMap, old_items: Array) -> Factors:
    """The factors in arrays of their own with room for more rows, which are 0."""

    def placed(array: Array | None, count: int, rows: Array) -> Array | None:
        if array is None:
            return None
        whole = np.zeros((count, *array.shape[1:]), dtype=array.dtype)
        whole[rows] = array
        return whole

    W = placed(f.user_factors, len(users), old_users)
    Z = placed(f.item_factors, len(items), old_items)
    assert W is not None
    assert Z is not None
    return replace(
        f,
        user_factors=W,
        item_factors=Z,
        user_bias=placed(f.user_bias, len(users), old_users),
        item_bias=placed(f.item_bias, len(items), old_items),
        user_ids=users,
        item_ids=items,
    )


def _with_columns(cells: CSR, columns: Array) -> CSR:
    """The cells with `columns[j]` in place of column j."""
    indices = columns.astype(np.uint32)[cells.indices]
    return CSR(cells.indptr, indices, cells.values, cells.weights)


def _merged(old: CSR, new: CSR, columns: int, *, add: bool) -> CSR:
    """The cells of both, row by row; of a pair that both have, the sum of the values or the new one.

    Where values are added, weights are averaged (as `duplicates="sum"` does).
    """
    parts = (old, new)
    rows = [np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr)) for cells in parts]
    key = np.concatenate(rows) * columns + np.concatenate([cells.indices for cells in parts])
    order = np.argsort(key, kind="stable")  # the old cell of a pair before the new one
    key = key[order]
    last = np.append(key[1:] != key[:-1], True)
    again = np.flatnonzero(~last) + 1  # where the old cell stands just before

    def column(name: str) -> Array:
        each = [getattr(cells, name) for cells in parts]
        whole = np.concatenate(
            [
                np.ones(c.nnz, dtype=np.float32) if v is None else v
                for c, v in zip(parts, each, strict=True)
            ]
        )
        found: Array = whole[order]
        return found

    values = column("values")
    weights = None
    if old.weights is not None or new.weights is not None:
        weights = column("weights")
    if add:
        with np.errstate(over="ignore"):  # told below
            values[again] += values[again - 1]
        if not np.isfinite(values).all():
            raise DataError("X", "counts", "add up to more than float32 holds", "scale the counts")
        if weights is not None:
            weights[again] = (weights[again] + weights[again - 1]) / 2
    key = key[last]
    indptr = np.searchsorted(key, np.arange(old.n_rows + 1) * columns)
    return CSR(
        indptr.astype(np.int64),
        (key % columns).astype(np.uint32),
        values[last],
        None if weights is None else weights[last],
    )
