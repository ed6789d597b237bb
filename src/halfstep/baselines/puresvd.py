"""`PureSVD`: the truncated singular value decomposition of the table, zeros where there is no rating."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.baselines.base import Baseline
from halfstep.baselines.itemwise import CELLS, chunks, sparse, user_weights
from halfstep.baselines.truncated_svd import right_singular_vectors
from halfstep.checks import check_choice, check_rank
from halfstep.data.ratings import Ratings
from halfstep.models.asked import AskedLists

__all__ = ["PureSVD"]

Values = Literal["ratings", "binary"]


class PureSVD(Baseline):
    """The best approximation of rank K of the whole table, with a 0 where there is no rating.

    Minimizes over all tables X̂ of rank K

        Σ_u c_u ‖x_u − x̂_u‖²,    x_ui = r_ui ("ratings") or 1 ("binary") where there is a rating, else 0

    With Z (n × K) the first right singular vectors of the rows √c_u x_u, that is (Cremonesi, Koren and
    Turrin 2010, eq. 6 to 8)

        x̂_u = x_u Z Zᵀ

    so that a user is folded in by the same projection (`with_users`). `predict` gives x̂_ui, which is a
    score and no rating; `recommend` ranks by it. A user without ratings is given the mean column
    x̄_i = Σ_u c_u x_ui / Σ_u c_u. The weights of one user's ratings must be equal (c_u).

    Parameters
    ----------
    rank : int
        K. Fewer where the table has fewer singular values other than 0. 50 is usual for a few
        thousand items; it is what decides how good the lists are.
    values : {"ratings", "binary"}

    Attributes
    ----------
    user_factors_ : array (m, K), float64
        W = X Z.
    item_factors_ : array (n, K), float64
        Z, with orthonormal columns. The entry of a column that is largest in size is positive.
    singular_values_ : array (K,), float64
        Falling.
    column_means_ : array (n,), float64
        x̄.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 60, rank=3, ratings_per_user=20, seed=0).ratings
    >>> model = hs.PureSVD(rank=4).fit(ratings)
    >>> len(model.recommend(0, 5)[0])
    5
    """

    user_factors_: Array
    item_factors_: Array
    singular_values_: Array
    column_means_: Array
    _fitted_values: Values

    def __init__(self, rank: int = 50, *, values: Values = "ratings") -> None:
        self.rank = rank
        self.values = values

    def _check(self) -> None:
        check_rank(self.rank)
        check_choice("values", self.values, ("ratings", "binary"))

    def _learn(self, ratings: Ratings) -> dict[str, Any]:
        cells, (_, n) = ratings.by_user, ratings.shape
        c_u = user_weights(ratings)
        x = _compared(self.values, cells)
        of_cells = c_u[ratings.user_index()]
        Z, sigma = right_singular_vectors(sparse(cells, np.sqrt(of_cells) * x, n), int(self.rank))
        low, high = (0.0, 1.0) if self.values == "binary" else ratings.scale()
        return {
            "item_factors_": Z,
            "singular_values_": sigma,
            "user_factors_": sparse(cells, x, n) @ Z,
            "column_means_": np.bincount(cells.indices, of_cells * x, n) / np.add.reduce(c_u),
            "scale_": (min(low, 0.0), max(high, 0.0)),  # what a cell of x may hold
            "_fitted_values": self.values,
        }

    def _of_users(self, cells: CSR) -> dict[str, Any]:
        x = _compared(self._fitted_values, cells)
        projected = sparse(cells, x, len(self.items_)) @ self.item_factors_
        return {**super()._of_users(cells), "user_factors_": projected}

    def _rated(self, rows: Array) -> Array:
        """Whether these users (−1: unknown) have ratings."""
        sizes = np.append(np.diff(self._history("predict").indptr), 0)
        found: Array = sizes[rows] > 0
        return found

    def _best(self, lists: AskedLists) -> tuple[Array, Array]:
        # one factor more: 1 for a user without ratings, x̄ for the item
        rated = self._rated(lists.rows)
        queries = np.zeros((len(rated), self.item_factors_.shape[1] + 1))
        queries[rated, :-1] = self.user_factors_[lists.rows[rated]]
        queries[~rated, -1] = 1.0
        return get_backend("native", dtype="float64").topk(
            queries,
            np.column_stack([self.item_factors_, self.column_means_]),
            None,
            lists.n,
            exclude=lists.excluded,
            candidates=lists.only,
            allow=lists.allowed,
        )

    def _predict_rows(
        self, user_index: Array, item_index: Array, backend: str | Backend = "native"
    ) -> Array:
        total = np.zeros(len(user_index))
        rated, known = self._rated(user_index), item_index >= 0
        nobody = np.flatnonzero(~rated & known)
        total[nobody] = self.column_means_[item_index[nobody]]
        pairs = np.flatnonzero(rated & known)
        for chunk in chunks(len(pairs), max(1, CELLS // max(1, self.item_factors_.shape[1]))):
            part = pairs[chunk]
            total[part] = np.einsum(
                "pk,pk->p",
                self.user_factors_[user_index[part]],
                self.item_factors_[item_index[part]],
            )
        return total


def _compared(values: Values, cells: CSR) -> Array:
    """x of cells: ratings, or 1."""
    return cells.values.astype(np.float64) if values == "ratings" else np.ones(cells.nnz)
