"""Options that make the model a `BayesianMF`, and how many draws of it a table of that size allows."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from halfstep.cli.options import ModelOptions, integer
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.models.bayesian import BayesianMF
from halfstep.models.explicit import ExplicitMF

__all__ = ["BayesOptions", "affordable", "refuse_draws", "sweep_seconds", "unfitted"]

_BAYES = Group("Bayesian model", sort_key=6)
_DEFAULT = {name: p.default for name, p in inspect.signature(BayesianMF).parameters.items()}
_SHARED = ("rank", "biases", "center", "dtype", "seed")
"""Parameters that both classes have."""
_SHORT_BURN_IN, _FEWEST = 20, 60
"""Of the shortest chain that is worth its time: sweeps before the first draw, and draws."""
_FULL, _MOST = 2e12, 1e13
"""Multiplications of a fit: up to the first it has all its draws, above the second it is left out."""
_FEATURE = 200
"""Multiplications of a stored entry of the features in a sweep, a factor: their maps are solved for."""


@Parameter(name="*", group=_BAYES)
@dataclass(frozen=True, kw_only=True)
class BayesOptions:
    """Whether a `BayesianMF` is fitted, and its own parameters."""

    bayes: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Fit a Bayesian model: nothing to choose, predictions are means over draws from the "
            "posterior, with standard deviations and intervals.",
        ),
    ] = False
    samples: Annotated[
        int | None,
        Parameter(
            converter=integer,
            show_default=False,
            help=f"Draws of every chain that are averaged. [default: {_DEFAULT['samples']}]",
        ),
    ] = None
    burn_in: Annotated[
        int | None,
        Parameter(
            converter=integer,
            show_default=False,
            help=f"Sweeps before them, which are not used. [default: {_DEFAULT['burn_in']}]",
        ),
    ] = None
    chains: Annotated[int, Parameter(converter=integer, help="Independent chains.")] = _DEFAULT[
        "chains"
    ]
    likelihood: Annotated[
        Literal["gaussian", "ordinal"],
        Parameter(
            help="What a rating is: a number with noise, or one of ordered levels (an ordered probit)."
        ),
    ] = _DEFAULT["likelihood"]
    noise: Annotated[
        Literal["auto", "user", "shared"],
        Parameter(
            help="One noise of ratings for each user, or the same for all; auto is user where the "
            "likelihood is gaussian."
        ),
    ] = _DEFAULT["noise"]
    keep: Annotated[
        int,
        Parameter(converter=integer, help="Draws that the file keeps, for intervals and fold-in."),
    ] = _DEFAULT["keep"]

    def changed(self) -> list[str]:
        """The names of the options that are not the defaults."""
        return [
            f.name for f in fields(self) if getattr(self, f.name) != getattr(type(self)(), f.name)
        ]

    def parameters(self) -> dict[str, Any]:
        """The arguments of `BayesianMF` that are its own."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "bayes"}
        return {name: value for name, value in given.items() if value is not None}

    def model(self, options: ModelOptions, implicit: bool, **instead: Any) -> BayesianMF:
        """An unfitted model, its parameters checked. Options of ALS alone are refused."""
        for name in options.changed_names():
            if name not in _SHARED:
                raise ParameterError(
                    name,
                    getattr(options, name),
                    "is of ALS: a Bayesian model learns its regularization and has no other solver",
                    "drop it",
                )
        if options.rank == "grow":
            raise ParameterError(
                "rank",
                "grow",
                "is of ALS: a Bayesian model of too high a rank does not overfit",
                f"try rank={_DEFAULT['rank']}",
            )
        given = {name: getattr(options, name) for name in _SHARED}
        if options.biases is None:
            del given["biases"]
        if options.rank == "auto":
            given["rank"] = _DEFAULT["rank"]
        if implicit:
            given["implicit_features"] = True
        model = BayesianMF(**{**given, **self.parameters(), **instead})
        model._check()
        return model


def unfitted(
    options: ModelOptions, bayes: BayesOptions, implicit: bool = False
) -> ExplicitMF | BayesianMF:
    """The model that the options ask for, its parameters checked."""
    if bayes.bayes:
        return bayes.model(options, implicit)
    refuse_draws(bayes)
    return options.model(implicit)


def refuse_draws(bayes: BayesOptions) -> None:
    """Raise where options of draws stand without a model that has some."""
    for name in bayes.changed():
        raise ParameterError(
            name, getattr(bayes, name), "is of the Bayesian model alone", "pass --bayes too"
        )


# ----------------------------------------------------------------- how long it takes


def affordable(model: BayesianMF, ratings: Ratings, seconds: float | None, **known: Any) -> Any:
    """That model, or one of fewer draws for a large table, or None where even 80 sweeps are too many.

    A sweep multiplies about 2 N D² + (m + n) D³/3 times, D = K + 1, and features with F stored entries
    add 200 F D: without a limit in seconds the number of draws is a matter of the tables alone, never
    of the machine. With one, a sweep is timed.
    """
    sweeps = model.chains * (model.burn_in + model.samples)
    if seconds is not None:
        most = seconds / sweep_seconds(model, ratings, **known)
    else:
        D = model.rank + 1
        entries = sum(table.cells.nnz for table in known.values())
        if model.implicit_features:
            entries += 2 * len(ratings)
        work = 2 * len(ratings) * D**2 + sum(ratings.shape) * D**3 / 3 + _FEATURE * entries * D
        if _MOST / work < _FEWEST + _SHORT_BURN_IN:
            return None
        most = max(_FULL / work, _FEWEST + _SHORT_BURN_IN)
    if most >= sweeps:
        return model
    if most < _FEWEST + _SHORT_BURN_IN:
        return None
    return BayesianMF(
        **model.get_params()
        | {"burn_in": _SHORT_BURN_IN, "samples": int(most) - _SHORT_BURN_IN, "chains": 1}
    )


def sweep_seconds(model: BayesianMF, ratings: Ratings, **known: Any) -> float:
    """The shortest of three sweeps."""
    few = BayesianMF(
        **model.get_params() | {"samples": 2, "burn_in": 1, "chains": 1, "keep": 2}
    ).fit(ratings, **known)
    return min(sum(row.seconds.values()) for row in few.trace_)
