"""How long a selection may take."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any

from halfstep.checks import is_number
from halfstep.errors import ParameterError

__all__ = ["Clock", "seconds_of"]

_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def seconds_of(budget: Any) -> float | None:
    """A budget in seconds: a number, or text with a unit; None where there is none.

    >>> seconds_of("90s"), seconds_of("1.5min"), seconds_of("2h"), seconds_of(30)
    (90.0, 90.0, 7200.0, 30.0)

    Raises `ParameterError`.
    """
    if budget is None:
        return None
    seconds = float("nan")
    if is_number(budget):
        seconds = float(budget)
    elif isinstance(budget, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|min|m|h|)\s*", budget)
        if found:
            seconds = float(found[1]) * _UNITS[found[2]]
    if not 0 < seconds < float("inf"):
        raise ParameterError(
            "budget",
            budget,
            "must be a time above 0: seconds, or text such as 90s, 10min, 2h",
            'try budget="60s"',
        )
    return seconds


class Clock:
    """Seconds since the work began, and how many are left of the budget."""

    def __init__(self, budget: float | None) -> None:
        self.budget, self._begun = budget, perf_counter()
        self._deadline = float("inf") if budget is None else self._begun + budget

    def part(self, share: float) -> Clock:
        """A clock of its own for the work that may take that share of what is left."""
        clock = Clock(self.budget)
        if self.budget is not None:
            clock._deadline = perf_counter() + share * self.left
        return clock

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return perf_counter() - self._begun

    @property
    def deadline(self) -> float:
        """The instant of `time.perf_counter` at which the budget is spent."""
        return self._deadline

    @property
    def left(self) -> float:
        """Until the budget is spent; infinite where there is none."""
        return self.deadline - perf_counter()
