"""Options that several commands share: how to read the table, and what model to fit."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from halfstep.data.ids import Encoded
from halfstep.data.ratings import Ratings
from halfstep.errors import InputError, ParameterError
from halfstep.models.explicit import ExplicitMF
from halfstep.models.implicit import ImplicitMF

__all__ = [
    "Budget",
    "FileOptions",
    "GivenModelOptions",
    "ModelOptions",
    "ReadingOptions",
    "check_writable",
    "integer",
    "numbers",
    "repeated",
]

_READING = Group("Reading the table (all found out by itself where not given)", sort_key=10)
_MODEL = Group("Model", sort_key=5)
Budget = Annotated[
    str | None,
    Parameter(
        help="The most time, such as 60s, 10min or 2h: the best found by then is taken. What that is "
        "depends on the machine."
    ),
]
_NUMBERS = ("rating", "time", "weight")
_DEFAULT = {name: p.default for name, p in inspect.signature(ExplicitMF).parameters.items()}
_OTHER = {name: p.default for name, p in inspect.signature(ImplicitMF).parameters.items()}


@Parameter(name="*", group=_READING)
@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How a file is read as a table."""

    sep: Annotated[str | None, Parameter(help="What stands between columns; \\t is a tab.")] = None
    header: Annotated[
        bool | None, Parameter(help="Whether the first line holds the names of the columns.")
    ] = None
    encoding: Annotated[str | None, Parameter(help="Such as utf-8 or latin-1.")] = None
    format: Annotated[
        str | None, Parameter(help="Such as csv, parquet or json, where the name does not say.")
    ] = None
    query: Annotated[
        str | None, Parameter(help="SQL that makes the rows, for instance from a database file.")
    ] = None
    invalid: Annotated[
        str, Parameter(help="Rows with a missing id or rating: error (say where) or drop.")
    ] = "error"

    def read_pairs(self, path: Path, user: str | None, item: str | None) -> tuple[Encoded, Encoded]:
        """The users and items of that file, row by row."""
        from halfstep.data.read import opened

        given = {"user": _column(user), "item": _column(item), **dict.fromkeys(_NUMBERS, False)}
        with opened(path, given, **self._file()) as found:
            return found.users, found.items

    def _file(self) -> dict[str, Any]:
        names = ("sep", "header", "encoding", "format", "query")
        given = {name: getattr(self, name) for name in names}
        return {**given, "sep": "\t" if self.sep == "\\t" else self.sep}


@Parameter(name="*", group=_READING)
@dataclass(frozen=True, kw_only=True)
class ReadingOptions(FileOptions):
    """How the columns of a table of ratings are found and what is done with odd rows."""

    user: Annotated[
        str | None, Parameter(help="Column of the users: a name, or a position from 0.")
    ] = None
    item: Annotated[str | None, Parameter(help="Column of the items.")] = None
    rating: Annotated[
        str | None, Parameter(help="Column of the ratings (with --implicit: of the counts).")
    ] = None
    time: Annotated[str | None, Parameter(help="Column of the times.")] = None
    weight: Annotated[
        str | None, Parameter(help="Column of the weights: 2 counts like the row twice.")
    ] = None
    duplicates: Annotated[
        str | None,
        Parameter(
            help="Where a user rated an item more than once: error, mean, sum, first, last, merge. "
            "With --implicit sum. [default: error]",
            show_default=False,
        ),
    ] = None

    def read(
        self, path: Path, *, keep_order: bool = False, duplicates: str | None = None
    ) -> Ratings:
        """The ratings of that file; `duplicates` is for repeated pairs where no option says it."""
        from halfstep.data.read import read_ratings

        columns: dict[str, Any] = {
            name: _column(getattr(self, name)) for name in ("user", "item", *_NUMBERS)
        }
        return read_ratings(
            path,
            **columns,
            **self._file(),
            duplicates=self.duplicates or duplicates,
            invalid=self.invalid,
            keep_order=keep_order,
        )


def _column(text: str | None) -> str | int | None:
    """A column by position (from 0) where the text is a number, else by name."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def integer(_: Any, tokens: Sequence[Any]) -> int | str:
    """An integer; any other text as it is, for the model to refuse (cyclopts would round 2.5)."""
    text: str = tokens[0].value
    try:
        return int(text)
    except ValueError:
        return text


@Parameter(name="*", group=_MODEL)
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The parameters of `ExplicitMF`: rank and regularization chosen, all else with its own defaults."""

    rank: Annotated[
        int | Literal["auto", "grow"],
        Parameter(
            converter=integer,
            help="Number of factors; auto chooses it by held-out error; grow finds it from the "
            "regularization (allow some hundred sweeps; the tolerance is then the gap to the optimum).",
        ),
    ] = "auto"
    reg: Annotated[
        str,
        Parameter(
            help="Regularization: one number, or three (users, items, biases) as 0.1,0.1,0.05; auto "
            "chooses it."
        ),
    ] = "auto"
    reg_scaling: Annotated[
        Literal["auto", "count", "sqrt", "frequency", "none"],
        Parameter(
            help="Whether the penalty of a row grows with its number of ratings: count, with its root: "
            "sqrt, or none; auto is chosen too, and count where the regularization is given. With "
            "--implicit: frequency (auto), count or none."
        ),
    ] = _DEFAULT["reg_scaling"]
    biases: Annotated[
        bool | None,
        Parameter(
            help="Learn a bias for each user and item (not for interactions). [default: yes]",
            show_default=False,
        ),
    ] = None
    center: Annotated[bool, Parameter(help="Subtract the mean rating first.")] = _DEFAULT["center"]
    nonnegative: Annotated[
        bool, Parameter(help="Keep all factors at 0 or above, so that they only add up.")
    ] = _DEFAULT["nonnegative"]
    max_iter: Annotated[
        int | None,
        Parameter(
            converter=integer,
            help=f"The most sweeps over users and items ({_OTHER['max_iter']} for interactions). "
            f"[default: {_DEFAULT['max_iter']}]",
            show_default=False,
        ),
    ] = None
    tol: Annotated[
        float, Parameter(help="Stop where a sweep lowers the objective by less than this share.")
    ] = _DEFAULT["tol"]
    dtype: Annotated[Literal["float32", "float64"], Parameter(help="Precision of the factors.")] = (
        _DEFAULT["dtype"]
    )
    seed: Annotated[
        int, Parameter(converter=integer, help="Of the random start and of the random split.")
    ] = _DEFAULT["seed"]
    solver: Annotated[
        str,
        Parameter(
            help="How the optimum is found, which does not change what it is: als chooses by the rank; "
            "als-cholesky solves every user and item exactly; als-cg and als-subspace take cheaper "
            "steps, for large ranks; sgd takes one rating at a time; gd is batch gradient descent, "
            "lbfgs is L-BFGS."
        ),
    ] = _DEFAULT["solver"]

    def parameters(self) -> dict[str, Any]:
        """The arguments of `ExplicitMF`."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        given = {name: value for name, value in given.items() if value is not None}
        if given.get("reg", "auto") != "auto":
            given["reg"] = numbers("reg", self.reg)
        return given

    def model(self, implicit: bool = False) -> ExplicitMF:
        """An unfitted model, its parameters checked; `implicit` is whether it has implicit features."""
        given = self.parameters()
        if implicit:
            given["implicit_features"] = True
        model = ExplicitMF(**given)
        model._check()
        return model

    def changed(self) -> list[str]:
        """The flags whose values are not the defaults."""
        return [f"--{name.replace('_', '-')}" for name in self.changed_names()]

    def changed_names(self) -> list[str]:
        """The names of the options whose values are not the defaults."""
        return list(_changed(self))


@Parameter(name="*", group=_MODEL)
@dataclass(frozen=True, kw_only=True)
class GivenModelOptions(ModelOptions):
    """The same where nothing is chosen: rank and regularization are the library's defaults."""

    rank: Annotated[
        Any,
        Parameter(
            converter=integer,
            show_default=False,
            help=f"Number of factors ({_OTHER['rank']} for interactions). "
            f"[default: {_DEFAULT['rank']}]",
        ),
    ] = None
    reg: Annotated[
        Any,
        Parameter(
            show_default=False,
            help="Regularization: one number, or three (users, items, biases) as 0.1,0.1,0.05 "
            f"({_OTHER['reg']} for interactions). [default: {_DEFAULT['reg']}]",
        ),
    ] = None
    reg_scaling: Annotated[
        Literal["auto", "count", "sqrt", "frequency", "none"],
        Parameter(
            help="Whether the penalty of a row grows with its number of ratings; auto is count, and "
            "frequency with --implicit."
        ),
    ] = "auto"

    def parameters(self) -> dict[str, Any]:
        """The arguments of `ExplicitMF`, the scaling said."""
        given = super().parameters()
        return {**given, "reg_scaling": "count"} if self.reg_scaling == "auto" else given


def _changed(options: Any) -> dict[str, Any]:
    """What is not the default."""
    given = {f.name: getattr(options, f.name) for f in fields(options)}
    return {name: value for name, value in given.items() if value != getattr(type(options)(), name)}


def repeated(options: Any, *, but: Sequence[str] = ()) -> list[str]:
    """The words of a command line that say what is not the default, without the names in `but`.

    `options` is a dataclass of options.
    """
    words = []
    for name, value in _changed(options).items():
        flag = name.replace("_", "-")
        if name not in but:
            words += [f"--no-{flag}" if value is False else f"--{flag}"]
            words += [] if isinstance(value, bool) else [str(value)]
    return words


def numbers(name: str, text: str) -> float | tuple[float, ...]:
    """One number, or three with commas between them."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise ParameterError(
            name,
            text,
            "must be auto, one number, or three with commas between them",
            f"try {name}=0.1 or {name}=0.1,0.1,0.05",
        )
    return values[0] if len(values) == 1 else values


def check_writable(path: Path, *inputs: Path | None) -> None:
    """Fail now rather than after an hour: the file must be possible to write, and not an input."""
    import tempfile

    if path.is_dir():
        raise InputError("path", str(path), "is a folder", "name a file")
    if not path.parent.is_dir():
        raise InputError(
            "path", str(path), f"the folder {path.parent} does not exist", "create it first"
        )
    for given in inputs:
        if given is not None and path.exists() and given.exists() and path.samefile(given):
            raise InputError("path", str(path), "is the file to read", "write to another file")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(
            "path",
            str(path),
            f"the folder {path.parent} cannot be written ({error.strerror})",
            "choose another folder",
        ) from None
