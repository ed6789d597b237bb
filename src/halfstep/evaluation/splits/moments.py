"""Before and after a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer, is_integer, is_number
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.splits.leaks import require_time
from halfstep.evaluation.splits.parts import check_share, cut

__all__ = ["rolling_origin", "split_by_time"]


def split_by_time(
    ratings: Ratings,
    *,
    test: float | None = None,
    at: float | str | None = None,
    valid: float | None = None,
) -> tuple[Ratings, ...]:
    """(train, test), or (train, valid, test): all that was rated from a moment on is the test part.

    It keeps out the future of everybody, as on the day a model goes to work: how good is it from then
    on? The test part holds users and items that the model has never seen (it answers them by the biases
    it knows), and tastes that have moved. It hides nothing but luck with the moment, and how soon the
    model is fitted again; `rolling_origin` takes several moments.

    Nothing is random. Ratings of the same time are never parted: train holds all before the moment, test
    all from it on.

    Parameters
    ----------
    ratings : Ratings
        With `time`.
    test : float, optional
        The share of the ratings to hold out: the moment is the one that comes nearest to it. 0.1 where
        `at` is not given either.
    at : number or text, optional
        The moment itself, in the unit of `ratings.time`, or an ISO date or time («2015-03-01», UTC)
        where that is in seconds since 1970 (as dates are when they are read).
    valid : float, optional
        The share of all ratings, the last ones before the moment, that is the validation part.

    Raises
    ------
    ParameterError
    DataError
        No times; a part would be empty; all have the same time.

    Examples
    --------
    >>> ratings = Ratings.from_arrays(
    ...     list("aabb"), [1, 2, 1, 2], [5, 4, 3, 2], time=[30, 10, 20, 20]
    ... )
    >>> train, test = split_by_time(ratings, at=20)
    >>> test.time
    array([30, 20, 20])
    """
    require_ratings(ratings)
    time = require_time(ratings)
    if test is not None and at is not None:
        raise ParameterError("test", test, "says the same as at, otherwise", "pass one of the two")
    for name, share in (("test", test), ("valid", valid)):
        if share is not None:
            check_share(name, share)
    ordered = np.sort(time)
    total = len(ordered)
    if at is None:
        place = _place_near(ordered, total - (0.1 if test is None else test) * total)
    else:
        place = int(np.searchsorted(ordered, _moment(at)))
        if not 0 < place < total:
            raise ParameterError(
                "at",
                at,
                f"leaves a part empty: the times go from {ordered[0]} to {ordered[-1]}"
                if total
                else "there are no ratings",
                "pass a moment between them, or a share test=",
            )
    if valid is None:
        return cut(ratings, (time >= ordered[place]).astype(np.int8), 2, "time")
    if valid * total >= place:
        raise DataError(
            "ratings",
            f"{place} ratings before the test part",
            f"are too few for valid={valid} of {total}",
            "pass other shares",
        )
    begin = _place_near(ordered[:place], place - valid * total)
    label = (time >= ordered[begin]).astype(np.int8) + (time >= ordered[place])
    return cut(ratings, label, 3, "time")


def rolling_origin(
    ratings: Ratings, folds: int = 5, *, test: float | None = None
) -> Iterator[tuple[Ratings, Ratings]]:
    """(train, test) for each of `folds` moments: all before it, and the stretch up to the next.

    It answers the question of `split_by_time` for a model that is fitted again at every moment, and so
    also says how much the answer hangs on the moment. The last stretch ends with the last rating. The
    training parts grow; later ones hold the test parts of earlier ones. (scikit-learn's
    `TimeSeriesSplit`, with ties kept together.)

    Parameters
    ----------
    ratings : Ratings
        With `time`.
    folds : int
    test : float, optional
        The share of the ratings in each stretch; 1 / (folds + 1) by default, so that the first training
        part is as large as a stretch.

    Raises
    ------
    ParameterError
    DataError
        No times, or too few different ones.
    """
    require_ratings(ratings)
    check_integer("folds", folds, 2, example=5)
    time = require_time(ratings)
    share = 1 / (folds + 1) if test is None else test
    check_share("test", share)
    if folds * share >= 1:
        raise ParameterError(
            "test", share, f"leaves nothing to train on before {folds} folds", "lower it, or folds"
        )
    ordered = np.sort(time)
    total = len(ordered)
    places = [_place_near(ordered, total - share * total * left) for left in range(folds, 0, -1)]
    if any(a >= b for a, b in pairwise(places)):
        raise DataError(
            "ratings",
            f"{len(np.unique(ordered))} different times",
            f"are too few for {folds} stretches of this share",
            "lower folds",
        )
    return _stretches(ratings, time, [ordered[place] for place in places])


def _stretches(
    ratings: Ratings, time: Array, moments: list[Any]
) -> Iterator[tuple[Ratings, Ratings]]:
    number = np.searchsorted(np.array(moments, dtype=time.dtype), time, side="right")
    for fold in range(len(moments)):
        label = np.where(number <= fold, 0, np.where(number == fold + 1, 1, -1))
        train, test = cut(ratings, label, 2, "time")
        yield train, test


def _place_near(ordered: Array, wanted: float) -> int:
    """The place nearest to `wanted` where the time changes, with something before it and after it."""
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if not len(changes):
        raise DataError(
            "ratings",
            f"{len(ordered)} ratings to cut by time",
            "all have the same time" if len(ordered) else "are too few",
            "use split_random, or other shares",
        )
    return int(changes[np.argmin(np.abs(changes - wanted))])


def _moment(at: Any) -> Any:
    if isinstance(at, str):
        with suppress(ValueError):
            moment = np.datetime64(at, "s")
            if not np.isnat(moment):
                return moment.astype(np.int64)
    elif is_integer(at):
        if abs(int(at)) < 2**63:
            return at
    elif is_number(at) and np.isfinite(at):
        return at
    raise ParameterError(
        "at", at, "must be a time or an ISO date", "try a number, or a date such as 2015-03-01"
    )
