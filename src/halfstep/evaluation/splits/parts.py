"""What all splits share: their arguments, and the way from one label per cell to the parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer, is_number
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.splits.leaks import SplitKind, check_split

__all__ = ["cells_after", "check_folds", "check_share", "cut", "labels", "row_counts", "sizes_of"]


def check_share(name: str, share: Any) -> None:
    """A share between 0 and 1."""
    if not is_number(share) or not 0 < share < 1:
        raise ParameterError(name, share, "must be a share between 0 and 1", "try 0.1")


def check_folds(folds: Any, total: int, what: str) -> None:
    """At least two folds, and something for each of them."""
    check_integer("folds", folds, 2, example=5)
    if total < folds:
        raise DataError(
            "ratings", f"{total} {what}", f"are fewer than {folds} folds", "lower folds"
        )


def sizes_of(total: int, what: str, test: float, valid: float | None) -> list[int]:
    """How many of `total` go into the test part, and into the validation part where one is asked for."""
    sizes = []
    for name, share in (("test", test), ("valid", valid)):
        if share is None:
            continue
        check_share(name, share)
        sizes.append(round(share * total))
    if sum(sizes) >= total or not all(sizes):
        raise DataError(
            "ratings",
            f"{total} {what}",
            "are too few for parts of these shares",
            f"pass more {what} or other shares",
        )
    return sizes


def labels(total: int, chosen: Array, sizes: list[int]) -> Array:
    """0 for train; then 1 for test, or 1 for valid and 2 for test, taken from the head of `chosen`."""
    label: Array = np.zeros(total, dtype=np.int8)
    begin = 0
    for part, size in zip(range(len(sizes), 0, -1), sizes, strict=True):
        label[chosen[begin : begin + size]] = part
        begin += size
    return label


def cut(ratings: Ratings, label: Array, parts: int, kind: SplitKind) -> tuple[Ratings, ...]:
    """The cells of label 0, 1, …, each as a part; those of a negative label are in none."""
    made = tuple(ratings.select(label == part) for part in range(parts))
    check_split(*made, kind=kind)
    return made


def row_counts(ratings: Ratings, side: str) -> Array:
    """The number of ratings of each user or item."""
    require_ratings(ratings)
    counts: Array = np.diff((ratings.by_user if side == "user" else ratings.by_item).indptr)
    return counts


def cells_after(ratings: Ratings, *keys: Array) -> Array:
    """For every cell the number of its user's cells that come after it, ordered by the last of `keys`,
    ties by the one before it."""
    users = ratings.user_index()
    order = np.lexsort((*keys, users))
    after: Array = np.empty(len(ratings), dtype=np.int64)
    after[order] = ratings.by_user.indptr[users + 1] - 1 - np.arange(len(ratings))
    return after
