"""Stochastic gradient descent: one observed rating after the other.

For a rating r_ui of weight c, with e = r − μ − b_u − b_i − w·z before the step:

    w_u ← (w_u + η_u c e z_i) / (1 + η_u c λ_w s_u / n_u)        z_i likewise, with the old w_u
    b_u ← (b_u + η'_u c e) / (1 + η'_u c λ_b s_u / n_u)          b_i likewise

To first order in η this is w_u + η_u c (e z_i − λ_w (s_u / n_u) w_u), the stochastic gradient of J: the
terms of all ratings sum to J. The penalty is taken where the step ends, not where it begins (a proximal
step), so that no λ is too large for a rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from halfstep.backends.base import CSR, Array, Backend, Parts, StepRows, StepTerms
from halfstep.checks import check_choice, is_integer, is_number
from halfstep.errors import ParameterError
from halfstep.factors import Factors, deviation
from halfstep.objectives import SquaredError, row_scale, row_weights
from halfstep.solvers.base import Problem, Sweep, settle

__all__ = ["SGD", "cut_by_cells", "parts_for"]

_OFF_CENTER = 8
"""How many σ ratings may lie from μ: w·z carries what μ does not, and ‖z‖² grows with it."""


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent. A sweep is an epoch: every rating once.

    Rates are those of ratings in units of σ, their standard deviation (or an eighth of their root mean
    square around μ, where that is more: center=False), and of weights in units of their mean c̄, so that
    they do not depend on either scale: η = η_t / (σ c̄) for factors, and η' = η_t / c̄ for biases, with
    t = 1, 2, … the epoch.

    Parameters
    ----------
    rate : float, optional
        η_1. By default 0.1 with "adagrad", else 0.02.
    schedule : {"adagrad", "decay", "constant"}
        "constant": η_t = η_1. "decay": η_t = η_1 / (1 + `decay` (t − 1)). "adagrad": every row divides
        its rates by √G, with G = 1 + Σ (c e)² mean(z²) / (σ³ c̄²) over its steps so far, and another G
        for its first 16 factors (and bias) than for the rest, which stays where it is in the first epoch
        of a fresh fit (Chin, Zhuang, Juan and Lin 2015).
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
        if self.rate is not None and not (is_number(self.rate) and 0 < self.rate < math.inf):
            raise ParameterError(
                "rate", self.rate, "must be a finite number above 0, or None", "try rate=0.05"
            )
        check_choice("schedule", self.schedule, ("adagrad", "decay", "constant"))
        if not (is_number(self.decay) and 0 <= self.decay < math.inf):
            raise ParameterError(
                "decay", self.decay, "must be a finite number of at least 0", "try decay=0.1"
            )
        if not is_integer(self.seed) or not 0 <= self.seed < 1 << 63:
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
        around = deviation(by_user, objective.mean)
        σ = max(deviation(by_user, ratings.mean()), around / _OFF_CENTER)
        fresh = not start.item_factors.any()
        if fresh:
            _spread(start, σ, around, self.seed)
        settle(problem, start)
        parts = parts_for(start.rank, *ratings.shape, by_user.nnz)
        deal = np.random.default_rng(self.seed)
        grid = backend.sgd_grid(
            by_user, cut_by_cells(by_user, parts, deal), cut_by_cells(by_item, parts, deal)
        )
        dtype = start.user_factors.dtype
        adaptive = self.schedule == "adagrad"
        kept = [
            (
                None if objective.reg_scaling == "count" else _shares(cells, objective, dtype),
                np.ones((cells.n_rows, 2), dtype=dtype) if adaptive else None,
            )
            for cells in (by_user, by_item)
        ]
        c = float(np.add.reduce(row_weights(by_user))) / by_user.nnz
        epoch = 0

        def sweep(current: Factors, out: Factors) -> Iterator[str]:
            nonlocal epoch
            epoch += 1
            current.copy_to(out)
            η = self.rate_at(epoch)
            reg = (objective.reg.user, objective.reg.item, objective.reg.bias)
            step = StepTerms(
                mean=objective.mean,
                rate=η / (σ * c),
                bias_rate=η / c,
                reg=reg,
                growth=σ**-3 / c**2,
                head_only=adaptive and fresh and epoch == 1,
                nonnegative=objective.nonnegative,
            )
            users = StepRows(out.user_factors, out.user_bias, *kept[0])
            items = StepRows(out.item_factors, out.item_bias, *kept[1])
            diagonals = np.random.default_rng([self.seed, epoch]).permutation(parts)
            backend.sgd_epoch(grid, diagonals.astype(np.int64), step, users, items)
            yield "epoch"

        return sweep


def _spread(start: Factors, σ: float, around: float, seed: int) -> None:
    """A start for both sides from `Factors.random`, whose users have the deviation √`around` / K^¼.

    Small and of one sign: ¼ √(σ / K) |x| with x normal. The noise of large factors would have to be
    unlearned.
    """
    K = start.rank
    np.abs(start.user_factors, out=start.user_factors)
    start.user_factors[...] *= 0.25 * math.sqrt(σ / around) * K**-0.25
    generator = np.random.default_rng([seed, 0])
    items = np.abs(generator.standard_normal(start.item_factors.shape, dtype=np.float32))
    start.item_factors[...] = np.float32(0.25 * math.sqrt(σ / K)) * items


def parts_for(rank: int, m: int, n: int, ratings: int) -> int:
    """B: the items of a part fit a core's cache, and a block is worth a thread's while."""
    fits = 1 << math.ceil(math.log2(max(8, n * rank / (1 << 17))))
    worth = math.isqrt(ratings // 4096)
    return max(1, min(fits, 32, worth, m, n))


def cut_by_cells(cells: CSR, parts: int, generator: np.random.Generator) -> Parts:
    """The rows in a random order, cut so that parts have about as many cells."""
    order = generator.permutation(cells.n_rows)
    ends = np.cumsum(np.diff(cells.indptr)[order])
    inner = np.searchsorted(ends, cells.nnz * np.arange(1, parts) / parts)
    cuts = np.concatenate([[0], inner, [cells.n_rows]])
    return Parts(order.astype(np.uint32), cuts.astype(np.int64))


def _shares(cells: CSR, objective: SquaredError, dtype: np.dtype) -> Array:
    """s / n of every row; 1 where n = 0."""
    n = row_weights(cells)
    s = row_scale(cells, objective.reg_scaling)
    return np.where(n > 0, s / np.where(n > 0, n, 1), 1).astype(dtype)
