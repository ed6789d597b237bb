"""Train, validation and test parts of `Ratings`, over the same ids, by seed.

A part is drawn from the cells in their sorted order, so that the order of the table does not matter;
`order="file"` draws from the table's own order instead, for published protocols that are defined by
it (read with `keep_order=True`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError

__all__ = ["kfold", "split_random"]


def split_random(
    ratings: Ratings, *, test: float = 0.1, valid: float | None = None, seed: int = 0
) -> tuple[Ratings, ...]:
    """(train, test), or (train, valid, test) where a share for validation is given.

    Every rating falls into exactly one part, at random; `test` and `valid` are shares of the ratings.
    A random split hides the future and new users: it measures how well missing cells of known rows
    are filled in.

    >>> ratings = Ratings.from_arrays(list("aabbcc"), [1, 2, 1, 2, 1, 2], [5, 4, 3, 2, 1, 0])
    >>> train, test = split_random(ratings, test=0.5, seed=1)
    >>> len(train), len(test)
    (3, 3)

    Raises
    ------
    ParameterError
        A share is not in (0, 1) or nothing is left to train on.
    DataError
        A part would be empty.
    """
    total = len(ratings)
    sizes = []
    for name, share in (("test", test), ("valid", valid)):
        if share is None:
            continue
        if not 0 < share < 1:
            raise ParameterError(name, share, "must be a share between 0 and 1", "try 0.1")
        sizes.append(round(share * total))
    if sum(sizes) >= total or not all(sizes):
        raise DataError(
            "ratings",
            f"{total} ratings",
            "are too few for parts of these shares",
            "pass more ratings or other shares",
        )
    shuffled = np.random.default_rng(seed).permutation(total)
    parts = [ratings.select(cells) for cells in np.split(shuffled, np.cumsum(sizes))]
    held_out, train = parts[:-1], parts[-1]
    return (train, *reversed(held_out))


def kfold(
    ratings: Ratings, folds: int = 5, *, seed: int = 0, order: Literal["sorted", "file"] = "sorted"
) -> Iterator[tuple[Ratings, Ratings]]:
    """(train, test) for each of `folds` parts of nearly equal size.

    The cells are numbered in their sorted order or in the table's (`order="file"`), the numbers
    shuffled by `numpy.random.RandomState(seed).shuffle`, and cut into contiguous parts, the first ones
    one larger where the number of ratings is not a multiple (Surprise's `KFold(random_state=seed)`
    makes the same folds).

    Raises
    ------
    ParameterError, DataError
    """
    if isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or folds < 2:
        raise ParameterError("folds", folds, "must be an integer of at least 2", "try folds=5")
    if order not in ("sorted", "file"):
        raise ParameterError("order", order, "is not a choice", "choose one of sorted, file")
    if len(ratings) < folds:
        raise DataError(
            "ratings", f"{len(ratings)} ratings", f"are fewer than {folds} folds", "lower folds"
        )
    if order == "file" and ratings.file_rank is None:
        raise DataError(
            "ratings",
            "without file order",
            'order="file" needs the order of the table',
            "read with keep_order=True",
        )
    return _folds(ratings, folds, seed, order)


def _folds(
    ratings: Ratings, folds: int, seed: int, order: str
) -> Iterator[tuple[Ratings, Ratings]]:
    shuffled = np.arange(len(ratings))
    np.random.RandomState(seed).shuffle(shuffled)
    part_of: Array = np.empty(len(ratings), dtype=np.int64)
    for part, numbers in enumerate(np.array_split(shuffled, folds)):
        part_of[numbers] = part
    if order == "file" and ratings.file_rank is not None:
        part_of = part_of[ratings.file_rank]
    for part in range(folds):
        test = part_of == part
        yield ratings.select(~test), ratings.select(test)
