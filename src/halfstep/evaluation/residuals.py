"""What a model predicts for held-out ratings, a block of pairs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError

__all__ = ["intervals_of", "predictions_of", "weights_of"]

_BLOCK = 1 << 20  # pairs; ids of text are Python objects while a model is asked


def predictions_of(model: Any, test: Ratings, clip: bool = False) -> Array:
    """r̂ of every held-out rating, in the order of `test.by_user` (float64)."""
    if hasattr(model, "_residuals"):  # looks up every id once, not once for each rating
        fitted: Array = model._residuals(test, None, clip)[1]
        return fitted
    options = {"clip": True} if clip else {}
    blocks = [np.asarray(answer) for answer in _asked(model, test, options)]
    return np.concatenate(blocks).astype(np.float64)


def intervals_of(model: Any, test: Ratings, level: float) -> tuple[Array, Array]:
    """Lower and upper end of the interval of every held-out rating (float64)."""
    blocks = [(lower, upper) for _, lower, upper in _asked(model, test, {"interval": level})]
    lower, upper = (np.concatenate(ends).astype(np.float64) for ends in zip(*blocks, strict=True))
    return lower, upper


def weights_of(test: Ratings) -> Array:
    """c of every held-out rating, 1 where it has none (float64)."""
    weights = test.by_user.weights
    return np.ones(len(test)) if weights is None else weights.astype(np.float64)


def _asked(model: Any, test: Ratings, options: dict[str, Any]) -> Iterator[Any]:
    if not hasattr(model, "predict"):
        raise ParameterError(
            "model",
            model,
            "has no predict(users, items), which errors of ratings need",
            "ask for metrics of rankings, such as ndcg@10",
        )
    rows, columns = test.user_index(), test.by_user.indices
    for first in range(0, len(rows), _BLOCK):
        block = slice(first, first + _BLOCK)
        users, items = test.users.take(rows[block]), test.items.take(columns[block])
        yield model.predict(users, items, **options)
