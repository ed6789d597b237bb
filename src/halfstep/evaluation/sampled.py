"""Ranks among a few sampled items: only to repeat published numbers.

He et al. 2017 (NCF) rank the held-out item among 100 items that the user has not touched, and many
papers have followed. The metrics that result are not those of the whole catalogue on another scale: rank
1 among 100 says «in the best hundredth or so», and how a model does at the very top cannot be seen.
Krichene and Rendle («On Sampled Metrics for Item Recommendation», 2020) show that the order of two
models can be another than without sampling, even in expectation, and that all sampled metrics become the
AUC as the sample shrinks. To choose between models, use the metrics without `sampled_`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import DataError
from halfstep.evaluation.grouped import counted, summed
from halfstep.evaluation.lists import HeldOut
from halfstep.evaluation.past import Past

__all__ = [
    "Ties",
    "draw_free",
    "sampled_hit_rate",
    "sampled_ndcg",
    "sampled_ranks",
    "sampled_reciprocal_rank",
]

Ties = Literal["id", "behind"]

_ENTRIES = 1 << 20  # scores of a block


def sampled_hit_rate(part: HeldOut, ranks: Array, k: int) -> Array:
    """The share of a user's relevant items that are among the first k of their sampled list.

    HR@k of NCF, where each user has one relevant item. It misleads: see the module.
    """
    return _mean(part, (ranks <= k).astype(np.float64))


def sampled_ndcg(part: HeldOut, ranks: Array, k: int) -> Array:
    """The mean of [rank ≤ k] / log₂(rank + 1) over a user's relevant items, each in a list of its own.

    NDCG@k of NCF, where each user has one relevant item. It misleads: see the module.
    """
    return _mean(part, (ranks <= k) / np.log2(ranks + 1.0))


def sampled_reciprocal_rank(part: HeldOut, ranks: Array) -> Array:
    """The mean of 1 / rank over a user's relevant items, each in a list of its own.

    It misleads: see the module.
    """
    return _mean(part, 1.0 / ranks)


def sampled_ranks(
    model: Any,
    part: HeldOut,
    past: Past,
    test: Ratings,
    options: dict[str, Any],
    *,
    negatives: int,
    seed: int,
    candidates: Mapping[Any, Any] | None,
    ties: Ties = "id",
) -> Array:
    """The rank of every relevant item of `part` among the sampled items of its user, from 1.

    By `model.recommend` with `candidates`. A user's relevant items are ranked one by one among the same
    sample; one that the model does not list comes last.

    Parameters
    ----------
    options : dict
        More arguments of `recommend`.
    negatives, seed
        How many items are drawn for each user, without replacement and with equal chances, from the
        items of the catalogue that the user has neither in training nor held out; all of them where they
        are fewer.
    candidates : mapping from user id to item ids, optional
        The items to rank among instead. The relevant item itself and items that the model does not
        know are left out.
    ties : {"id", "behind"}
        Where a relevant item stands among sampled ones of the same score: by the order of the ids, as in
        the list that is recommended, or behind them all.

    Raises
    ------
    DataError
        `candidates` has no list for a user.
    """
    ranks = np.zeros(len(part.user), dtype=np.int64)
    rng = np.random.default_rng(seed)
    negatives = min(negatives, len(past.catalogue))
    most = int(np.bincount(part.user, minlength=1).max())
    step = max(1, _ENTRIES // (negatives + most))
    for begin in range(0, len(part.ids), step):
        ids = part.ids[begin : begin + step]
        if candidates is None:
            rivals = draw_free(*_touched(ids, past, test), len(past.catalogue), negatives, rng)
        else:
            rivals = _given(ids, past, candidates)
        first, last = np.searchsorted(part.user, [begin, begin + step])
        own = slice(first, last)
        asked = part.asked[begin : begin + step]
        ranks[own] = _ranks_of_block(
            model, past, ids, asked, rivals, part.user[own] - begin, part.item[own], options, ties
        )
    return ranks


def _ranks_of_block(
    model: Any,
    past: Past,
    ids: Array,
    asked: Array,
    rivals: Array,
    row: Array,
    item: Array,
    options: dict[str, Any],
    ties: Ties,
) -> Array:
    """The ranks of the relevant `item` of user `row` among the `rivals` of that user."""
    n = len(past.catalogue)
    whose, column = np.nonzero(rivals >= 0)
    rival = np.sort(whose * n + rivals[whose, column])
    own = row * n + item
    itself = (item >= 0) & np.isin(own, rival)
    ranks: Array = 1 + np.bincount(whose, minlength=len(ids))[row] - itself  # behind all of them
    listed = np.unique(np.concatenate([rival, own[item >= 0]]))
    bounds = np.searchsorted(listed, np.arange(len(ids) + 1) * n)
    named = past.catalogue.take(listed % n)
    users = np.flatnonzero(asked & (np.diff(bounds) > 0))
    if not len(users):
        return ranks
    found = model.recommend(
        ids[users],
        n=int(np.diff(bounds).max()),
        exclude_seen=False,
        candidates={ids[u]: named[bounds[u] : bounds[u + 1]] for u in users.tolist()},
        **options,
    )
    if not len(found.found):
        return ranks
    sizes = np.diff(found.offsets)
    place = np.repeat(users, sizes) * n + past.catalogue.lookup(found.found)
    is_rival = np.isin(place, rival)
    rivals_before = np.concatenate([[0], np.cumsum(is_rival)])
    ahead = rivals_before[:-1]
    if ties == "behind":  # all of the same score are ahead, but not the item itself
        last = _last_of_equals(place // n, np.asarray(found.scores))
        ahead = rivals_before[last + 1] - is_rival
    ahead = ahead - np.repeat(rivals_before[found.offsets[:-1]], sizes)
    order = np.argsort(place)
    at = order[np.minimum(np.searchsorted(place, own, sorter=order), len(place) - 1)]
    there = (item >= 0) & (place[at] == own)
    ranks[there] = 1 + ahead[at[there]]
    return ranks


def _last_of_equals(user: Array, score: Array) -> Array:
    """Of every entry the position of the last one of the same user and score, which stand together."""
    ends = np.ones(len(user), dtype=bool)
    ends[:-1] = (user[1:] != user[:-1]) | (score[1:] != score[:-1])
    last: Array = np.flatnonzero(ends)[np.cumsum(ends) - ends]
    return last


def draw_free(indptr: Array, touched: Array, n: int, size: int, rng: np.random.Generator) -> Array:
    """For every user `size` of the untouched items among 0, …, n − 1, or all; −1 where none is left.

    Every set has the same chance. Floyd's algorithm, one step for all users at once: of f free items,
    step s draws the t-th with t in 0, …, f − size + s, or takes the last of these where t is taken.

    Parameters
    ----------
    indptr, touched : arrays
        The items of user u are `touched[indptr[u]:indptr[u + 1]]`, ascending.
    """
    users = len(indptr) - 1
    row = np.repeat(np.arange(users), np.diff(indptr))
    free = n - np.diff(indptr)
    wanted = np.minimum(free, size)
    places = np.full((users, size), -1, dtype=np.int64)
    for s in range(int(wanted.max(initial=0))):
        going = s < wanted
        last = np.where(going, free - wanted + s, 0)
        t = rng.integers(0, last + 1)
        taken = (places[:, :s] == t[:, None]).any(axis=1)
        places[:, s] = np.where(going, np.where(taken, last, t), -1)
    # the t-th free item: t, and one more for each touched item with at most t free ones before it
    before = touched - (np.arange(len(touched)) - indptr[row])
    keys = row * (n + 1) + before
    whose, column = np.nonzero(places >= 0)
    t = places[whose, column]
    skipped = np.searchsorted(keys, whose * (n + 1) + t, side="right") - indptr[whose]
    places[whose, column] = t + skipped
    return places


def _touched(ids: Array, past: Past, test: Ratings) -> tuple[Array, Array]:
    """What each user has in training or held out, as rows of the catalogue, ascending."""
    n = len(past.catalogue)
    indptr, column = past.seen(ids, "sampling")
    held = take_rows(test.by_user, test.users.lookup(ids))
    also = past.catalogue.lookup(test.items.values)[held.indices]
    keys = np.concatenate(
        [
            np.repeat(np.arange(len(ids)), np.diff(indptr)) * n + column,
            (np.repeat(np.arange(len(ids)), np.diff(held.indptr)) * n + also)[also >= 0],
        ]
    )
    row, column = np.divmod(np.unique(keys), n)
    return np.searchsorted(row, np.arange(len(ids) + 1)), column


def _given(ids: Array, past: Past, candidates: Mapping[Any, Any]) -> Array:
    from halfstep.models.filters import rows_of_mapping

    indptr, column = rows_of_mapping("candidates", candidates, ids, past.catalogue)
    sizes = np.diff(indptr)
    if not sizes.all():
        raise DataError(
            "candidates",
            ids.tolist()[int(np.argmin(sizes))],
            "is a held-out user without a list of known items",
            "give every user a list",
        )
    rivals = np.full((len(ids), int(sizes.max(initial=0))), -1, dtype=np.int64)
    place = np.arange(len(column)) - np.repeat(indptr[:-1], sizes)
    rivals[np.repeat(np.arange(len(ids)), sizes), place] = column
    return rivals


def _mean(part: HeldOut, values: Array) -> Array:
    mean: Array = summed(part.user, values, len(part.ids)) / counted(part.user, len(part.ids))
    return mean
