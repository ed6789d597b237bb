"""The readable backend: float64 inside, one row at a time, the formula as it stands on paper.

It is the oracle that every fast path is tested against, so nothing here is clever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import (
    CSR,
    Array,
    CosineBlocks,
    CosineRows,
    CosineTerms,
    Negatives,
    Noise,
    Parts,
    RankingRows,
    RankingTerms,
    RowTerms,
    StepRows,
    StepTerms,
)
from halfstep.backends.philox import normals
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors
from halfstep.solvers.linear import CG, Linear, NonNegative, Subspace

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

    def rotate(self, factors: Array, basis: Array) -> Array:
        product: Array = np.einsum("rk,kl->rl", factors, basis, dtype=np.float64)
        return product.astype(factors.dtype)

    def multiply(self, cells: CSR, factors: Array) -> Array:
        C = np.zeros((cells.n_rows, len(factors)))
        rows = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
        np.add.at(C, (rows, cells.indices), cells.values.astype(np.float64))
        product: Array = C @ factors.astype(np.float64)
        return product.astype(factors.dtype)

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
        epsilon = float(np.finfo(out.dtype).eps)
        size = len(ridge)
        rows = _Systems(
            cells, fixed, terms, offset, prior, linear, ridge, scale, out_bias is not None
        )
        for u in range(cells.n_rows):
            if linear is None and cells.indptr[u] == cells.indptr[u + 1]:
                _store(np.zeros(size), u, out, out_bias)  # nothing is known of this row
                continue
            A, h = rows.of(u)
            if isinstance(method, CG):
                x = _conjugate_gradients(A, h, _start(u, out, out_bias), method, epsilon)
            elif isinstance(method, Subspace):
                x = _by_blocks(A, h, _start(u, out, out_bias), method.block, out.shape[1], epsilon)
            elif isinstance(method, NonNegative):
                x = solve_nonnegative(A, h, out.shape[1], size * epsilon)
            else:
                x = _solve(A, h, size * epsilon)
            if x is None:
                raise SingularSystemError(f"row {u} has no unique solution", row=u)
            _store(x, u, out, out_bias)

    def draw_rows(
        self,
        cells: CSR,
        fixed: Array,
        terms: RowTerms,
        *,
        offset: Array | None,
        prior: Array,
        linear: Array,
        noise: Noise,
        out: Array,
        out_bias: Array | None,
        mean: tuple[Array, Array | None] | None = None,
    ) -> None:
        size = len(prior)
        none = np.zeros(size)
        rows = _Systems(
            cells, fixed, terms, offset, prior, linear, none, None, out_bias is not None
        )
        for u in range(cells.n_rows):
            A, h = rows.of(u)
            try:
                L = np.linalg.cholesky(A, upper=True)
            except np.linalg.LinAlgError:
                raise SingularSystemError(f"row {u} has no unique solution", row=u) from None
            x = np.linalg.solve(A, h)
            if mean is not None:
                _store(x, u, *mean)
            _store(x + np.linalg.solve(L, normals(noise, u, size)), u, out, out_bias)

    def sgd_grid(self, cells: CSR, users: Parts, items: Parts) -> SGDGrid:
        B, Q = len(users.cuts) - 1, len(items.cuts) - 1
        u = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
        user_part, place = _dealt(users)
        block = user_part[u] * Q + _dealt(items)[0][cells.indices]
        # the how-manieth cell of its user in the block: cells by user and block, counted from the first
        by_user = np.lexsort((block, u))
        key = u[by_user] * B * Q + block[by_user]
        turn = np.empty(cells.nnz, dtype=np.int64)
        turn[by_user] = np.arange(cells.nnz) - np.searchsorted(key, key)
        order = np.lexsort((place[u], turn, place[u] // 8, block))
        return SGDGrid(
            np.searchsorted(block[order], np.arange(B * Q + 1)),
            u[order],
            cells.indices[order],
            cells.values[order],
            None if cells.weights is None else cells.weights[order],
            items,
        )

    def sgd_epoch(
        self, grid: SGDGrid, diagonals: Array, step: StepTerms, users: StepRows, items: StepRows
    ) -> None:
        λ_w, λ_z, λ_b = step.reg
        W, b_u, s_u, G_u = _wide(users)
        Z, b_i, s_i, G_i = _wide(items)
        learned = users.bias is not None
        adaptive = users.sums is not None
        B, K = math.isqrt(len(grid.starts) - 1), W.shape[1]
        parts = [slice(0, 16), slice(16, K)][: 1 if step.head_only or K <= 16 else 2]
        for d in diagonals:
            for p in range(B):
                block = p * B + (p + int(d)) % B
                for t in range(int(grid.starts[block]), int(grid.starts[block + 1])):
                    u, i = int(grid.users[t]), int(grid.items[t])
                    c = 1.0 if grid.weights is None else float(grid.weights[t])
                    w, z = W[u].copy(), Z[i].copy()
                    g = c * (float(grid.values[t]) - step.mean - b_u[u] - b_i[i] - w @ z)
                    root_u, root_i = np.sqrt(G_u[u]), np.sqrt(G_i[i])
                    for part, k in enumerate(parts):
                        η_u, η_i = step.rate / root_u[part], step.rate / root_i[part]
                        W[u, k] = (w[k] + η_u * g * z[k]) / (1 + η_u * c * λ_w * s_u[u])
                        Z[i, k] = (z[k] + η_i * g * w[k]) / (1 + η_i * c * λ_z * s_i[i])
                        if adaptive:
                            G_u[u, part] += step.growth * g**2 * np.mean(z[k] ** 2)
                            G_i[i, part] += step.growth * g**2 * np.mean(w[k] ** 2)
                    if step.nonnegative:
                        W[u], Z[i] = np.maximum(W[u], 0), np.maximum(Z[i], 0)
                    if learned:
                        η_u, η_i = step.bias_rate / root_u[0], step.bias_rate / root_i[0]
                        b_u[u] = (b_u[u] + η_u * g) / (1 + η_u * c * λ_b * s_u[u])
                        b_i[i] = (b_i[i] + η_i * g) / (1 + η_i * c * λ_b * s_i[i])
        for rows, (factors, bias, _, sums) in (
            (users, (W, b_u, s_u, G_u)),
            (items, (Z, b_i, s_i, G_i)),
        ):
            rows.factors[...] = factors
            if rows.bias is not None:
                rows.bias[...] = bias
            if rows.sums is not None:
                rows.sums[...] = sums

    def ranking_epoch(
        self,
        grid: SGDGrid,
        schedule: Array,
        negatives: Negatives,
        step: RankingTerms,
        users: RankingRows,
        items: RankingRows,
    ) -> int:
        from halfstep.backends.pairwise import RankingSteps

        steps = RankingSteps(grid.dealt, negatives, step, users, items)
        Q = len(grid.dealt.cuts) - 1
        taken = 0
        for parts in schedule:
            for p, (g, h) in enumerate(parts):
                for t in range(int(grid.starts[p * Q + g]), int(grid.starts[p * Q + g + 1])):
                    c = 1.0 if grid.weights is None else float(grid.weights[t])
                    taken += steps.take(int(grid.users[t]), int(grid.items[t]), c, int(g), int(h))
        steps.write()
        return taken

    def cosine_epoch(
        self,
        positives: CSR,
        blocks: CosineBlocks,
        step: CosineTerms,
        users: CosineRows,
        items: CosineRows,
    ) -> None:
        from halfstep.backends.cosine import cosine_epoch

        cosine_epoch(positives, blocks, step, users, items)

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
        P = np.zeros((len(d), len(d))) if prior is None else _square(prior)
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
        by_row: Array | None = None,
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
        if by_row is not None:
            by_row[...] = np.bincount(rows, c * residual**2, minlength=cells.n_rows)
        return float(np.sum(c * residual**2))

    def line_errors(self, cells: CSR, factors: Factors, way: Factors) -> Array:
        u = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
        i = cells.indices.astype(np.int64)

        def bilinear(rows: Factors, columns: Factors) -> Array:
            W, Z = (a.astype(np.float64) for a in (rows.user_factors, columns.item_factors))
            found: Array = np.einsum("ck,ck->c", W[u], Z[i])
            return found

        def biases(of: Factors) -> Array | float:
            if of.user_bias is None or of.item_bias is None:
                return 0.0
            return of.user_bias.astype(np.float64)[u] + of.item_bias.astype(np.float64)[i]

        e = (
            cells.values.astype(np.float64)
            - factors.mean
            - bilinear(factors, factors)
            - biases(factors)
        )
        p = bilinear(way, factors) + bilinear(factors, way) + biases(way)
        q = bilinear(way, way)
        c = 1.0 if cells.weights is None else cells.weights.astype(np.float64)
        terms = (e * e, -2 * e * p, p * p - 2 * e * q, 2 * p * q, q * q)
        return np.array([np.add.reduce(c * term) for term in terms])

    def gradient(
        self,
        cells: CSR,
        rows: Array,
        fixed: Array,
        bias: Array | None,
        offset: Array | None,
        mean: float,
        *,
        out: Array,
        out_bias: Array | None,
    ) -> float:
        X, F = rows.astype(np.float64), fixed.astype(np.float64)
        total = 0.0
        for u in range(cells.n_rows):
            row = slice(int(cells.indptr[u]), int(cells.indptr[u + 1]))
            i = cells.indices[row]
            v = cells.values[row].astype(np.float64)
            c = np.ones(len(v)) if cells.weights is None else cells.weights[row].astype(np.float64)

            fitted = mean + F[i] @ X[u]
            if bias is not None:
                fitted = fitted + float(bias[u])
            if offset is not None:
                fitted = fitted + offset[i].astype(np.float64)
            e = c * (fitted - v)
            out[u] = e @ F[i]
            if out_bias is not None:
                out_bias[u] = e.sum()
            total += float(e @ (fitted - v))
        return total

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


@dataclass(frozen=True, slots=True)
class SGDGrid:
    """Cells by block: block number p Q + q is `starts[p Q + q]:starts[p Q + q + 1]`; Q item parts."""

    starts: Array
    users: Array
    items: Array
    values: Array
    weights: Array | None
    dealt: Parts  # the items


def _dealt(side: Parts) -> tuple[Array, Array]:
    """The part of every row, and its place in the part."""
    part, place = np.empty((2, len(side.order)), dtype=np.int64)
    for p in range(len(side.cuts) - 1):
        own = side.order[side.cuts[p] : side.cuts[p + 1]]
        part[own], place[own] = p, np.arange(len(own))
    return part, place


def _wide(rows: StepRows) -> tuple[Array, Array, Array, Array]:
    """Factors, biases, s / n and G in float64; 0, 1 and 1 where there are none."""
    m = len(rows.factors)
    b, s, G = (
        none if array is None else array.astype(np.float64)
        for array, none in (
            (rows.bias, np.zeros(m)),
            (rows.share, np.ones(m)),
            (rows.sums, np.ones((m, 2))),
        )
    )
    return rows.factors.astype(np.float64), b, s, G


def _solve(A: Array, rhs: Array, tolerance: float) -> Array | None:
    """x of A x = rhs by Cholesky, or None where a pivot is not above `tolerance` · A_kk."""
    L = _factored(A, tolerance)
    if L is None:
        return None
    from scipy.linalg import solve_triangular

    x: Array = solve_triangular(L.T, solve_triangular(L, rhs, lower=True), lower=False)
    return x if np.isfinite(x).all() else None


def _factored(A: Array, tolerance: float) -> Array | None:
    """L of A = L Lᵀ, or None where a pivot is not above `tolerance` · A_kk."""
    try:
        L: Array = np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        return None
    return L if np.all(np.diag(L) ** 2 > tolerance * np.diag(A)) else None


def solve_nonnegative(A: Array, h: Array, K: int, tolerance: float) -> Array | None:
    """The minimum of ½ xᵀ A x − hᵀ x over x_k ≥ 0 for k < K; what comes after K (a bias) is free.

    The bias is eliminated first: its best value is β = (ρ − sᵀ x) / σ, which leaves A − s sᵀ / σ = L Lᵀ
    and h − s ρ / σ for the factors, and ‖Lᵀ x − L⁻¹ h‖² to be made least over x ≥ 0 (Lawson and Hanson
    1974). None where A is singular, to rounding.
    """
    if _factored(A, tolerance) is None or not np.isfinite(h).all():
        return None
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    S = A[:K, K:] / np.diag(A)[K:]
    L = np.linalg.cholesky(A[:K, :K] - S @ A[K:, :K])
    try:
        x, _ = nnls(L.T, solve_triangular(L, h[:K] - S @ h[K:], lower=True), maxiter=100 * K)
    except RuntimeError:  # the signs are a matter of rounding
        return None
    return np.append(x, (h[K:] - A[K:, :K] @ x) / np.diag(A)[K:])


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


@dataclass(frozen=True, slots=True)
class _Systems:
    """The systems A x = h of all rows; the arguments are those of `solve_rows`."""

    cells: CSR
    fixed: Array
    terms: RowTerms
    offset: Array | None
    prior: Array | None
    linear: Array | None
    ridge: Array
    scale: Array | None
    biased: bool

    def of(self, u: int) -> tuple[Array, Array]:
        """A = P + Σ a f fᵀ + s diag(d) and h = q + Σ b f of row u, float64."""
        cells, terms, size = self.cells, self.terms, len(self.ridge)
        row = slice(int(cells.indptr[u]), int(cells.indptr[u + 1]))
        i = cells.indices[row]
        v = cells.values[row].astype(np.float64)
        c = np.ones(len(v)) if cells.weights is None else cells.weights[row].astype(np.float64)
        a = c * (terms.a0 + terms.a1 * v)
        b = c * (terms.b0 + terms.b1 * v)
        if self.offset is not None:
            b -= a * self.offset[i].astype(np.float64)
        f = self.fixed[i].astype(np.float64)
        if self.biased:
            f = np.column_stack([f, np.ones(len(f))])
        s = 1.0 if self.scale is None else float(self.scale[u])
        A = (f.T * a) @ f + s * np.diag(self.ridge.astype(np.float64))
        if self.prior is not None:
            A += _square(self.prior)
        q = np.zeros(size)
        if self.linear is not None:
            q += self.linear[u if len(self.linear) > 1 else 0].astype(np.float64)
        return A, q + f.T @ b


def _square(prior: Array) -> Array:
    """P as a matrix, from that or its diagonal."""
    P = prior.astype(np.float64)
    return np.diag(P) if P.ndim == 1 else P


def _start(u: int, out: Array, out_bias: Array | None) -> Array:
    """The current value of a row, in float64."""
    x = out[u].astype(np.float64)
    return x if out_bias is None else np.append(x, float(out_bias[u]))


def _store(x: Array, u: int, out: Array, out_bias: Array | None) -> None:
    K = out.shape[1]
    out[u] = x[:K]
    if out_bias is not None:
        out_bias[u] = x[K]
