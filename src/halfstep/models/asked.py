"""What a question is about, checked and as row numbers: pairs to predict, lists to recommend from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.checks import check_choice, check_integer
from halfstep.data.ids import require_known
from halfstep.data.pairs import split_pairs
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError
from halfstep.factors import Factors
from halfstep.models.filters import item_mask, rows_of_mapping, union_of_rows
from halfstep.models.known import Known

__all__ = ["AskedLists", "AskedPairs", "Unknown"]

Unknown = Literal["bias", "nan", "error"]


@dataclass(frozen=True, slots=True)
class AskedPairs:
    """The pairs of a `predict`.

    Attributes
    ----------
    users, items : array
        Row numbers of the pairs to predict, −1 where an id is unknown; with unknown="nan" of the known
        pairs alone.
    single : bool
        Whether two single ids were asked.
    """

    users: Array
    items: Array
    _count: int
    _known: Any
    single: bool

    @classmethod
    def of(cls, model: Known, users: Any, items: Any, unknown: Unknown) -> AskedPairs:
        """From the arguments of `predict`; raises what it raises."""
        check_choice("unknown", unknown, ("bias", "nan", "error"))
        if items is None:
            users, items = split_pairs(users)
        single = np.ndim(users) == 0 and np.ndim(items) == 0
        if single:
            users, items = [users], [items]
        user_index = model._ids("user").lookup(users, "users")
        item_index = model._ids("item").lookup(items, "items")
        if len(user_index) != len(item_index):
            raise DataError(
                "items",
                len(item_index),
                f"must be as many as the users, {len(user_index)}",
                "pass arrays of equal length",
            )
        if unknown == "error":
            require_known(user_index, users, "user")
            require_known(item_index, items, "item")
        known: Any = slice(None)  # nothing is asked of pairs whose answer is NaN
        if unknown == "nan":
            known = (user_index >= 0) & (item_index >= 0)
        return cls(user_index[known], item_index[known], len(user_index), known, single)

    def answer(self, answers: list[Array]) -> Any:
        """What `predict` returns, from one array for each answer, one entry for each pair."""
        if not isinstance(self._known, slice):
            for place, answer in enumerate(answers):
                answers[place] = np.full(self._count, np.nan, dtype=answer.dtype)
                answers[place][self._known] = answer
        if self.single:
            found = tuple(float(answer[0]) for answer in answers)
            return found[0] if len(found) == 1 else found
        return answers[0] if len(answers) == 1 else tuple(answers)


@dataclass(frozen=True, slots=True)
class AskedLists:
    """The users of a `recommend`, and the items that each may be given.

    Attributes
    ----------
    rows : array
        Row numbers of the users, −1 where an id is unknown.
    asked : array
        Their ids.
    n : int
        How many items for each, at most as many as there are.
    excluded, only : (indptr, item rows ascending) or None
        Per user: never these; only these.
    allowed : mask over the items, or None
        For all users.
    """

    rows: Array
    asked: Array
    n: int
    excluded: tuple[Array, Array] | None
    only: tuple[Array, Array] | None
    allowed: Array | None

    @classmethod
    def of(
        cls,
        model: Known,
        users: Any,
        n: int,
        *,
        exclude_seen: bool,
        allow: Any,
        deny: Any,
        exclude: Mapping[Any, Any] | None,
        candidates: Mapping[Any, Any] | None,
        min_ratings: int,
        ratings: Ratings | None,
        unknown: Literal["error", "bias"],
    ) -> AskedLists:
        """From the arguments of `recommend`; raises what it raises."""
        check_integer("n", n, 1)
        check_integer("min_ratings", min_ratings, 1)
        check_choice("unknown", unknown, ("error", "bias"))
        items = model._ids("item")
        allowed = item_mask(items, allow, deny)
        if min_ratings > 1:
            history = model._whole_history(f"min_ratings={min_ratings}")
            known_well = np.bincount(history.indices, minlength=len(items)) >= min_ratings
            allowed = known_well if allowed is None else allowed & known_well
        rows, asked = model._rows_asked(users, model._ids("user"), "user", unknown == "error")
        excluded: tuple[Array, Array] | None = None
        if exclude_seen:
            excluded = model._seen(rows, asked, ratings)
        if exclude is not None:
            more = rows_of_mapping("exclude", exclude, asked, items)
            excluded = more if excluded is None else union_of_rows(excluded, more)
        only = None
        if candidates is not None:
            only = rows_of_mapping("candidates", candidates, asked, items, True)
        return cls(rows, asked, min(n, len(items)), excluded, only, allowed)

    def part(self, places: Array) -> AskedLists:
        """The same for some of the users: those at these places."""
        excluded, only = (
            None if lists is None else _some(lists, places) for lists in (self.excluded, self.only)
        )
        return AskedLists(
            self.rows[places], self.asked[places], self.n, excluded, only, self.allowed
        )

    def best(self, queries: Array, factors: Factors, backend: Backend) -> tuple[Array, Array]:
        """(index, score) of the items of the highest q·z_i + b_i, for one row q of `queries` a user."""
        return backend.topk(
            queries,
            factors.item_factors,
            factors.item_bias,
            self.n,
            exclude=self.excluded,
            candidates=self.only,
            allow=self.allowed,
        )


def _some(lists: tuple[Array, Array], places: Array) -> tuple[Array, Array]:
    """Some of the lists (offsets, items)."""
    from halfstep.data.ratings import take_rows

    indptr, indices = lists
    found = take_rows(CSR(indptr, indices, indices), places)
    return found.indptr, found.indices
