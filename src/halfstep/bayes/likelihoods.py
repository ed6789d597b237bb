"""What the sampler draws of a likelihood, and the numbers that the rows are then drawn from.

Whatever the likelihood, a row is drawn from cells of normal numbers with the precision α c_ui: the
ratings themselves, or latent numbers that stand behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from halfstep.backends.base import CSR
from halfstep.data.ratings import Ratings
from halfstep.objectives import row_weights

if TYPE_CHECKING:
    from halfstep.bayes.density import PosteriorDensity

__all__ = ["Gaussian", "Likelihood"]


class Likelihood(Protocol):
    """One chain's. `spread` is the unit of r̂, for the priors of the rows."""

    @property
    def spread(self) -> float:
        """The standard deviation of what the rows are drawn from, as far as it is known before."""

    def draw(self) -> tuple[CSR, CSR]:
        """Draw the likelihood's own unknowns given the factors at which the density was worked out last.

        They are put into the density. Returns what the rows are to be drawn from, by user and by item.
        """


@dataclass(frozen=True, slots=True)
class Gaussian:
    """r_ui ~ N(r̂_ui, 1 / (α c_ui)), α drawn: α ~ Gamma(½ + ½ Σ c, rate ½ s² + ½ Σ c (r − r̂)²)."""

    density: PosteriorDensity
    ratings: Ratings
    spread: float
    random: np.random.Generator

    def draw(self) -> tuple[CSR, CSR]:
        count = float(np.add.reduce(row_weights(self.ratings.by_user)))
        rate = 0.5 * self.spread**2 + 0.5 * self.density.squares
        self.density.alpha = self.random.gamma(0.5 + 0.5 * count) / rate
        return self.ratings.by_user, self.ratings.by_item
