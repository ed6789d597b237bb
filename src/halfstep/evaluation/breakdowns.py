"""Where a model errs: by activity of the user, by popularity of the item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer
from halfstep.data.ratings import Ratings
from halfstep.evaluation.grouped import summed
from halfstep.evaluation.past import Past, check_held_out
from halfstep.evaluation.residuals import predictions_of, weights_of
from halfstep.evaluation.tables import aligned, figure

__all__ = [
    "ErrorTable",
    "error_by_activity",
    "error_by_popularity",
    "groups_of",
    "quantile_groups",
    "span",
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
                span(self.lowest[g], self.highest[g]),
                f"{self.rows[g]:,}",
                f"{self.ratings[g]:,}",
                figure(self.rmse[g]),
                figure(self.mae[g]),
                f"{self.bias[g]:+.4f}",
            ]
            for g in range(len(self))
        ]
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


def groups_of(
    model: Any, test: Ratings, train: Ratings | None, bins: int, side: str, why: str
) -> tuple[Array, Array, Array]:
    """The group of every held-out rating, and the least and the most training ratings of a group."""
    check_integer("bins", bins, 1)
    past = Past.of(model, train)
    if side == "user":
        counts = past.activity(test.users, why)[test.user_index()]
    else:
        counts = past.popularity(test.items, why)[test.by_user.indices]
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
    why = "error_by_activity" if side == "user" else "error_by_popularity"
    group, lowest, highest = groups_of(model, test, train, bins, side, why)
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


def span(lowest: int, highest: int) -> str:
    return f"{lowest:,}" if lowest == highest else f"{lowest:,} – {highest:,}"
