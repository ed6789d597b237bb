"""`Known`: the users and items of a fitted model, and what the users have rated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ids import IdMap, require_known
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import DataError, HistoryRequiredError, UnknownIdError
from halfstep.models.params import Parameters
from halfstep.objectives import Side

__all__ = ["Known"]

# What asks for a history and has an argument `ratings` in place of it.
_TAKE_RATINGS = (
    "exclude_seen=True",
    "explain",
    "influence",
    "certificate",
    "effective_parameters",
)


class Known(Parameters, ABC):
    """How ids find their rows, and the rows their ratings; for models with factors and without.

    Attributes
    ----------
    history_ : CSR or None
        The ratings of every user, by row; None in a model saved without them.
    scale_ : (float, float)
        The lowest and highest rating seen.
    """

    learns: ClassVar[Literal["ratings", "interactions"]] = "ratings"
    """What a value of the table is; of interactions predictions are scores to rank by."""

    history_: CSR | None
    scale_: tuple[float, float]
    data_summary_: dict[str, Any]
    n_features_in_: int

    @abstractmethod
    def _ids(self, side: Side) -> IdMap:
        """The ids of the rows of one side."""

    @abstractmethod
    def _predict_rows(self, user_index: Array, item_index: Array, backend: str | Backend) -> Array:
        """Predicted ratings of pairs of row numbers; −1 is unknown."""

    def _rows_asked(
        self, asked: Any, ids: IdMap, side: str, must_be_known: bool
    ) -> tuple[Array, Array]:
        if asked is None:
            return np.arange(len(ids)), ids.take(np.arange(len(ids)))
        listed = [asked] if np.ndim(asked) == 0 else asked
        rows = ids.lookup(listed, f"{side}s")
        if must_be_known:
            require_known(rows, listed, side)
        names = np.asarray(listed, dtype=object) if isinstance(listed, list) else np.asarray(listed)
        known = rows >= 0
        if known.all():  # the ids as the model writes them
            names = ids.take(rows)
        return rows, names

    def _forget(self, *names: str) -> None:
        """Drop learned attributes that are no longer true."""
        for name in names:
            self.__dict__.pop(name, None)

    def _history(self, why: str) -> CSR:
        if self.history_ is None:
            raise HistoryRequiredError(
                "ratings",
                None,
                f"the model was saved without its users' ratings, and {why} needs them",
                "pass ratings=, or save with history=True"
                if why in _TAKE_RATINGS
                else "fit again, or save with history=True",
            )
        return self.history_

    def _whole_history(self, why: str) -> CSR:
        return self._rows_of(self._history(why), np.arange(len(self._ids("user"))))

    def _rows_of(self, history: CSR, rows: Array) -> CSR:
        """Rows of the history, checked: that of a mapped file was not read when it was loaded."""
        everything = len(rows) == history.n_rows and np.array_equal(rows, np.arange(len(rows)))
        found = history if everything else take_rows(history, rows)
        n = len(self._ids("item"))
        if len(found.indices) and int(found.indices.max()) >= n:
            raise DataError(
                "history",
                int(found.indices.max()),
                f"names an item beyond the {n} of the model",
                "the file is damaged: load it without mmap, or restore a copy",
            )
        return found

    def _count_fitted(self, users: Array, items: Array) -> int:
        """How many of these pairs of row numbers (−1: unknown) are in the history."""
        history, n = self._history("counting what it has seen"), len(self._ids("item"))
        rows = np.repeat(np.arange(history.n_rows), np.diff(history.indptr))
        fitted = rows * n + history.indices  # ascending
        asked = (users * n + items)[(users >= 0) & (items >= 0)]
        if not len(fitted) or not len(asked):
            return 0
        place = np.minimum(np.searchsorted(fitted, asked), len(fitted) - 1)
        return int(np.count_nonzero(fitted[place] == asked))

    def _seen(self, rows: Array, asked: Array, ratings: Ratings | None) -> tuple[Array, Array]:
        """(indptr, items ascending) of what each asked user has rated."""
        if ratings is None:
            history = self._history("exclude_seen=True")
            source = rows
        else:
            history = self._translate(ratings, "user", "ignore")
            source = ratings.users.lookup(asked, "users")
        known = source >= 0
        found = self._rows_of(history, np.where(known, source, 0)[known])
        sizes = np.zeros(len(source), dtype=np.int64)
        sizes[known] = np.diff(found.indptr)
        return np.concatenate([[0], np.cumsum(sizes)]), found.indices

    def _translate(
        self,
        ratings: Ratings,
        side: Side,
        unknown: str,
        remedy: str = 'pass unknown="ignore" to leave those ratings out',
    ) -> CSR:
        """The cells by rows of `side`, their columns as row numbers of the model."""
        require_ratings(ratings)
        if side == "user":
            cells, others, ours = ratings.by_user, ratings.items, self._ids("item")
        else:
            cells, others, ours = ratings.by_item, ratings.users, self._ids("user")
        if others == ours:
            return cells
        lookup = ours.lookup(others.values)
        column = lookup[cells.indices]
        missing = column < 0
        if missing.any():
            if unknown == "error":
                wrong = others.id_at(int(cells.indices[np.argmax(missing)]))
                raise UnknownIdError(
                    "item" if side == "user" else "user",
                    wrong,
                    f"is not known to the model ({np.count_nonzero(lookup < 0):,} such ids)",
                    remedy,
                )
            cells, column = cells.select(~missing), column[~missing]
        if others.kind != ours.kind:  # «10» sorts before «9», 9 before 10
            row = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
            order = np.lexsort((column, row))
            weights = None if cells.weights is None else cells.weights[order]
            return CSR(cells.indptr, column[order].astype(np.uint32), cells.values[order], weights)
        return CSR(cells.indptr, column.astype(np.uint32), cells.values, cells.weights)
