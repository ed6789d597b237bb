"""What a model has learned from, in the terms of a held-out part: known ids, seen cells, counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.data.ids import IdMap
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import DataError, HistoryRequiredError

__all__ = ["Past", "check_held_out"]


def check_held_out(test: Any, name: str = "test") -> None:
    """Raise `DataError` where a held-out part is no `Ratings` or holds none."""
    require_ratings(test, name)
    if not len(test):
        raise DataError(name, test, "holds no ratings", "hold out a larger part")


@dataclass(frozen=True, slots=True)
class Past:
    """The training ratings, by users and items of their own, and the catalogue of the model.

    Attributes
    ----------
    users, items : IdMap
        Rows and columns of `cells`.
    cells : CSR or None
        None in a model saved without its users' ratings.
    known : IdMap
        The users that the model can be asked about.
    catalogue : IdMap
        The items that the model can recommend.
    """

    users: IdMap
    items: IdMap
    cells: CSR | None
    known: IdMap
    catalogue: IdMap

    @classmethod
    def of(cls, model: Any, train: Ratings | None) -> Past:
        """`train`, or where it is None what the model remembers of its own training ratings."""
        if train is not None:
            check_held_out(train, "train")
        if hasattr(model, "_check_fitted"):
            model._check_fitted()
        ids = _ids_of(model)
        if train is None:
            if ids is None:
                raise DataError(
                    "train",
                    None,
                    f"is needed: a {type(model).__name__} does not tell what it was fitted on",
                    "pass train= with its training ratings",
                )
            return cls(*ids, getattr(model, "history_", None), *ids)
        return cls(train.users, train.items, train.by_user, *(ids or (train.users, train.items)))

    def required(self, why: str) -> CSR:
        """The cells, or the error that says who needs them."""
        if self.cells is None:
            raise HistoryRequiredError(
                "train",
                None,
                f"the model was saved without its users' ratings, and {why} needs them",
                "pass train=, or save with history=True",
            )
        return self.cells

    def activity(self, users: IdMap, why: str) -> Array:
        """Training ratings of each of these users (int64); 0 where there are none."""
        return _at(np.diff(self.required(why).indptr), self.users.lookup(users.values))

    def popularity(self, items: IdMap, why: str) -> Array:
        """Training ratings of each of these items (int64); 0 where there are none."""
        counts = np.bincount(self.required(why).indices, minlength=len(self.items))
        return _at(counts, self.items.lookup(items.values))

    def seen(self, users: Array, why: str) -> tuple[Array, Array]:
        """(indptr, rows of the catalogue ascending): what each of these user ids has rated."""
        cells = self.required(why)
        source = self.users.lookup(users)
        known = source >= 0
        found = take_rows(CSR(cells.indptr, cells.indices, cells.values, None), source[known])
        row = np.repeat(np.flatnonzero(known), np.diff(found.indptr))
        column = found.indices.astype(np.int64)
        if self.items != self.catalogue:
            column = self.catalogue.lookup(self.items.values)[column]
            row, column = row[column >= 0], column[column >= 0]
            order = np.lexsort((column, row))  # «10» sorts before «9», 9 before 10
            row, column = row[order], column[order]
        sizes = np.bincount(row, minlength=len(source))
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), column


def _ids_of(model: Any) -> tuple[IdMap, IdMap] | None:
    """The users and the items that a model knows, where it tells."""
    factors = getattr(model, "factors_", None)
    if factors is not None:
        return factors.user_ids, factors.item_ids
    users, items = getattr(model, "users_", None), getattr(model, "items_", None)
    return (users, items) if isinstance(users, IdMap) and isinstance(items, IdMap) else None


def _at(counts: Array, rows: Array) -> Array:
    found = np.zeros(len(rows), dtype=np.int64)
    found[rows >= 0] = counts[rows[rows >= 0]]
    return found
