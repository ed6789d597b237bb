"""The readable backend: float64 inside, one row at a time, the formula as it stands on paper.

It is the oracle that every fast path is tested against, so nothing here is clever.
"""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import CSR, Array, RowTerms
from halfstep.errors import SingularSystemError
from halfstep.solvers.linear import CG, Linear, Subspace

__all__ = ["NumpyBackend"]


class NumpyBackend:
    """Plain numpy, computing in float64 whatever the dtype of the factors."""

    name = "numpy"

    def supports(self, *, dtype: str) -> str | None:
        if dtype not in ("float32", "float64"):
            return f"the numpy backend works in float32 and float64, not in {dtype}"
        return None

    def gram(self, factors: Array, scale: Array | None = None) -> Array:
        F = factors.astype(np.float64)
        s = np.ones(len(F)) if scale is None else scale.astype(np.float64)
        G: Array = (F.T * s) @ F
        return G.astype(factors.dtype)

    def solve_rows(
        self,
        cells: CSR,
        fixed: Array,
        terms: RowTerms,
        *,
        offset: Array | None,
        prior: Array | None,
        linear: Array | None,
        ridge: Array,
        scale: Array | None,
        out: Array,
        out_bias: Array | None,
        method: Linear | None = None,
    ) -> None:
        F = fixed.astype(np.float64)
        if out_bias is not None:
            F = np.column_stack([F, np.ones(len(F))])
        offsets = np.zeros(len(F)) if offset is None else offset.astype(np.float64)
        d = ridge.astype(np.float64)
        size = len(d)
        P = np.zeros((size, size)) if prior is None else prior.astype(np.float64)
        epsilon = float(np.finfo(out.dtype).eps)

        for u in range(cells.n_rows):
            row = slice(int(cells.indptr[u]), int(cells.indptr[u + 1]))
            i = cells.indices[row]
            if linear is None:
                if len(i) == 0:  # nothing is known of this row
                    _store(np.zeros(size), u, out, out_bias)
                    continue
                q = np.zeros(size)
            else:
                q = linear[u if len(linear) > 1 else 0].astype(np.float64)
            v = cells.values[row].astype(np.float64)
            c = np.ones(len(v)) if cells.weights is None else cells.weights[row].astype(np.float64)
            a = c * (terms.a0 + terms.a1 * v)
            b = c * (terms.b0 + terms.b1 * v) - a * offsets[i]
            s = 1.0 if scale is None else float(scale[u])

            f = F[i]
            A = P + (f.T * a) @ f + s * np.diag(d)
            h = q + f.T @ b
            if isinstance(method, CG):
                x = _conjugate_gradients(A, h, _start(u, out, out_bias), method, epsilon)
            elif isinstance(method, Subspace):
                x = _by_blocks(A, h, _start(u, out, out_bias), method.block, out.shape[1], epsilon)
            else:
                x = _solve(A, h, size * epsilon)
            if x is None:
                raise SingularSystemError(f"row {u} has no unique solution", row=u)
            _store(x, u, out, out_bias)

    def row_variances(
        self,
        cells: CSR,
        fixed: Array,
        terms: RowTerms,
        *,
        prior: Array | None,
        ridge: Array,
        scale: Array | None,
        asked: tuple[Array, Array],
        vectors: Array,
    ) -> Array:
        F, V, d = (array.astype(np.float64) for array in (fixed, vectors, ridge))
        if len(d) > F.shape[1]:
            F, V = (np.column_stack([array, np.ones(len(array))]) for array in (F, V))
        P = np.zeros((len(d), len(d))) if prior is None else prior.astype(np.float64)
        epsilon = float(np.finfo(fixed.dtype).eps)
        indptr, indices = asked
        found = np.empty(len(indices), dtype=fixed.dtype)
        for u in range(cells.n_rows):
            places = slice(int(indptr[u]), int(indptr[u + 1]))
            if places.start == places.stop:
                continue
            row = slice(int(cells.indptr[u]), int(cells.indptr[u + 1]))
            v = cells.values[row].astype(np.float64)
            c = np.ones(len(v)) if cells.weights is None else cells.weights[row].astype(np.float64)
            a = c * (terms.a0 + terms.a1 * v)
            f = F[cells.indices[row]]
            A = P + (f.T * a) @ f + (1.0 if scale is None else float(scale[u])) * np.diag(d)
            asked_of = V[indices[places]].T
            x = _solve(A, asked_of, len(d) * epsilon)
            if x is None:
                raise SingularSystemError(f"row {u} has no unique solution", row=u)
            found[places] = np.einsum("kq,kq->q", asked_of, x)
        return found

    def squared_error(
        self,
        cells: CSR,
        users: Array,
        items: Array,
        user_bias: Array | None,
        item_bias: Array | None,
        mean: float,
    ) -> float:
        rows = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
        fitted = self.predict(
            rows,
            cells.indices.astype(np.int64),
            users.astype(np.float64),
            items.astype(np.float64),
            user_bias,
            item_bias,
            mean,
        )
        residual = cells.values.astype(np.float64) - fitted
        c = 1.0 if cells.weights is None else cells.weights.astype(np.float64)
        return float(np.sum(c * residual**2))

    def predict(
        self,
        user_index: Array,
        item_index: Array,
        users: Array,
        items: Array,
        user_bias: Array | None,
        item_bias: Array | None,
        mean: float,
    ) -> Array:
        known_user, known_item = user_index >= 0, item_index >= 0
        both = known_user & known_item
        fitted = np.full(len(user_index), mean, dtype=np.float64)
        if user_bias is not None:
            fitted[known_user] += user_bias[user_index[known_user]]
        if item_bias is not None:
            fitted[known_item] += item_bias[item_index[known_item]]
        w, z = users[user_index[both]], items[item_index[both]]
        fitted[both] += np.einsum("pk,pk->p", w.astype(np.float64), z.astype(np.float64))
        return fitted.astype(users.dtype)

    def topk(
        self,
        queries: Array,
        items: Array,
        item_bias: Array | None,
        n: int,
        *,
        exclude: tuple[Array, Array] | None = None,
        candidates: tuple[Array, Array] | None = None,
        allow: Array | None = None,
    ) -> tuple[Array, Array]:
        index = np.full((len(queries), n), -1, dtype=np.int64)
        score = np.full((len(queries), n), np.nan, dtype=queries.dtype)
        for u, query in enumerate(queries.astype(np.float64)):
            scores = items.astype(np.float64) @ query
            if item_bias is not None:
                scores = scores + item_bias
            left = np.ones(len(items), dtype=bool)
            if candidates is not None:
                left[:] = False
                left[candidates[1][candidates[0][u] : candidates[0][u + 1]]] = True
            if allow is not None:
                left &= allow
            if exclude is not None:
                left[exclude[1][exclude[0][u] : exclude[0][u + 1]]] = False
            remaining = np.flatnonzero(left)
            # the last key counts most: score descending, then item index ascending
            best = remaining[np.lexsort((remaining, -scores[remaining]))][:n]
            index[u, : len(best)] = best
            score[u, : len(best)] = scores[best]
        return index, score


def _solve(A: Array, rhs: Array, tolerance: float) -> Array | None:
    """x of A x = rhs by Cholesky, or None where a pivot is not above `tolerance` · A_kk."""
    try:
        L = np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        return None
    if not np.all(np.diag(L) ** 2 > tolerance * np.diag(A)):
        return None
    from scipy.linalg import solve_triangular

    x: Array = solve_triangular(L.T, solve_triangular(L, rhs, lower=True), lower=False)
    return x if np.isfinite(x).all() else None


def _conjugate_gradients(A: Array, h: Array, x: Array, cg: CG, epsilon: float) -> Array | None:
    """A few preconditioned steps from x; None where A is not positive definite along one of them."""
    D = np.diag(A)
    if not (D > 0).all():
        return None
    r = h - A @ x
    p = r / D
    rho = r @ p
    enough = max(max(cg.tol, epsilon) ** 2 * rho, 1e-290)
    for _ in range(cg.steps):
        if rho <= enough:
            break
        y = A @ p
        if not p @ y > 0:
            return None
        x = x + rho / (p @ y) * p
        r = r - rho / (p @ y) * y
        z = r / D
        p = z + (r @ z) / rho * p
        rho = r @ z
    return x if np.isfinite(x).all() else None


def _by_blocks(A: Array, h: Array, x: Array, block: int, K: int, epsilon: float) -> Array | None:
    """The exact minimum over each block of the K factors in turn, the bias in every block."""
    for first in range(0, K, block):
        own = np.r_[first : min(first + block, K), K : len(x)]
        step = _solve(A[np.ix_(own, own)], (h - A @ x)[own], len(own) * epsilon)
        if step is None:
            return None
        x[own] += step
    return x


def _start(u: int, out: Array, out_bias: Array | None) -> Array:
    """The current value of a row, in float64."""
    x = out[u].astype(np.float64)
    return x if out_bias is None else np.append(x, float(out_bias[u]))


def _store(x: Array, u: int, out: Array, out_bias: Array | None) -> None:
    K = out.shape[1]
    out[u] = x[:K]
    if out_bias is not None:
        out_bias[u] = x[K]
