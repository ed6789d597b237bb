"""`compare_cold`: what features are worth for users (items) of whom there are no ratings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.evaluation import check_resampling
from halfstep.evaluation.resampling import bootstrap_totals, percentile_interval
from halfstep.evaluation.residuals import predictions_of, weights_of
from halfstep.evaluation.splits import kfold_cold
from halfstep.evaluation.tables import aligned, figure
from halfstep.objectives import Side

__all__ = ["ColdComparison", "ColdError", "compare_cold"]

WITHOUT, WITH = "without features", "with features"
_BASELINE = "biases only"


@dataclass(frozen=True, slots=True)
class ColdError:
    """The error of one model over all folds.

    Attributes
    ----------
    name : str
    rmse, mae : float
    rmse_interval, mae_interval : (float, float)
        By resampling the held-out users (items); NaN for fewer than two.
    """

    name: str
    rmse: float
    rmse_interval: tuple[float, float]
    mae: float
    mae_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ColdComparison:
    """The same model with and without features, beside the biases. `print` shows a table.

    Attributes
    ----------
    errors : tuple of ColdError
        Of "biases only", "without features" and "with features".
    gain : ColdError
        With minus without: below 0 features help. Its intervals are paired by user (item).
    side : {"user", "item"}
    units : int
        Users (items), each held out once.
    ratings : int
    folds : int
    confidence : float
    """

    errors: tuple[ColdError, ...]
    gain: ColdError
    side: Side
    units: int
    ratings: int
    folds: int
    confidence: float

    def __getitem__(self, name: str) -> ColdError:
        return next(error for error in self.errors if error.name == name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        rows = {row.name: row for row in (*self.errors, self.gain)}
        names = ("rmse", "rmse_interval", "mae", "mae_interval")
        errors = {name: {k: getattr(row, k) for k in names} for name, row in rows.items()}
        rest = ("side", "units", "ratings", "folds", "confidence")
        return {"errors": errors, **{name: getattr(self, name) for name in rest}}

    def __str__(self) -> str:
        level = f"{100 * self.confidence:g} % interval"
        rows = [[row.name, *_cells(row, figure)] for row in self.errors]
        rows.append([self.gain.name, *_cells(self.gain, _signed)])
        return aligned(["", "RMSE", level, "MAE", level], rows)


def compare_cold(
    model: Any,
    ratings: Ratings,
    side: Side = "user",
    folds: int = 5,
    *,
    user_features: Any = None,
    item_features: Any = None,
    clip: bool = True,
    seed: int = 0,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    on_fold: Callable[[int], object] | None = None,
) -> ColdComparison:
    """What features are worth where there are no ratings: cold users (items), with them and without.

    The users (items) are dealt into folds (`kfold_cold`); for each fold a copy of the model is fitted
    to the ratings of all others, once with the features of everybody and once without any, and both
    predict the fold. Errors are over all held-out ratings of all folds together. Intervals are those of
    resampling the held-out users (items) with all their ratings; that of the difference is paired.

    Parameters
    ----------
    model : ExplicitMF, BayesianMF
        Not changed. Its `implicit_features` are among those that are left out.
    ratings : Ratings
    side : {"user", "item"}
        Who is cold.
    folds : int
    user_features, item_features
        As in the model's `fit`; at least one, or `implicit_features` of the model.
    clip : bool
        Clip predictions to the scale of the training folds.
    seed : int
        Of the folds and of the resampling.
    confidence : float
    n_resamples : int
    on_fold : callable, optional
        Told how many folds are done.

    Raises
    ------
    ParameterError, DataError
    """
    from halfstep.baselines import Biases

    if not hasattr(model, "implicit_features"):
        raise ParameterError(
            "model",
            type(model).__name__,
            "cannot be fitted with features",
            "pass an ExplicitMF or a BayesianMF",
        )
    known = {"user_features": user_features, "item_features": item_features}
    known = {name: value for name, value in known.items() if value is not None}
    implicit = bool(getattr(model, "implicit_features", False))
    if not known and not implicit:
        raise ParameterError(
            f"{side}_features", None, "there are no features to compare with", "pass some"
        )
    check_resampling(confidence, n_resamples, 1)
    names = (_BASELINE, WITHOUT, WITH)
    units = len(ratings.users if side == "user" else ratings.items)
    sums = np.zeros((units, 1 + 2 * len(names)))
    done = 0
    for train, test in kfold_cold(ratings, side, folds, seed=seed):
        plain = copy.deepcopy(model)
        if implicit:
            plain.set_params(implicit_features=False)
        fits = (
            Biases().fit(train),
            plain.fit(train),
            copy.deepcopy(model).fit(train, **known),
        )
        rows = test.user_index() if side == "user" else test.by_user.indices.astype(np.int64)
        c, r = weights_of(test), test.by_user.values.astype(np.float64)
        columns = [c]
        for fitted in fits:
            gap = r - predictions_of(fitted, test, clip)
            columns += [c * gap * gap, c * np.abs(gap)]
        sums += np.stack([np.bincount(rows, column, units) for column in columns], axis=1)
        done += 1
        if on_fold is not None:
            on_fold(done)
    sums = sums[sums[:, 0] > 0]
    drawn = bootstrap_totals(sums, n_resamples, seed) if len(sums) > 1 else sums[:0]
    whole = np.add.reduce(sums, axis=0)[None]
    taken = [(_errors(whole, place), _errors(drawn, place)) for place in range(len(names))]
    (plain_whole, plain_drawn), (known_whole, known_drawn) = taken[1:]
    less = known_whole - plain_whole, known_drawn - plain_drawn
    return ColdComparison(
        tuple(_error(name, *pair, confidence) for name, pair in zip(names, taken, strict=True)),
        _error("difference", *less, confidence),
        side,
        len(sums),
        len(ratings),
        done,
        float(confidence),
    )


def _errors(totals: Array, place: int) -> Array:
    """RMSE and MAE (2, resamples) of a model from sums (resamples, 1 + 2 models)."""
    c, squares, gaps = totals[:, 0], totals[:, 1 + 2 * place], totals[:, 2 + 2 * place]
    return np.stack([np.sqrt(squares / c), gaps / c])


def _error(name: str, whole: Array, drawn: Array, confidence: float) -> ColdError:
    rmse, mae = (
        percentile_interval(values, confidence) if len(values) else (float("nan"), float("nan"))
        for values in drawn
    )
    return ColdError(name, float(whole[0, 0]), rmse, float(whole[1, 0]), mae)


def _cells(row: ColdError, told: Callable[[float], str]) -> list[str]:
    cells = []
    for value, (lower, upper) in ((row.rmse, row.rmse_interval), (row.mae, row.mae_interval)):
        cells += [told(value), "–" if lower != lower else f"{told(lower)} – {told(upper)}"]
    return cells


def _signed(value: float) -> str:
    return f"{value:+.4f}"
