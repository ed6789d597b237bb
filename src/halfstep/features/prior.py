"""Features as the prior of the rows of one side: w_u is drawn towards A'x_u, with a penalty on A."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ratings import transpose

__all__ = ["AUTO", "FeaturePrior", "FeaturePriors"]

AUTO = 1.5
"""λ_f of "auto": so many times λ of the factors of that side, times the mean of s over its rows."""


@dataclass(frozen=True, slots=True, eq=False)
class FeaturePrior:
    """X of the rows of a fit, and the penalty of its map A (F × K, and a column a for the bias).

    Attributes
    ----------
    rows, columns : CSR
        X (rows × F) and its transpose.
    penalty : array (F,), float64
        λ_f √(1 + t_f), t_f = Σ_u x_uf² over the rows that have ratings: a feature that many rows have is
        learned from more of them, and would else hardly be penalized at all.
    typical : array (F,), float32, or None
        What stands for the implicit features of a row without ratings: their mean over the others.
    rated : mask over the rows
        Those that have ratings. The others are no part of J: they are A'x_u.
    """

    rows: CSR
    columns: CSR
    penalty: Array
    typical: Array | None
    rated: Array

    @classmethod
    def of(
        cls, rows: CSR, width: int, cells: CSR, strength: float, typical: Array | None
    ) -> FeaturePrior:
        """For rows with these `cells` of ratings; `strength` is λ_f."""
        rated = np.diff(cells.indptr) > 0
        mass = squares_by_column(rows, width, rated.astype(np.float64))
        penalty = strength * np.sqrt(1.0 + mass)
        return cls(rows, transpose(rows, width), penalty, typical, rated)

    @property
    def width(self) -> int:
        """F."""
        return len(self.penalty)

    def mean(self, A: Array, backend: Backend) -> Array:
        """A'x_u of every row, in the precision of A."""
        return prior_mean(self.rows, A, self.typical, ~self.rated, backend)


@dataclass(frozen=True, slots=True, eq=False)
class FeaturePriors:
    """That of each side; None where a side has no features."""

    user: FeaturePrior | None
    item: FeaturePrior | None


def prior_mean(
    rows: CSR, A: Array, typical: Array | None, unrated: Array, backend: Backend
) -> Array:
    """A'x of every row, with `typical` for the implicit features of those of the mask `unrated`."""
    found = backend.multiply(rows, A)
    if typical is not None and unrated.any():
        there = np.flatnonzero(typical)
        one = CSR(np.array([0, len(there)]), there.astype(np.uint32), typical[there])
        found[unrated] += backend.multiply(one, A)[0]
    return found


def squares_by_column(rows: CSR, width: int, weights: Array) -> Array:
    """Σ_u weight_u x_uf² for every column, float64."""
    each = np.repeat(weights, np.diff(rows.indptr))
    squares = each * np.square(rows.values.astype(np.float64))
    return np.bincount(rows.indices, squares, width)
