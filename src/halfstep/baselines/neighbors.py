"""The most similar items of every item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.baselines.itemwise import CELLS, chunks, rows_of_cells, sparse
from halfstep.baselines.topn import best_of_rows
from halfstep.data.ratings import Ratings

__all__ = ["Columns", "Similarity", "nearest_items", "operations"]

Similarity = Literal["adjusted", "pearson", "cosine"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Values of the cells, of either orientation, as products over users need them."""

    by_user: CSR
    by_item: CSR
    user_values: Array
    item_values: Array

    def pair(self, power: int) -> tuple[Any, Any]:
        """(n × m, m × n): √c x^power by item and by user."""
        m, n = self.by_user.n_rows, self.by_item.n_rows
        return (
            sparse(self.by_item, _root_weights(self.by_item) * self.item_values**power, m),
            sparse(self.by_user, _root_weights(self.by_user) * self.user_values**power, n),
        )


def operations(ratings: Ratings) -> int:
    """Σ_u (number of ratings of u)² + n²: what a product Xᵀ X multiplies, and the pairs to rank.

    >>> operations(Ratings.from_arrays([1, 1, 2], [1, 2, 1]))
    9
    """
    sizes = np.diff(ratings.by_user.indptr)
    return int(np.add.reduce(sizes * sizes)) + ratings.shape[1] ** 2


def nearest_items(
    x: Columns, similarity: Similarity, shrink: float, most: int
) -> tuple[Array, Array]:
    """(items, similarities), each (n, most): the largest first, only those > 0; −1 and 0 elsewhere.

    With U_ij the users who have rated both, g_u = √(c_ui c_uj) and n_ij = Σ_{U_ij} g_u, it is
    n_ij / (n_ij + shrink) times

        "pearson"               Σ_{U_ij} g_u x_ui x_uj / √(Σ_{U_ij} g_u x_ui² Σ_{U_ij} g_u x_uj²)
        "adjusted", "cosine"    Σ_{U_ij} g_u x_ui x_uj / √(Σ_u c_ui x_ui² Σ_u c_uj x_uj²)

    Items are worked out in blocks, with 4 sparse products for "pearson", else 2 (1 where shrink = 0).
    """
    n = x.by_item.n_rows
    powers = (0, 1, 2) if similarity == "pearson" else (0, 1) if shrink > 0 else (1,)
    of = {power: x.pair(power) for power in powers}
    squares = (_root_weights(x.by_item) * x.item_values) ** 2
    norms = np.sqrt(np.bincount(rows_of_cells(x.by_item), squares, n))
    index = np.empty((n, most), dtype=np.int32)
    found = np.empty((n, most))
    for part in chunks(n, max(1, CELLS // n)):

        def products(one: int, two: int, part: slice = part) -> Array:
            dense: Array = (of[one][0][part] @ of[two][1]).toarray()
            return dense

        scores = products(1, 1)
        if similarity == "pearson":
            lengths = np.sqrt(products(2, 0) * products(0, 2))
        else:
            lengths = norms[part, None] * norms
        np.divide(scores, lengths, out=scores, where=lengths > 0)
        if shrink > 0:
            together = products(0, 0)
            scores *= together / (together + shrink)
        scores[np.arange(len(scores)), np.arange(part.start, part.stop)] = 0.0
        scores[scores <= 0] = -np.inf
        index[part], found[part] = best_of_rows(scores, most)
    found[index < 0] = 0.0
    return index, found


def _root_weights(cells: CSR) -> Array:
    if cells.weights is None:
        return np.ones(cells.nnz)
    return np.sqrt(cells.weights.astype(np.float64))
