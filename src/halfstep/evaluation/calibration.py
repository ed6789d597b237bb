"""Do intervals hold what they promise: at every level, for the well known and the hardly known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_choice, is_number
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.breakdowns import groups_of, span
from halfstep.evaluation.grouped import summed
from halfstep.evaluation.past import check_held_out
from halfstep.evaluation.residuals import intervals_of, weights_of
from halfstep.evaluation.scores import interval_score, wilson_interval
from halfstep.evaluation.tables import aligned, figure

__all__ = ["CalibrationTable", "calibration_table"]


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationTable:
    """How often intervals hold the held-out rating, and how wide they are. `print` shows a table.

    Group 0 is all held-out ratings; with `by` the others are those of users (items) with few training
    ratings to many.

    Attributes
    ----------
    by : {"", "user", "item"}
        Whose training ratings make the groups.
    levels : array (levels,)
        The probability that was asked for.
    ratings : array (groups,), int64
        Held-out ratings.
    lowest, highest : arrays (groups,), int64
        The training ratings of the group's users or items, from … to …; −1 for group 0.
    coverage, width, score : arrays (groups, levels)
        Σ c [lower ≤ r ≤ upper] / Σ c, and the same means of the width and of the interval score
        (Winkler 1972), both in the unit of the ratings; c are the weights of the held-out ratings.
    lower, upper : arrays (groups, levels)
        Wilson's interval of `coverage` (1927), of (Σ c)² / Σ c² independent ratings. Those of one
        user are not quite independent: `evaluate(model, test, "interval_coverage@90")` resamples users.
    confidence : float
        Of these intervals.
    """

    by: str
    levels: Array
    ratings: Array
    lowest: Array
    highest: Array
    coverage: Array
    width: Array
    score: Array
    lower: Array
    upper: Array
    confidence: float

    @property
    def broken(self) -> Array:
        """Whether the level is outside Wilson's interval (groups, levels): chance hardly explains it."""
        broken: Array = (self.levels < self.lower) | (self.upper < self.levels)
        return broken

    def to_dict(self) -> dict[str, Array]:
        """Columns, one entry for each level of each group: ready for any DataFrame."""
        names = ("coverage", "lower", "upper", "width", "score", "broken")
        per_group = ("lowest", "highest", "ratings")
        return {
            "level": np.tile(self.levels, len(self.ratings)),
            **{name: np.repeat(getattr(self, name), len(self.levels)) for name in per_group},
            **{name: getattr(self, name).ravel() for name in names},
        }

    def __str__(self) -> str:
        sure = f"{100 * self.confidence:g} % interval"
        header = ["level", "held out", "covered", sure, "", "width", "score"]
        rows = []
        for g in range(len(self.ratings)):
            for k, level in enumerate(self.levels):
                far = self.coverage[g, k] < level
                rows.append(
                    [
                        f"{level:.4g}",
                        f"{self.ratings[g]:,}",
                        f"{self.coverage[g, k]:.1%}",
                        f"{self.lower[g, k]:.1%} – {self.upper[g, k]:.1%}",
                        ("too few" if far else "too many") if self.broken[g, k] else "",
                        figure(self.width[g, k]),
                        figure(self.score[g, k]),
                    ]
                )
        if not self.by:
            return aligned(header, rows)
        spans = ["all", *map(span, self.lowest[1:], self.highest[1:])]
        groups = np.repeat(np.array(spans, dtype=object), len(self.levels))
        named = [[group, *row] for group, row in zip(groups, rows, strict=True)]
        return aligned([f"ratings of the {self.by}", *header], named)


def calibration_table(
    model: Any,
    test: Ratings,
    levels: float | Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    *,
    by: Literal["user ratings", "item ratings"] | None = None,
    train: Ratings | None = None,
    bins: int = 5,
    confidence: float = 0.95,
) -> CalibrationTable:
    """Coverage, width and score of `predict(interval=level)` on held-out ratings.

    An honest interval of level 0.9 holds 90 % of the held-out ratings, up to chance; one that holds all
    of them is too wide. The ratings must be others than those that `calibrate` has seen. A model may
    be honest over all and too sure where it knows little: `by` tells.

    Parameters
    ----------
    model : a fitted model with `predict(users, items, interval=level)`
        An `ExplicitMF` must be calibrated.
    test : Ratings
        Held-out ratings.
    levels : numbers in (0, 1)
    by : {"user ratings", "item ratings"}, optional
        Group by how many training ratings the user or the item has.
    train : Ratings, optional
        What these are counted in. Default: the model's own history.
    bins : int
        About how many groups, as in `error_by_popularity`.
    confidence : float
        Of the intervals of the coverage.

    Raises
    ------
    NotCalibratedError, DataError, ParameterError, HistoryRequiredError

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 120, rank=4, seed=0).ratings
    >>> train, calibration, test = hs.split_random(ratings, valid=0.1, test=0.2, seed=0)
    >>> model = hs.ExplicitMF(rank=4, reg=0.05).fit(train).calibrate(calibration)
    >>> table = hs.calibration_table(model, test, levels=(0.5, 0.9))
    >>> table.coverage.shape
    (1, 2)
    """
    check_held_out(test)
    asked: list[Any] = list(levels) if isinstance(levels, Iterable) else [levels]
    for level in asked:
        if not is_number(level) or not 0 < level < 1:
            raise ParameterError("levels", level, "must be numbers in (0, 1)", "try (0.5, 0.9)")
    if not asked:
        raise ParameterError("levels", levels, "must not be empty", "try (0.5, 0.9)")
    if not is_number(confidence) or not 0 < confidence < 1:
        raise ParameterError("confidence", confidence, "must be a number in (0, 1)", "try 0.95")
    if by is not None:
        check_choice("by", by, ("user ratings", "item ratings"))
    side = "" if by is None else by.removesuffix(" ratings")
    group = np.zeros(len(test), dtype=np.int64)
    lowest = highest = np.zeros(0, dtype=np.int64)
    if side:
        group, lowest, highest = groups_of(model, test, train, bins, side, "calibration_table")
    groups = len(lowest)
    r, c = test.by_user.values.astype(np.float64), weights_of(test)

    def totals(values: Array) -> Array:
        """Σ over all, then over each group."""
        whole = summed(np.zeros(len(r), dtype=np.int64), values, 1)
        return np.concatenate([whole, summed(group, values, groups)[:groups]])

    total = totals(c)
    columns: dict[str, list[Array]] = {"coverage": [], "width": [], "score": []}
    for level in asked:
        low, high = intervals_of(model, test, float(level))
        columns["coverage"].append(totals(c * ((low <= r) & (r <= high))) / total)
        columns["width"].append(totals(c * (high - low)) / total)
        columns["score"].append(totals(c * interval_score(r, low, high, float(level))) / total)
    found = {name: np.stack(column, axis=1) for name, column in columns.items()}
    independent = total**2 / totals(c**2)
    lower, upper = wilson_interval(found["coverage"], independent[:, None], float(confidence))
    none = np.array([-1])
    return CalibrationTable(
        by=side,
        levels=np.array(asked, dtype=np.float64),
        ratings=totals(np.ones(len(r))).astype(np.int64),
        lowest=np.concatenate([none, lowest]),
        highest=np.concatenate([none, highest]),
        lower=lower,
        upper=upper,
        confidence=float(confidence),
        **found,
    )
