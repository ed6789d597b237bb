"""What alternating least squares does between its sweeps to need fewer of them.

A sweep depends on where its fixed side stands alone, so any point that J is lower at is a better one to
begin from.

Balance. W T and Z T⁻ᵀ predict the same for every invertible T, and only the penalties tell them
apart. Where λ is small a sweep hardly moves T, so that ALS spends dozens of sweeps on it. Its minimum
has a closed form: with A = λ_w Wᵀ S_w W and B = λ_z Zᵀ S_z Z, tr(A M) + tr(B M⁻¹), M = T Tᵀ, is least
at the geometric mean of A⁻¹ and B,

    M = A^−½ (A^½ B A^½)^½ A^−½

Line search. From one sweep to the next the factors go on in about the same direction, and J along it
is a polynomial of degree 4, whose coefficients one pass over the cells gives: its minimum is where the
next sweep begins (the «enhanced line search» of Rajih, Comon and Harshman 2008 for tensors; Winlaw,
Hynes, Caterini and De Sterck 2015 for recommendations). No step raises J.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.backends.wide import wide_gram
from halfstep.factors import Factors
from halfstep.objectives import Along
from halfstep.solvers.base import Problem
from halfstep.threads import one_blas_thread

__all__ = ["Acceleration"]

_FLOOR = 1e-10  # of an eigenvalue beside the largest, below which a direction counts as unused


class Acceleration:
    """Where the sweeps of one fit begin."""

    def __init__(self, problem: Problem, objective: Along, backend: Backend) -> None:
        self.problem, self.objective, self.backend = problem, objective, backend
        self.before: Factors | None = None

    def begun(self, current: Factors) -> Factors:
        """The point that the next sweep begins from, in arrays of its own."""
        point = current.copy()
        if not current.item_factors.any():  # before the first sweep
            return point
        if self.before is not None:
            way = point._map(np.copy)
            for own, old in zip(way._arrays(), self.before._arrays(), strict=True):
                own -= old
            t = self._best(current, way)
            for own, step in zip(point._arrays(), way._arrays(), strict=True):
                own += own.dtype.type(t) * step
        T, inverse = self._balance(point)
        self.before = self._turned(current, T, inverse)
        return self._turned(point, T, inverse)

    def _best(self, current: Factors, way: Factors) -> float:
        """The t at which J is least along the way, 0 where no other is better."""
        problem = self.problem
        found = self.objective.along(problem.by_user, problem.by_item, current, way, self.backend)
        slopes = np.polynomial.polynomial.polyder(found)
        if not np.isfinite(found).all() or not slopes.any():
            return 0.0
        roots = np.polynomial.polynomial.polyroots(np.trim_zeros(slopes, "b"))
        turns = np.append(0.0, roots.real[np.abs(roots.imag) <= 1e-9 * np.abs(roots.real)])
        values = np.polynomial.polynomial.polyval(turns, found)
        return float(turns[int(np.argmin(values))])

    def _balance(self, at: Factors) -> tuple[Array, Array]:
        """T and T⁻ᵀ, float64."""
        sides = []
        for side, rows in (("user", at.user_factors), ("item", at.item_factors)):
            cells, problem = self.problem.side("user" if side == "user" else "item")
            s = np.ones(cells.n_rows) if problem.scale is None else problem.scale.astype(np.float64)
            sides.append(float(problem.ridge[0]) * wide_gram(rows, self.backend, s))
        A, B = sides
        K = len(A)
        if not (np.isfinite(A).all() and np.isfinite(B).all() and A.any() and B.any()):
            return np.eye(K), np.eye(K)
        with one_blas_thread():
            root, inverse = _powers(A, 0.5), _powers(A, -0.5)
            M = inverse @ _powers(root @ B @ root, 0.5) @ inverse
            return _powers(M, 0.5), _powers(M, -0.5)

    def _turned(self, factors: Factors, T: Array, inverse: Array) -> Factors:
        """W T and Z T⁻ᵀ (T is symmetric)."""
        dtype = factors.user_factors.dtype
        return replace(
            factors,
            user_factors=self.backend.rotate(factors.user_factors, T.astype(dtype)),
            item_factors=self.backend.rotate(factors.item_factors, inverse.astype(dtype)),
        )


def _powers(A: Array, power: float) -> Array:
    """A^power of a symmetric A ≥ 0, its eigenvalues kept above a share of the largest."""
    values, axes = np.linalg.eigh((A + A.T) / 2)
    values = np.maximum(values, _FLOOR * values[-1])
    found: Array = (axes * values**power) @ axes.T
    return found
