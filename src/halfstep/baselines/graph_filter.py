"""`GraphFilter`: what co-occurs with the user's items, and the smooth part of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.baselines.itemwise import (
    CELLS,
    Itemwise,
    chunks,
    sparse,
    user_weights,
)
from halfstep.baselines.topn import best_of_rows
from halfstep.baselines.truncated_svd import right_singular_vectors
from halfstep.checks import check_integer, check_number, check_rank
from halfstep.data.ratings import Ratings
from halfstep.models.ranked import Ranked
from halfstep.models.uncertainty import rows_or_empty

__all__ = ["GraphFilter"]

_GRAM_CELLS = 1 << 25
"""Of X̃ᵀ X̃, where it is kept: 400 MB with the numbers of their columns."""


class GraphFilter(Itemwise):
    """A linear and an ideal low-pass filter of the graph of users and items (GF-CF), in closed form.

    With x_u the row of a user, 1 where there is an interaction and else 0, n_u = Σ_i x_ui, n_i =
    Σ_u c_u x_ui, D = diag(n_i) and X̃ the table of √c_u x_ui / √(n_u n_i)

        score_u = x_u (X̃ᵀ X̃ + α D^-½ Z Zᵀ D^½)

    Z (n × K) holds the right singular vectors of X̃ of the K largest singular values (Shen et al. 2021,
    eq. 9; α and K as in their experiments). The first part is an item-kNN with all neighbors, the
    second a projection as in `PureSVD`, which gives popular items the larger scores.

    With `sharpening` T > 0 the score then moves along ds/dt = −s P, P = X̃ᵀ X̃, from t = 0 to T, by one
    step of the classical Runge-Kutta method (BSPM, Choi et al. 2023): it is multiplied by

        I − T P + T² P² / 2 − T³ P³ / 6 + T⁴ P⁴ / 24

    `predict` gives the score, which is no rating; `recommend` ranks by it. A rating counts as an
    interaction, whatever its value. A user without interactions is given the mean column
    x̄_i = Σ_u c_u x_ui / Σ_u c_u. The weights of one user's interactions must be equal (c_u).

    Parameters
    ----------
    rank : int
        K. Fewer where the table has fewer singular values other than 0.
    low_pass : float
        α ≥ 0. 0 leaves out the second part, and nothing is decomposed.
    sharpening : float
        T ≥ 0. Above 0 a list takes some four times as long; published for Gowalla are T = 2.5 with
        K = 448 and α = 0.2.

    Attributes
    ----------
    item_factors_ : array (n, K), float64
        Z, with orthonormal columns. The entry of a column that is largest in size is positive.
    singular_values_ : array (K,), float64
        Of X̃, falling; the first is 1 where all weights are.
    item_counts_ : array (n,), float64
        n_i.
    column_means_ : array (n,), float64
        x̄.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 60, rank=3, ratings_per_user=20, seed=0).ratings
    >>> model = hs.GraphFilter(rank=8).fit(ratings)
    >>> len(model.recommend(0, 5)[0])
    5
    """

    item_factors_: Array
    singular_values_: Array
    item_counts_: Array
    column_means_: Array
    _low_pass: float
    _sharpening: float
    _normalized: tuple[Any, Any]  # X̃ᵀ and X̃, scipy CSR
    _gram: Any  # X̃ᵀ X̃, scipy CSR; None where it could be large

    def __init__(self, rank: int = 256, *, low_pass: float = 0.3, sharpening: float = 0.0) -> None:
        self.rank = rank
        self.low_pass = low_pass
        self.sharpening = sharpening

    def similar_items(self, items: Any, n: int = 10) -> Ranked:
        """The n items of the largest positive (X̃ᵀ X̃)_ij: Σ_u c_u x_ui x_uj / n_u over √(n_i n_j)."""
        self._check_fitted()
        check_integer("n", n, 1)
        rows, names = self._rows_asked(items, self.items_, "item", True)
        n = min(n, len(self.items_))
        index = np.empty((len(rows), n), dtype=np.int64)
        scores = np.empty((len(rows), n))
        by_item, by_user = self._normalized
        for part in chunks(len(rows), max(1, CELLS // len(self.items_))):
            found = (by_item[rows[part]] @ by_user).toarray()
            found[np.arange(len(found)), rows[part]] = 0.0
            found[found <= 0] = -np.inf
            index[part], scores[part] = best_of_rows(found, n)
        return Ranked.of(names, index, scores, self.items_, ("item", "item"))

    def _check(self) -> None:
        check_rank(self.rank)
        check_number("low_pass", self.low_pass, example=0.3)
        check_number("sharpening", self.sharpening, example=2.5)

    def _learn(self, ratings: Ratings) -> dict[str, Any]:
        cells, (_, n) = ratings.by_user, ratings.shape
        c_u = user_weights(ratings)
        user = ratings.user_index()
        n_u = np.diff(cells.indptr)
        n_i = np.bincount(cells.indices, c_u[user], n)
        X = sparse(cells, np.sqrt(c_u[user] / n_u[user] / n_i[cells.indices]), n)
        Z, sigma = np.zeros((n, 0)), np.zeros(0)
        if self.low_pass > 0:
            Z, sigma = right_singular_vectors(X, int(self.rank))
        by_item = X.T.tocsr()
        small = min(n**2, int(np.add.reduce(n_u**2))) <= _GRAM_CELLS
        return {
            "item_factors_": Z,
            "singular_values_": sigma,
            "item_counts_": n_i,
            "column_means_": n_i / np.add.reduce(c_u),
            "scale_": (0.0, 1.0),  # what a cell of x may hold
            "_low_pass": float(self.low_pass),
            "_sharpening": float(self.sharpening),
            "_normalized": (by_item, X),
            "_gram": by_item @ X if small else None,
        }

    def _values(self, users: Array, cells: CSR) -> Array:
        return np.ones(cells.nnz)

    def _sums(self) -> Callable[[Any], Array]:
        from threadpoolctl import ThreadpoolController

        one_thread = ThreadpoolController()
        by_item, by_user = self._normalized
        root = np.sqrt(self.item_counts_)
        inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
        queries = inverse[:, None] * self.item_factors_
        answers = np.ascontiguousarray((self._low_pass * root[:, None] * self.item_factors_).T)
        # always of the same shape: BLAS sums the product of one row otherwise than that of many
        projected = np.zeros((max(1, CELLS // len(root)), len(answers)))

        def sums(x: Any) -> Array:
            rows = x.shape[0]
            projected[:rows] = x @ queries
            with one_thread.limit(limits=1, user_api="blas"):  # the same bits everywhere
                found: Array = (projected @ answers)[:rows]
            linear = (x @ by_item) @ by_user if self._gram is None else x @ self._gram
            found += linear.toarray()
            return self._sharpened(found) if self._sharpening else found

        return sums

    def _sharpened(self, scores: Array) -> Array:
        """The scores after one step of Runge-Kutta, its polynomial by the scheme of Horner."""
        by_item, by_user = self._normalized
        blurred = np.ascontiguousarray(scores.T)
        now = blurred
        for k in (4, 3, 2, 1):
            now = blurred - self._sharpening / k * (by_item @ (by_user @ now))
        return np.ascontiguousarray(now.T)

    def _predict_rows(
        self, user_index: Array, item_index: Array, backend: str | Backend = "native"
    ) -> Array:
        sizes = np.append(np.diff(self._history("predict").indptr), 0)[user_index]
        nobody = (sizes == 0) & (item_index >= 0)
        total = np.where(nobody, self.column_means_[item_index], 0.0)
        asked = np.flatnonzero((sizes > 0) & (item_index >= 0))
        users, row = np.unique(user_index[asked], return_inverse=True)
        order = np.argsort(row, kind="stable")
        sums, n = self._sums(), len(self.items_)
        for part in chunks(len(users), max(1, CELLS // n)):
            cells = rows_or_empty(self._history("predict"), users[part])
            found = sums(sparse(cells, np.ones(cells.nnz), n))
            these = order[slice(*np.searchsorted(row, (part.start, part.stop), sorter=order))]
            total[asked[these]] = found[row[these] - part.start, item_index[asked[these]]]
        return total
