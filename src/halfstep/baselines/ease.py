"""`EASE`: a linear model of every item by all the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.baselines.biases import BiasTerms, check_bias_reg, fit_biases
from halfstep.baselines.itemwise import (
    CELLS,
    Itemwise,
    chunks,
    rows_of_cells,
    sparse,
    sums_by,
    user_weights,
)
from halfstep.baselines.topn import best_of_rows
from halfstep.checks import check_choice, check_integer, check_number
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError, SingularSystemError
from halfstep.models.ranked import Ranked
from halfstep.models.uncertainty import rows_or_empty

__all__ = ["EASE"]

Values = Literal["binary", "ratings", "centered"]


class EASE(Itemwise):
    """Every item as a weighted sum of the others (embarrassingly shallow autoencoder).

    Minimizes over B (n × n) with diagonal 0

        ½ Σ_u c_u ‖x_u − x_u B‖² + ½ λ ‖B‖²

    whose minimum has a closed form (Steck 2019, eq. 8): with P = (Σ_u c_u x_uᵀ x_u + λ I)⁻¹,

        B_ji = −P_ji / P_ii  (j ≠ i),    B_ii = 0

    x_u is the whole row of a user, with a 0 where there is no rating:

        "binary"     x = 1                     predict gives x_u B, a score
        "ratings"    x = r                     predict gives x_u B, a score on the scale of r
        "centered"   x = r − μ − b_u − b_i     predict gives μ + b_u + b_i + x_u B, a rating

    `recommend` ranks by what `predict` gives. Where x is no residual, a user without ratings is given
    the mean column x̄_i = Σ_u c_u x_ui / Σ_u c_u, in place of scores that are all 0. The weights of one
    user's ratings must be equal (c_u): others have no closed form.

    Parameters
    ----------
    reg : float
        λ > 0. 100 to 1000 for a few thousand users; it grows with the number of ratings of an item.
    values : {"binary", "ratings", "centered"}
    bias_reg : float or (float, float)
        λ of the biases of "centered", as in `Biases`.
    dtype : {"float64", "float32"}
        Of B, and of all arithmetic that makes it: n³ multiply-adds on one thread, in half the time
        with float32. Products of counts are exact in it up to 2²⁴.
    memory_limit : float
        GiB that B may take: n² times 8 bytes, or 4. XᵀX is made, inverted and scaled in that one array:
        a fit needs some 100 MB and the ratings beside it, never a second n².

    Attributes
    ----------
    item_weights_ : array (n, n) of `dtype`
        B.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 60, rank=3, ratings_per_user=20, seed=0).ratings
    >>> model = hs.EASE(reg=50.0).fit(ratings)
    >>> len(model.recommend(0, 5)[0])
    5
    """

    item_weights_: Array
    _fitted_values: Values

    def __init__(
        self,
        reg: float = 500.0,
        *,
        values: Values = "binary",
        bias_reg: float | Sequence[float] = 5.0,
        dtype: Literal["float64", "float32"] = "float64",
        memory_limit: float = 4.0,
    ) -> None:
        self.reg = reg
        self.values = values
        self.bias_reg = bias_reg
        self.dtype = dtype
        self.memory_limit = memory_limit

    def similar_items(self, items: Any, n: int = 10) -> Ranked:
        """The n items of the largest positive partial correlation, all other items held fixed.

        −P_ij / √(P_ii P_jj), which is √(B_ij B_ji) where both are positive.
        """
        self._check_fitted()
        check_integer("n", n, 1)
        rows, names = self._rows_asked(items, self.items_, "item", True)
        n = min(n, len(self.items_))
        index = np.empty((len(rows), n), dtype=np.int64)
        scores = np.empty((len(rows), n))
        for part in chunks(len(rows), max(1, CELLS // len(self.items_))):
            to, of = self.item_weights_[rows[part]], self.item_weights_[:, rows[part]].T
            found = np.sqrt(np.maximum(to, 0) * np.maximum(of, 0))
            found[found <= 0] = -np.inf
            index[part], scores[part] = best_of_rows(found, n)
        return Ranked.of(names, index, scores, self.items_, ("item", "item"))

    def _check(self) -> None:
        check_number("reg", self.reg, positive=True, example=500.0)
        check_choice("values", self.values, ("binary", "ratings", "centered"))
        check_bias_reg(self.bias_reg, "bias_reg")
        check_choice("dtype", self.dtype, ("float64", "float32"))
        check_number("memory_limit", self.memory_limit, positive=True, example=4.0)

    def _learn(self, ratings: Ratings) -> dict[str, Any]:
        m, n = ratings.shape
        self._check_memory(n)
        one, two = ratings.by_user, ratings.by_item
        c_u = user_weights(ratings)
        learned: dict[str, Any] = {"_fitted_values": self.values}
        terms = None
        if self.values == "centered":
            terms = fit_biases(ratings, check_bias_reg(self.bias_reg, "bias_reg"))
            learned |= {
                "user_bias_": terms.user,
                "item_bias_": terms.item,
                "_user_reg": (check_bias_reg(self.bias_reg, "bias_reg")[0], "none"),
            }
        x = _compared(self.values, terms, ratings.user_index(), one.indices, one.values)
        x_by_item = _compared(self.values, terms, two.indices, rows_of_cells(two), two.values)
        left, right = (
            sparse(cells, values.astype(self.dtype, copy=False), columns)
            for cells, values, columns in (
                (two, c_u[two.indices] * x_by_item, m),
                (one, x, n),
            )
        )
        B = _gram(left, right)
        B[np.diag_indices(n)] += float(self.reg)
        _invert(B, float(self.reg))
        B /= -np.diag(B)
        B[np.diag_indices(n)] = 0.0
        learned["item_weights_"] = B
        learned["column_means_"] = None
        if terms is None:
            total = np.bincount(one.indices, c_u[ratings.user_index()] * x, n)
            learned["column_means_"] = total / np.add.reduce(c_u)
            low, high = (0.0, 1.0) if self.values == "binary" else ratings.scale()
            learned["scale_"] = (min(low, 0.0), max(high, 0.0))  # what a cell of x may hold
        return learned

    def _check_memory(self, n: int) -> None:
        needed = np.dtype(self.dtype).itemsize * n**2 / 2**30
        if needed > self.memory_limit:
            half = 'pass dtype="float32" for half of it, ' if self.dtype == "float64" else ""
            raise ParameterError(
                "memory_limit",
                self.memory_limit,
                f"is less than the {needed:.1f} GiB that {n:,} × {n:,} item weights take",
                f"leave out items with few ratings, {half}or pass memory_limit={np.ceil(needed):g}",
            )

    def _values(self, users: Array, cells: CSR) -> Array:
        terms = self._bias_terms if self._fitted_values == "centered" else None
        return _compared(self._fitted_values, terms, users, cells.indices, cells.values)

    def _sums(self) -> Callable[[Any], Array]:
        return sums_by(self.item_weights_)

    def _predict_rows(
        self, user_index: Array, item_index: Array, backend: str | Backend = "native"
    ) -> Array:
        sizes = np.append(np.diff(self._history("predict").indptr), 0)[user_index]
        if self.column_means_ is None:
            total = self._bias_terms.at(user_index, item_index)
        else:
            nobody = (sizes == 0) & (item_index >= 0)
            total = np.where(nobody, self.column_means_[item_index], 0.0)
        asked = np.flatnonzero((sizes > 0) & (item_index >= 0))
        ends = np.cumsum(sizes[asked])
        start = 0
        while start < len(asked):  # pairs whose sums have few terms together
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + CELLS, side="right")))
            pairs = asked[start:stop]
            cells = rows_or_empty(self._history("predict"), user_index[pairs])
            pair = rows_of_cells(cells)
            terms = self._values(user_index[pairs][pair], cells)
            terms *= self.item_weights_[cells.indices, item_index[pairs][pair]]
            total[pairs] += np.bincount(pair, terms, len(pairs))
            start = stop
        return total


def _compared(
    values: Values, terms: BiasTerms | None, users: Array, items: Array, ratings: Array
) -> Array:
    """x of cells: 1, ratings, or residuals."""
    if terms is not None:
        return terms.residuals(users, items, ratings.astype(np.float64))
    return np.ones(len(ratings)) if values == "binary" else ratings.astype(np.float64)


def _gram(left: Any, right: Any) -> Array:
    """left (n × m) times right (m × n), dense."""
    n = left.shape[0]
    out = np.empty((n, n), dtype=left.dtype)
    for part in chunks(n, max(1, CELLS // n)):
        out[part] = (left[part] @ right).toarray()
    return out


def _invert(A: Array, reg: float) -> None:
    """A⁻¹ in place of a symmetric positive definite A (n, n), by Cholesky on one thread of BLAS."""
    from scipy.linalg.lapack import get_lapack_funcs
    from threadpoolctl import threadpool_limits

    factor, invert = get_lapack_funcs(("potrf", "potri"), (A,))
    with threadpool_limits(1, user_api="blas"):  # the same bits everywhere
        _, info = factor(A.T, lower=0, clean=0, overwrite_a=1)  # LAPACK's columns are A's rows
        if info == 0:
            _, info = invert(A.T, lower=0, overwrite_c=1)
    if info:
        raise SingularSystemError(f"reg={reg:g}: XᵀX + λI is singular in {A.dtype}; raise reg")
    n = len(A)
    for part in chunks(n, max(1, CELLS // n)):  # the half that LAPACK has not written
        square = np.tril(A[part, part])
        A[part, part] = square + np.tril(square, -1).T
        A[part, part.stop :] = A[part.stop :, part].T
