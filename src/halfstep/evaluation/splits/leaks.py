"""What the training part must not know of the test part, and who says so."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_choice
from halfstep.data.ids import IdMap
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, LeakError, ParameterError

__all__ = ["SplitKind", "cells_of", "check_split", "pair_at", "require_time"]

SplitKind = Literal["random", "time", "last", "cold-user", "cold-item", "users"]
_KINDS = ("random", "time", "last", "cold-user", "cold-item", "users")
_ONE_TABLE = "read all ratings as one table and cut that (Ratings.select keeps the ids)"
_NAMES = {2: ("train", "test"), 3: ("train", "valid", "test")}


def check_split(*parts: Ratings, kind: SplitKind = "random", of: Ratings | None = None) -> None:
    """Raise `LeakError` where a part of a split knows what it must not know of a later one.

    Whatever the kind: the parts are over the same ids, none is empty, and no (user, item) pair is in
    two of them.

    Parameters
    ----------
    *parts : Ratings
        (train, test) or (train, valid, test); with `kind="users"` (train, given, test).
    kind : {"random", "time", "last", "cold-user", "cold-item", "users"}
        What else must hold.
        "time": every rating of a later part is later than all of the parts before it (no tie).
        "last": no user has a rating in a later part that is earlier than one in a part before it (ties
        may fall on both sides).
        "cold-user", "cold-item": no user (item) of a later part is in a part before it.
        "users": no user of `given` or `test` is in `train`, and every user of `test` is in `given`.
    of : Ratings, optional
        What was split: together the parts must be its ratings, with nothing left out or added.

    Raises
    ------
    LeakError
        Names one pair by its own ids.
    DataError
        A part is empty, or has no times where the kind needs them.
    ParameterError

    Examples
    --------
    >>> ratings = Ratings.from_arrays(["ann", "ann", "bob"], [1, 2, 1], [5, 4, 3], time=[9, 7, 8])
    >>> check_split(ratings.select([1, 2]), ratings.select([0]), kind="time")
    >>> check_split(ratings.select([0, 1]), ratings.select([2]), kind="time")
    Traceback (most recent call last):
        ...
    halfstep.errors.LeakError: test=('bob', 1): its time 8 is not later than 9, that of ('ann', 1) in \
train; cut at one moment with split_by_time
    """
    check_choice("kind", kind, _KINDS)
    if len(parts) not in _NAMES or (kind == "users" and len(parts) != 3):
        wanted = "(train, given, test)" if kind == "users" else "(train, test)"
        raise ParameterError("parts", len(parts), f"must be {wanted}", "pass them one by one")
    names = ("train", "given", "test") if kind == "users" else _NAMES[len(parts)]
    named = list(zip(names, parts, strict=True))
    for name, part in named:
        require_ratings(part, name)
        if not len(part):
            raise DataError(name, part, "holds no ratings", "split again, with larger shares")
    for name, part in named[1:]:
        _same_ids(name, part, "train", parts[0])
    cells = [_cell_numbers(part) for part in parts]
    for a, b in combinations(range(len(parts)), 2):
        _no_shared_pair(named[a], named[b], cells[a], cells[b])
    if kind in ("time", "last"):
        for name, part in named:
            require_time(part, name)
    for before, after in combinations(named, 2):
        if kind == "time":
            _later(before, after)
        elif kind == "last":
            _later_for_each_user(before, after)
        elif kind in ("cold-user", "cold-item"):
            _unseen(before, after, "user" if kind == "cold-user" else "item")
        elif kind == "users" and before[0] == "train":
            _unseen(before, after, "user")
    if kind == "users":
        _foldable(*parts[1:])
    if of is not None:
        require_ratings(of, "of")
        _same_ids("of", of, "train", parts[0])
        _whole(named, cells, of)


def require_time(ratings: Ratings, name: str = "ratings") -> Array:
    """The time of every rating, or an error that says how to read it."""
    if ratings.time is None:
        raise DataError(
            name,
            "without times",
            "this split needs the time of every rating",
            "read it with time=, the name of its column",
        )
    return ratings.time


def cells_of(ratings: Ratings, part: Ratings) -> Array:
    """A mask over the cells of `ratings`: those that are in `part`, which has the same ids."""
    return _within(_cell_numbers(ratings), _cell_numbers(part))


# --------------------------------------------------------------------------- kinds

_Named = tuple[str, Ratings]


def _same_ids(name: str, part: Ratings, other_name: str, other: Ratings) -> None:
    for side, ids, known in (
        ("user", part.users, other.users),
        ("item", part.items, other.items),
    ):
        if ids.kind != known.kind:
            kinds = {"int": "integers", "str": "text"}
            raise LeakError(
                name,
                part,
                f"has other {side} ids than {other_name}: {kinds[ids.kind]}, not {kinds[known.kind]}",
                _ONE_TABLE,
            )
        if ids != known:
            alone, whose, lacking = _alone(ids, known), name, other_name
            if alone is None:
                alone, whose, lacking = _alone(known, ids), other_name, name
            raise LeakError(
                name,
                part,
                f"has other {side} ids than {other_name}: {alone!r} is in the ids of {whose} and not in "
                f"those of {lacking}",
                _ONE_TABLE,
            )


def _alone(ids: IdMap, others: IdMap) -> int | str | None:
    absent = others.lookup(ids.values) < 0
    return ids.id_at(int(np.argmax(absent))) if absent.any() else None


def _no_shared_pair(before: _Named, after: _Named, cells: Array, later: Array) -> None:
    shared = _within(later, cells)
    if shared.any():
        raise LeakError(
            after[0],
            pair_at(after[1], np.argmax(shared)),
            f"is in {before[0]} too, as {_others(np.count_nonzero(shared))}",
            "put every rating into one part",
        )


def _later(before: _Named, after: _Named) -> None:
    known, held_out = require_time(before[1]), require_time(after[1])
    last, first = np.argmax(known), np.argmin(held_out)
    if held_out[first] <= known[last]:
        raise LeakError(
            after[0],
            pair_at(after[1], first),
            f"its time {held_out[first]} is not later than {known[last]}, that of "
            f"{pair_at(before[1], last)!r} in {before[0]}",
            "cut at one moment with split_by_time",
        )


def _later_for_each_user(before: _Named, after: _Named) -> None:
    known, held_out = before[1], after[1]
    users = np.flatnonzero(_counts(known, "user") * _counts(held_out, "user"))
    if not len(users):
        return
    last = _by_user(np.maximum, known)[users]
    first = _by_user(np.minimum, held_out)[users]
    if (last > first).any():
        user = users[np.argmax(last > first)]
        early = _first_of(held_out, user, np.argmin)
        late = _first_of(known, user, np.argmax)
        raise LeakError(
            after[0],
            pair_at(held_out, early),
            f"its time {require_time(held_out)[early]} is earlier than {require_time(known)[late]}, "
            f"that of the same user's {pair_at(known, late)!r} in {before[0]}",
            "hold out the last ratings of each user with split_last",
        )


def _unseen(before: _Named, after: _Named, side: Literal["user", "item"]) -> None:
    seen = _counts(before[1], side) > 0
    rows = after[1].user_index() if side == "user" else after[1].by_user.indices
    leaking = seen[rows]
    if leaking.any():
        raise LeakError(
            after[0],
            pair_at(after[1], np.argmax(leaking)),
            f"its {side} has ratings in {before[0]} too "
            f"({_counts(before[1], side)[rows[np.argmax(leaking)]]:,})",
            "hold out all ratings of some users with split_users"
            if before[0] == "train" and after[0] == "given"
            else f'hold out all ratings of some {side}s with split_cold(side="{side}")',
        )


def _foldable(given: Ratings, test: Ratings) -> None:
    absent = (_counts(given, "user") == 0)[test.user_index()]
    if absent.any():
        raise DataError(
            "test",
            pair_at(test, np.argmax(absent)),
            "its user has no rating in given to be folded in by",
            "cut each held-out user's ratings in two with split_users",
        )


def _whole(named: list[_Named], cells: list[Array], of: Ratings) -> None:
    everything = _cell_numbers(of)
    left_out = np.ones(len(of), dtype=bool)
    for (name, part), own in zip(named, cells, strict=True):
        foreign = ~_within(own, everything)
        if foreign.any():
            raise LeakError(
                name,
                pair_at(part, np.argmax(foreign)),
                "is not one of the ratings that were split",
                "cut the parts from the same ratings",
            )
        left_out &= ~_within(everything, own)
    if left_out.any():
        raise LeakError(
            "of",
            pair_at(of, np.argmax(left_out)),
            f"is in no part, as {_others(np.count_nonzero(left_out))}",
            "put every rating into one part, or check without of=",
        )


# ------------------------------------------------------------------------- helpers


def _cell_numbers(part: Ratings) -> Array:
    """u n + i for every cell, ascending; uint64, so that 2³² users by 2³² items do not overflow."""
    rows = part.user_index().astype(np.uint64)
    return rows * np.uint64(len(part.items)) + part.by_user.indices


def _within(wanted: Array, among: Array) -> Array:
    """For every one of `wanted` whether it is `among` others; both ascending."""
    if not len(among):
        return np.zeros(len(wanted), dtype=bool)
    place = np.searchsorted(among, wanted)
    place[place == len(among)] = 0
    found: Array = among[place] == wanted
    return found


def _counts(part: Ratings, side: Literal["user", "item"]) -> Array:
    counts: Array = np.diff((part.by_user if side == "user" else part.by_item).indptr)
    return counts


def _by_user(extreme: Any, part: Ratings) -> Array:
    """The latest (earliest) time of each user; any number for users without ratings."""
    time = require_time(part)
    counts = _counts(part, "user")
    found = np.zeros(len(counts), dtype=time.dtype)
    found[counts > 0] = extreme.reduceat(time, part.by_user.indptr[:-1][counts > 0])
    return found


def _first_of(part: Ratings, user: Any, extreme: Any) -> int:
    start, stop = part.by_user.indptr[user : user + 2]
    return int(start + extreme(require_time(part)[start:stop]))


def pair_at(part: Ratings, cell: Any) -> tuple[int | str, int | str]:
    """(user id, item id) of a cell of `by_user`."""
    user = int(np.searchsorted(part.by_user.indptr, cell, side="right")) - 1
    return part.users.id_at(user), part.items.id_at(int(part.by_user.indices[cell]))


def _others(count: Any) -> str:
    return f"{count - 1:,} other pairs are" if count != 2 else "1 other pair is"
