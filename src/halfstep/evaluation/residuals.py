"""What a model predicts for held-out ratings, a block of pairs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.splits.leaks import pair_at

__all__ = ["intervals_of", "predictions_of", "weights_of"]

_BLOCK = 1 << 20  # pairs; ids of text are Python objects while a model is asked


def predictions_of(model: Any, test: Ratings, clip: bool = False) -> Array:
    """r̂ of every held-out rating, in the order of `test.by_user` (float64)."""
    fitted: Array
    if hasattr(model, "_residuals"):  # looks up every id once, not once for each rating
        fitted = model._residuals(test, None, clip)[1]
    else:
        options = {"clip": True} if clip else {}
        fitted = np.concatenate([_numbers(*answer) for answer in _asked(model, test, options)])
    wrong = ~np.isfinite(fitted)
    if wrong.any():
        cell = int(np.argmax(wrong))
        raise DataError(
            "model",
            model,
            f"predicts {fitted[cell]} for {pair_at(test, cell)!r} "
            f"({np.count_nonzero(wrong):,} predictions are not finite)",
            "mend its predict, or leave those pairs out of the test part",
        )
    return fitted


def intervals_of(model: Any, test: Ratings, level: float) -> tuple[Array, Array]:
    """Lower and upper end of the interval of every held-out rating (float64)."""
    if not hasattr(model, "calibrate"):
        raise ParameterError(
            "model", model, f"a {type(model).__name__} has no intervals", "pass an ExplicitMF"
        )
    asked = _asked(model, test, {"interval": level})
    blocks = [(lower, upper) for _, (_, lower, upper) in asked]
    lower, upper = (np.concatenate(ends).astype(np.float64) for ends in zip(*blocks, strict=True))
    return lower, upper


def weights_of(test: Ratings) -> Array:
    """c of every held-out rating, 1 where it has none (float64)."""
    weights = test.by_user.weights
    return np.ones(len(test)) if weights is None else weights.astype(np.float64)


def _numbers(pairs: int, answer: Any) -> Array:
    """One number for each of the pairs (float64)."""
    try:
        found = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("model", answer, "predicts no numbers", "mend its predict") from None
    if found.shape != (pairs,):
        raise DataError(
            "model",
            f"an answer of shape {found.shape}",
            f"predicts what is not one number for each of {pairs} pairs",
            "mend its predict",
        )
    return found


def _asked(model: Any, test: Ratings, options: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """How many pairs a block has, and what the model answers."""
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
        yield len(users), model.predict(users, items, **options)
