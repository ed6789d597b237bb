"""Every error that halfstep raises on purpose, and how its one line is built.

A message names the argument, the value, the rule and the remedy, in that order:

>>> raise ParameterError("rank", 0, "must be an integer of at least 1", "try rank=10")
Traceback (most recent call last):
    ...
halfstep.errors.ParameterError: rank=0: must be an integer of at least 1; try rank=10

All of them derive from `HalfstepError`; those that blame an argument are `ValueError`\\ s too, so
code that knows nothing of halfstep still catches them in the usual way.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "DataError",
    "DivergedError",
    "DuplicatesError",
    "HalfstepError",
    "HistoryRequiredError",
    "InputError",
    "InternalError",
    "LeakError",
    "ModelFileError",
    "NotCalibratedError",
    "NotFittedError",
    "ParameterError",
    "ReadError",
    "SingularSystemError",
    "UnknownIdError",
]

_SHOWN = 80  # characters of a value that a message repeats


def shown(value: object) -> str:
    """`repr(value)`, cut to one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


class HalfstepError(Exception):
    """Base class of every error that halfstep raises on purpose."""


class InputError(HalfstepError, ValueError):
    """An argument breaks a rule: `argument=value: rule; remedy`."""

    def __init__(self, argument: str, value: object, rule: str, remedy: str) -> None:
        self.argument, self.value, self.rule, self.remedy = argument, value, rule, remedy
        super().__init__(argument, value, rule, remedy)

    def __str__(self) -> str:
        whole = self.argument == "path"  # a cut path is of no use
        value = repr(self.value) if whole else shown(self.value)
        return " ".join(f"{self.argument}={value}: {self.rule}; {self.remedy}".splitlines())


class ParameterError(InputError):
    """A parameter of a model, a solver or a function is outside its range."""


class DataError(InputError):
    """A table of ratings breaks a rule: a NaN, an empty table, columns of unequal length."""


class DuplicatesError(DataError):
    """The same (user, item) pair stands in the table more than once, and no policy was given."""


class LeakError(DataError):
    """A part of a split knows something of another that it must not know."""


class ReadError(DataError):
    """A file cannot be read as a table of ratings."""


class UnknownIdError(InputError, KeyError):
    """A user or an item that the model has not seen, where the caller asked for an error."""

    __str__ = InputError.__str__  # KeyError would print the repr


class HistoryRequiredError(InputError):
    """The model was saved without its users' ratings, and the question needs them."""


class ModelFileError(InputError):
    """A model file is truncated, tampered with, or not a model of this version."""


class NotFittedError(HalfstepError, ValueError, AttributeError):
    """The model has not been fitted yet (the bases are those of scikit-learn's error)."""


class NotCalibratedError(HalfstepError, ValueError):
    """Intervals were asked of a model that has not been calibrated yet."""


class SingularSystemError(HalfstepError, ArithmeticError):
    """The system of one row has no unique solution in the working precision.

    `side` is "user" or "item", `row` the index of the row in the factors.
    """

    def __init__(self, message: str, side: str | None = None, row: int | None = None) -> None:
        self.side, self.row = side, row
        super().__init__(message)


class DivergedError(HalfstepError, ArithmeticError):
    """J is no longer a number: the steps of the solver were too long for these ratings."""


class BackendError(HalfstepError):
    """The backend cannot do what was asked, and says why."""


class InternalError(HalfstepError, RuntimeError):
    """A bug in halfstep: please report it with the message."""
