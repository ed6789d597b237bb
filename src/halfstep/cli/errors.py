"""An exception as one line for the person at the terminal, in the words of the command line.

`rank=0: must be an integer of at least 1; try rank=10` becomes
`halfstep: error: --rank 0: must be an integer of at least 1; try --rank 10`.
"""

from __future__ import annotations

import os
import re
import sys
import traceback

from halfstep.errors import (
    DataError,
    DuplicatesError,
    HalfstepError,
    HistoryRequiredError,
    InputError,
    InternalError,
    NotCalibratedError,
    ReadError,
    shown,
)

__all__ = ["in_flags", "report"]

_FLAGS = (
    *("user", "item", "rating", "time", "weight", "sep", "header", "encoding", "format", "query"),
    *("duplicates", "invalid", "rank", "reg", "reg_scaling", "biases", "center", "max_iter", "tol"),
    *(
        "nonnegative",
        "dtype",
        "seed",
        "solver",
        "solvers",
        "valid",
        "test",
        "folds",
        "split",
        "file_order",
        "unknown",
        "n",
        "budget",
        "max_rank",
        "min_ratings",
        "rule",
        "metrics",
        "relevant",
        "std",
        "interval",
        "bayes",
        "samples",
        "burn_in",
        "chains",
        "keep",
        "noise",
        "likelihood",
        "implicit_features",
        "user_features",
        "item_features",
        "cold",
        "clip",
        "implicit",
        "alpha",
        "alpha0",
        "nu",
        "loss",
        "confidence",
        "epsilon",
        "metric",
        "patience",
    ),
)
_ASSIGNMENT = re.compile(rf"\b({'|'.join(_FLAGS)})=(\"[^\"]*\"|'[^']*'|…|[\w.+-]*\w)?")
_REWORDED = {
    "or ask predict(std=True)": "or ask for log_score, which needs none",
    ", or fold it in (model.fold_in)": "",
    "read with keep_order=True": "pass --file-order",
}


def report(error: Exception, tokens: list[str]) -> int:
    """Print the line on the error stream; the exit code."""
    from halfstep.cli import BAD_INPUT, BUG, INTERRUPTED

    if type(error).__name__ == "InterruptException":  # DuckDB's Ctrl-C
        return INTERRUPTED
    usage = _usage(error, tokens)
    if usage is not None:
        _print(usage)
        return BAD_INPUT
    if isinstance(error, HalfstepError) and not isinstance(error, InternalError):
        _print(in_flags(error))
        return BAD_INPUT
    if isinstance(error, ValueError) and str(error).startswith("HALFSTEP_"):  # the environment
        _print(str(error))
        return BAD_INPUT
    if isinstance(error, MemoryError):
        _print(f"not enough memory ({error or 'no details'}); try a lower --rank or fewer ratings")
        return BUG
    if isinstance(error, OSError) and error.filename is not None:
        _print(f"{error.filename}: {error.strerror}")
        return BAD_INPUT
    if os.environ.get("HALFSTEP_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    else:
        what = f"{type(error).__name__}: {error}"
        _print(f"this is a bug in halfstep ({what}); HALFSTEP_DEBUG=1 shows where", cut=500)
    return BUG


def _usage(error: Exception, tokens: list[str]) -> str | None:
    """What is wrong with the command line itself, where that is what the error is about."""
    from cyclopts import CycloptsError, UnknownCommandError

    from halfstep.cli import COMMANDS

    if isinstance(error, UnknownCommandError):  # its text would import every command
        return f"{tokens[0]}: is not a command ({', '.join(COMMANDS)}); see `halfstep --help`"
    if isinstance(error, CycloptsError):
        command = f" {tokens[0]}" if tokens and tokens[0] in COMMANDS else ""
        return f"{str(error).rstrip('. ')}; see `halfstep{command} --help`"
    return None


def _print(message: str, cut: int = 2000) -> None:
    line = " ".join(message.split())
    print(f"halfstep: error: {line[:cut]}", file=sys.stderr)


def in_flags(error: HalfstepError) -> str:
    """The message, with flags in the place of Python's arguments."""
    if isinstance(error, NotCalibratedError):
        return (
            "--interval: the model is not calibrated, so that it does not know how wide its intervals "
            "must be; fit a Bayesian model (halfstep fit --bayes), which needs no calibration, or call "
            "calibrate in Python"
        )
    if not isinstance(error, InputError):
        return _flags_in(str(error))
    rule, remedy = error.rule, error.remedy
    if isinstance(error, HistoryRequiredError):
        why, wish = "explain", "fit again"
        if "exclude_seen" in rule:
            why, wish = "leave out what was seen", "use --include-seen, or fit again"
        if error.argument == "train":  # of `evaluate`, which has no lists with what was seen
            why, wish = "measure lists", "fit again"
        return (
            "the model was saved without its users' ratings (--no-history), and they are needed to "
            f"{why}; {wish} without --no-history"
        )
    value = error.value if isinstance(error.value, str) else shown(error.value)
    value = " ".join(value.split())
    if error.argument.startswith("--"):
        subject = f"{error.argument} {value}"
    elif error.argument == "path":
        subject = value
    elif error.argument in _FLAGS and (
        not isinstance(error, DataError) or isinstance(error, (ReadError, DuplicatesError))
    ):
        subject = _flag(error.argument)
        if error.value is False:
            subject = f"--no-{subject.removeprefix('--')}"
        elif error.value is not True:
            subject += f" {value}"
    else:  # a value in the table
        subject = f"{error.argument}={shown(error.value)}"
    return f"{subject}: {_flags_in(rule)}; {_flags_in(remedy)}"


def _flag(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def _flags_in(text: str) -> str:
    """`name=value` as `--name value` wherever it stands in a sentence."""
    for python, ours in _REWORDED.items():
        text = text.replace(python, ours)

    def replaced(found: re.Match[str]) -> str:
        name, value = found[1], (found[2] or "").strip("\"'")
        if value in ("True", "False"):
            return _flag(name) if value == "True" else f"--no-{name.replace('_', '-')}"
        return f"{_flag(name)} {value}".rstrip()

    return _ASSIGNMENT.sub(replaced, text)
