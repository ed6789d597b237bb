"""`Measures`: how far predicted ratings are from observed ones, for models with factors and without."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError
from halfstep.evaluation.metrics import mean_absolute_error, r_squared, root_mean_squared_error
from halfstep.models.asked import Unknown
from halfstep.models.known import Known

__all__ = ["Measures"]


class Measures(Known):
    """`rmse`, `mae` and `score`, made from `predict`."""

    @abstractmethod
    def predict(
        self, users: Any, items: Any = None, *, unknown: Unknown = "bias", clip: bool = False
    ) -> Any:
        """Predicted ratings of pairs of users and items."""

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
            users = self._ids("user").lookup(X.users.values)[X.user_index()]
            items = self._ids("item").lookup(X.items.values)[X.by_user.indices]
            fitted = self._predict_rows(users, items, "native").astype(np.float64)
            if clip:
                np.clip(fitted, *self.scale_, out=fitted)
            return X.by_user.values.astype(np.float64), fitted, X.by_user.weights
        if y is None:
            return self._residuals(as_ratings(X), None, clip)
        fitted = np.asarray(self.predict(X, clip=clip), dtype=np.float64)
        return _observed(y), fitted, None


def _observed(y: Any) -> Array:
    try:
        observed = np.asarray(y, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise DataError("y", y, "must be numbers", "convert the ratings first") from None
    wrong = ~np.isfinite(observed)
    if wrong.any():
        raise DataError(
            "y", float(observed[np.argmax(wrong)]), "must be finite", "leave those pairs out"
        )
    return observed
