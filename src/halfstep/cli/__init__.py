"""The command line: `halfstep fit | evaluate | predict | recommend | …`.

One file for each command; a command's file, and all that it needs, is imported only when that
command is run, so that `halfstep --help` answers at once. Every command returns its answer as one
plain document (`--json`) and shows the same to a person; errors are one line on the error stream.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "fit": "Fit a model to a table of ratings, show its error, and save it.",
    "evaluate": "Measure the error: by cross-validation, or of a saved model.",
    "predict": "Predict the rating of one pair, or of a table of pairs.",
    "recommend": "The best items for a user, for some users, or for all.",
    "similar": "The items (or users) most like a given one.",
    "explain": "Why a user's predicted rating of an item is what it is.",
    "select": "Choose rank and regularization by held-out error, and show the surface.",
    "compare-solvers": "Fit several solvers to one table, and compare what they reach, and when.",
    "report": "A report to look at: the ratings, the fit, its error, what was learned.",
    "demo": "See it work on simulated ratings: fit, error, recommendations.",
    "doctor": "Check the installation: versions, processor, threads, a self-check.",
}

_HELP = """Matrix factorization: from a table of ratings to a factor model and recommendations.

For example:
    halfstep demo
    halfstep fit ratings.csv -o model.safetensors
    halfstep recommend model.safetensors --user 1

`halfstep COMMAND --help` explains a command."""

BAD_INPUT, BUG, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. No exception but `SystemExit` leaves it."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an ASCII terminal gets «?», not a traceback
            stream.reconfigure(errors="replace")
    try:
        code = _run(tokens)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (`| head`) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        from halfstep.cli.errors import report

        return report(error, tokens)


def _run(tokens: list[str]) -> int:
    result = _app(tokens[0] if tokens else "")(
        tokens, exit_on_error=False, print_error=False, verbose=False, result_action="return_value"
    )
    return result if isinstance(result, int) else 0


def _app(asked: str) -> App:
    """The application. The asked command speaks for itself; the others only need their line."""
    from cyclopts import App, Group

    from halfstep import __version__

    app = App(
        "halfstep",
        help=_HELP,
        help_format="plaintext",
        version=__version__,
        version_flags=["--version"],
        help_flags=["--help", "-h"],
        group_commands=Group("Commands", sort_key=1),
    )
    for rank, (name, line) in enumerate(COMMANDS.items()):
        app.command(
            "halfstep.cli.{0}:{0}".format(name.replace("-", "_")),
            name=name,
            help=None if name == asked else line,
            sort_key=rank,
        )
    app["--help"].group = app["--version"].group = Group("Options", sort_key=2)
    return app
