"""Users (items) of which the model has seen nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_choice, check_integer
from halfstep.data.ratings import Ratings
from halfstep.evaluation.splits.leaks import SplitKind
from halfstep.evaluation.splits.parts import check_folds, cut, labels, row_counts, sizes_of
from halfstep.objectives import Side

__all__ = ["kfold_cold", "split_cold"]


def split_cold(
    ratings: Ratings,
    side: Side = "user",
    *,
    test: float = 0.1,
    valid: float | None = None,
    seed: int = 0,
) -> tuple[Ratings, ...]:
    """(train, test), or (train, valid, test): all ratings of some users (items) are held out.

    It keeps out everything that is known of them: what does a model say of users (items) who have rated
    nothing (been rated by nobody)? A factor model has only its mean and the biases of the other side
    to answer with, so this is the floor, and where side information must prove itself. It hides how
    fast the answer improves with the first ratings (`split_users` tells some of them to the model), and
    time: the other users rated at the same time as the cold ones.

    Parameters
    ----------
    ratings : Ratings
    side : {"user", "item"}
        Whose ratings are held out.
    test, valid : float
        Shares of the users (items) that have ratings, not of the ratings.
    seed : int

    Raises
    ------
    ParameterError
    DataError
        Too few users (items) for these shares.

    Examples
    --------
    >>> ratings = Ratings.from_arrays(list("aabbcc"), [1, 2, 1, 2, 1, 2], [5, 4, 3, 2, 1, 0])
    >>> train, test = split_cold(ratings, test=0.3)
    >>> set(train.user_index()) & set(test.user_index())
    set()
    """
    check_choice("side", side, ("user", "item"))
    check_integer("seed", seed, 0)
    counts = row_counts(ratings, side)
    present = np.flatnonzero(counts)
    sizes = sizes_of(len(present), f"{side}s", test, valid)
    chosen = np.random.default_rng(seed).permutation(present)
    label = _of_cells(ratings, side, labels(len(counts), chosen, sizes))
    return cut(ratings, label, len(sizes) + 1, _kind(side))


def kfold_cold(
    ratings: Ratings, side: Side = "user", folds: int = 5, *, seed: int = 0
) -> Iterator[tuple[Ratings, Ratings]]:
    """(train, test) for each of `folds` groups of users (items): all ratings of one group are held out.

    The question of `split_cold`, with every user (item) held out once (scikit-learn's shuffled
    `GroupKFold`; groups of nearly equal numbers of users, not of ratings).

    Raises
    ------
    ParameterError, DataError
    """
    check_choice("side", side, ("user", "item"))
    check_integer("seed", seed, 0)
    present = np.flatnonzero(row_counts(ratings, side))
    check_folds(folds, len(present), f"{side}s")
    chosen = np.random.default_rng(seed).permutation(present)
    return _folds(ratings, side, np.array_split(chosen, folds))


def _folds(ratings: Ratings, side: Side, groups: list[Array]) -> Iterator[tuple[Ratings, Ratings]]:
    for group in groups:
        held_out = np.zeros(len(row_counts(ratings, side)), dtype=np.int8)
        held_out[group] = 1
        train, test = cut(ratings, _of_cells(ratings, side, held_out), 2, _kind(side))
        yield train, test


def _of_cells(ratings: Ratings, side: Side, of_rows: Array) -> Array:
    rows = ratings.user_index() if side == "user" else ratings.by_user.indices
    label: Array = of_rows[rows]
    return label


def _kind(side: Side) -> SplitKind:
    return "cold-user" if side == "user" else "cold-item"
