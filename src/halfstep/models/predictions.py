"""Predicted ratings, and how sure they are."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.errors import ParameterError
from halfstep.models.asked import AskedPairs, Unknown
from halfstep.models.cold import Cold
from halfstep.models.measures import Measures
from halfstep.models.uncertainty import interval_of, std_of

__all__ = ["Predictions"]


class Predictions(Measures, Cold):
    """`predict` and `calibrate`."""

    def predict(
        self,
        users: Any,
        items: Any = None,
        *,
        unknown: Unknown = "bias",
        clip: bool = False,
        std: bool = False,
        interval: float | None = None,
        user_features: Any = None,
        item_features: Any = None,
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
        user_features, item_features : Features, a table, or a pair (matrix, ids), optional
            Of a model fitted with features: those of users and items without ratings, as in
            `with_features`.

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
        if user_features is not None or item_features is not None:
            model = self.with_features(user_features, item_features, backend=backend)
            how: Any = {"unknown": unknown, "clip": clip, "std": std, "interval": interval}
            return model.predict(users, items, backend=backend, **how)
        self._check_fitted()
        if std and interval is not None:
            raise ParameterError("std", std, "cannot be asked together with interval", "ask twice")
        asked = AskedPairs.of(self, users, items, unknown)
        pairs = asked.users, asked.items
        fitted = self._predict_rows(*pairs, backend)
        answers = [fitted]
        if interval is not None:
            answers += self._interval(*pairs, fitted, interval, backend)
        if clip:
            for answer in answers:
                np.clip(answer, *self.scale_, out=answer)
        if std:
            answers.append(self._std(*pairs, backend))
        return asked.answer(answers)

    def _std(self, users: Array, items: Array, backend: str | Backend) -> Array:
        """The standard deviation of ratings around r̂."""
        return std_of(self, users, items, backend)

    def _interval(
        self, users: Array, items: Array, fitted: Array, level: float, backend: str | Backend
    ) -> tuple[Array, Array]:
        """The ends of intervals around r̂."""
        return interval_of(self, users, items, fitted, level, backend)

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
