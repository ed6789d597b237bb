"""Where a model errs: by activity of the user, popularity of the item, level of the interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer, is_number
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.grouped import summed
from halfstep.evaluation.past import Past, check_held_out
from halfstep.evaluation.residuals import intervals_of, predictions_of, weights_of
from halfstep.evaluation.tables import aligned, figure

__all__ = [
    "ErrorTable",
    "IntervalCoverage",
    "error_by_activity",
    "error_by_popularity",
    "interval_coverage",
]


@dataclass(frozen=True, slots=True, eq=False)
class ErrorTable:
    """Errors of held-out ratings, grouped by how many training ratings their user or item has.

    Every attribute but `side` is an array with one entry for each group, from few training ratings to
    many. `str()` is a table, `to_dict()` its columns.

    Attributes
    ----------
    side : {"user", "item"}
        Whose training ratings were counted: the activity of users, or the popularity of items.
    lowest, highest : int64
        The training ratings of the group's users or items, from … to ….
    rows : int64
        Users or items in the group that have held-out ratings.
    ratings : int64
        Held-out ratings in the group.
    rmse, mae : float64
        √(Σ c (r̂ − r)² / Σ c) and Σ c |r̂ − r| / Σ c, with c the weights of the held-out ratings.
    bias : float64
        Σ c (r̂ − r) / Σ c: above 0 where the model predicts too much.
    """

    side: str
    lowest: Array
    highest: Array
    rows: Array
    ratings: Array
    rmse: Array
    mae: Array
    bias: Array

    def __len__(self) -> int:
        """The number of groups."""
        return len(self.lowest)

    def to_dict(self) -> dict[str, Array]:
        """Columns by name: ready for any DataFrame."""
        return {
            "lowest": self.lowest,
            "highest": self.highest,
            f"{self.side}s": self.rows,
            "ratings": self.ratings,
            "rmse": self.rmse,
            "mae": self.mae,
            "bias": self.bias,
        }

    def __str__(self) -> str:
        header = [f"ratings of the {self.side}", f"{self.side}s", "held out", "RMSE", "MAE", "bias"]
        rows = [
            [
                _span(self.lowest[g], self.highest[g]),
                f"{self.rows[g]:,}",
                f"{self.ratings[g]:,}",
                figure(self.rmse[g]),
                figure(self.mae[g]),
                f"{self.bias[g]:+.4f}",
            ]
            for g in range(len(self))
        ]
        return aligned(header, rows)


@dataclass(frozen=True, slots=True, eq=False)
class IntervalCoverage:
    """How often intervals hold the held-out rating, and how wide they are.

    One entry for each level in `coverage` and `width`; one row for each level and one column for each
    group of items in `group_coverage` and `group_width`. `str()` is a table.

    Attributes
    ----------
    levels : array (levels,)
        The probability that was asked for.
    coverage, width : array (levels,)
        Σ c [lower ≤ r ≤ upper] / Σ c and Σ c (upper − lower) / Σ c (in the unit of the ratings), c the
        weights of the held-out ratings.
    ratings : int
        Held-out ratings.
    lowest, highest : array (groups,), int64
        The training ratings of the items of each group, from … to ….
    group_ratings : array (groups,), int64
        Held-out ratings of the items of each group.
    group_coverage, group_width : array (levels, groups)
    """

    levels: Array
    coverage: Array
    width: Array
    ratings: int
    lowest: Array
    highest: Array
    group_ratings: Array
    group_coverage: Array
    group_width: Array

    def to_dict(self) -> dict[str, Array]:
        """Columns, one entry for each level over all items (`lowest` = −1) and for each group."""
        levels, groups = len(self.levels), len(self.lowest)

        def column(whole: Any, parts: Any) -> Array:
            whole = np.broadcast_to(whole, levels)[:, None]
            return np.hstack([whole, np.broadcast_to(parts, (levels, groups))]).ravel()

        return {
            "level": np.repeat(self.levels, groups + 1),
            "lowest": column(-1, self.lowest),
            "highest": column(-1, self.highest),
            "ratings": column(self.ratings, self.group_ratings),
            "coverage": column(self.coverage, self.group_coverage),
            "width": column(self.width, self.group_width),
        }

    def __str__(self) -> str:
        header = ["ratings of the item", "held out"]
        header += [f"{level:g}: {what}" for level in self.levels for what in ("covered", "width")]
        rows = [["all", f"{self.ratings:,}", *_pairs(self.coverage, self.width)]]
        for g in range(len(self.lowest)):
            figures = _pairs(self.group_coverage[:, g], self.group_width[:, g])
            span = _span(self.lowest[g], self.highest[g])
            rows.append([span, f"{self.group_ratings[g]:,}", *figures])
        return aligned(header, rows)


def error_by_activity(
    model: Any,
    test: Ratings,
    *,
    train: Ratings | None = None,
    bins: int = 10,
    clip: bool = False,
) -> ErrorTable:
    """The errors of held-out ratings, by how many training ratings their user has.

    Parameters
    ----------
    model : a fitted model with `predict(users, items)`
    test : Ratings
        Held-out ratings.
    train : Ratings, optional
        What the training ratings are counted in. Default: the model's own history.
    bins : int
        About how many groups: they are quantiles of the held-out ratings, so that each holds about
        equally many of these, and users with the same number of training ratings stay together. Those
        without any are a group of their own.
    clip : bool
        Clip predictions to the scale of the training ratings.

    Raises
    ------
    DataError, ParameterError, HistoryRequiredError
    """
    return _errors(model, test, train, bins, clip, "user")


def error_by_popularity(
    model: Any,
    test: Ratings,
    *,
    train: Ratings | None = None,
    bins: int = 10,
    clip: bool = False,
) -> ErrorTable:
    """The errors of held-out ratings, by how many training ratings their item has.

    Parameters and errors as in `error_by_activity`.
    """
    return _errors(model, test, train, bins, clip, "item")


def interval_coverage(
    model: Any,
    test: Ratings,
    levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    *,
    train: Ratings | None = None,
    bins: int = 5,
) -> IntervalCoverage:
    """Coverage and mean width of `predict(interval=level)`, over all and by popularity of the item.

    An honest interval of level 0.9 holds 90 % of the held-out ratings, up to the chance of a sample:
    ± 2 √(0.9 · 0.1 / N) where ratings are independent. The ratings must be others than those that
    `calibrate` has seen.

    Parameters
    ----------
    model : a fitted and calibrated model
    test : Ratings
    levels : sequence of numbers in (0, 1)
    train, bins : as in `error_by_popularity`

    Raises
    ------
    NotCalibratedError, DataError, ParameterError, HistoryRequiredError
    """
    check_held_out(test)
    asked: list[Any] = list(levels) if isinstance(levels, Iterable) else [levels]
    for level in asked:
        if not is_number(level) or not 0 < level < 1:
            raise ParameterError("levels", level, "must be numbers in (0, 1)", "try (0.5, 0.9)")
    if not asked:
        raise ParameterError("levels", levels, "must not be empty", "try (0.5, 0.9)")
    group, lowest, highest = _groups(model, test, train, bins, "item")
    groups = len(lowest)
    r, c = test.by_user.values.astype(np.float64), weights_of(test)
    total = summed(group, c, groups)
    covered, wide = [], []
    for level in asked:
        lower, upper = intervals_of(model, test, float(level))
        held = (lower <= r) & (r <= upper)
        covered.append((np.sum(c * held) / np.sum(c), summed(group, c * held, groups) / total))
        w = upper - lower
        wide.append((np.sum(c * w) / np.sum(c), summed(group, c * w, groups) / total))
    return IntervalCoverage(
        levels=np.array(asked, dtype=np.float64),
        coverage=np.array([whole for whole, _ in covered]),
        width=np.array([whole for whole, _ in wide]),
        ratings=len(test),
        lowest=lowest,
        highest=highest,
        group_ratings=np.bincount(group, minlength=groups),
        group_coverage=np.array([parts for _, parts in covered]),
        group_width=np.array([parts for _, parts in wide]),
    )


def quantile_groups(counts: Array, bins: int) -> Array:
    """The group of every entry: about equally many in each, equal counts together, zeros apart.

    >>> quantile_groups(np.array([0, 0, 5, 5, 5, 7, 8, 9]), 2).tolist()
    [0, 0, 1, 1, 1, 2, 2, 2]
    """
    values, place, sizes = np.unique(counts, return_inverse=True, return_counts=True)
    sizes = np.where(values == 0, 0, sizes)
    middle = np.cumsum(sizes) - sizes / 2
    part = np.floor(bins * middle / max(1, int(np.sum(sizes)))).astype(np.int64)
    part[values == 0] = -1
    _, group = np.unique(part, return_inverse=True)
    found: Array = group[place]
    return found


def _groups(
    model: Any, test: Ratings, train: Ratings | None, bins: int, side: str
) -> tuple[Array, Array, Array]:
    """The group of every held-out rating, and the least and the most training ratings of a group."""
    check_integer("bins", bins, 1)
    past = Past.of(model, train)
    if side == "user":
        counts = past.activity(test.users, "error_by_activity")[test.user_index()]
    else:
        counts = past.popularity(test.items, "the popularity of items")[test.by_user.indices]
    group = quantile_groups(counts, bins)
    groups = int(group.max()) + 1
    lowest = np.full(groups, np.iinfo(np.int64).max)
    highest = np.zeros(groups, dtype=np.int64)
    np.minimum.at(lowest, group, counts)
    np.maximum.at(highest, group, counts)
    return group, lowest, highest


def _errors(
    model: Any, test: Ratings, train: Ratings | None, bins: int, clip: bool, side: str
) -> ErrorTable:
    check_held_out(test)
    group, lowest, highest = _groups(model, test, train, bins, side)
    groups = len(lowest)
    e = predictions_of(model, test, clip) - test.by_user.values
    c = weights_of(test)
    total = summed(group, c, groups)
    _, first = np.unique(
        test.user_index() if side == "user" else test.by_user.indices, return_index=True
    )
    return ErrorTable(
        side=side,
        lowest=lowest,
        highest=highest,
        rows=np.bincount(group[first], minlength=groups),
        ratings=np.bincount(group, minlength=groups),
        rmse=np.sqrt(summed(group, c * e**2, groups) / total),
        mae=summed(group, c * np.abs(e), groups) / total,
        bias=summed(group, c * e, groups) / total,
    )


def _span(lowest: int, highest: int) -> str:
    return f"{lowest:,}" if lowest == highest else f"{lowest:,} – {highest:,}"


def _pairs(coverage: Array, width: Array) -> list[str]:
    return [text for c, w in zip(coverage, width, strict=True) for text in (f"{c:.1%}", figure(w))]
