"""What a report is about: the ratings, the model, and the held-out ratings that measure it.

A saved model has usually been fitted to all ratings; errors on these would be training errors. So where
no held-out part is given, a share of the ratings is held out at random, and a copy of the model (same
rank, same λ, as many sweeps as the model kept) is fitted to the rest and measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import (
    DataError,
    DivergedError,
    ParameterError,
    SingularSystemError,
)
from halfstep.evaluation import split_each_user, split_random
from halfstep.models.base import FactorModel
from halfstep.models.calibration import rows_of
from halfstep.models.side_features import fit_tables
from halfstep.objectives import SIDES
from halfstep.report.names import Names
from halfstep.wording import counted

__all__ = ["Held", "Subject", "held_out"]

SHARE = 0.1
_MOST_SWEEPS = 50


@dataclass(frozen=True)
class Held:
    """A model, and ratings that it has not seen. `how` says where both are from."""

    model: FactorModel
    train: Ratings
    test: Ratings
    how: str

    @cached_property
    def _residuals(self) -> tuple[Array, Array, Array | None]:
        return self.model._residuals(self.test, None, clip=False)

    @property
    def observed(self) -> Array:
        """r of every held-out rating, float64."""
        return self._residuals[0]

    @property
    def predicted(self) -> Array:
        """r̂ of every held-out rating, float64, not clipped."""
        return self._residuals[1]

    @property
    def weights(self) -> Array:
        """c of every held-out rating, 1 where it has none."""
        given = self._residuals[2]
        return np.ones(len(self.observed)) if given is None else given.astype(np.float64)


@dataclass(frozen=True)
class Subject:
    """All that the sections ask. `held` is a sentence where nothing could be measured."""

    model: FactorModel
    ratings: Ratings
    names: Names
    held: Held | str
    seed: int

    @property
    def noun(self) -> str:
        """What a row of the table is."""
        return self.model.learns.removesuffix("s")

    @cached_property
    def item_counts(self) -> Array:
        """How many ratings of the model's history every item has, by the model's rows."""
        history = self.model._whole_history("report")
        return np.bincount(history.indices, minlength=len(self.model.factors_.item_ids))

    @cached_property
    def well_known(self) -> int:
        """So many ratings has an item of which the figures say something: the median item's."""
        rated = self.item_counts[self.item_counts > 0]
        return int(np.median(rated)) if len(rated) else 1


def held_out(
    model: FactorModel,
    ratings: Ratings,
    test: Ratings | None,
    measured: FactorModel | None,
    known: dict[str, Any],
    seed: int,
) -> Held | str:
    """The held-out part and the model to measure on it, or why there is none.

    Raises `DataError` where the model to be measured has seen some of `test`.
    """
    if test is None:
        if measured is not None:
            raise ParameterError(
                "measured",
                measured,
                "is a model to measure, without ratings to measure it on",
                "pass test= with ratings that it has not seen",
            )
        return _by_a_copy(model, ratings, known, seed)
    asked = model if measured is None else measured
    seen = 0 if asked.history_ is None else asked._count_fitted(*rows_of(asked, test))
    if seen:
        raise DataError(
            "test",
            f"{seen:,} of {len(test):,} ratings",
            "are among those that the model was fitted to",
            "pass ratings that it has not seen, or no test=",
        )
    how = f"Measured on {len(test):,} held-out {model.learns} that the fit has not seen"
    how += (
        "."
        if measured is None
        else "; then the model was fitted again: its factors and its examples are those of that fit."
    )
    return Held(asked, _fitted_to(asked, ratings), test, how)


def _by_a_copy(
    model: FactorModel, ratings: Ratings, known: dict[str, Any], seed: int
) -> Held | str:
    known = {**fit_tables(model), **known}
    for side in SIDES:
        own = model.features_.side(side)
        if own is not None and own.encoding is not None and f"{side}_features" not in known:
            return (
                f"The model was fitted with features of {side}s and saved without them, and a copy of "
                f"it to measure needs them: pass {side}_features="
            )
    try:
        split = split_random if model.learns == "ratings" else split_each_user
        train, test = split(ratings, test=SHARE, seed=seed)
    except DataError:
        noun = model.learns.removesuffix("s")
        return f"{counted(len(ratings), noun)}: too few to hold {SHARE:.0%} of them out"
    fresh: Any = model.settled()
    if fresh.rank == "grow":  # its sweeps are those of many ranks, its tol is a gap
        fresh.set_params(rank=model.rank_, max_iter=_MOST_SWEEPS, tol=1e-4)
    try:
        fresh.fit(train, **known)
    except (SingularSystemError, DivergedError) as error:
        return (
            f"A copy of the model could not be fitted to {1 - SHARE:.0%} of the {model.learns} "
            f"({error})"
        )
    how = (
        f"Measured on {len(test):,} {model.learns} ({SHARE:.0%}, drawn at random with seed {seed}) that "
        f"a copy of the model with the same settings, fitted to the other {len(train):,}, has not seen: "
        "the model itself may have seen all of them."
    )
    return Held(fresh, train, test, how)


def _fitted_to(model: FactorModel, ratings: Ratings) -> Ratings:
    """The ratings that a model was fitted to, from its history."""
    f = model.factors_
    history = model._whole_history("report")
    return Ratings(f.user_ids, f.item_ids, history, report=ratings.report)
