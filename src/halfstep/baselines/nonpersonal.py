"""The same items for everybody: the mean, the biases, the most popular items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import Array
from halfstep.baselines.base import Baseline
from halfstep.baselines.biases import check_bias_reg, fit_biases, shrunken_item_means
from halfstep.checks import check_choice, check_number
from halfstep.data.ratings import Ratings
from halfstep.models.asked import AskedLists

__all__ = ["Biases", "GlobalMean", "MostPopular"]


class _NonPersonal(Baseline):
    """One list of item scores, for all users."""

    def _best(self, lists: AskedLists) -> tuple[Array, Array]:
        # one factor: 1 for every user, the score for the item
        index, scores = get_backend("native", dtype="float64").topk(
            np.ones((len(lists.rows), 1)),
            self._item_scores()[:, None],
            None,
            lists.n,
            exclude=lists.excluded,
            candidates=lists.only,
            allow=lists.allowed,
        )
        return index, scores + self._user_scores(lists.rows)[:, None]

    def _item_scores(self) -> Array:
        return np.ascontiguousarray(self.item_bias_)

    def _user_scores(self, rows: Array) -> Array:
        """What is added to the item scores of these users."""
        return self.mean_ + np.where(rows < 0, 0.0, self.user_bias_[rows])


class GlobalMean(_NonPersonal):
    """r̂_ui = μ, the weighted mean of the ratings.

    `recommend` has nothing to rank by and lists items in the order of their ids.

    >>> import halfstep as hs
    >>> hs.GlobalMean().fit([("ann", 1), ("ann", 2), ("bob", 1)], [5.0, 3.0, 1.0]).predict("eve", 9)
    3.0
    """

    def __init__(self) -> None:
        pass


class Biases(_NonPersonal):
    """r̂_ui = μ + b_u + b_i: some users rate high, some items are liked by everybody.

    With μ the weighted mean of the ratings, minimizes

        ½ Σ_Ω c_ui (r_ui − μ − b_u − b_i)² + ½ λ_u Σ_u s_u b_u² + ½ λ_i Σ_i s_i b_i²

    exactly and over both at once (Koren, Bell and Volinsky 2009, eq. 3 and 4, without factors).
    `recommend` ranks by r̂, which is one order of the items for all users.

    Parameters
    ----------
    reg : float or (float, float)
        λ ≥ 0: one number, or one each for users and items. As if every row had λ ratings more that
        agree with μ.
    reg_scaling : {"none", "count"}
        s = 1, or s = n_u and n_i.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(200, 100, rank=3, seed=0).ratings
    >>> train, test = hs.split_random(ratings, test=0.1, seed=0)
    >>> hs.Biases().fit(train).rmse(test) < hs.GlobalMean().fit(train).rmse(test)
    True
    """

    def __init__(
        self,
        reg: float | Sequence[float] = 5.0,
        *,
        reg_scaling: Literal["none", "count"] = "none",
    ) -> None:
        self.reg = reg
        self.reg_scaling = reg_scaling

    def _check(self) -> None:
        check_bias_reg(self.reg)
        check_choice("reg_scaling", self.reg_scaling, ("none", "count"))

    def _learn(self, ratings: Ratings) -> dict[str, Any]:
        reg = check_bias_reg(self.reg)
        terms = fit_biases(ratings, reg, self.reg_scaling)
        return {
            "user_bias_": terms.user,
            "item_bias_": terms.item,
            "_user_reg": (reg[0], self.reg_scaling),
        }


class MostPopular(_NonPersonal):
    """The items with the most ratings, or with the highest shrunken mean rating.

    `recommend` ranks by n_i = Σ_u c_ui (`by="count"`) or by r̂ (`by="mean"`). `predict` gives the
    shrunken mean rating of the item in both cases, whoever the user is:

        r̂_ui = μ + b_i,    b_i = Σ_u c_ui (r_ui − μ) / (n_i + λ)

    so that an item with few ratings stays near μ, and does not lead the list with one rating of 5.

    Parameters
    ----------
    by : {"count", "mean"}
    reg : float
        λ ≥ 0: as if every item had λ ratings more that agree with μ.

    Attributes
    ----------
    counts_ : array (n,), float64
        n_i.

    Examples
    --------
    >>> import halfstep as hs
    >>> pairs = [("ann", 1), ("bob", 1), ("ann", 2), ("bob", 3), ("eve", 3), ("zoë", 3)]
    >>> model = hs.MostPopular().fit(pairs, [5.0, 5.0, 4.0, 1.0, 2.0, 3.0])
    >>> model.recommend("ann", 2, exclude_seen=False)["ann"]
    [(3, 3.0), (1, 2.0)]
    """

    counts_: Array
    _ranks_by: str

    def __init__(self, by: Literal["count", "mean"] = "count", *, reg: float = 5.0) -> None:
        self.by = by
        self.reg = reg

    def _check(self) -> None:
        check_choice("by", self.by, ("count", "mean"))
        check_number("reg", self.reg, example=5.0)

    def _learn(self, ratings: Ratings) -> dict[str, Any]:
        cells = ratings.by_user
        weights = None if cells.weights is None else cells.weights.astype(np.float64)
        return {
            "item_bias_": shrunken_item_means(ratings, float(self.reg)),
            "counts_": np.bincount(cells.indices, weights, ratings.shape[1]).astype(np.float64),
            "_ranks_by": self.by,  # set_params after the fit does not change what was learned
        }

    def _item_scores(self) -> Array:
        return self.counts_ if self._ranks_by == "count" else super()._item_scores()

    def _user_scores(self, rows: Array) -> Array:
        return np.zeros(len(rows)) if self._ranks_by == "count" else super()._user_scores(rows)
