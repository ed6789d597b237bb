"""What a model recommends to the users of a held-out part, a block of users at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.past import Past
from halfstep.evaluation.ranking import Hits

__all__ = ["Block", "HeldOut", "Unknown", "ask", "held_out"]

Unknown = Literal["skip", "empty", "bias"]

_ENTRIES = 1 << 20  # recommendations of a block, whatever their number for each user


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The relevant held-out items of the users that are evaluated.

    Attributes
    ----------
    ids : array (users,)
        Users with held-out ratings, without unknown ones where these are skipped.
    asked : array (users,), bool
        Whom the model is asked about; all but unknown users whose lists count as empty.
    user, item : array (relevant items,), int64, ascending
        Whose it is (a position in `ids`), and its row in the catalogue; −1 where the model does not
        know the item.
    rating : array (relevant items,), float64
    cell : array (relevant items,), int64
        Where it stands in `test.by_user`.
    seen : (indptr, rows of the catalogue) or None
        What each user has seen and may not be recommended; None where seen items may be.
    unknown, without, repeated : int
        Users that the model does not know; users without relevant items; relevant pairs left out
        because the user has seen the item already.
    """

    ids: Array
    asked: Array
    user: Array
    item: Array
    rating: Array
    cell: Array
    seen: tuple[Array, Array] | None
    unknown: int
    without: int
    repeated: int

    def candidates(self, catalogue: int) -> Array:
        """How many items can be recommended to each user (int64)."""
        if self.seen is None:
            return np.full(len(self.ids), catalogue)
        return catalogue - np.diff(self.seen[0])

    def hits(self, rank: Array) -> Hits:
        """The relevant items with their ranks (0: not in the list)."""
        return Hits(len(self.ids), self.user, rank, self.rating)


@dataclass(frozen=True, slots=True)
class Block:
    """The lists of some users, flat: user (ascending), item (row of the catalogue), rank, score.

    `matched` are the entries that are relevant, `relevant` their positions in `HeldOut`.
    """

    user: Array
    item: Array
    rank: Array
    score: Array
    matched: Array
    relevant: Array

    def mid_ranks(self) -> Array:
        """The rank of every entry, with equal scores of a user sharing the mean of their ranks."""
        begins = np.ones(len(self.user), dtype=bool)
        begins[1:] = (self.user[1:] != self.user[:-1]) | (self.score[1:] != self.score[:-1])
        group = np.cumsum(begins) - 1
        first = np.flatnonzero(begins)
        size = np.diff(np.append(first, len(self.user)))
        mid: Array = (self.rank[first] + (size - 1) / 2.0)[group]
        return mid


def held_out(
    test: Ratings,
    past: Past,
    *,
    relevant: float | None,
    unknown: Unknown,
    exclude_seen: bool,
) -> HeldOut:
    """Which users are evaluated, and what is relevant to them."""
    rows = np.flatnonzero(np.diff(test.by_user.indptr))
    known = past.known.lookup(test.users.values[rows]) >= 0
    strangers = int(np.count_nonzero(~known))
    if unknown == "skip":
        rows, known = rows[known], known[known]
    elif unknown == "bias":
        known = np.ones(len(rows), dtype=bool)
    ids = test.users.take(rows)
    position = np.full(len(test.users), -1)
    position[rows] = np.arange(len(rows))
    user = position[test.user_index()]
    wanted = user >= 0
    if relevant is not None:
        wanted &= test.by_user.values >= relevant
    cell = np.flatnonzero(wanted)
    user = user[cell]
    item = past.catalogue.lookup(test.items.values)[test.by_user.indices[cell]]
    order = np.lexsort((item, user))
    user, item, cell = user[order], item[order], cell[order]
    seen, repeated = None, 0
    if exclude_seen:
        seen = past.seen(ids, "exclude_seen=True")
        n = len(past.catalogue)
        old = _found(_keys(user, item, n), _keys(_rows(seen[0]), seen[1], n))[0]
        repeated = int(np.count_nonzero(old))
        user, item, cell = user[~old], item[~old], cell[~old]
    rating = test.by_user.values[cell].astype(np.float64)
    without = len(ids) - len(np.unique(user))
    return HeldOut(ids, known, user, item, rating, cell, seen, strangers, without, repeated)


def ask(
    model: Any,
    part: HeldOut,
    past: Past,
    n: int,
    options: dict[str, Any],
    on_block: Callable[[Block], object],
) -> Array:
    """Ask for the n best items of every user; the rank of every relevant item (0: not among them).

    `on_block` is told of every block of lists. No more than about a million recommendations are held
    at a time.
    """
    rank = np.zeros(len(part.user), dtype=np.int64)
    size = len(past.catalogue)
    keys = _keys(part.user, part.item, size)
    for users, user, item, place, score in _blocks(model, part, past, n, options):
        first, last = np.searchsorted(part.user, [users[0], users[-1] + 1])
        there, at = _found(_keys(user, item, size), keys[first:last])
        matched = np.flatnonzero(there)
        relevant = at[matched] + first
        if len(np.unique(relevant)) < len(relevant):
            repeats = np.bincount(relevant - first) > 1
            twice = past.catalogue.id_at(int(part.item[first + int(np.argmax(repeats))]))
            raise DataError(
                "model", twice, "is recommended twice to one user", "mend its recommend"
            )
        rank[relevant] = place[matched]
        on_block(Block(user, item, place, score, matched, relevant))
    return rank


def _blocks(
    model: Any, part: HeldOut, past: Past, n: int, options: dict[str, Any]
) -> Iterator[tuple[Array, ...]]:
    if not hasattr(model, "recommend"):
        raise ParameterError(
            "model",
            model,
            "has no recommend(users, n), which metrics of rankings need",
            "ask for errors of ratings, such as rmse",
        )
    asked = np.flatnonzero(part.asked)
    step = max(1, _ENTRIES // n)
    for begin in range(0, len(asked), step):
        users = asked[begin : begin + step]
        found = model.recommend(part.ids[users], n=n, **options)
        sizes = np.diff(found.offsets)
        if len(sizes) != len(users):
            raise DataError(
                "model",
                f"{len(sizes)} lists",
                f"were recommended to {len(users)} users",
                "mend its recommend",
            )
        item = past.catalogue.lookup(found.found)
        if (item < 0).any():
            stranger = np.asarray(found.found, dtype=object)[int(np.argmin(item))]
            raise DataError(
                "train",
                stranger,
                "is recommended, but is no item of the training ratings",
                "pass train= with all ratings that the model was fitted on",
            )
        place = np.arange(1, len(item) + 1) - np.repeat(found.offsets[:-1], sizes)
        yield users, np.repeat(users, sizes), item, place, np.asarray(found.scores)


def _rows(indptr: Array) -> Array:
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def _keys(user: Array, item: Array, catalogue: int) -> Array:
    """One number for each pair, ascending as (user, item); items of row −1 come first."""
    keys: Array = user * (catalogue + 1) + (item + 1)
    return keys


def _found(keys: Array, among: Array) -> tuple[Array, Array]:
    """Whether each key is one of the ascending `among`, and where."""
    if not len(among):
        return np.zeros(len(keys), dtype=bool), np.zeros(len(keys), dtype=np.int64)
    at = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    return among[at] == keys, at
