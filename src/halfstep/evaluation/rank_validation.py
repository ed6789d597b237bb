"""How well factors rank held-out interactions, while they are being fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.measures import OF_HITS, Asked, parse_metrics
from halfstep.evaluation.ranking import Hits
from halfstep.factors import Factors
from halfstep.training import Measured

__all__ = ["RankValidation", "check_metric"]

_USERS = 20_000  # whose lists are made after a sweep; of more, as many at even steps


def check_metric(metric: str) -> Asked:
    """The metric of that name, if it is one of ranked lists.

    Raises `ParameterError`.
    """
    try:
        (asked,) = parse_metrics([metric])
    except ParameterError as error:  # which is about `metrics` of `evaluate`
        raise ParameterError("metric", metric, error.rule, error.remedy) from None
    if asked.base not in OF_HITS or not asked.k:
        raise ParameterError(
            "metric",
            metric,
            "is not a metric of ranked lists that a fit could go by",
            'try metric="ndcg@10" or "recall@20"',
        )
    return asked


@dataclass(frozen=True, slots=True)
class RankValidation:
    """Held-out interactions of users that are being fitted, as what their lists should hold.

    What a user has in the training part is left out of the lists. `hits` waits for ranks: `relevant`
    are its items as keys row · n + item, ascending.
    """

    asked: Asked
    rows: Array
    seen: tuple[Array, Array]
    user: Array
    item: Array
    items: int

    @classmethod
    def of(
        cls,
        held_out: Ratings,
        ids: tuple[IdMap, IdMap],
        train: CSR,
        metric: str,
        name: str = "validation",
    ) -> RankValidation:
        """Of interactions with a value above 0. `ids` are the users and items of the training part.

        `name` is the argument that an error is about.

        Users that it does not know, or who have no interactions in it, are left out; items that it does
        not know count as missed.

        Raises `DataError` where no user is left.
        """
        asked = check_metric(metric)
        users, items = ids
        own = users.lookup(held_out.users.values)[held_out.user_index()]
        known = np.diff(train.indptr) > 0
        item = items.lookup(held_out.items.values)[held_out.by_user.indices].astype(np.int64)
        wanted = (own >= 0) & (held_out.by_user.values > 0)
        wanted[wanted] = known[own[wanted]]
        n = len(items)
        there = wanted & (item >= 0)
        keys = own * n + item
        old = np.repeat(np.arange(len(users)), np.diff(train.indptr)) * n + train.indices
        known_already = np.append(old, -1)[np.searchsorted(old, keys)] == keys
        wanted &= ~(there & known_already)  # what is known already is no test
        rows = np.unique(own[wanted])
        if not len(rows):
            raise DataError(
                name,
                held_out,
                "holds no new interaction of a user that is being fitted",
                "hold out a part of each user's interactions, as split_random and shuffled folds do",
            )
        if len(rows) > _USERS:
            rows = rows[np.linspace(0, len(rows) - 1, _USERS).astype(np.int64)]
        position = np.full(len(users), -1)
        position[rows] = np.arange(len(rows))
        user = np.where(own >= 0, position[own], -1)
        user, item = user[wanted], item[wanted]
        user, item = user[user >= 0], item[user >= 0]
        order = np.lexsort((item, user))
        seen = take_rows(train, rows)
        return cls(asked, rows, (seen.indptr, seen.indices), user[order], item[order], n)

    def measure(self, factors: Factors, backend: Backend) -> Measured:
        """The metric's mean over the users."""
        return Measured(score=float(np.nanmean(self.by_user(factors, backend))))

    def by_user(self, factors: Factors, backend: Backend) -> Array:
        """The metric of each of the users `rows`; NaN where it is undefined."""
        k = min(self.asked.k, self.items)
        index, _ = backend.topk(
            factors.user_factors[self.rows],
            factors.item_factors,
            factors.item_bias,
            k,
            exclude=self.seen,
        )
        listed = np.where(index >= 0, np.arange(len(self.rows))[:, None] * self.items + index, -1)
        flat = listed.ravel()
        order = np.argsort(flat, kind="stable")
        keys = self.user * self.items + self.item
        place = np.minimum(np.searchsorted(flat[order], keys), len(flat) - 1)
        found = (flat[order][place] == keys) & (self.item >= 0)
        rank = np.where(found, order[place] % k + 1, 0)
        ratings = np.ones(len(keys))
        return OF_HITS[self.asked.base](
            Hits(len(self.rows), self.user, rank, ratings), self.asked.k
        )
