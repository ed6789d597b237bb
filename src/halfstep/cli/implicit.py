"""Options that make the model an `ImplicitMF`, its table, and hints where a table looks like another."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Group, Parameter

from halfstep.cli.options import (
    GivenModelOptions,
    ModelOptions,
    ReadingOptions,
    integer,
    numbers,
)
from halfstep.cli.output import note
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError, ReadError
from halfstep.models.implicit import ImplicitMF

__all__ = ["ImplicitOptions", "hint_at_interactions", "metrics_of"]

_IMPLICIT = Group("Implicit feedback (interactions: who did what, how often)", sort_key=6)
_DEFAULT = {name: p.default for name, p in inspect.signature(ImplicitMF).parameters.items()}
_SHARED = ("rank", "reg", "reg_scaling", "biases", "solver", "max_iter", "tol", "dtype", "seed")
"""Parameters that both classes have."""
_CHOSEN_METRICS = ("ndcg@10", "recall@20")
_LEVELS, _HIGHEST = 3, 10.0
"""Of what looks like a scale of ratings: at least so many levels, none above."""


@Parameter(name="*", group=_IMPLICIT)
@dataclass(frozen=True, kw_only=True)
class ImplicitOptions:
    """Whether an `ImplicitMF` is fitted, and its own parameters."""

    implicit: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="The table holds interactions (clicks, plays, purchases), with counts or without: rank "
            "items by how likely the user wants them.",
        ),
    ] = False
    alpha: Annotated[
        float, Parameter(help="Confidence of one interaction, where all others have --alpha0.")
    ] = _DEFAULT["alpha"]
    alpha0: Annotated[
        float | Literal["auto"] | None,
        Parameter(
            show_default=False,
            help="Confidence that what a user has not done means no interest: the more items, the "
            "smaller; auto chooses it by held-out lists. [default: auto where rank and reg are chosen, "
            f"else {_DEFAULT['alpha0']}]",
        ),
    ] = None
    nu: Annotated[
        float,
        Parameter(help="Exponent of --reg-scaling frequency: how much active rows are held back."),
    ] = _DEFAULT["nu"]
    loss: Annotated[
        Literal["ials", "wrmf"],
        Parameter(
            help="ials: an interaction adds its confidence; wrmf: it adds to that of all cells, as in "
            "implicit, Spark and LensKit."
        ),
    ] = _DEFAULT["loss"]
    confidence: Annotated[
        Literal["linear", "log", "binary"],
        Parameter(
            help="How a count becomes a confidence: in proportion, with its logarithm, or all alike "
            "(binary)."
        ),
    ] = _DEFAULT["confidence"]
    epsilon: Annotated[float, Parameter(help="The unit of a count in --confidence log.")] = (
        _DEFAULT["epsilon"]
    )
    metric: Annotated[
        str,
        Parameter(
            help="What the validation part measures, and the fit stops by: ndcg@10, recall@20, map@10, "
            "hit_rate@10, …"
        ),
    ] = _DEFAULT["metric"]
    patience: Annotated[
        int,
        Parameter(converter=integer, help="Sweeps without a better score before the fit stops."),
    ] = _DEFAULT["patience"]

    def changed(self) -> list[str]:
        """The names of the options that are not the defaults."""
        return [
            f.name for f in fields(self) if getattr(self, f.name) != getattr(type(self)(), f.name)
        ]

    def refuse(self) -> None:
        """Raise where options of implicit feedback stand without it."""
        for name in self.changed():
            if name != "implicit":
                raise ParameterError(
                    name,
                    getattr(self, name),
                    "is of implicit feedback alone",
                    "pass --implicit too",
                )

    def model(self, options: ModelOptions, *, choosing: bool = False) -> ImplicitMF:
        """An unfitted model, its parameters checked. Options of ratings alone are refused.

        What is not given is the library's default; or where the command is `choosing`, of rank, alpha0
        and reg, "auto".
        """
        for name in options.changed_names():
            if name not in _SHARED:
                raise ParameterError(
                    name,
                    getattr(options, name),
                    "is of models of ratings: interactions have no such thing",
                    "drop it",
                )
        if options.rank == "grow":
            raise ParameterError(
                "rank", "grow", "is of models of ratings", f"try rank={_DEFAULT['rank']}"
            )
        given = {name: getattr(options, name) for name in _SHARED}
        given |= {f.name: getattr(self, f.name) for f in fields(self) if f.name != "implicit"}
        if choosing:
            given = {**given, "alpha0": "auto" if self.alpha0 is None else self.alpha0}
        elif not isinstance(options, GivenModelOptions):
            given = {name: None if value == "auto" else value for name, value in given.items()}
        if given["reg_scaling"] == "auto":
            del given["reg_scaling"]
        if given["reg"] not in (None, "auto"):
            given["reg"] = numbers("reg", options.reg)
        model = ImplicitMF(**{name: value for name, value in given.items() if value is not None})
        model._check()
        return model

    def read(self, reading: ReadingOptions, path: Path, *, keep_order: bool = False) -> Ratings:
        """The interactions of that file, counts of repeated pairs added; a hint where they look like
        ratings."""
        found = reading.read(path, keep_order=keep_order, duplicates="sum")
        if not (found.by_user.values > 0).any():
            raise ReadError(
                "path",
                found.report.source.description,
                "holds no count above 0, and so no interaction",
                "count what users did as 1 or more, or leave the column out with --query",
            )
        if self.confidence != "binary" and not found.report.repeats and _like_ratings(found):
            low, high = found.scale()
            note(
                f"the values look like ratings on a scale from {low:g} to {high:g}, and are taken as "
                f"counts: {high:g} is {high / low:g} times the confidence of {low:g}. Pass --confidence "
                "binary to count each of them alike, or drop --implicit to predict ratings"
            )
        return found


def _like_ratings(found: Ratings) -> bool:
    """Few levels up to 10, and the lowest not the most frequent, as it is where things are counted."""
    levels, counts = np.unique(found.by_user.values, return_counts=True)
    few = _LEVELS <= len(levels) <= 2 * _HIGHEST and levels[0] > 0 and levels[-1] <= _HIGHEST
    halves = bool((levels * 2 == np.rint(levels * 2)).all())
    return bool(few) and halves and int(np.argmax(counts)) > 0


def metrics_of(model: ImplicitMF) -> list[str]:
    """What a test part measures: NDCG@10 and recall@20, and the metric of the fit."""
    return list(dict.fromkeys([*_CHOSEN_METRICS, str(model.metric)]))


def hint_at_interactions(found: Ratings, way: str = "pass --implicit") -> None:
    """Raise where a table for a model of ratings has none; a note where all of them are equal.

    `way` is how this command, or another, learns from interactions.
    """
    if any("no rating (every row counts 1)" in text for text in found.report.source.notes):
        raise ReadError(
            "path",
            found.report.source.description,
            "has no column of ratings",
            f"{way} to learn from interactions, or name the column with --rating",
        )
    low, high = found.scale()
    if low == high and len(found) > 1:
        note(
            f"all ratings are {low:g}, and there is nothing to predict; {way} to rank items "
            "by who has chosen them"
        )
