"""All baselines for ratings on one test part."""

from __future__ import annotations

__all__ = ["BaselineError", "compare_baselines"]


class BaselineError: ...


def compare_baselines() -> None: ...
