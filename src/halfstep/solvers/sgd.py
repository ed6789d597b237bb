"""Stochastic gradient descent: one observed rating after the other.

For a rating r_ui of weight c, with e = r − μ − b_u − b_i − w·z before the step:

    w_u ← (w_u + η_u c e z_i) / (1 + η_u c λ_w s_u / n_u)        z_i likewise, with the old w_u
    b_u ← (b_u + η'_u c e) / (1 + η'_u c λ_b s_u / n_u)          b_i likewise

To first order in η this is w_u + η_u c (e z_i − λ_w (s_u / n_u) w_u), the stochastic gradient of J: the terms
of all ratings sum to J. The penalty is taken where the step ends, not where it begins (a proximal step), so
that no λ is too large for a rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from halfstep.backends.base import CSR, Array, Backend, Parts, StepRows, StepTerms
from halfstep.errors import ParameterError
from halfstep.factors import Factors, deviation
from halfstep.objectives import SquaredError, row_weights
from halfstep.solvers.base import Problem, Sweep

__all__ = ["SGD"]


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent. A sweep is an epoch: every rating once.

    Rates are those of ratings in units of σ, their standard deviation around μ, so that they do not depend on
    the scale: η_u = η_t / σ for factors, and η'_u = η_t for biases, with t = 1, 2, … the epoch.

    Parameters
    ----------
    rate : float, optional
        η_1. By default 0.1 with "adagrad", else 0.02.
    schedule : {"adagrad", "decay", "constant"}
        "constant": η_t = η_1. "decay": η_t = η_1 / (1 + `decay` (t − 1)). "adagrad": every row has a rate of
        its own, η_1 / √G, where G = 1 + Σ (c e)² / (σ² √K) over the steps of the row so far.
    decay : float
        How fast "decay" lowers the rate.
    seed : int
        Of the order in which ratings are visited.
    """

    rate: float | None = None
    schedule: Literal["adagrad", "decay", "constant"] = "adagrad"
    decay: float = 0.1
    seed: int = 0

    name: ClassVar[str] = "sgd"
    ends_with_users: ClassVar[bool] = False
    descends: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.rate is not None and not (_number(self.rate) and 0 < self.rate < math.inf):
            raise ParameterError(
                "rate", self.rate, "must be a finite number above 0, or None", "try rate=0.05"
            )
        if self.schedule not in ("adagrad", "decay", "constant"):
            raise ParameterError(
                "schedule",
                self.schedule,
                "is not known",
                "choose one of adagrad, decay, constant",
            )
        if not (_number(self.decay) and 0 <= self.decay < math.inf):
            raise ParameterError(
                "decay", self.decay, "must be a finite number of at least 0", "try decay=0.1"
            )
        whole = isinstance(self.seed, (int, np.integer)) and not isinstance(self.seed, bool)
        if not whole or not 0 <= self.seed < 1 << 63:
            raise ParameterError(
                "seed", self.seed, "must be an integer from 0 to 2⁶³ − 1", "try seed=0"
            )

    def rate_at(self, epoch: int) -> float:
        """η_t, for t = `epoch`."""
        first = (0.1 if self.schedule == "adagrad" else 0.02) if self.rate is None else self.rate
        return float(first) / (1 + (self.decay * (epoch - 1) if self.schedule == "decay" else 0))

    def begin(self, problem: Problem, start: Factors, backend: Backend) -> Sweep:
        objective = problem.objective
        if not isinstance(objective, SquaredError):
            raise ParameterError(
                "solver",
                self.name,
                f"does not minimize {type(objective).__name__}",
                "choose another solver",
            )
        ratings = problem.ratings
        by_user, by_item = ratings.by_user, ratings.by_item
        σ = deviation(by_user, objective.mean)
        _prepare(start, (by_user, by_item), σ, self.seed, objective.nonnegative)
        parts = _parts(start.rank, *ratings.shape, by_user.nnz)
        deal = np.random.default_rng(self.seed)
        grid = backend.sgd_grid(
            by_user, _dealt(by_user, parts, deal), _dealt(by_item, parts, deal)
        )
        dtype = start.user_factors.dtype
        adaptive = self.schedule == "adagrad"
        kept = [
            (
                _shares(cells, dtype) if objective.reg_scaling == "none" else None,
                np.ones(cells.n_rows, dtype=dtype) if adaptive else None,
            )
            for cells in (by_user, by_item)
        ]
        epoch = 0

        def sweep(current: Factors, out: Factors) -> Iterator[str]:
            nonlocal epoch
            epoch += 1
            current.copy_to(out)
            η = self.rate_at(epoch)
            reg = (objective.reg.user, objective.reg.item, objective.reg.bias)
            growth = 1 / (σ * σ * math.sqrt(start.rank))
            step = StepTerms(objective.mean, η / σ, η, reg, growth, objective.nonnegative)
            users = StepRows(out.user_factors, out.user_bias, *kept[0])
            items = StepRows(out.item_factors, out.item_bias, *kept[1])
            diagonals = np.random.default_rng([self.seed, epoch]).permutation(parts)
            backend.sgd_epoch(grid, diagonals.astype(np.int64), step, users, items)
            yield "epoch"

        return sweep


def _prepare(
    start: Factors, sides: tuple[CSR, CSR], σ: float, seed: int, nonnegative: bool
) -> None:
    """Items that are all zero become random, as users are; rows without ratings become zero."""
    if not start.item_factors.any():
        spread = np.float32(math.sqrt(σ / math.sqrt(start.rank)))
        generator = np.random.default_rng([seed, 0])
        start.item_factors[...] = spread * generator.standard_normal(
            start.item_factors.shape, dtype=np.float32
        )
    for cells, factors, bias in (
        (sides[0], start.user_factors, start.user_bias),
        (sides[1], start.item_factors, start.item_bias),
    ):
        if nonnegative:
            np.abs(factors, out=factors)
        unknown = np.flatnonzero(np.diff(cells.indptr) == 0)
        factors[unknown] = 0
        if bias is not None:
            bias[unknown] = 0


def _parts(rank: int, m: int, n: int, ratings: int) -> int:
    """B: the items of a part fit a core's cache, and a block is worth a thread's while."""
    fits = 1 << math.ceil(math.log2(max(8, n * rank / (1 << 17))))
    worth = math.isqrt(ratings // 4096)
    return max(1, min(fits, 32, worth, m, n))


def _dealt(cells: CSR, parts: int, generator: np.random.Generator) -> Parts:
    """The rows in a random order, cut so that parts have about as many cells."""
    order = generator.permutation(cells.n_rows)
    ends = np.cumsum(np.diff(cells.indptr)[order])
    inner = np.searchsorted(ends, cells.nnz * np.arange(1, parts) / parts)
    cuts = np.concatenate([[0], inner, [cells.n_rows]])
    return Parts(order.astype(np.uint32), cuts.astype(np.int64))


def _shares(cells: CSR, dtype: np.dtype) -> Array:
    """1 / n of every row; 1 where n = 0."""
    n = row_weights(cells)
    return (1 / np.where(n > 0, n, 1)).astype(dtype)


def _number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, complex))
