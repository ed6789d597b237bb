"""`cross_validate`: the same model on every fold, its error with a standard error."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, Protocol, Self

import numpy as np

from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.splits import UserSplit, kfold

__all__ = ["CrossValidation", "Fold", "cross_validate"]


class _Model(Protocol):
    def fit(self, X: Ratings, /, **options: Any) -> Self: ...
    def rmse(self, X: Ratings, /, *, clip: bool) -> float: ...
    def mae(self, X: Ratings, /, *, clip: bool) -> float: ...


@dataclass(frozen=True, slots=True)
class Fold:
    """The figures of one fold; seconds are wall-clock, `rank` is K (0 of a model that has none)."""

    rmse: float
    mae: float
    train_rmse: float
    fit_seconds: float
    predict_seconds: float
    sweeps: int
    rank: int


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Figures by fold, with their mean and standard error s / √folds."""

    folds: tuple[Fold, ...]

    def mean(self, figure: str) -> float:
        """The mean of "rmse", "mae", … over the folds."""
        return float(np.mean(self._values(figure)))

    def standard_error(self, figure: str) -> float:
        """s / √folds with s the standard deviation between folds (n − 1); NaN for a single one."""
        values = self._values(figure)
        if len(values) == 1:
            return float("nan")
        return float(np.std(values, ddof=1) / np.sqrt(len(values)))

    def _values(self, figure: str) -> list[float]:
        return [getattr(fold, figure) for fold in self.folds]

    def as_dict(self) -> dict[str, Any]:
        """Figures by fold, their means and standard errors, as plain values."""
        names = Fold.__dataclass_fields__
        return {
            "folds": [{name: getattr(fold, name) for name in names} for fold in self.folds],
            "mean": {name: self.mean(name) for name in names},
            "standard_error": {name: self.standard_error(name) for name in names},
        }

    def __str__(self) -> str:
        if len(self.folds) == 1:
            return f"RMSE {self.mean('rmse'):.4f}, MAE {self.mean('mae'):.4f} of one split"
        return (
            f"RMSE {self.mean('rmse'):.4f} ± {self.standard_error('rmse'):.4f}, "
            f"MAE {self.mean('mae'):.4f} ± {self.standard_error('mae'):.4f} "
            f"over {len(self.folds)} folds"
        )


def cross_validate(
    model: _Model,
    ratings: Ratings,
    folds: int | Iterable[tuple[Ratings, Ratings] | UserSplit] = 5,
    *,
    seed: int = 0,
    order: Literal["sorted", "file"] = "sorted",
    clip: bool = True,
    on_fold: Callable[[int, Fold], object] | None = None,
    **fit_options: Any,
) -> CrossValidation:
    """Fit a copy of `model` on all folds but one and measure it on that one, for each.

    Parameters
    ----------
    model : a model with `fit`, `rmse` and `mae`
        It is not changed.
    ratings, seed, order
        As in `kfold`.
    folds : int, or (train, test) parts
        How many parts at random, as in `kfold`; or the parts themselves, such as
        `rolling_origin(ratings)` or `[split_by_time(ratings)]`. With `UserSplit`s (`kfold_users`) the
        given ratings are folded in, which counts as fitting, before the test part is predicted.
    clip : bool
        Clip predictions to the scale of the training folds.
    on_fold : callable, optional
        Told of every fold as it is done.
    fit_options
        More arguments of every fit, such as `user_features` and `item_features`.

    Raises
    ------
    ParameterError, DataError
    """
    done: list[Fold] = []
    if not isinstance(folds, Iterable):
        folds = kfold(ratings, folds, seed=seed, order=order)
    for parts in folds:
        train, test = _ends(parts)
        fresh = copy.deepcopy(model)
        begun = perf_counter()
        fresh.fit(train, **fit_options)
        asked = _told(fresh, parts.given) if isinstance(parts, UserSplit) else fresh
        fitted = perf_counter()
        rmse = asked.rmse(test, clip=clip)
        predicted = perf_counter()
        trace = getattr(fresh, "trace_", ())
        fold = Fold(
            rmse=rmse,
            mae=asked.mae(test, clip=clip),
            train_rmse=trace[-1].train_rmse if trace else fresh.rmse(train, clip=clip),
            fit_seconds=fitted - begun,
            predict_seconds=predicted - fitted,
            sweeps=len(trace),
            rank=getattr(fresh, "rank_", 0),
        )
        done.append(fold)
        if on_fold is not None:
            on_fold(len(done), fold)
    if not done:
        raise ParameterError("folds", folds, "yields no parts", "make the parts afresh")
    return CrossValidation(tuple(done))


def _ends(parts: Any) -> tuple[Ratings, Ratings]:
    if isinstance(parts, UserSplit):
        return parts.train, parts.test
    if not isinstance(parts, (tuple, list)) or len(parts) != 2:
        raise ParameterError(
            "folds", parts, "must be pairs (train, test)", "leave the validation part out"
        )
    train, test = parts
    return train, test


def _told(model: Any, given: Ratings) -> Any:
    if not hasattr(model, "fold_in"):
        raise ParameterError(
            "model",
            model,
            "cannot be told ratings after its fit (it has no fold_in), as folds of users ask",
            "hold out all ratings of users with kfold_cold, or some with kfold",
        )
    return model.with_rows(model.fold_in(given))
