"""What is recommended beyond hits: how much of the catalogue, how popular, how new, how diverse.

The lists of m users are flat: `user` (ascending) and `item` of every recommendation, in any order within
a user.
"""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import Array
from halfstep.evaluation.grouped import counted, summed

__all__ = ["coverage", "directions", "diversity", "gini", "novelty", "popularity"]


def coverage(counts: Array) -> float:
    """The share of the catalogue that is recommended to anyone: |{i: f_i > 0}| / n.

    f_i (`counts`) is how often item i is recommended. «Catalogue coverage» of Ge, Delgado-Battenfeld and
    Jannach 2010; RecBole's `ItemCoverage`. It grows with the number of users and with k.
    """
    return float(np.count_nonzero(counts)) / len(counts)


def gini(counts: Array) -> float:
    """The Gini coefficient of how often the items are recommended, f_(1) ≤ … ≤ f_(n):

        G = Σ_j (2j − n − 1) f_(j) / (n Σ_j f_(j)).

    0 where all items are recommended equally often, 1 − 1/n where it is always the same one.
    RecBole's `GiniIndex`. NaN where nothing is recommended.
    """
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), float(np.sum(ordered))
    if total == 0.0:
        return float("nan")
    return float(np.sum((2.0 * np.arange(1, n + 1) - n - 1) * ordered)) / (n * total)


def popularity(user: Array, item: Array, users: int, ratings: Array) -> Array:
    """The mean number of training ratings n_i of the items recommended to each user.

    «Average recommendation popularity» (Abdollahpouri, Burke and Mobasher 2019); RecBole's
    `AveragePopularity`. NaN without recommendations.
    """
    return _mean(user, ratings[item].astype(np.float64), users)


def novelty(user: Array, item: Array, users: int, ratings: Array, raters: int) -> Array:
    """The mean self-information of the items recommended to each user: −log₂(n_i / m).

    n_i of the m training users (`raters`) have rated item i; an item without ratings counts as one with
    one (Zhou et al. 2010). 1 more means that the items are half as popular. NaN without recommendations.
    """
    share = np.maximum(ratings, 1) / max(raters, 1)
    return _mean(user, -np.log2(share[item]), users)


def directions(vectors: Array) -> Array:
    """Every row over its length; a row of zeros stays one."""
    largest = np.max(np.abs(vectors), axis=1, initial=0.0)
    scaled = (
        vectors / np.where(largest > 0, largest, 1.0)[:, None]
    )  # squares neither overflow nor vanish
    norms = np.sqrt(np.einsum("id,id->i", scaled, scaled))
    found: Array = scaled / np.where(norms > 0, norms, 1.0)[:, None]
    return found


def diversity(user: Array, item: Array, users: int, unit: Array) -> Array:
    """Intra-list diversity: 1 − the mean cosine of the vectors of two different recommended items.

    Over all pairs of the list (Ziegler et al. 2005; Smyth and McClave 2001), in 0 to 2; a vector of
    zeros has cosine 0 with every other. NaN for lists of fewer than two items.

    Parameters
    ----------
    unit : array (n, d)
        The `directions` of the items' vectors, such as their factors.
    """
    size = np.bincount(user, minlength=users).astype(np.float64)
    length = np.zeros(users)  # of the sum of the unit vectors: Σ over all ordered pairs, squared
    for d in range(unit.shape[1]):
        length += summed(user, unit[item, d], users) ** 2
    there = np.any(unit != 0, axis=1)
    themselves = summed(user, np.asarray(there)[item], users)
    pairs = size * (size - 1)
    pairs[pairs <= 0] = np.nan
    return 1.0 - (length - themselves) / pairs


def _mean(user: Array, value: Array, users: int) -> Array:
    mean: Array = summed(user, value, users) / counted(user, users)
    return mean
