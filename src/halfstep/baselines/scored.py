"""`Scored`: any function that scores items, under the interface of the models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.baselines.base import Baseline
from halfstep.baselines.itemwise import CELLS, chunks
from halfstep.baselines.topn import best_of_rows, filter_rows
from halfstep.errors import DataError, ParameterError
from halfstep.models.asked import AskedLists

__all__ = ["Scored"]


class Scored(Baseline):
    """Lists by the scores of a function: the factors of another library, or a model of your own.

    `fit` learns nothing but the ids, and what every user has seen. `recommend` ranks by the scores,
    equal ones in the order of the item ids. `predict` knows μ alone.

    Parameters
    ----------
    scores : callable
        `scores(users)` → (len(users), n): for an array of user ids the scores of all items, in the order
        of their sorted ids. −∞ is never recommended. It is asked for some users at a time, and
        never for users without an id here: they are given nothing.

    Examples
    --------
    >>> import numpy as np, halfstep as hs
    >>> from halfstep.baselines import Scored
    >>> ratings = hs.Ratings.from_arrays([0, 0, 1], [0, 1, 2])
    >>> W, Z = np.array([[1.0], [2.0]]), np.array([[0.5], [0.2], [0.3]])
    >>> Scored(lambda users: W[users] @ Z.T).fit(ratings).recommend(1, 2)[1]
    [(0, 1.0), (1, 0.4)]
    """

    def __init__(self, scores: Callable[[Array], Any]) -> None:
        self.scores = scores

    def _check(self) -> None:
        if not callable(self.scores):
            raise ParameterError("scores", self.scores, "must be a function", "pass scores(users)")

    def _best(self, lists: AskedLists) -> tuple[Array, Array]:
        count, n = len(lists.rows), len(self.items_)
        index = np.empty((count, lists.n), dtype=np.int64)
        scores = np.empty((count, lists.n))
        for part in chunks(count, max(1, CELLS // n)):
            known = lists.rows[part] >= 0
            found = np.full((len(known), n), -np.inf)
            if known.any():
                found[known] = self._of(lists.asked[part][known])
            filter_rows(found, part, lists.excluded, lists.only, lists.allowed)
            index[part], scores[part] = best_of_rows(found, lists.n)
        return index, scores

    def _of(self, users: Array) -> Array:
        """What the function says, checked."""
        told = self.scores(users)
        try:
            found = np.asarray(told, dtype=np.float64)
        except (TypeError, ValueError):  # words, or rows of several lengths
            found = np.empty(0)
        if found.shape != (len(users), len(self.items_)) or np.isnan(found).any():
            raise DataError(
                "scores",
                told if found.ndim != 2 else found.shape,
                f"must be numbers of shape ({len(users)}, {len(self.items_)}), without NaN",
                "return the scores of all items for each user, −inf for «never»",
            )
        return found
