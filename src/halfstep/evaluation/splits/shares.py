"""Parts drawn from all ratings at random.

A part is drawn from the cells in their sorted order, so that the order of the table does not matter;
`order="file"` draws from the table's own order instead, for published protocols that are defined by
it (read with `keep_order=True`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_choice, check_integer
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError
from halfstep.evaluation.splits.parts import check_folds, cut, labels, sizes_of

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
        A share is not in (0, 1).
    DataError
        A part would be empty.
    """
    require_ratings(ratings)
    check_integer("seed", seed, 0)
    sizes = sizes_of(len(ratings), "ratings", test, valid)
    shuffled = np.random.default_rng(seed).permutation(len(ratings))
    return cut(ratings, labels(len(ratings), shuffled, sizes), len(sizes) + 1, "random")


def kfold(
    ratings: Ratings, folds: int = 5, *, seed: int = 0, order: Literal["sorted", "file"] = "sorted"
) -> Iterator[tuple[Ratings, Ratings]]:
    """(train, test) for each of `folds` parts of nearly equal size.

    The cells are numbered in their sorted order or in the table's (`order="file"`), the numbers
    shuffled by `numpy.random.RandomState(seed).shuffle`, and cut into contiguous parts, the first ones
    one larger where the number of ratings is not a multiple (Surprise's `KFold(random_state=seed)`
    makes the same folds). It answers the same question as `split_random`, with every rating predicted
    once.

    Raises
    ------
    ParameterError, DataError
    """
    require_ratings(ratings)
    check_folds(folds, len(ratings), "ratings")
    check_integer("seed", seed, 0, 2**32 - 1)
    check_choice("order", order, ("sorted", "file"))
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
        train, test = cut(ratings, part_of == part, 2, "random")
        yield train, test
