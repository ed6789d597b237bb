"""The largest singular values of a matrix that is only known by its products.

Golub and Kahan's bidiagonalization with full reorthogonalization:

    A V_j = U_j B_j,   Aᵀ U_j = V_j B_jᵀ + β_j v_{j+1} e_jᵀ

with B_j upper bidiagonal (α on its diagonal, β above it). B_j = X S Yᵀ gives the Ritz triplets
(s, U_j x, V_j y); A has a singular value within β_j |x_j| of each s. Written out here rather than
taken from ARPACK because its bits must not depend on the number of threads: a warm start is made of
these vectors.
Source: Golub and Kahan (1965, «Calculating the singular values and pseudo-inverse of a matrix»).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import Array

__all__ = ["Triplets", "largest_singular"]

_FEWEST_STEPS = 24
_MOST_STEPS = 300
_MOST_NUMBERS = 1 << 25  # of the basis that is kept: 256 MiB


@dataclass(frozen=True, slots=True)
class Triplets:
    """Ritz triplets, largest first: `left` is (m, k), `right` is (n, k).

    `bound` is the largest value plus its residual. It is no lower than the norm of the matrix
    unless the start vector, which is random, is orthogonal to the largest singular vector in all
    that was looked at.
    """

    values: Array
    left: Array
    right: Array
    bound: float


def largest_singular(
    apply: Callable[[Array], Array],
    apply_transposed: Callable[[Array], Array],
    shape: tuple[int, int],
    count: int,
    *,
    enough: Callable[[float, float], bool],
    floor: float,
    seed: int = 0,
) -> Triplets:
    """`count` triplets or fewer, as good as it takes for `enough(largest value, its residual)`.

    `floor` is the size below which a vector is rounding.
    """
    m, n = shape
    steps = min(m, n, _MOST_STEPS, max(_MOST_NUMBERS // (m + n), 2 * count + 20))
    U, V = np.empty((steps, m)), np.empty((steps, n))
    alphas, betas = np.zeros(steps), np.zeros(steps)
    v, size = _unit(apply_transposed(np.random.default_rng(seed).standard_normal(m)))
    rows = columns = 0
    look = max(2 * count, _FEWEST_STEPS)
    for j in range(steps if size > floor * np.sqrt(m) else 0):
        V[j], columns = v, j + 1
        u, alpha = _unit(_without(U[:j], apply(v)))
        if alpha <= floor:  # the space is exhausted: what was found is exact
            break
        U[j], alphas[j], rows = u, alpha, j + 1
        v, beta = _unit(_without(V[: j + 1], apply_transposed(u)))
        if beta <= floor:
            break
        betas[j] = beta
        if rows == look:
            look += look // 4
            values, left = _top(alphas[:rows], betas[:rows], 1, last=True)
            if enough(float(values[0]), beta * abs(float(left[-1, 0]))):
                break
    if not rows:
        return Triplets(np.zeros(0), np.zeros((m, 0)), np.zeros((n, 0)), floor)
    exhausted = columns > rows or not betas[rows - 1]
    values, left = _top(alphas[:rows], betas[:rows], min(count, rows), last=not exhausted)
    sound = values > 1e-7 * values[0]  # below, the squares of B Bᵀ have lost them
    values, left = values[sound], left[:, sound]
    right = alphas[:rows, None] * left / values
    right[1:] += betas[: rows - 1, None] * left[:-1] / values
    if columns > rows:
        right = np.vstack([right, betas[rows - 1] * left[-1:] / values])
    return Triplets(
        values,
        np.einsum("jm,jk->mk", U[:rows], left),
        np.einsum("jn,jk->nk", V[:columns], right),
        float(values[0] + (0.0 if exhausted else betas[rows - 1] * abs(left[-1, 0]))),
    )


def _top(alphas: Array, betas: Array, count: int, *, last: bool) -> tuple[Array, Array]:
    """The largest singular values of B and their left vectors, from the tridiagonal B Bᵀ.

    `last`: without the last β, which is not in B yet.
    """
    from scipy.linalg import eigh_tridiagonal

    rows = len(alphas)
    inside = betas.copy()
    if last:
        inside[-1] = 0.0
    squares, vectors = eigh_tridiagonal(
        alphas * alphas + inside * inside,
        alphas[1:] * inside[:-1],
        select="i",
        select_range=(rows - count, rows - 1),
    )
    return np.sqrt(np.maximum(squares[::-1], 0.0)), np.ascontiguousarray(vectors[:, ::-1])


def _without(basis: Array, vector: Array) -> Array:
    """The part of the vector orthogonal to the rows of the basis (twice is enough)."""
    for _ in range(2):
        vector = vector - np.einsum("jn,j->n", basis, np.einsum("jn,n->j", basis, vector))
    return vector


def _unit(vector: Array) -> tuple[Array, float]:
    size = float(np.sqrt(np.einsum("n,n->", vector, vector)))
    return (vector / size if size else vector), size
