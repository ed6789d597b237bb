"""`Factors`: what a fit learns, with the ids of its rows.

r̂_ui = μ + b_u + b_i + w_u·z_i
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from halfstep.backends.base import CSR, Array
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings

if TYPE_CHECKING:
    from halfstep.rotations import Aligned, Canonical

__all__ = ["Factors", "deviation"]


@dataclass(frozen=True, slots=True)
class Factors:
    """The learned arrays of a factor model.

    Attributes
    ----------
    user_factors : array (m, K), W
    item_factors : array (n, K), Z
    user_bias : array (m,) or None, b_u
    item_bias : array (n,) or None, b_i
    mean : float, μ
    user_ids, item_ids : IdMap
        Who each row is.
    user_map, item_map : array (F, K + 1) or None
        A, and a as its last column where there are biases: of a model with features, whose rows w_u are
        drawn to A'x_u and whose b_u are drawn to a'x_u.
    """

    user_factors: Array
    item_factors: Array
    user_bias: Array | None
    item_bias: Array | None
    mean: float
    user_ids: IdMap
    item_ids: IdMap
    user_map: Array | None = None
    item_map: Array | None = None

    @property
    def rank(self) -> int:
        """K."""
        return int(self.user_factors.shape[1])

    @property
    def dtype(self) -> str:
        """float32 or float64."""
        return self.user_factors.dtype.name

    @property
    def user_side(self) -> tuple[Array, Array | None]:
        """W and b_u."""
        return self.user_factors, self.user_bias

    @property
    def item_side(self) -> tuple[Array, Array | None]:
        """Z and b_i."""
        return self.item_factors, self.item_bias

    @classmethod
    def random(
        cls,
        ratings: Ratings,
        rank: int,
        *,
        biases: bool,
        mean: float,
        dtype: str,
        seed: int,
        nonnegative: bool = False,
    ) -> Factors:
        """W with independent normal entries of standard deviation √σ / K^¼; everything else 0.

        σ is the (weighted) standard deviation of the ratings around μ: if Z had such entries too,
        w·z would have that of the ratings, so that neither side starts far from its final scale.
        Only W is random: the first half-step solves the items from it. With `nonnegative` its entries
        are the absolute values of those.
        """
        m, n = ratings.shape
        spread = np.float32(math.sqrt(deviation(ratings.by_user, mean) / math.sqrt(rank)))
        users = _empty((m, rank), np.float32)
        np.random.default_rng(seed).standard_normal(dtype=np.float32, out=users)
        users *= spread
        if nonnegative:
            np.abs(users, out=users)
        items = _empty((n, rank), dtype)
        items.fill(0)
        return cls(
            users if dtype == "float32" else users.astype(dtype),
            items,
            np.zeros(m, dtype=dtype) if biases else None,
            np.zeros(n, dtype=dtype) if biases else None,
            mean,
            ratings.users,
            ratings.items,
        )

    def empty_like(self) -> Factors:
        """Buffers of the same shapes, not initialized."""
        return self._map(lambda array: _empty(array.shape, array.dtype))

    def copy(self) -> Factors:
        """The same factors in arrays of their own."""
        fresh = self.empty_like()
        self.copy_to(fresh)
        return fresh

    def copy_to(self, out: Factors) -> None:
        """Write these factors into the arrays of `out`, of the same shapes."""
        for into, array in zip(out._arrays(), self._arrays(), strict=True):
            into[...] = array

    def _arrays(self) -> list[Array]:
        arrays = (
            self.user_factors,
            self.item_factors,
            self.user_bias,
            self.item_bias,
            self.user_map,
            self.item_map,
        )
        return [array for array in arrays if array is not None]

    def _map(self, make: Any) -> Factors:
        return Factors(
            make(self.user_factors),
            make(self.item_factors),
            None if self.user_bias is None else make(self.user_bias),
            None if self.item_bias is None else make(self.item_bias),
            self.mean,
            self.user_ids,
            self.item_ids,
            None if self.user_map is None else make(self.user_map),
            None if self.item_map is None else make(self.item_map),
        )

    def with_maps(self, user: int | None, item: int | None) -> Factors:
        """These factors with maps of 0 for so many features of each side; None is no map."""

        def zeros(width: int | None) -> Array | None:
            if width is None:
                return None
            return np.zeros((width, self.rank + (self.user_bias is not None)), dtype=self.dtype)

        return replace(self, user_map=zeros(user), item_map=zeros(item))

    # ------------------------------------------------------------ which of the equivalent factors

    def rotated(self, rotation: Array) -> Factors:
        """W Q and Z Q for a K × L matrix Q with Q Qᵀ = I: predictions and J stay what they are."""
        from halfstep.rotations import rotated

        def turned(A: Array | None) -> Array | None:
            if A is None:
                return None
            return np.hstack([rotated(A[:, : self.rank], rotation), A[:, self.rank :]])

        return replace(
            self,
            user_factors=rotated(self.user_factors, rotation),
            item_factors=rotated(self.item_factors, rotation),
            user_map=turned(self.user_map),
            item_map=turned(self.item_map),
        )

    def canonical(
        self, user_scale: Array | None = None, item_scale: Array | None = None
    ) -> Canonical:
        """The one rotation of the axes that makes Zᵀ S_z Z diagonal with decreasing entries.

        At a stationary point of J also Wᵀ S_w W is diagonal there, because λ_w Wᵀ S_w W = λ_z Zᵀ
        S_z Z; how far it is from that is returned as `departure`. The sign of an axis is that which
        makes the entry of largest magnitude of the column of Z positive (of entries equal within
        1e-6, the first). Axes of equal singular values are determined only up to a rotation among
        themselves, and a column of zeros has no direction. J, predictions and fold-in stay what
        they are, to rounding, converged or not.

        Parameters
        ----------
        user_scale, item_scale : arrays (m,) and (n,), optional
            The diagonals of S_w and S_z: `s` of the objective. Default: ones.

        See Also
        --------
        FactorModel.canonical : the same for a model, which knows its S.
        """
        from halfstep.rotations import canonical

        return canonical(self, user_scale, item_scale)

    def singular_values(
        self, user_scale: Array | None = None, item_scale: Array | None = None
    ) -> Array:
        """Those of S_w^½ W Zᵀ S_z^½, decreasing: min(m, n, K) of them, float64.

        From the K × K triangles of two QR factorizations, exact to rounding of the largest one.
        They say what each further factor adds: where they fall to 0, K is larger than it needs to
        be.
        """
        from halfstep.rotations import singular_values

        return singular_values(self, user_scale, item_scale)

    def align(self, other: Factors) -> Aligned:
        """These factors in the axes of `other`, and how far apart both are: orthogonal Procrustes.

        Minimizes ‖W Q − W'‖² + ‖Z Q − Z'‖² over all Q with Q Qᵀ = I and the rows whose ids both
        know (Schönemann 1966, «A generalized solution of the orthogonal Procrustes problem»). The
        smaller rank is filled up with columns of zeros: with K < K' the result has the K' axes of
        `other`; with K > K' its first K' axes are those of `other` and the rest is what `other` has
        no axis for.

        Raises
        ------
        DataError
            No user and no item is known to both.
        """
        from halfstep.rotations import align

        return align(self, other)

    def started_from(self, other: Factors) -> Factors:
        """These factors, with the rows of every id that `other` knows taken from it.

        Where `other` has fewer columns, they are the first ones; it must not have more (`narrowed`). A
        map is taken where it is of as many features.
        """
        fresh = self.copy()
        for ids, known, target, source in (
            (self.user_ids, other.user_ids, fresh.user_factors, other.user_factors),
            (self.item_ids, other.item_ids, fresh.item_factors, other.item_factors),
            (self.user_ids, other.user_ids, fresh.user_bias, other.user_bias),
            (self.item_ids, other.item_ids, fresh.item_bias, other.item_bias),
        ):
            if target is None or source is None:
                continue
            rows = known.lookup(ids.values)
            columns = (slice(other.rank),) if target.ndim == 2 else ()
            target[(rows >= 0, *columns)] = source[rows[rows >= 0]]
        for A, known_map in ((fresh.user_map, other.user_map), (fresh.item_map, other.item_map)):
            if A is None or known_map is None or len(A) != len(known_map):
                continue
            A[:, : other.rank] = known_map[:, : other.rank]
            if A.shape[1] > self.rank and known_map.shape[1] > other.rank:
                A[:, self.rank] = known_map[:, other.rank]
        return fresh

    def narrowed(self, rank: int, *, nonnegative: bool = False) -> Factors:
        """The K = `rank` columns that say most: the first of canonical axes (S = 1).

        `nonnegative` factors, which must not be rotated, keep those of the largest ‖w_k‖ ‖z_k‖.
        """
        whole = self if nonnegative else self.canonical().factors
        lengths = [
            np.einsum("rk,rk->k", side, side, dtype=np.float64)
            for side in (whole.user_factors, whole.item_factors)
        ]
        kept = np.sort(np.argsort(-lengths[0] * lengths[1], kind="stable")[:rank])
        users, items = (
            np.ascontiguousarray(side[:, kept]) for side in (whole.user_factors, whole.item_factors)
        )

        def cut(A: Array | None) -> Array | None:  # the bias stays
            return None if A is None else np.hstack([A[:, kept], A[:, self.rank :]])

        return replace(
            whole,
            user_factors=users,
            item_factors=items,
            user_map=cut(whole.user_map),
            item_map=cut(whole.item_map),
        )


def _empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An array that begins at a cache line, so that a row of K = 16, 32, … fills whole ones."""
    line = 64
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + line, dtype=np.uint8)
    first = -memory.__array_interface__["data"][0] % line
    return memory[first : first + size].view(dtype).reshape(shape)


def deviation(cells: CSR, mean: float) -> float:
    """The (weighted) standard deviation of the values around `mean`, or 1 where it is 0."""
    squares = weights = 0.0
    step = 1 << 20  # a bounded amount of float64
    for first in range(0, cells.nnz, step):
        part = slice(first, first + step)
        gap = cells.values[part].astype(np.float64) - mean
        if cells.weights is None:
            weights += len(gap)
            squares += float(np.add.reduce(gap * gap))
        else:
            c = cells.weights[part].astype(np.float64)
            weights += float(np.add.reduce(c))
            squares += float(np.add.reduce(c * gap * gap))
    return math.sqrt(squares / weights) or 1.0
