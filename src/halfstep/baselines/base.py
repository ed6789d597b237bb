"""`Baseline`: what all baselines share, and through `Measures` and `Known` the factor models too."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from halfstep.backends.base import CSR, Array, Backend
from halfstep.baselines.biases import BiasTerms
from halfstep.checks import check_choice
from halfstep.data.ids import IdMap
from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings
from halfstep.models.asked import AskedLists, AskedPairs, Unknown
from halfstep.models.measures import Measures
from halfstep.models.ranked import Ranked
from halfstep.objectives import Scaling, Side, row_scale, row_weights

__all__ = ["Baseline"]


class Baseline(Measures):
    """r̂_ui = μ + b_u + b_i, and in subclasses more; they say what of it they learn.

    Attributes
    ----------
    users_, items_ : IdMap
        The ids of the rows of both sides, sorted.
    mean_ : float, μ
    user_bias_, item_bias_ : array (m,), array (n,), float64
        b_u and b_i; 0 in a baseline that has none.
    history_, scale_
        As in a factor model.
    """

    users_: IdMap
    items_: IdMap
    mean_: float
    user_bias_: Array
    item_bias_: Array

    _user_reg: tuple[float, Scaling] | None
    _learned = "history_"

    def fit(
        self, X: Any, y: npt.ArrayLike | None = None, *, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Learn from ratings.

        Parameters
        ----------
        X, y : Ratings; or a table with a rating column; or pairs of ids and their ratings
        sample_weight : array, optional
            c_ui: one weight per rating (in the order of `X.by_user` for Ratings).

        Returns
        -------
        the model itself

        Raises
        ------
        ParameterError, DataError, DuplicatesError
        """
        self._check()
        ratings = as_ratings(X, y, sample_weight)
        m, n = ratings.shape
        learned: dict[str, Any] = {
            "users_": ratings.users,
            "items_": ratings.items,
            "mean_": ratings.mean(),
            "user_bias_": np.zeros(m),
            "item_bias_": np.zeros(n),
            "history_": ratings.by_user,
            "scale_": ratings.scale(),
            "data_summary_": ratings.facts(),
            "n_features_in_": 2,  # scikit-learn's name for the number of columns of X
            "_user_reg": None,  # λ_u and s_u, where b_u is learned
        }
        self.__dict__.update(learned | self._learn(ratings))  # all or nothing
        return self

    def predict(
        self, users: Any, items: Any = None, *, unknown: Unknown = "bias", clip: bool = False
    ) -> Any:
        """r̂ of pairs of users and items (the class says what it is).

        Parameters
        ----------
        users, items : array-like of ids
            Two arrays of equal length, two single ids, or one (N, 2) array or two-column frame.
        unknown : {"bias", "nan", "error"}
            What an unknown user or item gives: the sum of the parts that are known (at least μ), a
            NaN, or an `UnknownIdError`.
        clip : bool
            Clip r̂ to the scale seen in training.

        Returns
        -------
        array (N,) float64, or a float for two single ids

        Raises
        ------
        NotFittedError, UnknownIdError, DataError, ParameterError
        """
        self._check_fitted()
        asked = AskedPairs.of(self, users, items, unknown)
        fitted = self._predict_rows(asked.users, asked.items)
        if clip:
            np.clip(fitted, *self.scale_, out=fitted)
        return asked.answer([fitted])

    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Any = None,
        deny: Any = None,
        exclude: Mapping[Any, Any] | None = None,
        candidates: Mapping[Any, Any] | None = None,
        min_ratings: int = 1,
        ratings: Ratings | None = None,
        unknown: Literal["error", "bias"] = "error",
    ) -> Ranked:
        """The n items of the highest score for every user (the class says what the score is).

        Parameters
        ----------
        users : id or array-like of ids, optional
            Default: every user of the model.
        n : int
            How many for each; fewer where fewer are left.
        exclude_seen : bool
            Leave out the items that the user has rated (in `history_`, or in `ratings`).
        allow, deny : array-like of item ids, optional
            Only these items; never these. Ids that the model does not know have no effect.
        exclude, candidates : mapping from user id to item ids, optional
            The same for single users: never these for that user; only these for that user.
        min_ratings : int
            Only items with at least so many ratings.
            1 lets through all items, those without any too (the parts of a split share their ids).
        ratings : Ratings, optional
            What the users have seen, in place of the model's own history. Scores are those of the
            model's own history.
        unknown : {"error", "bias"}
            What a user gives whom the model does not know: an error, or the items by what is known
            without the user.

        Returns
        -------
        Ranked
            Best first; equal scores in the order of the item ids.

        Raises
        ------
        NotFittedError, UnknownIdError, ParameterError
        """
        self._check_fitted()
        lists = AskedLists.of(
            self,
            users,
            n,
            exclude_seen=exclude_seen,
            allow=allow,
            deny=deny,
            exclude=exclude,
            candidates=candidates,
            min_ratings=min_ratings,
            ratings=ratings,
            unknown=unknown,
        )
        index, scores = self._best(lists)
        return Ranked.of(lists.asked, index, scores, self.items_, ("user", "item"))

    def with_users(
        self, X: Any, y: Any = None, *, unknown: Literal["error", "ignore"] = "error"
    ) -> Self:
        """The same baseline for other users: those of these ratings, known by them alone.

        Items keep what was learned of them. A user of the training ratings who is given again with the
        same ratings gets the same answers (b_u is the user's own optimum, b_i held fixed).

        Parameters
        ----------
        X, y : Ratings, a table, or pairs and their ratings
            All ratings of the users.
        unknown : {"error", "ignore"}
            What to do with ratings of items that the baseline does not know.

        Raises
        ------
        NotFittedError, UnknownIdError, DataError, ParameterError
        """
        self._check_fitted()
        check_choice("unknown", unknown, ("error", "ignore"))
        ratings = as_ratings(X, y)
        fresh = copy.copy(self)
        fresh.users_ = ratings.users
        fresh.history_ = self._translate(ratings, "user", unknown)
        fresh.__dict__.update(self._of_users(fresh.history_))
        return fresh

    def _of_users(self, cells: CSR) -> dict[str, Any]:
        """The learned attributes of users of whom these cells are known."""
        b_u = np.zeros(cells.n_rows)
        if self._user_reg is not None:
            row = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
            c = 1.0 if cells.weights is None else cells.weights.astype(np.float64)
            above = c * (cells.values - self.mean_ - self.item_bias_[cells.indices])
            lam, scaling = self._user_reg
            d = row_weights(cells) + lam * row_scale(cells, scaling)
            total = np.bincount(row, above, cells.n_rows)
            np.divide(total, d, out=b_u, where=d > 0)
        return {"user_bias_": b_u}

    def _check(self) -> None:
        """Raise `ParameterError` where a parameter is outside its range."""

    def _learn(self, ratings: Ratings) -> dict[str, Any]:
        """The learned attributes by name, beyond (or in place of) those of every baseline."""
        return {}

    @abstractmethod
    def _best(self, lists: AskedLists) -> tuple[Array, Array]:
        """(item rows, scores), each (users, n): −1 and NaN where fewer items are left."""

    def _ids(self, side: Side) -> IdMap:
        return self.users_ if side == "user" else self.items_

    def _predict_rows(
        self, user_index: Array, item_index: Array, backend: str | Backend = "native"
    ) -> Array:
        return self._bias_terms.at(user_index, item_index)

    @property
    def _bias_terms(self) -> BiasTerms:
        return BiasTerms(self.mean_, self.user_bias_, self.item_bias_)
