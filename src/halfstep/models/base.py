"""`FactorModel`: what every fitted factor model answers, whatever it was fitted by."""

from __future__ import annotations

from pathlib import Path

from halfstep.models.axes import Axes
from halfstep.models.predictions import Predictions
from halfstep.models.rankings import Rankings
from halfstep.models.updating import Updating

__all__ = ["FactorModel"]


class FactorModel(Predictions, Rankings, Updating, Axes):
    """The answers of a fitted model; subclasses fit. What a fit leaves: `Fitted`."""

    def save(self, path: str | Path, *, history: bool = True) -> Path:
        """Write the model to one `.safetensors` file, whole or not at all.

        `history=False` leaves the users' ratings out: the file is smaller and holds no personal
        history; `recommend(exclude_seen=True)` and `explain` then ask for `ratings=`, and how sure a
        prediction is can no longer be told.
        """
        from halfstep.models.saving import save_model

        self._check_fitted()
        return save_model(self, path, history=history)
