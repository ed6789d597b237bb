"""Baselines for interactions: what a ranking has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import CSR
from halfstep.baselines.base import Baseline
from halfstep.baselines.ease import EASE
from halfstep.baselines.knn import ItemKNN
from halfstep.baselines.neighbors import operations
from halfstep.baselines.nonpersonal import MostPopular
from halfstep.checks import check_integer
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError

__all__ = ["RankingBaselines", "fit_ranking_baselines", "preferences"]

_INVERTED = 500
"""Multiplications of a dense inverse in the time of one of a sparse product."""


@dataclass(frozen=True, slots=True)
class RankingBaselines:
    """Fitted baselines by name; `left_out` says of the others why they were not fitted."""

    models: dict[str, Baseline]
    left_out: dict[str, str]


def preferences(interactions: Ratings) -> Ratings:
    """The cells with a count above 0, each with the value 1 and without a weight, over the same ids.

    Raises `DataError` where there is none.

    >>> counts = Ratings.from_arrays(["ann", "bob"], [1, 2], [7, -1])
    >>> preferences(counts).to_arrays()
    (array(['ann'], dtype=object), array([1]), array([1.], dtype=float32))
    """
    require_ratings(interactions, "interactions")
    liked = interactions.by_user.values > 0
    if not liked.any():
        raise DataError("interactions", interactions, "holds no count above 0", "pass at least one")
    part = interactions if liked.all() else interactions.select(liked)
    cells = part.by_user
    ones = CSR(cells.indptr, cells.indices, np.ones(cells.nnz, dtype=np.float32), None)
    return Ratings(
        part.users,
        part.items,
        ones,
        time=part.time,
        file_rank=part.file_rank,
        report=part.report,
    )


def fit_ranking_baselines(
    train: Ratings, *, most_operations: int = 1_000_000_000
) -> RankingBaselines:
    """Fit "most popular", "item-kNN" (cosine) and "EASE" to the preferences of `train`.

    Parameters
    ----------
    train : Ratings
        Interactions. `preferences` of them are what is fitted: counts and weights have no part.
    most_operations : int
        "item-kNN" is left out where Σ_u (interactions of u)² + n² is larger, "EASE" where that and
        n³ / 500 are. The default is about half a minute.

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> import halfstep as hs
    >>> clicks = hs.simulate(300, 60, rank=3, ratings_per_user=20, seed=0).ratings
    >>> found = fit_ranking_baselines(clicks)
    >>> list(found.models), list(found.left_out)
    (['most popular', 'item-kNN', 'EASE'], [])
    """
    check_integer("most_operations", most_operations, 0, example=1_000_000_000)
    liked = preferences(train)
    n = train.shape[1]
    pairs = operations(liked)
    planned: tuple[tuple[str, Any, int], ...] = (
        ("most popular", MostPopular(), 0),
        ("item-kNN", ItemKNN(similarity="cosine"), pairs),
        ("EASE", EASE(), pairs + n**3 // _INVERTED),
    )
    found = RankingBaselines({}, {})
    for name, model, needed in planned:
        if needed > most_operations:
            found.left_out[name] = (
                f"{needed:,} operations are more than most_operations={most_operations}"
            )
        else:
            found.models[name] = model.fit(liked)
    return found
