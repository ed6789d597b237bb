"""Ridge regression on sparse features, for many targets at once.

    A = argmin ‖R − X A‖² + Σ_f d_f ‖A_f‖²        X (N × F) sparse, R (N × D), A_f the rows of A

Up to 256 columns exactly, by Cholesky's factorization of XᵀX + diag(d). Beyond, in the N × N dual

    A = D⁻¹ Xᵀ V,   (I + X D⁻¹ Xᵀ) V = R

by conjugate gradients, a step length for each target, until every residual is small. Rows of
features that nearly everyone shares give X D⁻¹ Xᵀ a few large eigenvalues and a long flat rest: the
preconditioner takes the large ones out (the Nyström approximation of a randomized subspace: Halko,
Martinsson and Tropp 2011; Frangella, Tropp and Udell 2023, «Randomized Nyström preconditioning»),
which saves three steps in four.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ratings import transpose

__all__ = ["Ridge"]

_EXACT = 256
"""Columns up to which XᵀX is factored."""
_KEPT = 128
"""Eigenvectors of the preconditioner."""
_DRIFT = 1.5
"""By how much d may have changed before it is made again."""
_MOST_STEPS = 200


@dataclass(slots=True)
class _Preconditioner:
    """I + Q diag(g) Qᵀ, made for the penalties `made_for`."""

    made_for: Array
    basis: Array
    gain: Array

    def times(self, R: Array) -> Array:
        found: Array = R + self.basis @ (self.gain[:, None] * (self.basis.T @ R))
        return found


class Ridge:
    """The regressions of one X; `steps` is how many steps the last one took (0: exact)."""

    def __init__(self, cells: CSR, width: int, dtype: str, backend: Backend) -> None:
        self.cells, self.width, self.dtype, self.backend = cells, width, dtype, backend
        self.transposed = transpose(cells, width)
        self.steps = 0
        self._gram: Array | None = None
        self._preconditioner: _Preconditioner | None = None
        if width <= _EXACT:
            X = cells.to_scipy(width)
            self._gram = np.asarray((X.T @ X).toarray())

    def times(self, A: Array) -> Array:
        """X A."""
        return self.backend.multiply(self.cells, np.ascontiguousarray(A, dtype=self.dtype))

    def times_transposed(self, R: Array) -> Array:
        """Xᵀ R."""
        return self.backend.multiply(self.transposed, np.ascontiguousarray(R, dtype=self.dtype))

    def solve(self, d: Array, R: Array, *, tol: float) -> Array:
        """A for penalties d (F) and targets R (N × D); `tol`: of the residuals, relative to R."""
        if self._gram is not None:
            from scipy.linalg import cho_factor, cho_solve

            self.steps = 0
            factor = cho_factor(self._gram + np.diag(d))
            exact: Array = cho_solve(factor, self.times_transposed(R).astype(np.float64))
            return exact
        inverse = (1.0 / d).astype(self.dtype)[:, None]
        V = self._conjugate_gradients(d, inverse, R.astype(self.dtype), tol)
        found: Array = inverse * self.times_transposed(V)
        return found

    def _conjugate_gradients(self, d: Array, inverse: Array, R: Array, tol: float) -> Array:
        precondition = self._ready(d, inverse).times
        V, rest = np.zeros_like(R), R.copy()
        step = precondition(rest)
        along = _products(rest, step)
        limit = tol * tol * _products(R, R)
        direction = step
        for count in range(1, _MOST_STEPS + 1):
            image = direction + self.times(inverse * self.times_transposed(direction))
            curvature = _products(direction, image)
            length = (along / np.where(curvature > 0, curvature, np.inf)).astype(self.dtype)
            V += length * direction
            rest -= length * image
            self.steps = count
            if (_products(rest, rest) <= limit).all():
                break
            step = precondition(rest)
            before, along = along, _products(rest, step)
            ratio = (along / np.where(before > 0, before, np.inf)).astype(self.dtype)
            direction = step + ratio * direction
        return V

    def _ready(self, d: Array, inverse: Array) -> _Preconditioner:
        """The preconditioner, made again where the penalties have moved away."""
        kept = self._preconditioner
        if kept is not None:
            drift = d / kept.made_for
            if drift.max() <= _DRIFT and drift.min() >= 1 / _DRIFT:
                return kept
        N = self.cells.n_rows
        columns = min(_KEPT, N)
        sketch = np.random.Generator(np.random.Philox(0)).standard_normal((N, columns))
        for _ in range(2):
            basis = np.linalg.qr(sketch)[0]
            sketch = self.times(inverse * self.times_transposed(basis)).astype(np.float64)
        basis = np.linalg.qr(sketch)[0]
        half = np.sqrt(inverse) * self.times_transposed(basis)
        values, axes = np.linalg.eigh(self.backend.gram(half.astype(np.float64)))
        gain = (1 + values[0]) / (1 + values) - 1
        self._preconditioner = _Preconditioner(
            d.copy(), (basis @ axes).astype(self.dtype), gain.astype(self.dtype)
        )
        return self._preconditioner


def _products(A: Array, B: Array) -> Array:
    """a·b of every pair of columns, float64."""
    found: Array = np.einsum("nd,nd->d", A, B, dtype=np.float64)
    return found
