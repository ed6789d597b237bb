"""The λ above which no factor pays: where a path of λ begins."""

from __future__ import annotations

import math

import numpy as np

from halfstep.data.ratings import Ratings
from halfstep.diagnostics.certificate import Point
from halfstep.factors import Factors
from halfstep.objectives import Reg, Scaling, SquaredError, row_scale

__all__ = ["highest_level", "unit_of"]

_BIAS_REG = 5.0  # of the biases that are taken away first; the level hardly depends on it


def highest_level(ratings: Ratings, scaling: Scaling, *, mean: float, biases: bool) -> float:
    """‖S_w^-½ E S_z^-½‖₂ with E the residuals of μ and the biases: with λ above it W Zᵀ = 0 is optimal.

    The condition of the convex problem behind J (`diagnostics/certificate.py`) at M = 0: what the λ_max
    of a lasso path is for a linear model. 0 where biases explain the ratings to the last digit.
    """
    bias_reg = _BIAS_REG
    if scaling != "none":
        bias_reg /= max(float(np.mean(row_scale(ratings.by_user, scaling))), 1.0)
    objective = SquaredError(mean, Reg(1.0, 1.0, bias_reg), scaling, biases)
    nothing = Factors.random(ratings, 1, biases=biases, mean=mean, dtype="float64", seed=0)
    nothing.user_factors[...] = 0
    return Point(ratings.by_user, objective, nothing).certificate(0.0).spectral_ratio


def unit_of(ratings: Ratings, mean: float) -> float:
    """The power of 2 next to the spread of the ratings about μ: 1 for stars, and without any."""
    spread = float(np.sqrt(np.mean(np.square(ratings.by_user.values - mean, dtype=np.float64))))
    return 2.0 ** round(math.log2(spread)) if spread > 0 else 1.0
