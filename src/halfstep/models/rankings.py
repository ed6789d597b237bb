"""The best items of a user, and what is alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import Array, Backend
from halfstep.checks import check_choice, check_integer, is_number
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.models.asked import AskedLists
from halfstep.models.cold import Cold
from halfstep.models.ranked import Ranked
from halfstep.models.strategies import best_by_ucb, sampled_users
from halfstep.models.uncertainty import noise_variance, unsureness
from halfstep.objectives import Side

__all__ = ["Rankings"]


class Rankings(Cold):
    """`recommend`, `similar_items`, `similar_users`."""

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
        strategy: Literal["mean", "ucb", "thompson"] = "mean",
        kappa: float = 1.0,
        seed: int = 0,
        user_features: Any = None,
        backend: str | Backend = "native",
    ) -> Ranked:
        """The n items of the highest predicted rating for every user, or the most promising ones.

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
            Only items with at least so many ratings in the model's history: the estimate of an item
            with one or two ratings is little more than those.
            1 lets through all items, those without any too (the parts of a split share their ids).
        ratings : Ratings, optional
            What the users have seen, in place of the model's own history.
        unknown : {"error", "bias"}
            What a user gives whom the model does not know: an error, or the items by their biases.
        strategy : {"mean", "ucb", "thompson"}
            Rank by r̂; by r̂ + κ times the standard deviation of r̂ itself (optimism: about
            2 n_items K² operations a user); or by the ratings of a user drawn at random from those
            that their history leaves possible. See `models/strategies.py`. The last two need the
            history.
        kappa : float
            κ ≥ 0 of "ucb".
        seed : int
            Of "thompson": the same seed gives a user the same items, whoever else is asked.
        user_features : Features, a table, or a pair (matrix, ids), optional
            Of a model fitted with features: those of users without ratings, as in `with_features`.

        Returns
        -------
        Ranked
            Best first; equal scores in the order of the item ids.

        Raises
        ------
        NotFittedError, UnknownIdError, ParameterError, HistoryRequiredError
        """
        if user_features is not None:
            return self.with_features(user_features, backend=backend).recommend(
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
                strategy=strategy,
                kappa=kappa,
                seed=seed,
                backend=backend,
            )
        self._check_fitted()
        check_choice("strategy", strategy, ("mean", "ucb", "thompson"))
        if not is_number(kappa) or not 0 <= kappa < np.inf:
            raise ParameterError("kappa", kappa, "must be a finite number ≥ 0", "try kappa=1.0")
        check_integer("seed", seed, 0)
        f = self.factors_
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
        rows, names = lists.rows, ("user", "item")
        if strategy == "ucb":
            filters = (lists.excluded, lists.only, lists.allowed)
            index, scores = best_by_ucb(self, rows, lists.n, float(kappa), filters, backend)
            return Ranked.of(lists.asked, index, scores, f.item_ids, names)
        if strategy == "thompson":
            index, scores = self._thompson(lists, int(seed), backend)
            return Ranked.of(lists.asked, index, scores, f.item_ids, names)
        index, scores = self._best(lists, backend)
        return Ranked.of(lists.asked, index, scores, f.item_ids, names)

    def _best(self, lists: AskedLists, backend: str | Backend) -> tuple[Array, Array]:
        """(index, score) of the items of the highest predicted rating."""
        f, rows = self.factors_, lists.rows
        known = rows >= 0
        queries = f.user_factors[np.where(known, rows, 0)]
        queries[~known] = 0
        base = np.full(len(rows), f.mean, dtype=f.dtype)
        if f.user_bias is not None:
            base[known] += f.user_bias[rows[known]]
        index, scores = lists.best(queries, f, get_backend(backend, dtype=f.dtype))
        return index, scores + base[:, None]

    def _thompson(
        self, lists: AskedLists, seed: int, backend: str | Backend
    ) -> tuple[Array, Array]:
        """(index, score) of the best items of users who are drawn at random."""
        f = self.factors_
        queries, bias = sampled_users(self, lists.rows, seed, backend)
        index, scores = lists.best(queries, f, get_backend(backend, dtype=f.dtype))
        base = np.full(len(queries), f.mean, dtype=f.dtype)
        return index, scores + (base if bias is None else base + bias)[:, None]

    def _mean_std(self, users: Array, items: Array, why: str, backend: str | Backend) -> Array:
        """The standard deviation of r̂ itself, float64."""
        sigma = noise_variance(self, why, backend)
        return np.sqrt(sigma * unsureness(self, users, items, why, backend))

    def similar_items(
        self, items: Any, n: int = 10, *, backend: str | Backend = "native"
    ) -> Ranked:
        """The n items whose factors point the same way: cos(z_i, z_j), largest first."""
        return self._similar("item", items, n, backend)

    def similar_users(
        self, users: Any, n: int = 10, *, backend: str | Backend = "native"
    ) -> Ranked:
        """The n users whose factors point the same way: cos(w_u, w_v), largest first."""
        return self._similar("user", users, n, backend)

    def _similar(self, side: Side, asked: Any, n: int, backend: str | Backend) -> Ranked:
        self._check_fitted()
        check_integer("n", n, 1)
        f = self.factors_
        ids = f.user_ids if side == "user" else f.item_ids
        factors = f.user_factors if side == "user" else f.item_factors
        rows, names = self._rows_asked(asked, ids, side, True)
        norms = np.sqrt(np.einsum("rk,rk->r", factors, factors, dtype=np.float64))
        directions = (factors / np.where(norms > 0, norms, 1.0)[:, None]).astype(f.dtype)
        themselves = (np.arange(len(rows) + 1), rows.astype(np.uint32))
        index, scores = get_backend(backend, dtype=f.dtype).topk(
            directions[rows],
            directions,
            None,
            min(n, len(ids)),
            exclude=themselves,
            allow=norms > 0,  # a row without ratings has no direction
        )
        index[norms[rows] == 0] = -1
        return Ranked.of(names, index, scores, ids, (side, side))
