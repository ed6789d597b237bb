"""What is fitted and what is held out while settings are compared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError
from halfstep.evaluation.splits import kfold, split_random
from halfstep.training import Validation

__all__ = ["Errors", "Part", "Parts", "part_of", "parts_of", "restricted", "rungs_of"]

_SMALL, _FOLDS = 50_000, 5
"""Below so many ratings one held-out part says too little even to search by: five folds do."""
_SHARE = 0.1
_MIDDLE, _SHARES = 500_000, 3
"""Below so many, one is enough to search by, and three to decide by."""
_MOST_HELD_OUT = 200_000
"""More held-out ratings than these cost time and tell settings apart no better."""


@dataclass(frozen=True, slots=True)
class Part:
    """Ratings to fit to, and others to measure on; `users` are the row numbers of the latter.

    Users that `train` does not have are numbered on from m.
    """

    train: Ratings
    held_out: Validation
    users: Array


@dataclass(frozen=True, slots=True)
class Errors:
    """Squared errors and weights of held-out ratings, summed by user."""

    squares: Array
    weights: Array

    @classmethod
    def over(cls, parts: list[Errors]) -> Errors:
        """Those of all parts together."""
        return cls(
            np.add.reduce([part.squares for part in parts]),
            np.add.reduce([part.weights for part in parts]),
        )

    @property
    def rmse(self) -> float:
        """√(Σ c e² / Σ c)."""
        return float(np.sqrt(np.add.reduce(self.squares) / np.add.reduce(self.weights)))

    @property
    def standard_error(self) -> float:
        """Of the RMSE, with users as the units that are independent.

        The RMSE's square is a ratio of sums over users; linearized (Cochran 1977, «Sampling
        Techniques», eq. 6.13), its variance is Σ_u (s_u − RMSE² c_u)² / (Σ c)², and that of the RMSE
        is so much divided by 4 RMSE².
        """
        there = self.weights > 0
        users, total = int(np.count_nonzero(there)), np.add.reduce(self.weights)
        if users < 2 or not self.rmse:
            return 0.0
        gaps = (self.squares - self.rmse**2 * self.weights)[there]
        variance = np.add.reduce(gaps * gaps) * users / (users - 1) / total**2
        return float(np.sqrt(variance) / (2 * self.rmse))


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts to decide by, and how many of them are enough to search by."""

    all: list[Part]
    searched: int

    @property
    def held_out(self) -> int:
        """How many ratings measure."""
        return sum(len(part.held_out.ratings) for part in self.all)


def parts_of(ratings: Ratings, valid: float | None, folds: int | None, seed: int) -> Parts:
    """Parts that hold out different ratings: k folds, or one or several shares of `valid`.

    Where both are None the number of ratings decides, `folds=1` is one share.
    """
    if len(ratings) < 2 * _FOLDS:
        raise DataError(
            "ratings",
            f"{len(ratings)} ratings",
            "are too few to choose rank and regularization by",
            "pass rank= and reg=",
        )
    small = len(ratings) < _SMALL
    if folds is None and valid is None and small:
        folds = _FOLDS
    if folds is not None and folds > 1:
        whole = [part_of(*pair) for pair in kfold(ratings, folds, seed=seed)]
        return Parts(whole, folds)
    valid = _SHARE if valid is None else valid
    if folds is None and len(ratings) < _MIDDLE:
        count = min(max(round(1 / valid), _SHARES), len(ratings))
        dealt = kfold(ratings, count, seed=seed)
        return Parts([part_of(*pair) for pair in islice(dealt, _SHARES)], _SHARES if small else 1)
    train, held_out = split_random(
        ratings, test=min(valid, _MOST_HELD_OUT / len(ratings)), seed=seed
    )
    return Parts([part_of(train, held_out)], 1)


def part_of(train: Ratings, held_out: Ratings) -> Part:
    """A part from both sets, over the ids of `train`; ratings of other ids are measured as unknown."""
    held = Validation.of(held_out, train)
    new = len(train.users) + held_out.user_index()
    return Part(train, held, np.where(held.user_index < 0, new, held.user_index))


def rungs_of(ratings: Ratings, first: int, seed: int) -> list[Array | None]:
    """Users to begin with, so many times more, …, and None for all: a mask over the users of each rung.

    Every rung has four times the ratings of the one before and all of its users, drawn at random;
    the first has about `first` ratings.
    """
    sizes = np.diff(ratings.by_user.indptr)
    dealt = np.random.default_rng(seed).permutation(len(sizes))
    reached = np.cumsum(sizes[dealt])
    masks: list[Array | None] = [None]
    wanted = len(ratings) / 4
    while wanted >= first:
        mask = np.zeros(len(sizes), dtype=bool)
        mask[dealt[: int(np.searchsorted(reached, wanted)) + 1]] = True
        masks.insert(0, mask)
        wanted /= 4
    return masks


def restricted(part: Part, users: Array | None) -> Part:
    """The same part of these users only, and of those that `train` does not have."""
    if users is None:
        return part
    held, known = part.held_out, part.held_out.user_index >= 0
    keep = ~known
    keep[known] = users[part.users[known]]
    return Part(
        part.train.select(users[part.train.user_index()]),
        Validation(
            held.user_index[keep],
            held.item_index[keep],
            held.ratings[keep],
            None if held.weights is None else held.weights[keep],
        ),
        part.users[keep],
    )
