"""Row problems that share a penalty on the scores of all cells, at the price of those that do not.

    (α₀ FᵀF + Σ a f fᵀ + s_u λ I) x = q + Σ b f

The matrix FᵀF is dense and in every row's system: conjugate gradients multiply by it in every step of
every row, and a row of few cells has no small dual. But the ridge is one λ for all factors, so that
nothing else is bound to the axes. In the eigenvectors Q of FᵀF = Q Λ Qᵀ,

    (α₀ Λ + Σ a f' f'ᵀ + s_u λ I) x' = Qᵀ q + Σ b f'          f' = Qᵀ f,   x = Q x'

the shared matrix is diagonal. Rotations of 2 K² operations a row of either side, and one decomposition
of about 9 K³, take its place; the axes of what is stored never change, so that a row that is folded in
is the row of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.backends.wide import wide_gram
from halfstep.errors import InternalError
from halfstep.solvers.linear import CG, Linear, NonNegative
from halfstep.threads import one_blas_thread

if TYPE_CHECKING:
    from halfstep.objectives import RowProblem

__all__ = ["Everywhere"]


@dataclass(frozen=True, slots=True)
class Everywhere:
    """A fixed side in the axes in which P = α₀ FᵀF is diagonal.

    Attributes
    ----------
    fixed : array (rows of F, K)
        F Q.
    prior : array (K,)
        α₀ Λ, the diagonal of P in these axes, not negative.
    basis, back : array (K, K)
        Q and Qᵀ.
    """

    fixed: Array
    prior: Array
    basis: Array
    back: Array

    @classmethod
    def of(cls, fixed: Array, alpha0: float, backend: Backend) -> Everywhere:
        """F in these axes, for P = `alpha0` FᵀF.

        A function of the arguments alone: the Gram matrix is summed in float64 by the backend, and
        decomposed on one thread of LAPACK.
        """
        K = fixed.shape[1]
        gram = wide_gram(fixed, backend)
        # what is not finite stays so: then no row has a solution, and one is named
        values, vectors = np.full(K, np.nan), np.eye(K)
        if np.isfinite(gram).all():
            with one_blas_thread():
                values, vectors = np.linalg.eigh(gram)
        basis = np.ascontiguousarray(vectors.astype(fixed.dtype))
        prior = (alpha0 * np.maximum(values, 0.0)).astype(fixed.dtype)
        turned = backend.rotate(np.ascontiguousarray(fixed), basis)
        return cls(turned, prior, basis, np.ascontiguousarray(basis.T))

    def solve(
        self,
        problem: RowProblem,
        cells: CSR,
        out: Array,
        backend: Backend,
        method: Linear | None = None,
    ) -> None:
        """Solve every row of `cells` with P added to the `problem`, into `out` (rows × K).

        Exactly, or by another `method`, for which `out` holds the start on entry. The problem has one
        ridge for all factors, no bias of its own and no P; signs mean nothing in other axes, so that
        it cannot be a non-negative one.

        Raises `SingularSystemError` with the number of the row.
        """
        if problem.nonnegative or isinstance(method, NonNegative):
            raise InternalError("non-negative factors have no other axes")
        if problem.prior is not None or len(problem.ridge) != len(self.prior):
            raise InternalError("the problem has a P or a bias of its own")
        if (problem.ridge != problem.ridge[0]).any():
            raise InternalError("the ridge is not the same for all factors")
        linear = None if problem.linear is None else backend.rotate(problem.linear, self.basis)
        start = method is not None and not method.exact
        turned = backend.rotate(out, self.basis) if start else np.empty_like(out)
        prior = self._held(problem, cells) if isinstance(method, CG) else self.prior
        there = replace(problem, prior=prior, linear=linear, mean=None)
        there.solve(cells, (self.fixed, None), (turned, None), backend, method)
        np.copyto(out, backend.rotate(turned, self.back))

    def _held(self, problem: RowProblem, cells: CSR) -> Array:
        """P, its entries no smaller than its rounding where the ridge is: F Q is 0 there but for
        rounding, which steps that the diagonal preconditions would follow.
        """
        least = np.finfo(self.prior.dtype).eps * self.prior.max()
        scale = 1.0
        if problem.scale is not None:
            scale = problem.scale[np.diff(cells.indptr) > 0].min(initial=np.inf)
        if problem.ridge[0] * scale >= least:
            return self.prior
        held: Array = np.maximum(self.prior, least)
        return held
