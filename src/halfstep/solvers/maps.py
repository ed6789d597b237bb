"""The steps of a sweep that learn the map A of the features of one side.

    ridge   A given the rows:     min ½ ‖S^½ (W − X A) D^½‖² + ½ Σ_f p_f ‖A_f‖²
    shear   A given E = W − X A:  min J over A, the rows W = X A + E moving with it

with D = diag(λ, …, λ, λ_b), and W here the rows with their biases.

The first looks at the rows alone and is cheap. The second sees the ratings, through the other side:
it moves all rows that share a feature at once, which no step of single rows can. Each is a few
steps of conjugate gradients from the current A, so J never rises. With one of them alone a fit needs
about twice the sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.features.prior import FeaturePrior, squares_by_column
from halfstep.objectives import Side, SquaredError, row_weights
from halfstep.rotations import rotated
from halfstep.solvers.base import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MapSteps"]

_STEPS = 4
"""Of conjugate gradients, in each of both."""


@dataclass(slots=True)
class MapSteps:
    """What the steps of one side need in every sweep.

    `diagonal` is that of the ridge's matrices but for λ and the penalty, Σ_u s_u x_uf²; `mass` is
    Σ_u n_u x_uf², and `weights` n of the other side's rows.
    """

    prior: FeaturePrior
    cells: CSR
    unrated: CSR
    mean: float
    ridge: Array
    scale: Array
    diagonal: Array
    mass: Array
    weights: Array
    threads: Any

    @classmethod
    def of(cls, problem: Problem, side: Side) -> MapSteps | None:
        """Those of a side of a fit; None where it has no features."""
        from threadpoolctl import ThreadpoolController

        objective = problem.objective
        prior = objective.prior(side) if isinstance(objective, SquaredError) else None
        if prior is None or not isinstance(objective, SquaredError):
            return None
        cells, rows = problem.side(side)
        others, _ = problem.side("item" if side == "user" else "user")
        scale = prior.rated.astype(np.float64) if rows.scale is None else rows.scale
        zeros = np.zeros(cells.nnz, dtype=np.float32)
        n = row_weights(cells)
        return cls(
            prior,
            cells,
            CSR(cells.indptr, cells.indices, zeros, cells.weights),
            objective.mean,
            rows.ridge,
            scale.astype(rows.ridge.dtype),
            squares_by_column(prior.rows, prior.width, scale.astype(np.float64)),
            squares_by_column(prior.rows, prior.width, n),
            row_weights(others),
            ThreadpoolController(),
        )

    def sweep(
        self,
        rows: tuple[Array, Array | None],
        fixed: tuple[Array, Array | None],
        A: Array,
        backend: Backend,
    ) -> Array:
        """Improve A, and the rows with it, in place; X A."""
        self._ridge(rows, A, backend)
        self._shear(rows, fixed, A, backend)
        return self.prior.mean(A, backend)

    def _ridge(self, rows: tuple[Array, Array | None], A: Array, backend: Backend) -> None:
        """One system for each column of A, all of them in step."""
        penalty = self.prior.penalty.astype(A.dtype)[:, None]
        s, d = self.scale[:, None], self.ridge

        def matrix(P: Array) -> Array:
            pulled = s * backend.multiply(self.prior.rows, P)
            found: Array = backend.multiply(self.prior.columns, pulled) * d + penalty * P
            return found

        diagonal = (self.diagonal[:, None] * d + self.prior.penalty[:, None]).astype(A.dtype)
        pulled = backend.multiply(self.prior.columns, s * _joined(*rows)) * d
        A += _conjugate_gradients(
            matrix, pulled - matrix(A), lambda R: R / diagonal, _dot_by_column
        )

    def _shear(
        self,
        rows: tuple[Array, Array | None],
        fixed: tuple[Array, Array | None],
        A: Array,
        backend: Backend,
    ) -> None:
        """One system for all of A: Xᵀ H X + diag(p), H the curvature of the squared error in W.

        In the axes of C, the mean of f fᵀ over the ratings, where it is nearly diagonal:
        preconditioned by n_f C + p_f for every feature f, n_f = Σ_u n_u x_uf², which is exact where
        features are disjoint and ratings fall on all others alike.
        """
        columns, penalty = self.prior.columns, self.prior.penalty.astype(A.dtype)[:, None]
        g = np.empty_like(rows[0])
        g_bias = None if rows[1] is None else np.empty_like(rows[1])
        (X, bias), (Z, offset) = rows, fixed
        backend.gradient(self.cells, X, Z, bias, offset, self.mean, out=g, out_bias=g_bias)
        residual = -backend.multiply(columns, _joined(g, g_bias)) - penalty * A
        F = _joined(Z, None if offset is None else np.ones_like(offset))
        curvature, axes = self._axes(F)
        F = rotated(F, axes)
        slope = np.empty((len(g), F.shape[1]), dtype=A.dtype)

        def matrix(P: Array) -> Array:
            move = backend.multiply(self.prior.rows, P)
            backend.gradient(self.unrated, move, F, None, None, 0.0, out=slope, out_bias=None)
            found: Array = backend.multiply(columns, slope) + penalty * P
            return found

        diagonal = (self.mass[:, None] * curvature + self.prior.penalty[:, None]).astype(A.dtype)
        turned = _conjugate_gradients(matrix, rotated(residual, axes), lambda R: R / diagonal, _dot)
        step = rotated(turned, np.ascontiguousarray(axes.T))
        A += step
        move = self.prior.mean(step, backend)
        X += move[:, : X.shape[1]]
        if bias is not None:
            bias += move[:, X.shape[1]]

    def _axes(self, F: Array) -> tuple[Array, Array]:
        """The eigenvalues and eigenvectors of C."""
        weighted = F.astype(np.float64) * np.sqrt(self.weights)[:, None]
        C = np.einsum("rk,rl->kl", weighted, weighted) / np.add.reduce(self.weights)
        with self.threads.limit(limits=1, user_api="blas"):  # the same bits everywhere
            values, axes = np.linalg.eigh(C)
        return np.maximum(values, 0.0), axes


def _joined(factors: Array, bias: Array | None) -> Array:
    """[W, b]."""
    return factors if bias is None else np.column_stack([factors, bias])


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("fk,fk->", a, b, dtype=np.float64))


def _dot_by_column(a: Array, b: Array) -> Array:
    found: Array = np.einsum("fk,fk->k", a, b, dtype=np.float64)
    return found


def _conjugate_gradients(
    matrix: Callable[[Array], Array],
    residual: Array,
    preconditioner: Callable[[Array], Array],
    dot: Callable[[Array, Array], Array],
) -> Array:
    """A few preconditioned steps from 0 towards M x = `residual`; `dot` decides what is one system."""
    x = np.zeros_like(residual)
    r = residual.copy()
    z = preconditioner(r)
    p = z.copy()
    rho = dot(r, z)
    for _ in range(_STEPS):
        if not (rho > 0).any():
            break
        y = matrix(p)
        curvature = dot(p, y)
        # a system that is solved has rho = 0, and stays where it is
        length = np.where(curvature > 0, rho / np.where(curvature > 0, curvature, 1.0), 0.0)
        x += (length * p).astype(x.dtype)
        r -= (length * y).astype(x.dtype)
        z = preconditioner(r)
        after = dot(r, z)
        p = (z + np.where(rho > 0, after / np.where(rho > 0, rho, 1.0), 0.0) * p).astype(x.dtype)
        rho = after
    return x
