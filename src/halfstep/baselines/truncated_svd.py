"""The largest singular values of a sparse matrix, the same bits on any number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.errors import SingularSystemError

__all__ = ["right_singular_vectors"]

_BLOCK = 8  # vectors that are multiplied at a time
_TOLERANCE = 1e-8  # of ‖XᵀX z − σ² z‖, relative to σ₁²
_MOST_CYCLES = 500
_ROUNDING = 1e-7  # of σ, relative to σ₁: what XᵀX cannot tell from 0


def right_singular_vectors(X: Any, rank: int) -> tuple[Array, Array]:
    """(Z, σ): the right singular vectors (n, k) of X (m, n) of the k ≤ `rank` largest σ, falling.

    Block Lanczos on XᵀX with full orthogonalization and thick restarts (Wu and Simon 2000), until
    ‖XᵀX z − σ² z‖ ≤ 1e-8 σ₁² for all of them. Blocks are drawn by a fixed seed, products of dense
    matrices run on one thread of BLAS. Where the basis would be half as wide as X, XᵀX is diagonalized
    whole.

    k < `rank` where X has fewer singular values above 1e-7 σ₁. Of each vector the entry that is
    largest in size is positive.

    Parameters
    ----------
    X : scipy CSR array (m, n), float64
    """
    from threadpoolctl import threadpool_limits

    used = np.flatnonzero(np.bincount(X.indices, X.data != 0, X.shape[1]))
    whole, X = X.shape[1], X[:, used]  # a column of zeros has zeros in Z, without rounding
    n = len(used)
    if not n:
        return np.zeros((whole, 0)), np.zeros(0)
    transposed = X.T.tocsr()
    with threadpool_limits(1, user_api="blas"):  # the same bits everywhere
        kept = -(-(rank + max(_BLOCK, rank // 4)) // _BLOCK) * _BLOCK
        if 4 * kept >= n:
            values, Z = np.linalg.eigh((transposed @ X).toarray())
            values, Z = values[::-1][:rank], Z[:, ::-1][:, :rank]
        else:
            values, Z = _largest(lambda V: transposed @ (X @ V), n, rank, kept)
    sigma = np.sqrt(np.maximum(values, 0.0))
    found = int(np.count_nonzero(sigma > _ROUNDING * sigma[0]))
    Z = Z[:, :found]
    signs = np.sign(Z[np.argmax(np.abs(Z), axis=0), np.arange(found)])
    everywhere = np.zeros((whole, found))
    everywhere[used] = Z * signs
    return everywhere, sigma[:found]


def _largest(gram: Callable[[Array], Array], n: int, rank: int, kept: int) -> tuple[Array, Array]:
    """The `rank` largest eigenvalues of a symmetric operator ≥ 0, falling, and their vectors.

    A cycle fills a basis V of 2 · `kept` columns block by block, T = Vᵀ A V, and ends with its `kept`
    largest Ritz pairs: A V = V T + (the block that is next) · border, so that what a pair lacks is known
    without another product. Where all have converged, one more cycle starts from a block drawn at
    random: it finds what the first block had no part in.
    """
    rng = np.random.default_rng(0)
    size = 2 * kept
    V, T = np.zeros((n, size)), np.zeros((size, size))
    block, filled, confirmed = (
        _orthonormal(rng.standard_normal((n, _BLOCK)), V[:, :0], rng)[0],
        0,
        0,
    )
    for _ in range(_MOST_CYCLES):
        while filled < size:
            part = slice(filled, filled + _BLOCK)
            V[:, part] = block
            image = gram(block)
            T[:, part] = V.T @ image
            T[part] = T[:, part].T
            filled += _BLOCK
            block, border = _orthonormal(image, V[:, :filled], rng)
        values, S = np.linalg.eigh((T + T.T) / 2)
        values, S = values[::-1][:kept], S[:, ::-1][:, :kept]
        off = np.sqrt(np.add.reduce((border @ S[-_BLOCK:, :rank]) ** 2))
        V[:, :kept] = V @ S
        T[:] = 0.0
        T[:kept, :kept] = np.diag(values)
        filled = kept
        if off.max() > _TOLERANCE * max(values[0], 1e-300):
            confirmed = 0
            continue
        if confirmed:
            return values[:rank], V[:, :rank].copy()
        confirmed = 1
        block = _orthonormal(rng.standard_normal((n, _BLOCK)), V[:, :filled], rng)[0]
    raise SingularSystemError(
        f"rank={rank}: the singular vectors have not converged; choose another rank"
    )


def _orthonormal(block: Array, basis: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """(Q, R): the block less its part in the basis is Q R, Q orthonormal and orthogonal to the basis.

    A direction of which nothing is left is drawn anew; R is 0 for it.
    """
    Q, total = block, np.eye(block.shape[1])
    scale = max(float(np.sqrt(np.max(np.add.reduce(block**2)))), 1e-300)
    for _ in range(2):  # once leaves what rounding leaves
        Q, R = np.linalg.qr(Q - basis @ (basis.T @ Q))
        total = R @ total
    lost = np.abs(np.diag(total)) <= 1e-13 * scale
    if lost.any():
        total[lost] = 0.0
        Q[:, lost] = rng.standard_normal((len(Q), int(np.count_nonzero(lost))))
        for _ in range(2):
            Q[:, lost] -= basis @ (basis.T @ Q[:, lost])
            others = Q[:, ~lost]
            Q[:, lost] -= others @ (others.T @ Q[:, lost])
            Q[:, lost] = np.linalg.qr(Q[:, lost])[0]
    return Q, total
