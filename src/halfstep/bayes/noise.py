"""The noise of ratings: how far they lie from μ + b_u + b_i + w_u·z_i, for everyone or for each user.

    r_ui ~ N(r̂_ui, 1 / (α γ_u c_ui))
    α ~ Gamma(½, ½ s²),   γ_u ~ Gamma(ν/2, ν/2),   log ν uniform on [0, log 200]

s is the standard deviation of the ratings. Some people rate more consistently than others: the
ratings of a steady user say more, of the user and of the items (Lakshminarayanan, Bouchard and
Archambeau 2011, «Robust Bayesian Matrix Factorisation»). With «shared» noise all γ_u are 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.data.ratings import Ratings
from halfstep.objectives import Side, row_weights

__all__ = ["Noise", "steadied", "typical_steadiness"]

_FREEDOMS = np.geomspace(1.0, 200.0, 200)
"""The values that ν may take."""


@dataclass(slots=True)
class Noise:
    """α, γ and ν of a chain.

    `users` (m,) is γ, or None where the noise is shared.
    """

    ratings: Ratings
    spread: float
    alpha: float
    users: Array | None
    freedom: float = 10.0

    def draw(self, squares: Array, random: np.random.Generator) -> None:
        """γ, ν and α given Σ_i c (r − r̂)² of every user.

        γ_u ~ Gamma((ν + n_u) / 2, rate (ν + α Σ_i c e²) / 2)
        α ~ Gamma((1 + Σ c) / 2, rate (s² + Σ γ c e²) / 2)
        """
        counts = row_weights(self.ratings.by_user)
        if self.users is not None:
            shape = 0.5 * (self.freedom + counts)
            rate = 0.5 * (self.freedom + self.alpha * squares)
            self.users = random.gamma(shape) / rate
            self.freedom = self._drawn_freedom(self.users[counts > 0], random)
            squares = squares * self.users
        total = float(np.add.reduce(squares))
        shape_of_all = 0.5 + 0.5 * float(np.add.reduce(counts))
        self.alpha = random.gamma(shape_of_all) / (0.5 * self.spread**2 + 0.5 * total)

    @staticmethod
    def _drawn_freedom(users: Array, random: np.random.Generator) -> float:
        """ν given γ, on the grid."""
        from scipy.special import gammaln

        half = 0.5 * _FREEDOMS
        logs = float(np.add.reduce(np.log(users)))
        log_density = len(users) * (half * np.log(half) - gammaln(half))
        log_density += half * (logs - float(np.add.reduce(users)))
        return float(_FREEDOMS[np.argmax(log_density + random.gumbel(size=len(half)))])

    def cells(self, side: Side) -> CSR:
        """The ratings by rows of a side, every one with the weight c γ_u."""
        ratings = self.ratings
        return steadied(ratings.by_user if side == "user" else ratings.by_item, self.users, side)


def steadied(cells: CSR, users: Array | None, side: Side) -> CSR:
    """Cells by rows of a side, every one with the weight c γ_u (`users` is γ; None: 1)."""
    if users is None:
        return cells
    users = users.astype(np.float32)
    if side == "user":
        own = np.repeat(users, np.diff(cells.indptr))
    else:
        own = np.take(users, cells.indices, mode="clip")  # they are in range
    return replace(cells, weights=own if cells.weights is None else own * cells.weights)


def typical_steadiness(freedom: float | Array) -> Any:
    """1 / E[1/γ] for γ ~ Gamma(ν/2, ν/2), as that of a user of whom nothing is known: with it the
    variance of a rating is the expected one. `freedom`: ν, one or several.
    """
    return np.maximum(1.0 - 2.0 / freedom, 1e-2)
