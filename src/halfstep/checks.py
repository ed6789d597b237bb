"""What arguments are held to, and the one error that says so."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.errors import ParameterError

__all__ = [
    "check_choice",
    "check_flag",
    "check_integer",
    "check_number",
    "check_rank",
    "check_tol",
    "is_integer",
    "is_number",
]


def is_integer(value: Any) -> bool:
    """Whether it is an integer of Python or numpy (True is none)."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def is_number(value: Any) -> bool:
    """Whether it is a real number of Python or numpy (True is none)."""
    real = isinstance(value, (int, float, np.integer, np.floating))
    return real and not isinstance(value, (bool, np.bool_))


def check_integer(
    name: str, value: Any, least: int, most: int | None = None, *, example: int | None = None
) -> None:
    """An integer of at least `least`, and at most `most` where that is given."""
    if is_integer(value) and least <= value and (most is None or value <= most):
        return
    rule = f"of at least {least}" if most is None else f"from {least} to {most}"
    example = max(least, 10) if example is None else example
    raise ParameterError(name, value, f"must be an integer {rule}", f"try {name}={example}")


def check_number(
    name: str, value: Any, *, positive: bool = False, example: float | None = None
) -> None:
    """A finite number of at least 0, or above it."""
    if is_number(value) and np.isfinite(value) and (value > 0 or (value == 0 and not positive)):
        return
    rule = "> 0" if positive else "≥ 0"
    example = 10.0 if example is None else example
    raise ParameterError(name, value, f"must be a finite number {rule}", f"try {name}={example:g}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """One of these words."""
    if not isinstance(value, str) or value not in choices:
        raise ParameterError(name, value, "is not a choice", f"choose one of {', '.join(choices)}")


def check_flag(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ParameterError(name, value, "must be True or False", f"try {name}=True")


def check_tol(value: Any) -> None:
    """The relative decrease of J at which a fit ends: a number in [0, 1)."""
    if not is_number(value) or not 0 <= float(value) < 1:
        raise ParameterError("tol", value, "must be a number in [0, 1)", "try tol=1e-4")


def check_rank(value: Any) -> None:
    """K: an integer from 1 to 16384."""
    check_integer("rank", value, 1)
    if value > 1 << 14:
        raise ParameterError("rank", value, "is above 16384", "choose a smaller rank")
