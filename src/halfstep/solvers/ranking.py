"""Stochastic gradient descent on losses that rank positives above drawn negatives.

One step for every positive and epoch; `Backend.ranking_epoch` has the formulas. Users are dealt
into B parts and items into Q = 2B. A step of an epoch pairs all item parts, one pair for each user
part:

    parts in a new random order σ in every epoch; in step t = 0, …, Q − 1 the user part p has
        g = σ[2p + t],  h = σ[2p + t + 1 + 2k_t]     (mod Q, k_t random)
    the cells of block (p, g) are visited, with negatives of g and h

so that every block is visited once in an epoch, and what two threads touch at a time is apart. A
negative is drawn from g as often as a draw from all items would fall there, else from h: over the
orders σ it is a draw from all items. The items of every part are as popular as those of the
others: each takes one of the Q most popular, one of the next Q, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from halfstep.backends.base import (
    CSR,
    Array,
    Backend,
    Negatives,
    Parts,
    RankingRows,
    RankingTerms,
)
from halfstep.factors import Factors
from halfstep.objectives import Reg
from halfstep.pairwise import Loss, RankingObjective
from halfstep.solvers.base import Problem, Sweep
from halfstep.solvers.sgd import cut_by_cells, parts_for

__all__ = ["Drawing", "RankingSGD", "folded_users"]

_FULL = 1 << 32
_FOLDING = 40
"""Epochs of a row that is folded in."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How negatives are drawn: N of them (`count`), item j with the chance n_j^`power`.

    Of WARP `count` is how many it looks at. An item without positives counts as one with one.
    """

    count: int
    power: float

    def ends(self, counts: Array, dealt: Parts) -> tuple[Array | None, Array]:
        """`ends` and `own` of `Negatives`."""
        mass = np.maximum(counts, 1).astype(np.float64) ** self.power
        mass = mass[dealt.order]
        starts = dealt.cuts[:-1]
        of_parts = np.add.reduceat(mass, starts)
        own = of_parts / np.add.reduce(of_parts)
        if self.power == 0:
            return None, _words(own)
        sums = np.empty_like(mass)
        for first, last in zip(starts.tolist(), dealt.cuts[1:].tolist(), strict=True):
            sums[first:last] = np.cumsum(mass[first:last])
        return _words(sums / np.repeat(of_parts, np.diff(dealt.cuts))), _words(own)


def _words(shares: Array) -> Array:
    """2³² times these, uint32."""
    words: Array = np.minimum(np.floor(shares * _FULL), _FULL - 1).astype(np.uint32)
    return words


@dataclass(frozen=True, slots=True)
class RankingSGD:
    """Steps of a ranking loss. A sweep is an epoch: every positive once.

    Parameters
    ----------
    loss : {"bpr", "warp", "logistic", "softmax"}
    drawing : Drawing
    hard : bool
        Whether only the negative of the highest score is taken.
    margin : float
        Of WARP.
    rate : float
        η_1.
    schedule : {"adagrad", "decay", "constant"}
        "constant": η_t = η_1. "decay": η_t = η_1 / (1 + `decay` (t − 1)). "adagrad": η_t = η_1,
        divided by √G of the row, with G = 1 + `growth` Σ mean square of its gradients so far.
    decay, growth : float
    seed : int
        Of parts, their order and all that is drawn.
    """

    loss: Loss
    drawing: Drawing
    hard: bool
    margin: float
    rate: float
    schedule: Literal["adagrad", "decay", "constant"]
    decay: float
    growth: float
    seed: int

    name: ClassVar[str] = "ranking-sgd"
    ends_with_users: ClassVar[bool] = False
    descends: ClassVar[bool] = False

    def begin(self, problem: Problem, start: Factors, backend: Backend) -> Sweep:
        objective = problem.objective
        assert isinstance(objective, RankingObjective)
        positives, by_item = problem.ratings.by_user, problem.ratings.by_item
        (m, n), counts = problem.ratings.shape, np.diff(by_item.indptr)
        start.user_factors[np.diff(positives.indptr) == 0] = 0
        generator = np.random.default_rng(self.seed)
        B = max(1, min(parts_for(start.rank, m, n, positives.nnz), n // 2))
        items = _alike(counts, min(2 * B, n), generator)
        grid = backend.sgd_grid(positives, cut_by_cells(positives, B, generator), items)
        ends, own = self.drawing.ends(counts, items)
        sums = [
            np.ones(rows, dtype=start.dtype) if self.schedule == "adagrad" else None
            for rows in (m, n)
        ]
        epoch = 0

        def sweep(current: Factors, out: Factors) -> Iterator[str]:
            nonlocal epoch
            epoch += 1
            current.copy_to(out)
            backend.ranking_epoch(
                grid,
                _schedule(B, len(items.cuts) - 1, np.random.default_rng([self.seed, epoch])),
                self._negatives(positives, ends, own, epoch),
                self._terms(self._rate(epoch), objective.reg, n),
                RankingRows(out.user_factors, None, sums[0]),
                RankingRows(out.item_factors, out.item_bias, sums[1]),
            )
            yield "epoch"

        return sweep

    def _rate(self, epoch: int) -> float:
        """η of the epoch, counted from 1."""
        return self.rate / (1 + (self.decay * (epoch - 1) if self.schedule == "decay" else 0))

    def _negatives(
        self,
        positives: CSR,
        ends: Array | None,
        own: Array,
        epoch: int,
        *,
        anonymous: bool = False,
    ) -> Negatives:
        count = 1 if self.loss == "warp" else self.drawing.count
        cells = positives.indptr, positives.indices
        return Negatives(cells, ends, own, count, self.seed, epoch, anonymous)

    def _terms(self, rate: float, reg: Reg, n: int, *, items_fixed: bool = False) -> RankingTerms:
        return RankingTerms(
            self.loss,
            rate,
            (reg.user, reg.item, reg.bias),
            self.growth,
            self.hard,
            self.margin,
            _ranks(n, self.drawing.count) if self.loss == "warp" else np.empty(0),
            items_fixed,
        )


def _alike(counts: Array, parts: int, generator: np.random.Generator) -> Parts:
    """Items dealt into parts of the same size and popularity: one of every `parts` neighbours in
    popularity."""
    n = len(counts)
    by_count = np.argsort(-counts, kind="stable")
    rounds = -(-n // parts)
    part = generator.permuted(np.tile(np.arange(parts), (rounds, 1)), axis=1).ravel()[:n]
    order = by_count[np.argsort(part, kind="stable")]
    cuts = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=parts))])
    return Parts(order.astype(np.uint32), cuts.astype(np.int64))


def _schedule(B: int, Q: int, generator: np.random.Generator) -> Array:
    """(g, h) of every user part in every step of an epoch."""
    if Q == 1:
        return np.zeros((1, B, 2), dtype=np.int64)
    order = generator.permutation(Q)
    t, p = np.arange(Q)[:, None], np.arange(B)
    g = 2 * p + t
    h = g + 1 + 2 * generator.integers(0, B, Q)[:, None]
    return np.stack([order[g % Q], order[h % Q]], axis=2).astype(np.int64)


def _ranks(n: int, most: int) -> Array:
    """L_t of WARP for t = 1, …, `most`: H(⌊(n − 1) / t⌋) / H(n − 1) with the harmonic numbers H.

    ⌊(n − 1) / t⌋ is the rank that finding the first negative within the margin at the t-th look
    speaks for; L(k) = H(k) is that of Weston, Bengio and Usunier (2011) for the top of the list.
    Divided by the largest, so that rates do not depend on n.
    """
    harmonic = np.cumsum(1 / np.arange(1, max(n, 2)))
    ranks = np.maximum((n - 1) // np.arange(1, most + 1), 1)
    found: Array = harmonic[ranks - 1] / harmonic[-1]
    return found


def folded_users(
    solver: RankingSGD, positives: CSR, counts: Array, model: Factors, reg: Reg, backend: Backend
) -> Array:
    """Factors of new users from their positives, the items fixed: epochs of the loss from w = 0 on.

    A row is the same whoever else is folded in: its draws are those of user 0, from all items.
    """
    m, n = positives.n_rows, len(counts)
    factors = np.zeros((m, model.rank), dtype=model.dtype)
    if not m or not positives.nnz:
        return factors
    items = _alike(counts, 1, np.random.default_rng(0))
    parts = max(1, min(m, 64))
    grid = backend.sgd_grid(
        positives, cut_by_cells(positives, parts, np.random.default_rng(0)), items
    )
    ends, own = solver.drawing.ends(counts, items)
    schedule = np.zeros((1, parts, 2), dtype=np.int64)
    users, fixed = RankingRows(factors, None, None), model.item_factors.copy()
    bias = None if model.item_bias is None else model.item_bias.copy()  # a mapped file is read-only
    others = RankingRows(fixed, bias, None)
    if solver.schedule == "adagrad":
        users, others = (
            replace(side, sums=np.ones(len(side.factors), dtype=model.dtype))
            for side in (users, others)
        )
    for epoch in range(1, _FOLDING + 1):
        backend.ranking_epoch(
            grid,
            schedule,
            solver._negatives(positives, ends, own, epoch, anonymous=True),
            solver._terms(solver._rate(epoch), reg, n, items_fixed=True),
            users,
            others,
        )
    return factors
