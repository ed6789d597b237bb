"""A model whose scores are given, in plain loops: what the metrics are checked with."""

import numpy as np

from halfstep import Ratings
from halfstep.models.ranked import Ranked


class Scripted:
    """Predicts the scores of a table (users × items of `train`) and recommends by them."""

    def __init__(self, train, scores):
        self.users_, self.items_, self.history_ = train.users, train.items, train.by_user
        self.scores = np.asarray(scores, dtype=float)

    def predict(self, users, items):
        return self.scores[self.users_.lookup(users), self.items_.lookup(items)]

    def recommend(self, users, n, exclude_seen=True, ratings=None):
        index = np.full((len(users), n), -1)
        found = np.full((len(users), n), np.nan)
        for place, row in enumerate(self.users_.lookup(users)):
            assert row >= 0
            best = np.argsort(-self.scores[row], kind="stable")
            if exclude_seen:
                cells = self.history_ if ratings is None else ratings.by_user
                seen = cells.indices[cells.indptr[row] : cells.indptr[row + 1]]
                best = best[~np.isin(best, seen)]
            best = best[:n]
            index[place, : len(best)] = best
            found[place, : len(best)] = self.scores[row, best]
        return Ranked.of(np.asarray(users), index, found, self.items_, ("user", "item"))


def ratings_of(table, users=None, items=None):
    """Ratings over the ids of a whole table; NaN is missing."""
    table = np.asarray(table, dtype=float)
    m, n = table.shape
    users = [f"user {u:02d}" for u in range(m)] if users is None else users
    items = [f"the film № {i:02d}" for i in range(n)] if items is None else items
    return Ratings.from_dense(table, users=users, items=items)
