"""b_u and b_i that are optimal together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import is_number
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.residuals import weights_of
from halfstep.objectives import Scaling, scales

__all__ = ["BiasTerms", "check_bias_reg", "fit_biases", "shrunken_item_means"]

_TOLERANCE = 1e-10  # of the residual of the linear system, relative to its right-hand side
_MOST_STEPS = 1000


@dataclass(frozen=True, slots=True)
class BiasTerms:
    """b_ui = μ + b_u + b_i."""

    mean: float
    user: Array
    item: Array

    def at(self, users: Array, items: Array) -> Array:
        """b_ui of pairs of row numbers; the bias of an unknown row (−1) is 0."""
        total = np.full(len(users), self.mean)
        for rows, bias in ((users, self.user), (items, self.item)):
            total += np.where(rows < 0, 0.0, bias[rows])
        return total

    def residuals(self, users: Array, items: Array, ratings: Array) -> Array:
        """r − b_ui; 0 where it is no more than rounding, which has no direction."""
        found: Array = ratings - self.at(users, items)
        found[np.abs(found) <= 1e-9 * (np.abs(ratings) + abs(self.mean))] = 0.0
        return found


def check_bias_reg(reg: Any, name: str = "reg") -> tuple[float, float]:
    """λ of users and of items, from one number or two.

    >>> check_bias_reg(5)
    (5.0, 5.0)
    """
    values = list(reg) if isinstance(reg, (list, tuple, np.ndarray)) and np.ndim(reg) else [reg] * 2
    if len(values) != 2 or not all(is_number(v) and 0 <= v < np.inf for v in values):
        raise ParameterError(
            name,
            reg,
            "must be one finite number ≥ 0, or two: for users and items",
            f"try {name}=5.0",
        )
    return float(values[0]), float(values[1])


def fit_biases(
    ratings: Ratings, reg: tuple[float, float], reg_scaling: Scaling = "none"
) -> BiasTerms:
    """μ, the mean of the ratings, and b_u and b_i that then minimize

        ½ Σ_Ω c_ui (r_ui − μ − b_u − b_i)² + ½ λ_u Σ_u s_u b_u² + ½ λ_i Σ_i s_i b_i²

    The items are eliminated, b_i = (Σ_u c (r − μ − b_u)) / (n_i + λ_i s_i), and what is left for the
    users is solved by conjugate gradients, preconditioned by its diagonal n_u + λ_u s_u: alternating
    exact half-steps, accelerated. A row without ratings has the bias 0.
    """
    m, n = ratings.shape
    users, items, c, centred = _columns(ratings)
    steepness = []
    for rows, count, lam, s in zip(
        (users, items), (m, n), reg, scales(ratings.by_user, n, reg_scaling), strict=True
    ):
        d = np.bincount(rows, c, count) + lam * s
        steepness.append(np.where(d > 0, d, 1.0))
    d_u, d_i = steepness

    def by_user(b_i: Array) -> Array:
        return np.bincount(users, c * b_i[items], m)

    def by_item(b_u: Array) -> Array:
        return np.bincount(items, c * b_u[users], n)

    pull_i = np.bincount(items, c * centred, n)
    residual: Array = np.bincount(users, c * centred, m) - by_user(pull_i / d_i)
    b_u = np.zeros(m)
    step = residual / d_u
    rho = first = float(np.add.reduce(residual * step))
    for _ in range(_MOST_STEPS):
        if rho <= _TOLERANCE**2 * first:
            break
        image = d_u * step - by_user(by_item(step) / d_i)
        curvature = float(np.add.reduce(step * image))
        if curvature <= 0:  # λ = 0, to rounding: nothing is left to gain
            break
        b_u += rho / curvature * step
        residual -= rho / curvature * image
        scaled = residual / d_u
        before, rho = rho, float(np.add.reduce(residual * scaled))
        step = scaled + rho / before * step
    return BiasTerms(ratings.mean(), b_u, (pull_i - by_item(b_u)) / d_i)


def shrunken_item_means(ratings: Ratings, reg: float) -> Array:
    """b_i = Σ_u c (r − μ) / (n_i + λ): how far an item's mean is from μ, shrunken; 0 without ratings."""
    _, items, c, centred = _columns(ratings)
    n = ratings.shape[1]
    d = np.bincount(items, c, n) + reg
    return np.bincount(items, c * centred, n) / np.where(d > 0, d, 1.0)


def _columns(ratings: Ratings) -> tuple[Array, Array, Array, Array]:
    """(user rows, item rows, c, r − μ) of every cell, in the order of `by_user`."""
    cells = ratings.by_user
    return (
        ratings.user_index(),
        cells.indices.astype(np.int64),
        weights_of(ratings),
        cells.values.astype(np.float64) - ratings.mean(),
    )
