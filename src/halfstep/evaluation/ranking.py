"""Metrics of ranked lists, for all users at once: where the relevant items stand is all they need.

R_u are the relevant items of user u, L_u the list that the model recommends, best first, and
h_u(k) = |R_u ∩ the first k of L_u| its hits. Every function returns one value per user, NaN for a user
without relevant items, and takes k=None for «no cut-off». A list that is shorter than k counts as
followed by items that are not relevant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from halfstep.backends.base import Array
from halfstep.evaluation.grouped import counted, summed

__all__ = [
    "Gain",
    "Hits",
    "area_under_curve",
    "average_precision",
    "average_precision_capped",
    "hit_rate",
    "ndcg",
    "precision",
    "recall",
    "recall_capped",
    "reciprocal_rank",
]

Gain = Literal["linear", "exponential", "binary"]


@dataclass(frozen=True, slots=True)
class Hits:
    """Where the relevant items of m users stand in their lists.

    Attributes
    ----------
    users : int
        m.
    user : array (relevant items,), int64, ascending
        Whose relevant item it is.
    rank : array (relevant items,), int64
        Its place in the user's list, from 1; 0 where it is not in the list.
    rating : array (relevant items,), float64
        Its held-out rating.
    """

    users: int
    user: Array
    rank: Array
    rating: Array

    def relevant(self) -> Array:
        """|R_u|, NaN where it is 0 (float64)."""
        return counted(self.user, self.users)

    def within(self, k: int | None) -> Array:
        """True for the relevant items among the first k of their list."""
        found = self.rank > 0
        return found if k is None else found & (self.rank <= k)

    def count(self, k: int | None) -> Array:
        """h_u(k), as a number of float64."""
        return summed(self.user, self.within(k), self.users)


def precision(hits: Hits, k: int) -> Array:
    """Precision@k = h_u(k) / k, whether or not the list has k items.

    That of trec_eval (`P_k`), ir-measures (`P@k`), RecBole and LightGCN. `implicit` divides the hits of
    all users together by Σ_u min(k, |R_u|), which is a recall.
    """
    return hits.count(k) / k + 0.0 * hits.relevant()


def recall(hits: Hits, k: int) -> Array:
    """Recall@k = h_u(k) / |R_u|; below 1 even for the best list where |R_u| > k.

    That of trec_eval (`recall_k`), ir-measures (`R@k`), RecBole and LightGCN.
    """
    return hits.count(k) / hits.relevant()


def recall_capped(hits: Hits, k: int) -> Array:
    """Recall@k over what k items can hold: h_u(k) / min(k, |R_u|); 1 for the best list.

    That of Mult-VAE (Liang et al. 2018) and of the papers that follow its protocol (EASE among them).
    """
    return hits.count(k) / np.minimum(k, hits.relevant())


def hit_rate(hits: Hits, k: int) -> Array:
    """Hit rate@k = [h_u(k) ≥ 1].

    RecBole's `Hit`, ir-measures' `Success@k`. In NCF's HR@k the list is of sampled items: see
    `sampled_hit_rate`.
    """
    return np.minimum(hits.count(k), 1.0) + 0.0 * hits.relevant()


def reciprocal_rank(hits: Hits, k: int | None = None) -> Array:
    """Reciprocal rank = 1 / the rank of the first relevant item; 0 where none is among the first k.

    trec_eval's `recip_rank` and ir-measures' `RR` (without k) and `RR@k`, RecBole's `MRR`.
    """
    inside = hits.within(k)
    best = np.zeros(hits.users)
    np.maximum.at(best, hits.user[inside], 1.0 / hits.rank[inside])
    return best + 0.0 * hits.relevant()


def average_precision(hits: Hits, k: int) -> Array:
    """AP@k = 1/|R_u| Σ_{j ≤ k, item j relevant} h_u(j) / j.

    trec_eval's `map_cut_k`, ir-measures' `AP@k`.
    """
    return _precisions(hits, k) / hits.relevant()


def average_precision_capped(hits: Hits, k: int) -> Array:
    """AP@k = 1/min(k, |R_u|) Σ_{j ≤ k, item j relevant} h_u(j) / j; 1 for the best list.

    That of RecBole, of `implicit` and of Kaggle's MAP@k.
    """
    return _precisions(hits, k) / np.minimum(k, hits.relevant())


def ndcg(hits: Hits, k: int, gain: Gain = "linear") -> Array:
    """NDCG@k = DCG@k / the DCG@k of the best list, DCG@k = Σ_{j ≤ k} g(r_j) / log₂(j + 1).

    r_j is the held-out rating of item j where that is relevant, and the gain is

    - "linear": g = max(r, 0). That of trec_eval (`ndcg_cut_k`), ir-measures (`nDCG@k`) and scikit-learn
      (`ndcg_score`), with the ratings as grades (Järvelin and Kekäläinen 2002).
    - "exponential": g = 2^max(r, 0) − 1 (Burges et al. 2005). That of XGBoost, LightGBM and of
      ir-measures' `nDCG(dcg="exp-log2")@k`.
    - "binary": g = 1. That of RecBole, LightGCN, `implicit` and Mult-VAE, which know no grades.

    The best list has min(k, |R_u|) relevant items, by falling rating. All three are the same where all
    ratings are 1. A user whose relevant items all have gain 0 has no best list: NaN (trec_eval and
    scikit-learn say 0).
    """
    gains = _gains(hits, gain)
    inside = hits.within(k)
    found = gains[inside] / np.log2(hits.rank[inside] + 1.0)
    by_gain = np.lexsort((-gains, hits.user))
    user = hits.user[by_gain]  # ascending as it was
    place = _places(user, hits.users)
    best = place <= k
    ideal = summed(user[best], gains[by_gain][best] / np.log2(place[best] + 1.0), hits.users)
    ideal[ideal == 0] = np.nan
    dcg = summed(hits.user[inside], found, hits.users)
    value: Array = dcg / ideal
    return value


def area_under_curve(hits: Hits, mid_rank: Array, candidates: Array) -> Array:
    """AUC_u = the share of pairs (relevant, not relevant) that the scores order rightly; a tie is ½.

    With p relevant among the C items that could be recommended, and the rank of each relevant item
    (equal scores share the mean of their ranks),

        AUC_u = (p (C + 1) − p (p + 1) / 2 − Σ rank) / (p (C − p)).

    That of scikit-learn's `roc_auc_score` for each user over the items that the user has not seen
    (Rendle et al. 2009 for BPR). RecBole's `AUC` is one curve over the pairs of all users, its `GAUC` is
    this one averaged with weights p. NaN where nothing but relevant items could be recommended.

    Parameters
    ----------
    mid_rank : array (relevant items,)
        NaN where the model does not know the item: it takes no part.
    candidates : array (users,)
        C.
    """
    known = ~np.isnan(mid_rank)
    p = np.bincount(hits.user[known], minlength=hits.users).astype(np.float64)
    ranks = summed(hits.user[known], mid_rank[known], hits.users)
    pairs = p * (candidates - p)
    pairs[pairs <= 0] = np.nan
    area: Array = (p * (candidates + 1) - p * (p + 1) / 2 - ranks) / pairs
    return area


def _gains(hits: Hits, gain: Gain) -> Array:
    if gain == "binary":
        return np.ones(len(hits.rating))
    grade = np.maximum(hits.rating, 0.0)
    if gain == "linear":
        return grade
    highest = np.zeros(hits.users)
    np.maximum.at(highest, hits.user, grade)
    # 2^r of a count overflows; a factor of the whole user cancels in DCG / best DCG
    shift = np.maximum(highest - 512.0, 0.0)[hits.user]
    found: Array = np.exp2(grade - shift) - np.exp2(-shift)
    return found


def _precisions(hits: Hits, k: int) -> Array:
    """Σ h_u(j) / j over the ranks j ≤ k of relevant items."""
    inside = hits.within(k)
    order = np.lexsort((hits.rank[inside], hits.user[inside]))
    user, rank = hits.user[inside][order], hits.rank[inside][order]
    return summed(user, _places(user, hits.users) / rank, hits.users)


def _places(user: Array, users: int) -> Array:
    """1, 2, 3, … within each user, of ascending users."""
    first = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=users))])
    places: Array = np.arange(1, len(user) + 1) - first[user]
    return places
