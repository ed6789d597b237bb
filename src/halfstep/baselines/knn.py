"""`ItemKNN`: the ratings that the user gave to the most similar items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.baselines.biases import BiasTerms, check_bias_reg, fit_biases
from halfstep.baselines.itemwise import CELLS, Itemwise, rows_of_cells, sums_by
from halfstep.baselines.neighbors import Columns, Similarity, nearest_items
from halfstep.checks import check_choice, check_integer, check_number
from halfstep.data.ratings import Ratings
from halfstep.models.ranked import Ranked
from halfstep.models.uncertainty import rows_or_empty

__all__ = ["ItemKNN"]


class ItemKNN(Itemwise):
    """What the user gave to the most similar items that they have rated.

        r̂_ui = b_ui + Σ_{j ∈ S_k(i; u)} c_uj s_ij (r_uj − b_uj) / Σ_{j ∈ S_k(i; u)} c_uj s_ij

    with b_ui = μ + b_u + b_i (`Biases`), s_ij > 0 the similarity of two items, and S_k(i; u) the k items
    rated by u that are most similar to i (Koren 2008, eq. 3). Where u has rated nothing similar,
    r̂_ui = b_ui.

    `recommend` ranks by the sum without its denominator, over the k items N_k(i) most similar to i of
    all (Deshpande and Karypis 2004; Cremonesi, Koren and Turrin 2010, eq. 5):

        score_ui = base_ui + Σ_{j ∈ N_k(i), rated by u} c_uj s_ij x_uj

    With U_ij the users who have rated both items and n_ij their number, s_ij is n_ij / (n_ij + shrink)
    (Bell and Koren 2007) times

        "adjusted"   Σ_{U_ij} x_ui x_uj / √(Σ_u x_ui² Σ_u x_uj²)             x = r − b, base = b_ui
        "pearson"    Σ_{U_ij} x_ui x_uj / √(Σ_{U_ij} x_ui² Σ_{U_ij} x_uj²)   x = r − b, base = b_ui
        "cosine"     as "adjusted"                                           x = r, base = 0

    "adjusted" is the adjusted cosine of Sarwar et al. 2001 with b_ui in place of the user's mean and
    norms over all ratings of an item; "pearson" is the correlation of Koren 2010 around b_ui.
    Interactions without ratings leave no residuals: use "cosine", which gives a user without ratings
    the mean column x̄_i. A weight c counts a rating c times in sums over one user's or one item's
    ratings, and √(c_ui c_uj) times in sums over U_ij.

    Parameters
    ----------
    k : int
        How many neighbors.
    similarity : {"adjusted", "pearson", "cosine"}
    shrink : float
        ≥ 0: how many common users it takes to halve the shrinkage of a similarity.
    reg : float or (float, float)
        λ of the biases, as in `Biases`.
    stored : int
        How many neighbors are kept for each item: S_k(i; u) is chosen from them.

    Attributes
    ----------
    neighbors_ : array (n, stored), int32
        Rows of the most similar items, the most similar first; −1 where fewer are similar.
    similarities_ : array (n, stored), float64
        s_ij of them; 0 where there is none.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 60, rank=3, ratings_per_user=20, seed=0).ratings
    >>> train, test = hs.split_random(ratings, test=0.1, seed=0)
    >>> hs.ItemKNN(k=20).fit(train).rmse(test) < hs.Biases().fit(train).rmse(test)
    True
    """

    neighbors_: Array
    similarities_: Array
    _k: int
    _raw: bool

    def __init__(
        self,
        k: int = 40,
        *,
        similarity: Similarity = "adjusted",
        shrink: float = 100.0,
        reg: float | Sequence[float] = 5.0,
        stored: int = 500,
    ) -> None:
        self.k = k
        self.similarity = similarity
        self.shrink = shrink
        self.reg = reg
        self.stored = stored

    def similar_items(self, items: Any, n: int = 10) -> Ranked:
        """The n items of the highest similarity s_ij > 0, largest first; at most `stored`."""
        self._check_fitted()
        check_integer("n", n, 1)
        rows, names = self._rows_asked(items, self.items_, "item", True)
        index, scores = self.neighbors_[rows, :n], self.similarities_[rows, :n]
        return Ranked.of(names, index, scores, self.items_, ("item", "item"))

    def _check(self) -> None:
        check_integer("k", self.k, 1, example=40)
        check_choice("similarity", self.similarity, ("adjusted", "pearson", "cosine"))
        check_number("shrink", self.shrink, example=100.0)
        check_bias_reg(self.reg)
        check_integer("stored", self.stored, 1, example=500)

    def _learn(self, ratings: Ratings) -> dict[str, Any]:
        terms = fit_biases(ratings, check_bias_reg(self.reg))
        raw = self.similarity == "cosine"
        m, n = ratings.shape
        one, two = ratings.by_user, ratings.by_item
        x = _compared(terms, raw, ratings.user_index(), one.indices, one.values)
        x_by_item = _compared(terms, raw, two.indices, rows_of_cells(two), two.values)
        neighbors, similarities = nearest_items(
            Columns(one, two, x, x_by_item),
            self.similarity,
            float(self.shrink),
            min(int(self.stored), n),
        )
        return {
            "user_bias_": terms.user,
            "item_bias_": terms.item,
            "_user_reg": (check_bias_reg(self.reg)[0], "none"),
            "neighbors_": neighbors,
            "similarities_": similarities,
            "column_means_": np.bincount(one.indices, _weighted(one, x), n) / m if raw else None,
            "_k": int(self.k),  # set_params after the fit does not change what was learned
            "_raw": raw,
        }

    def _values(self, users: Array, cells: CSR) -> Array:
        x = _compared(self._bias_terms, self._raw, users, cells.indices, cells.values)
        return _weighted(cells, x)

    def _sums(self) -> Callable[[Any], Array]:
        from scipy.sparse import csr_array

        n = len(self.items_)
        nearest, s = self.neighbors_[:, : self._k], self.similarities_[:, : self._k]
        there = nearest >= 0
        to = np.nonzero(there)[0]
        return sums_by(csr_array((s[there], (nearest[there], to)), shape=(n, n)))

    def _predict_rows(
        self, user_index: Array, item_index: Array, backend: str | Backend = "native"
    ) -> Array:
        total = self._bias_terms.at(user_index, item_index)
        both = np.flatnonzero((user_index >= 0) & (item_index >= 0))
        order = both[np.argsort(user_index[both], kind="stable")]
        for pairs in self._portions(user_index[order]):
            total[order[pairs]] += self._means(user_index[order[pairs]], item_index[order[pairs]])
        return total

    def _portions(self, users: Array) -> Iterator[slice]:
        """Pairs, their users ascending, in parts of few neighbors and few users."""
        most_pairs = max(1, CELLS // self.neighbors_.shape[1])
        most_users = max(1, CELLS // len(self.items_))
        number = np.cumsum(np.diff(users, prepend=users[:1]) > 0)
        start = 0
        while start < len(users):
            stop = int(np.searchsorted(number, number[start] + most_users))
            yield slice(start, min(stop, start + most_pairs))
            start = min(stop, start + most_pairs)

    def _means(self, users: Array, items: Array) -> Array:
        """Σ c s (r − b) / Σ c s over the k nearest rated items of every pair, 0 where there are none."""
        asked, row = np.unique(users, return_inverse=True)
        cells = rows_or_empty(self._history("predict"), asked)
        places = rows_of_cells(cells), cells.indices
        rated = np.zeros((len(asked), len(self.items_)), dtype=bool)
        residuals = np.zeros(rated.shape)
        rated[places] = True
        residuals[places] = self._bias_terms.residuals(
            asked[places[0]], cells.indices, cells.values.astype(np.float64)
        )
        nearest = self.neighbors_[items]
        used = rated[row[:, None], nearest] & (nearest >= 0)
        used &= np.cumsum(used, axis=1, dtype=np.int32) <= self._k
        pair, place = np.nonzero(used)
        at = row[pair], nearest[pair, place]
        weights = self.similarities_[items[pair], place]
        if cells.weights is not None:
            c = np.zeros(rated.shape)
            c[places] = cells.weights
            weights = weights * c[at]
        above = np.bincount(pair, weights * residuals[at], len(users))
        below = np.bincount(pair, weights, len(users))
        return np.divide(above, below, out=np.zeros(len(users)), where=below > 0)


def _compared(terms: BiasTerms, raw: bool, users: Array, items: Array, ratings: Array) -> Array:
    """x of cells: ratings, or residuals."""
    values = ratings.astype(np.float64)
    return values if raw else terms.residuals(users, items, values)


def _weighted(cells: CSR, x: Array) -> Array:
    return x if cells.weights is None else cells.weights * x
