"""Predicted ratings, how sure they are, and their errors."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.checks import check_choice
from halfstep.data.ids import require_known
from halfstep.data.pairs import as_ratings, split_pairs
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.metrics import mean_absolute_error, r_squared, root_mean_squared_error
from halfstep.models.fitted import Fitted
from halfstep.models.uncertainty import interval_of, std_of

__all__ = ["Predictions"]

Unknown = Literal["bias", "nan", "error"]


class Predictions(Fitted):
    """`predict` and its measures."""

    def predict(
        self,
        users: Any,
        items: Any = None,
        *,
        unknown: Unknown = "bias",
        clip: bool = False,
        std: bool = False,
        interval: float | None = None,
        backend: str | Backend = "native",
    ) -> Any:
        """r̂ = μ + b_u + b_i + w_u·z_i for pairs of users and items, and how sure it is.

        Parameters
        ----------
        users, items : array-like of ids
            Two arrays of equal length, two single ids, or one (N, 2) array or two-column frame.
        unknown : {"bias", "nan", "error"}
            What an unknown user or item gives: the sum of the parts that are known (at least μ), a
            NaN, or an `UnknownIdError`.
        clip : bool
            Clip r̂, and the ends of the interval, to the scale seen in training.
        std : bool
            Return the standard deviation of the rating around r̂ too, noise included (in the unit of
            the ratings): √(σ² (1 + f_iᵀ A_u⁻¹ f_i + g_uᵀ A_i⁻¹ g_u), see `models/uncertainty.py`. It
            is what the model believes; only `interval` is checked against held-out ratings.
        interval : float, optional
            Return the ends of an interval that covers the rating with this probability, such as 0.9.
            The model must be calibrated (`calibrate`); see `models/calibration.py`.

        Returns
        -------
        array (N,) of the factors' dtype, or a float for two single ids; with `std` the two (mean, std),
        with `interval` the three (mean, lower, upper)

        Raises
        ------
        NotFittedError, UnknownIdError, DataError
        HistoryRequiredError
            `std` or `interval` of a model saved without its users' ratings.
        NotCalibratedError, ParameterError, SingularSystemError
        """
        self._check_fitted()
        check_choice("unknown", unknown, ("bias", "nan", "error"))
        if std and interval is not None:
            raise ParameterError("std", std, "cannot be asked together with interval", "ask twice")
        if items is None:
            users, items = split_pairs(users)
        single = np.ndim(users) == 0 and np.ndim(items) == 0
        if single:
            users, items = [users], [items]
        user_index = self.factors_.user_ids.lookup(users, "users")
        item_index = self.factors_.item_ids.lookup(items, "items")
        if len(user_index) != len(item_index):
            raise DataError(
                "items",
                len(item_index),
                f"must be as many as the users, {len(user_index)}",
                "pass arrays of equal length",
            )
        if unknown == "error":
            require_known(user_index, users, "user")
            require_known(item_index, items, "item")
        known: Any = slice(None)  # nothing is asked of pairs whose answer is NaN
        if unknown == "nan":
            known = (user_index >= 0) & (item_index >= 0)
        pairs = user_index[known], item_index[known]
        fitted = self._predict_rows(*pairs, backend)
        answers = [fitted]
        if interval is not None:
            answers += interval_of(self, *pairs, fitted, interval, backend)
        if clip:
            for answer in answers:
                np.clip(answer, *self.scale_, out=answer)
        if std:
            answers.append(std_of(self, *pairs, backend))
        if unknown == "nan":
            for place, answer in enumerate(answers):
                answers[place] = np.full(len(user_index), np.nan, dtype=answer.dtype)
                answers[place][known] = answer
        if single:
            found = tuple(float(answer[0]) for answer in answers)
            return found[0] if len(found) == 1 else found
        return answers[0] if len(answers) == 1 else tuple(answers)

    def calibrate(
        self,
        X: Any,
        y: Any = None,
        *,
        folds: int | None = None,
        seed: int = 0,
        backend: str | Backend = "native",
    ) -> Self:
        """Learn from held-out ratings how wide intervals must be (`predict(interval=)`).

        Parameters
        ----------
        X, y : Ratings, a table, or pairs and their ratings
            Ratings that the model has not seen (their weights are not used); or with `folds` all
            ratings, those it was fitted on.
        folds : int, optional
            Fit so many copies, each without one part of the ratings, and take their residuals of it:
            as many fits, but nothing need be held out. This model does not change. Where it was
            stopped early, the copies do as many sweeps as it kept.
        seed : int
            Of the parts.

        Returns
        -------
        the model itself, with `calibration_`; `save` keeps it, `fit` discards it

        Raises
        ------
        NotFittedError, HistoryRequiredError, ParameterError, SingularSystemError
        DataError
            The model has seen some of the held-out ratings, or they are fewer than 20.
        """
        from halfstep.models.calibration import calibrated, calibrated_by_folds

        self._check_fitted()
        if folds is None:
            self.calibration_ = calibrated(self, X, y, seed, backend)
        else:
            self.calibration_ = calibrated_by_folds(self, X, y, folds, seed, backend)
        return self

    def rmse(self, X: Any, y: Any = None, *, clip: bool = False) -> float:
        """Root mean squared error on `Ratings` or (X, y); unknown ids fall back to the biases."""
        return root_mean_squared_error(*self._residuals(X, y, clip))

    def mae(self, X: Any, y: Any = None, *, clip: bool = False) -> float:
        """Mean absolute error on `Ratings` or (X, y); unknown ids fall back to the biases."""
        return mean_absolute_error(*self._residuals(X, y, clip))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R² = 1 − Σ (r − r̂)² / Σ (r − r̄)², higher is better, as scikit-learn expects."""
        observed, fitted, weights = self._residuals(X, y, clip=False)
        if sample_weight is not None:
            weights = np.asarray(sample_weight, dtype=np.float64)
        return r_squared(observed, fitted, weights)

    def _residuals(self, X: Any, y: Any, clip: bool) -> tuple[Array, Array, Array | None]:
        """(observed, fitted, weights) of ratings or (X, y)."""
        self._check_fitted()
        if isinstance(X, Ratings):
            if y is not None:
                raise DataError("y", "an array", "must be None where X is Ratings", "pass X alone")
            users = self.factors_.user_ids.lookup(X.users.values)[X.user_index()]
            items = self.factors_.item_ids.lookup(X.items.values)[X.by_user.indices]
            fitted = self._predict_rows(users, items, "native").astype(np.float64)
            if clip:
                np.clip(fitted, *self.scale_, out=fitted)
            return X.by_user.values.astype(np.float64), fitted, X.by_user.weights
        if y is None:
            return self._residuals(as_ratings(X), None, clip)
        fitted = np.asarray(self.predict(X, clip=clip), dtype=np.float64)
        return np.asarray(y, dtype=np.float64).reshape(-1), fitted, None
