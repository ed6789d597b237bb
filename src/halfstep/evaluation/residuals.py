"""What a model predicts for held-out ratings and how sure it is, a block of pairs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.splits.leaks import pair_at

__all__ = ["chances_of", "intervals_of", "normals_of", "predictions_of", "weights_of"]

_BLOCK = 1 << 20  # pairs; ids of text are Python objects while a model is asked


def predictions_of(model: Any, test: Ratings, clip: bool = False) -> Array:
    """r̂ of every held-out rating, in the order of `test.by_user` (float64)."""
    fitted: Array
    if hasattr(model, "_residuals"):  # looks up every id once, not once for each rating
        fitted = model._residuals(test, None, clip)[1]
    else:
        options = {"clip": True} if clip else {}
        fitted = np.concatenate([_numbers(*answer) for answer in _asked(model, test, options)])
    _refuse(model, test, ~np.isfinite(fitted), fitted)
    return fitted


def normals_of(model: Any, test: Ratings, clip: bool = False) -> tuple[Array, Array]:
    """Mean and standard deviation that the model believes of every held-out rating (float64).

    Raises `ParameterError` where it has none, and `DataError` where one is not finite and > 0.
    """
    _require(model, "std", "standard deviations", "predict(std=True)")
    options = {"std": True, "clip": True} if clip else {"std": True}
    mean, std = _columns(model, test, options, 2)
    _refuse(model, test, ~np.isfinite(mean), mean)
    _refuse(model, test, ~(np.isfinite(std) & (std > 0)), std, "a standard deviation of ")
    return mean, std


def intervals_of(
    model: Any, test: Ratings, level: float, clip: bool = False
) -> tuple[Array, Array]:
    """Lower and upper end of the interval of every held-out rating (float64).

    Raises `ParameterError` where the model has none, and `DataError` where one is no interval.
    """
    _require(model, "interval", "intervals", "predict(interval=0.9)")
    options: dict[str, Any] = {"interval": level, "clip": True} if clip else {"interval": level}
    _, lower, upper = _columns(model, test, options, 3)
    width = upper - lower
    _refuse(model, test, ~(np.isfinite(width) & (width >= 0)), width, "an interval of width ")
    return lower, upper


def chances_of(model: Any, test: Ratings) -> Array:
    """The probability that the model has given every held-out rating (float64).

    From `predict_proba(users, items)`, which returns (values, probabilities): the ratings that there
    are, ascending, and for each pair one probability of each. A rating that is none of the values has
    the probability 0.

    Raises `ParameterError` where it has none, and `DataError` where they are no probabilities.
    """
    if not hasattr(model, "predict_proba"):
        raise ParameterError(
            "model",
            model,
            f"a {type(model).__name__} has no probabilities of ratings",
            "pass a model with predict_proba, or ask for log_score or crps",
        )
    r = test.by_user.values
    found, begin = [], 0
    for users, items in _pairs(test):
        answer = model.predict_proba(users, items)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise DataError(
                "model",
                answer,
                "does not return (values, probabilities)",
                "mend its predict_proba",
            )
        values, chances = (np.asarray(part, dtype=np.float64) for part in answer)
        values = values.astype(r.dtype)
        if not values.size or chances.shape != (len(users), *values.shape):
            raise DataError(
                "model",
                f"values of shape {values.shape} with probabilities of shape {chances.shape}",
                f"has not one probability of each value for each of {len(users)} pairs",
                "mend its predict_proba",
            )
        if not (np.diff(values) > 0).all():
            raise DataError(
                "model", values, "has values that do not ascend", "mend its predict_proba"
            )
        total = np.add.reduce(chances, axis=1)
        if not ((chances >= 0).all() and np.allclose(total, 1.0, atol=1e-3)):
            raise DataError("model", model, "predicts no probabilities", "mend its predict_proba")
        own = r[begin : begin + len(users)]
        begin += len(users)
        place = np.minimum(np.searchsorted(values, own), len(values) - 1)
        found.append(np.where(values[place] == own, chances[np.arange(len(own)), place], 0.0))
    return np.concatenate(found)


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


def _refuse(model: Any, test: Ratings, wrong: Array, values: Array, what: str = "") -> None:
    """Raise `DataError` with the first pair of which the model predicts what cannot be."""
    if wrong.any():
        cell = int(np.argmax(wrong))
        raise DataError(
            "model",
            model,
            f"predicts {what}{values[cell]} for {pair_at(test, cell)!r} "
            f"({np.count_nonzero(wrong):,} such predictions)",
            "mend its predict, or leave those pairs out of the test part",
        )


def _require(model: Any, option: str, what: str, call: str) -> None:
    """Raise `ParameterError` where `predict` takes no such option."""
    if hasattr(model, "predict"):
        options = signature(model.predict).parameters
        if option in options or any(p.kind is p.VAR_KEYWORD for p in options.values()):
            return
    raise ParameterError(
        "model",
        model,
        f"a {type(model).__name__} has no {what}",
        f"pass a model with {call}, such as an ExplicitMF",
    )


def _columns(model: Any, test: Ratings, options: dict[str, Any], count: int) -> list[Array]:
    """The `count` arrays that `predict` returns with these options (float64)."""
    blocks = []
    for pairs, answer in _asked(model, test, options):
        if not isinstance(answer, tuple) or len(answer) != count:
            raise DataError(
                "model",
                answer,
                f"does not return {count} arrays with {', '.join(options)}",
                "mend its predict",
            )
        blocks.append([_numbers(pairs, part) for part in answer])
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def _asked(model: Any, test: Ratings, options: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """How many pairs a block has, and what the model answers."""
    if not hasattr(model, "predict"):
        raise ParameterError(
            "model",
            model,
            "has no predict(users, items), which errors of ratings need",
            "ask for metrics of rankings, such as ndcg@10",
        )
    for users, items in _pairs(test):
        yield len(users), model.predict(users, items, **options)


def _pairs(test: Ratings) -> Iterator[tuple[Any, Any]]:
    """The held-out users and items, a block of pairs at a time."""
    rows, columns = test.user_index(), test.by_user.indices
    for first in range(0, len(rows), _BLOCK):
        block = slice(first, first + _BLOCK)
        yield test.users.take(rows[block]), test.items.take(columns[block])
