"""Rank and regularization chosen by the software."""

from halfstep.selection.result import Selection, Trial

__all__ = ["Selection", "Trial"]
