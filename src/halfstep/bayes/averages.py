"""The mean of the products W_s Z_sᵀ of many draws, as one product of two factors.

    M = 1/S Σ_s W_s Z_sᵀ  ≈  U Vᵀ,   U (m × R), V (n × R)

M has rank up to S K, and almost all of it lies in few directions, because the draws are close to
rotations of each other. U and V are M's truncated singular value decomposition, taken a few draws
at a time: the factors so far and the next draws side by side, [U, W_1, …] [V, Z_1, …]ᵀ, and again
the R largest singular values of that. From the Gram matrices of the two sides (float64), so that a
row is read once.
"""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import Array, Backend

__all__ = ["MeanProduct", "gram_of"]

_TOGETHER, _BYTES = 4, 1 << 29
"""Draws that are added before the factors are truncated: at most so many, and at most about so much
memory.
"""
_ROWS = 1 << 16
"""Rows of which a Gram matrix is summed in float64 at a time."""


class MeanProduct:
    """Adds up products of factors of K columns, keeping R.

    `counts`: how many ratings every row of the two sides has. The singular values are those of M with
    every entry times the root of its row's and of its column's count (1 where there is none), so that
    least is cut off where predictions are asked.
    """

    def __init__(
        self, counts: tuple[Array, Array], rank: int, kept: int, dtype: str, backend: Backend
    ) -> None:
        self.rank, self.kept, self.backend = rank, kept, backend
        self.weights = tuple(np.maximum(count, 1).astype(np.float64) for count in counts)
        most = _BYTES // (sum(map(len, counts)) * np.dtype(dtype).itemsize)
        width = kept + min(max((most - kept) // rank, 1), _TOGETHER) * rank
        self.sides = tuple(np.zeros((len(count), width), dtype=dtype) for count in counts)
        self.width = 0
        self.count = 0

    def add(self, users: Array, items: Array) -> None:
        """One more draw: (m, K) and (n, K)."""
        if self.width + self.rank > self.sides[0].shape[1]:
            self._truncate()
        for side, draw in zip(self.sides, (users, items), strict=True):
            side[:, self.width : self.width + self.rank] = draw
        self.width += self.rank
        self.count += 1

    def factors(self) -> tuple[Array, Array]:
        """U and V of the mean of the draws so far: R columns, or fewer where M has fewer."""
        self._truncate()
        scale = 1.0 / np.sqrt(self.count)
        users, items = (
            np.ascontiguousarray(side[:, : self.width] * side.dtype.type(scale))
            for side in self.sides
        )
        return users, items

    def _truncate(self) -> None:
        """The product of all columns by its R largest singular values."""
        if self.width <= self.kept:
            return
        roots = [
            _root(gram_of(side[:, : self.width], weights, self.backend))
            for side, weights in zip(self.sides, self.weights, strict=True)
        ]
        (R_u, back_u), (R_v, back_v) = roots
        left, values, right = np.linalg.svd(R_u @ R_v.T)
        kept = min(self.kept, len(values))
        spread = np.sqrt(values[:kept])
        turns = back_u @ (left[:, :kept] * spread), back_v @ (right[:kept].T * spread)
        for side, turn in zip(self.sides, turns, strict=True):
            turn = turn.astype(side.dtype)
            for first in range(0, len(side), _ROWS):
                part = slice(first, first + _ROWS)
                side[part, :kept] = side[part, : self.width] @ turn
        self.width = kept


def gram_of(rows: Array, weights: Array | None, backend: Backend) -> Array:
    """Σ weight · row rowᵀ, summed in float64 whatever the type of the rows."""
    total = np.zeros((rows.shape[1],) * 2)
    for first in range(0, len(rows), _ROWS):
        part = slice(first, first + _ROWS)
        own = None if weights is None else weights[part]
        total += backend.gram(rows[part].astype(np.float64), own)
    return total


def _root(gram: Array) -> tuple[Array, Array]:
    """R with Rᵀ R = G, and B with R B = I on what G spans: the side is (side B) R."""
    try:
        L = np.linalg.cholesky(gram)
        if (np.diag(L) ** 2 > 1e-10 * np.diag(gram)).all():
            return L.T, np.linalg.inv(L).T
    except np.linalg.LinAlgError:
        pass
    # some columns are combinations of others
    values, axes = np.linalg.eigh(gram)
    there = values > 1e-13 * values[-1]
    roots = np.sqrt(values[there])
    return roots[:, None] * axes[:, there].T, axes[:, there] / roots
