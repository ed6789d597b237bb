"""Stochastic gradient descent on the cosine contrastive loss, by blocks of users.

`Backend.cosine_epoch` has the formulas. An epoch visits every user once, in a new order and in
blocks of 256; a block shares J drawn items, so that their scores are one product of matrices. Few
of these are above the margin, and only they and the positives are pulled. G of every row sums its
squared gradients (AdaGrad, one sum for a row), and rates fall to 0 in a straight line:

    η_t = η (1 − (t − ½) / T)        t = 1, …, T epochs
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from halfstep.backends.base import CSR, Array, Backend, CosineBlocks, CosineRows, CosineTerms
from halfstep.factors import Factors
from halfstep.solvers.base import Problem, Sweep

__all__ = ["CosineSGD", "folded_directions"]

_BLOCK = 256
"""Users of a block."""
_FOLDING = 20
"""Epochs of a row that is folded in."""


@dataclass(frozen=True, slots=True)
class CosineSGD:
    """Steps of the cosine contrastive loss. A sweep is an epoch: every user once.

    Parameters
    ----------
    margin, weight : float
        m and ω.
    negatives : int
        J; all items where there are no more.
    rates : (float, float)
        η of users and of items: the angle of a row's first step.
    epochs : int
        T.
    seed : int
        Of the order of users and of what is drawn.
    """

    margin: float
    weight: float
    negatives: int
    rates: tuple[float, float]
    epochs: int
    seed: int

    name: ClassVar[str] = "cosine-sgd"
    ends_with_users: ClassVar[bool] = False
    descends: ClassVar[bool] = False

    def begin(self, problem: Problem, start: Factors, backend: Backend) -> Sweep:
        positives = problem.ratings.by_user
        m, n = problem.ratings.shape
        for rows in (start.user_factors, start.item_factors):
            rows[...] = directions(rows)
        start.user_factors[np.diff(positives.indptr) == 0] = 0
        sums = [np.zeros(rows, dtype=start.dtype) for rows in (m, n)]
        epoch = 0

        def sweep(current: Factors, out: Factors) -> Iterator[str]:
            nonlocal epoch
            epoch += 1
            current.copy_to(out)
            generator = np.random.default_rng([self.seed, epoch])
            order = generator.permutation(m).astype(np.uint32)
            drawn = np.stack([self.drawn(n, generator) for _ in range(-(-m // _BLOCK))])
            backend.cosine_epoch(
                positives,
                CosineBlocks(order, _BLOCK, drawn),
                self.terms(epoch, self.epochs),
                CosineRows(out.user_factors, sums[0]),
                CosineRows(out.item_factors, sums[1]),
            )
            yield "epoch"

        return sweep

    def drawn(self, n: int, generator: np.random.Generator) -> Array:
        """J items, each at most once."""
        if self.negatives >= n:
            return np.arange(n, dtype=np.uint32)
        return generator.choice(n, self.negatives, replace=False, shuffle=False).astype(np.uint32)

    def terms(self, epoch: int, epochs: int, *, items_fixed: bool = False) -> CosineTerms:
        """Those of epoch t = 1, …, T."""
        share = max(1 - (epoch - 0.5) / epochs, 0.5 / epochs)
        rates = self.rates[0] * share, self.rates[1] * share
        return CosineTerms(self.margin, self.weight, rates, items_fixed)


def directions(rows: Array) -> Array:
    """Rows over their lengths; rows of zeros stay."""
    lengths = np.sqrt(np.einsum("rk,rk->r", rows, rows, dtype=np.float64))
    found: Array = rows / np.where(lengths > 0, lengths, 1)[:, None]
    return found.astype(rows.dtype, copy=False)


def folded_directions(
    solver: CosineSGD, positives: CSR, item_factors: Array, backend: Backend
) -> Array:
    """Factors of new users from their positives, the items fixed: epochs from the mean of these on.

    A row is the same whoever else is folded in: all blocks of an epoch share what is drawn.
    """
    m, n = positives.n_rows, len(item_factors)
    if not m or not positives.nnz:
        return np.zeros((m, item_factors.shape[1]), dtype=item_factors.dtype)
    factors = np.ascontiguousarray(directions(backend.multiply(positives, item_factors)))
    fixed = item_factors.copy()  # a mapped file is read-only
    sums = [np.zeros(rows, dtype=factors.dtype) for rows in (m, n)]
    order = np.arange(m, dtype=np.uint32)
    generator = np.random.default_rng(solver.seed)
    for epoch in range(1, _FOLDING + 1):
        drawn = np.tile(solver.drawn(n, generator), (-(-m // _BLOCK), 1))
        backend.cosine_epoch(
            positives,
            CosineBlocks(order, _BLOCK, drawn),
            solver.terms(epoch, _FOLDING, items_fixed=True),
            CosineRows(factors, sums[0]),
            CosineRows(fixed, sums[1]),
        )
    return factors
