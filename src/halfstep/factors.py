"""`Factors`: what a fit learns, with the ids of its rows.

r̂_ui = μ + b_u + b_i + w_u·z_i
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings

__all__ = ["Factors"]


@dataclass(frozen=True, slots=True)
class Factors:
    """The learned arrays of a factor model.

    Attributes
    ----------
    user_factors : array (m, K), W
    item_factors : array (n, K), Z
    user_bias : array (m,) or None, b_u
    item_bias : array (n,) or None, b_i
    mean : float, μ
    user_ids, item_ids : IdMap
        Who each row is.
    """

    user_factors: Array
    item_factors: Array
    user_bias: Array | None
    item_bias: Array | None
    mean: float
    user_ids: IdMap
    item_ids: IdMap

    @property
    def rank(self) -> int:
        """K."""
        return int(self.user_factors.shape[1])

    @property
    def dtype(self) -> str:
        """float32 or float64."""
        return self.user_factors.dtype.name

    @classmethod
    def random(
        cls, ratings: Ratings, rank: int, *, biases: bool, mean: float, dtype: str, seed: int
    ) -> Factors:
        """W with independent normal entries of standard deviation √σ / K^¼; everything else 0.

        σ is the (weighted) standard deviation of the ratings around μ: if Z had such entries too,
        w·z would have that of the ratings, so that neither side starts far from its final scale.
        Only W is random: the first half-step solves the items from it.
        """
        m, n = ratings.shape
        cells = ratings.by_user
        squares = (cells.values.astype(np.float64) - mean) ** 2
        c = np.ones(len(squares)) if cells.weights is None else cells.weights.astype(np.float64)
        sigma = math.sqrt(np.add.reduce(c * squares) / np.add.reduce(c)) or 1.0
        spread = np.float32(math.sqrt(sigma / math.sqrt(rank)))
        generator = np.random.default_rng(seed)
        users = generator.standard_normal((m, rank), dtype=np.float32) * spread
        return cls(
            users.astype(dtype, copy=False),
            np.zeros((n, rank), dtype=dtype),
            np.zeros(m, dtype=dtype) if biases else None,
            np.zeros(n, dtype=dtype) if biases else None,
            mean,
            ratings.users,
            ratings.items,
        )

    def empty_like(self) -> Factors:
        """Buffers of the same shapes, not initialized."""
        return self._map(np.empty_like)

    def copy(self) -> Factors:
        """The same factors in arrays of their own."""
        return self._map(np.copy)

    def _map(self, make: Any) -> Factors:
        return Factors(
            make(self.user_factors),
            make(self.item_factors),
            None if self.user_bias is None else make(self.user_bias),
            None if self.item_bias is None else make(self.item_bias),
            self.mean,
            self.user_ids,
            self.item_ids,
        )

    def started_from(self, other: Factors) -> Factors:
        """These factors, with the rows of every id that `other` knows taken from it."""
        fresh = self.copy()
        for ids, known, target, source in (
            (self.user_ids, other.user_ids, fresh.user_factors, other.user_factors),
            (self.item_ids, other.item_ids, fresh.item_factors, other.item_factors),
            (self.user_ids, other.user_ids, fresh.user_bias, other.user_bias),
            (self.item_ids, other.item_ids, fresh.item_bias, other.item_bias),
        ):
            if target is None or source is None:
                continue
            rows = known.lookup(ids.values)
            target[rows >= 0] = source[rows[rows >= 0]]
        return fresh
