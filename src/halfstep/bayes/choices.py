"""Thompson sampling: every user is served by one of the kept draws, users and items alike.

The draw of a user depends on the seed and on their row number alone (Chapelle and Li 2011, «An Empirical
Evaluation of Thompson Sampling»).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.backends.philox import philox
from halfstep.bayes.posterior import Draw
from halfstep.models.asked import AskedLists

__all__ = ["best_by_draws"]


def best_by_draws(
    draws: Sequence[Draw], lists: AskedLists, seed: int, backend: Backend
) -> tuple[Array, Array]:
    """(index, score) of the n best items of every user, each by the draw that is theirs."""
    dtype = draws[0].factors.dtype
    index = np.full((len(lists.rows), lists.n), -1, dtype=np.int64)
    scores = np.full(index.shape, np.nan, dtype=dtype)
    counter = np.zeros((len(lists.rows), 4), dtype=np.int64)
    counter[:, 1] = lists.rows + 1  # −1 is an unknown user
    key = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    theirs = philox(counter, key)[:, 0] % np.uint64(len(draws))
    for number in np.unique(theirs):
        places = np.flatnonzero(theirs == number)
        f = draws[int(number)].factors
        some = lists.part(places)
        bias = None if f.item_bias is None else f.item_bias[:-1]  # the last row is nobody
        found, own = backend.topk(
            np.ascontiguousarray(f.user_factors[some.rows]),  # row −1: nobody, drawn from the prior
            np.ascontiguousarray(f.item_factors[:-1]),
            None if bias is None else np.ascontiguousarray(bias),
            some.n,
            exclude=some.excluded,
            candidates=some.only,
            allow=some.allowed,
        )
        base = np.full(len(places), f.mean, dtype=dtype)
        if f.user_bias is not None:
            base += f.user_bias[some.rows]
        own = own + base[:, None]
        index[places], scores[places] = (
            found,
            draws[int(number)].rated(own.ravel()).reshape(own.shape),
        )
    return index, scores
