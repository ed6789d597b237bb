"""The prior of the rows of a side, and how it is drawn given the rows.

    y_u ~ N(m, Λ⁻¹)        y = (w, b), the factors of a row and its bias; D = K + 1 entries
    m | Λ ~ N(0, (β₀ Λ)⁻¹),   Λ ~ Wishart(W₀, ν₀)

with β₀ = 1, ν₀ = D and W₀⁻¹ = 0.01 diag(s, …, s, s²), s the standard deviation of the ratings: w·z has
the unit of a rating and so has b, so that ratings in another unit give the same model. The prior of a
covariance Λ⁻¹ is thus weak and small: with W₀ = I, directions that the ratings do not need would be kept
too long, and more so the more there are. Salakhutdinov and Mnih (2008), «Bayesian
Probabilistic Matrix Factorization using Markov Chain Monte Carlo», eq. 5 to 7 and 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.bayes.averages import gram_of

if TYPE_CHECKING:
    from halfstep.bayes.effects import Effects

__all__ = ["RowPrior", "draw_prior", "first_prior", "smallest_scatter"]


_STRENGTH = 1.0
"""β₀."""
_SMALL = 0.01


def _units(rank: int, biased: bool, spread: float) -> Array:
    """The units of w² and b², for ratings of the standard deviation s."""
    return np.array([spread] * rank + [spread**2] * biased)


def smallest_scatter(rank: int, biased: bool, spread: float) -> Array:
    """The diagonal of W₀⁻¹, for ratings of the standard deviation `spread`."""
    return _SMALL * _units(rank, biased, spread)


@dataclass(frozen=True, slots=True)
class RowPrior:
    """m (D,) and Λ (D, D) of one side, float64.

    With features, `shift` (rows, D) is Aᵀ x of every row and `effects` (F, D) is A. Rows that are met
    in a rating are not rows drawn at random: those of many ratings are met more often, and a popular
    item is liked more. `lift` (D,) is by how much, Σ_u n_u (y_u − m − Aᵀ x_u) / Σ_u n_u, and is added
    to what is expected of a row without ratings (None: 0). `typical` (D,), the mean of m + Aᵀ x over the
    rows that have ratings and the lift, is expected of a row that nothing is known of.
    """

    mean: Array
    precision: Array
    typical: Array
    shift: Array | None = None
    effects: Array | None = None
    lift: Array | None = None

    def means(self, rows: Array) -> Array:
        """What is expected of these rows, which have no ratings: m + Aᵀ x, and the lift."""
        mean = self.mean if self.lift is None else self.mean + self.lift
        if self.shift is None:
            return np.broadcast_to(mean, (len(rows), len(mean)))
        found: Array = mean + self.shift[rows]
        return found

    def linear(self, dtype: str) -> Array:
        """Λ (m + Aᵀ x): one row for all, or one each."""
        means = self.mean[None] if self.shift is None else self.mean + self.shift
        found: Array = np.ascontiguousarray((means @ self.precision).astype(dtype))
        return found

    @property
    def log_determinant(self) -> float:
        """log |Λ|."""
        return float(2 * np.add.reduce(np.log(np.diag(np.linalg.cholesky(self.precision)))))


def first_prior(rank: int, biased: bool, spread: float) -> RowPrior:
    """m = 0 and Λ⁻¹ = diag(s, …, s, s²): where a chain begins."""
    units = _units(rank, biased, spread)
    zeros = np.zeros(len(units))
    return RowPrior(zeros, np.diag(1.0 / units), zeros, lift=zeros)


def draw_prior(
    rows: Array,
    smallest: Array,
    random: np.random.Generator,
    backend: Backend,
    effects: Effects | None = None,
) -> tuple[Array, Array]:
    """m and Λ drawn given the rows y (N, D), less their shifts; `smallest` is the diagonal of W₀⁻¹.

    Λ ~ Wishart(W, ν₀ + N),   W⁻¹ = W₀⁻¹ + Σ (y − ȳ)(y − ȳ)ᵀ + β₀ N / (β₀ + N) ȳ ȳᵀ
    m ~ N(N ȳ / (β₀ + N), ((β₀ + N) Λ)⁻¹)
    """
    N, D = rows.shape
    mean = np.add.reduce(rows, axis=0, dtype=np.float64) / max(N, 1)
    scatter = gram_of(rows - mean.astype(rows.dtype), None, backend)
    strength = _STRENGTH + N
    inverse = scatter + (_STRENGTH * N / strength) * np.outer(mean, mean)
    inverse[np.diag_indices(D)] += smallest
    freedom = D + N
    if effects is not None:  # their prior has the scale of Λ too
        inverse += effects.scatter()
        freedom += len(effects.map)
    precision = _wishart(inverse, freedom, random)
    L = np.linalg.cholesky(strength * precision)
    centre = N / strength * mean
    return centre + np.linalg.solve(L.T, random.standard_normal(D)), precision


def _wishart(inverse_scale: Array, freedom: float, random: np.random.Generator) -> Array:
    """Λ ~ Wishart(W, ν) given W⁻¹, by Bartlett's decomposition: Λ = (C T)(C T)ᵀ with C Cᵀ = W."""
    D = len(inverse_scale)
    T = np.tril(random.standard_normal((D, D)), -1)
    T[np.diag_indices(D)] = np.sqrt(random.chisquare(freedom - np.arange(D)))
    # W⁻¹ = L Lᵀ, so C = L⁻ᵀ
    root = np.linalg.solve(np.linalg.cholesky(inverse_scale).T, T)
    found: Array = root @ root.T
    return found
