"""What the sampler draws of a likelihood, and the numbers that the rows are then drawn from.

Whatever the likelihood, a row is drawn from cells of normal numbers with the precision α c_ui: the
ratings themselves, or latent numbers that stand behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from halfstep.backends.base import CSR
from halfstep.bayes.noise import Noise

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
    """Ratings with normal noise (`noise.py`): each is what its rows are drawn from, with a weight."""

    density: PosteriorDensity
    noise: Noise
    random: np.random.Generator

    @property
    def spread(self) -> float:
        """The standard deviation of the ratings."""
        return self.noise.spread

    def draw(self) -> tuple[CSR, CSR]:
        density, noise = self.density, self.noise
        assert density.squares is not None
        noise.draw(density.squares, self.random)
        density.alpha, density.steadiness = noise.alpha, noise.users
        density.freedom = noise.freedom
        return noise.cells("user"), noise.cells("item")
