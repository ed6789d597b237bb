"""What features say of the rows of a side: a linear map into the means of their priors, drawn with
the rest.

    y_u ~ N(m + Aᵀ x_u, Λ⁻¹)                    A (F × D)
    A_f ~ N(0, (λ_g Λ)⁻¹),   λ_g ~ Gamma(½, ½)    g the group (the column of the table) of feature f

Given the rows, A is drawn by solving one ridge regression of perturbed targets: with A₀ and E drawn from
their priors,

    A = A₀ + argmin_B ‖Y − 1 mᵀ − X A₀ − E − X B‖² + Σ_f λ_f ‖B_f‖²

(Matheron's rule). Simm, Arany, Zakeri, Haber, Wegner, Chupakhin, Ceulemans and Moreau (2017),
«Macau: Scalable Bayesian Factorization with High-Dimensional Side Information Using MCMC», eq. 4 to
6; their λ is one for all features.
"""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.bayes.ridge import Ridge
from halfstep.data.ratings import take_rows
from halfstep.features.design import SideDesign
from halfstep.features.prior import prior_mean

__all__ = ["Effects"]

_TOL = 1e-2
"""Of the ridge regression's residuals, relative: what is left is small beside the noise of a draw."""


class Effects:
    """A and λ of one side in one chain.

    Attributes
    ----------
    map : array (F, D)
        A.
    strengths : array (groups,)
        λ_g.
    shift : array (rows, D)
        Aᵀ x of every row.
    """

    def __init__(
        self, rows: CSR, design: SideDesign, known: Array, D: int, dtype: str, backend: Backend
    ) -> None:
        self.rows, self.dtype, self.backend = rows, dtype, backend
        self.typical, self.unrated = design.typical, ~known
        groups, width = design.groups, design.width
        self.group = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        self.strengths = np.ones(len(groups))
        self.map = np.zeros((width, D))
        self.shift = np.zeros((rows.n_rows, D))
        # a row without ratings says nothing
        self._ridge = Ridge(take_rows(rows, np.flatnonzero(known)), width, dtype, backend)

    @property
    def penalties(self) -> Array:
        """λ of every feature."""
        return self.strengths[self.group]

    def scatter(self) -> Array:
        """Σ_f λ_f a_f a_fᵀ: what A says of Λ, with the weight of F rows."""
        return self.backend.gram(self.map, self.penalties)

    def draw(self, rows: Array, precision: Array, random: np.random.Generator) -> None:
        """A and then λ, given the rows that have ratings less m (N, D), and Λ."""
        F, D = self.map.shape
        root = np.linalg.cholesky(precision)
        roots = np.sqrt(self.penalties)[:, None]
        prior = np.linalg.solve(root.T, random.standard_normal((D, F))).T / roots
        noise = np.linalg.solve(root.T, random.standard_normal((D, len(rows)))).T
        targets = rows - noise - self._ridge.times(prior)
        change = self._ridge.solve(self.penalties, targets, tol=_TOL)
        self.map = np.ascontiguousarray(prior + change)
        A = self.map.astype(self.dtype)
        found = prior_mean(self.rows, A, self.typical, self.unrated, self.backend)
        self.shift = found.astype(np.float64)
        squares = np.einsum("fd,fd->f", self.map @ precision, self.map)
        for g in range(len(self.strengths)):
            own = self.group == g
            shape = 0.5 + 0.5 * D * np.count_nonzero(own)
            rate = 0.5 + 0.5 * float(np.add.reduce(squares[own]))
            self.strengths[g] = random.gamma(shape) / rate
