"""The same number, or the same share, of ratings held out of each user: any, or the last ones."""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.splits.leaks import SplitKind, require_time
from halfstep.evaluation.splits.parts import cells_after, check_share, cut, row_counts
from halfstep.wording import counted

__all__ = ["split_each_user", "split_last", "split_leave_k_out"]


def split_each_user(
    ratings: Ratings, *, test: float = 0.1, valid: float | None = None, seed: int = 0
) -> tuple[Ratings, ...]:
    """(train, test), or (train, valid, test): a share of each user's ratings at random.

    It asks what `split_random` asks, and leaves every user at least one rating in train, so that
    nobody is asked for a list of whom nothing is known. A share of a user's ratings that is no whole
    number is rounded at random, so that the parts have their shares in the mean over the users.

    Parameters
    ----------
    ratings : Ratings
    test, valid : float
        Shares of each user's ratings.
    seed : int

    Raises
    ------
    ParameterError
        A share is not in (0, 1), or both leave nothing.
    DataError
        A part would be empty.

    Examples
    --------
    >>> ratings = Ratings.from_arrays(list("aaaabb"), [1, 2, 3, 4, 1, 2], [5, 4, 3, 2, 1, 1])
    >>> train, test = split_each_user(ratings, test=0.5)
    >>> test.user_index()
    array([0, 0, 1])
    """
    require_ratings(ratings)
    check_integer("seed", seed, 0)
    check_share("test", test)
    if valid is not None:
        check_share("valid", valid)
        if valid + test >= 1:
            raise ParameterError(
                "valid", valid, f"leaves nothing to train on beside test={test}", "lower both"
            )
    rng = np.random.default_rng(seed)
    counts = row_counts(ratings, "user")
    left = np.maximum(counts - 1, 0)
    held = []
    for share in (test, valid or 0.0):
        drawn = np.floor(share * counts + rng.random(len(counts))).astype(np.int64)
        held.append(np.minimum(drawn, left))
        left = left - held[-1]
    of_test, of_valid = (np.repeat(sizes, counts) for sizes in held)
    after = cells_after(ratings, rng.random(len(ratings)))
    label = np.where(after < of_test, 1 if valid is None else 2, after < of_test + of_valid)
    parts = 2 if valid is None else 3
    if len(np.unique(label)) < parts:
        raise DataError(
            "ratings",
            f"{counted(len(ratings), 'rating')} of {counted(int(np.count_nonzero(counts)), 'user')}",
            "are too few for parts of these shares",
            "pass more ratings or other shares",
        )
    return cut(ratings, label, parts, "random")


def split_leave_k_out(
    ratings: Ratings,
    k: int = 1,
    *,
    valid: int | None = None,
    min_ratings: int | None = None,
    seed: int = 0,
) -> tuple[Ratings, ...]:
    """(train, test), or (train, valid, test): k ratings of each user at random are the test part.

    It keeps out k ratings of every user, so that a user with 20 ratings counts as much in the error as
    one with 2,000: how well is a missing cell of a known user filled in? Like any random split it hides
    the future: the model knows what the user, and everybody else, did later. k = 1 is the leave-one-out
    of the field.

    Parameters
    ----------
    ratings : Ratings
    k : int
        How many ratings of each user (cells; weights do not count) go into the test part.
    valid : int, optional
        How many go into a validation part.
    min_ratings : int, optional
        Users with fewer keep all theirs in train. At least k + valid + 1, which is the default: nobody
        is left without any.
    seed : int

    Raises
    ------
    ParameterError
    DataError
        No user has enough ratings.

    Examples
    --------
    >>> ratings = Ratings.from_arrays(list("aaabb"), [1, 2, 3, 1, 2], [5, 4, 3, 2, 1])
    >>> train, test = split_leave_k_out(ratings)
    >>> test.user_index()
    array([0, 1])
    """
    require_ratings(ratings)
    check_integer("seed", seed, 0)
    priority = np.random.default_rng(seed).random(len(ratings))
    return _hold_out(ratings, (priority,), k, valid, min_ratings, "random")


def split_last(
    ratings: Ratings,
    k: int = 1,
    *,
    valid: int | None = None,
    min_ratings: int | None = None,
    seed: int = 0,
) -> tuple[Ratings, ...]:
    """(train, test), or (train, valid, test): the last k ratings of each user are the test part.

    It keeps out what each user did last (and with `valid` what came just before it): what does a known
    user want next? It hides that the model was fitted on other users' later ratings: an item's bias may
    come from a month that lies after the rating to predict. `split_by_time` has no such view of the
    future.

    Ties are broken at random by `seed`, the same way for any order of the table. They matter: of the
    users of MovieLens 100K, 44 % gave their last rating in the same second as the one before.

    Parameters
    ----------
    ratings : Ratings
        With `time`.
    k, valid, min_ratings
        As in `split_leave_k_out`.
    seed : int
        Of the order within ties.

    Raises
    ------
    ParameterError
    DataError
        No times, or no user has enough ratings.

    Examples
    --------
    >>> ratings = Ratings.from_arrays(
    ...     list("aaabb"), [1, 2, 3, 1, 2], [5, 4, 3, 2, 1], time=[7, 9, 8, 1, 2]
    ... )
    >>> train, test = split_last(ratings)
    >>> test.to_arrays()[1]
    array([2, 2])
    """
    require_ratings(ratings)
    check_integer("seed", seed, 0)
    time = require_time(ratings)
    priority = np.random.default_rng(seed).random(len(ratings))
    return _hold_out(ratings, (priority, time), k, valid, min_ratings, "last")


def _hold_out(
    ratings: Ratings,
    keys: tuple[Array, ...],
    k: int,
    valid: int | None,
    min_ratings: int | None,
    kind: SplitKind,
) -> tuple[Ratings, ...]:
    check_integer("k", k, 1, example=1)
    if valid is not None:
        check_integer("valid", valid, 1, example=1)
    held_out = k + (valid or 0)
    if min_ratings is None:
        min_ratings = held_out + 1
    check_integer("min_ratings", min_ratings, 2)
    if min_ratings <= held_out:
        raise ParameterError(
            "min_ratings",
            min_ratings,
            f"must exceed the {held_out} that are held out of each user",
            f"try min_ratings={held_out + 1}",
        )
    counts = row_counts(ratings, "user")
    enough = counts >= min_ratings
    if not enough.any():
        raise DataError(
            "ratings",
            f"at most {counts.max(initial=0)} of a user",
            f"are fewer than min_ratings={min_ratings} for every user",
            "lower k or min_ratings",
        )
    after = np.where(np.repeat(enough, counts), cells_after(ratings, *keys), held_out)
    label = np.where(after < k, 1 if valid is None else 2, after < held_out)
    return cut(ratings, label, 2 if valid is None else 3, kind)
