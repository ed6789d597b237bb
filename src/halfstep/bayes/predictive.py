"""How sure a prediction is: the spread of the draws, and the noise of a rating.

    r_ui = r̂_ui,s + ε / √(α_s γ_us),   s a draw
    Var r_ui = Var_s r̂_ui,s + mean_s 1/(α_s γ_us)

ε is a standard normal number in the model; ratings are not quite (steps, a ceiling). An interval
takes ε to be distributed like the residuals √(c α_s) (r − r̂_s) of the fitted ratings at the draws,
which are draws of ε where the model is right: unlike the residuals of the best fit they are not too
small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.bayes.posterior import Draw
from halfstep.models.calibration import check_level

__all__ = ["NoiseShape", "noise_variance", "variance"]

_QUANTILES = 400
_CELLS = 100_000
"""Ratings whose residuals are taken, at most."""
_DRAWS = 8
"""Draws at which they are taken, at most."""
_NORMALS = 64
"""Quantiles that stand for a normal distribution."""


def variance(
    draws: Sequence[Draw], users: Array, items: Array, backend: Backend, *, rated: bool = False
) -> Array:
    """Var_s r̂_ui,s for pairs of row numbers (−1: unknown), float64; with `rated` that of E r given each
    draw, which is another where ratings are ordered levels.
    """
    mean, squares = np.zeros(len(users)), np.zeros(len(users))
    for count, draw in enumerate(draws, start=1):  # Welford's update
        found = draw.predicted(users, items, backend)
        gap = (draw.rated(found) if rated else found) - mean
        mean += gap / count
        squares += gap * gap * ((count - 1) / count)
    return squares / max(len(draws) - 1, 1)


def noise_variance(draws: Sequence[Draw], users: Array) -> Array:
    """mean_s 1/(α_s γ_us), the variance of the noise of a rating of weight 1, for row numbers of
    users.
    """
    total = np.zeros(len(users))
    for draw in draws:
        total += 1.0 / draw.precision(users)
    return total / len(draws)


@dataclass(frozen=True, slots=True)
class NoiseShape:
    """The distribution of ε by its quantiles at (k + ½) / N, ascending."""

    quantiles: Array

    @classmethod
    def of(cls, draws: Sequence[Draw], cells: CSR, backend: Backend) -> NoiseShape:
        """From the residuals of (at most 100,000 of) the fitted ratings at some of the draws."""
        some = np.unique(np.linspace(0, len(draws) - 1, _DRAWS).astype(int))
        rows = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
        picked = np.unique(np.linspace(0, cells.nnz - 1, min(cells.nnz, _CELLS)).astype(np.int64))
        users, items = rows[picked], cells.indices[picked].astype(np.int64)
        root = 1.0 if cells.weights is None else np.sqrt(cells.weights[picked].astype(np.float64))
        residuals = np.concatenate(
            [
                (cells.values[picked] - draw.predicted(users, items, backend))
                * (root * np.sqrt(draw.precision(users)))
                for draw in (draws[number] for number in some)
            ]
        )
        levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        return cls(np.quantile(residuals, levels))

    def ends(self, level: float, share: Array) -> tuple[Array, Array]:
        """The quantiles (1 ± level) / 2 of √share · g + √(1 − share) · ε, g a standard normal number.

        `share`: of each pair, how much of the variance is not noise. Raises `ParameterError` where
        the level is not in (0, 1).
        """
        from scipy.special import ndtri

        check_level(level)
        grid = np.linspace(0.0, 1.0, 21)
        g = ndtri((np.arange(_NORMALS) + 0.5) / _NORMALS)
        g /= np.sqrt(np.mean(g * g))
        wanted = [(1 - level) / 2, (1 + level) / 2]
        ends = np.array(
            [
                np.quantile(
                    np.add.outer(np.sqrt(part) * g, np.sqrt(1 - part) * self.quantiles), wanted
                )
                for part in grid
            ]
        )
        return np.interp(share, grid, ends[:, 0]), np.interp(share, grid, ends[:, 1])
