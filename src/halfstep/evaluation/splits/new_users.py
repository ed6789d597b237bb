"""Strong generalization: users whom the fit has not seen, known by a part of their ratings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer, is_integer
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.splits.parts import (
    cells_after,
    check_folds,
    check_share,
    cut,
    row_counts,
    sizes_of,
)

__all__ = ["UserSplit", "kfold_users", "split_users"]


class UserSplit(NamedTuple):
    """The three parts of `split_users`, over the same ids.

    Attributes
    ----------
    train : Ratings
        All ratings of the users to fit on.
    given : Ratings
        Of the held-out users, what the model is told when it is asked: to fold in.
    test : Ratings
        Of the same users, what it has to predict.
    """

    train: Ratings
    given: Ratings
    test: Ratings


def split_users(
    ratings: Ratings,
    *,
    test: float = 0.1,
    given: float | int = 0.8,
    min_ratings: int | None = None,
    seed: int = 0,
) -> UserSplit:
    """(train, given, test): held-out users do not occur in train; their ratings are cut in two.

    It keeps out some users altogether, and tells the model a part of their ratings only when they are
    folded in: how good is it for users who come after the fit? This is the «strong generalization» of
    Marlin (2004) and the protocol of Liang et al. (2018). It hides time: other users' ratings come
    from all years, and the given ratings are drawn at random, not the user's first. Users with fewer
    than `min_ratings` are never held out.

    For a validation part, split `train` once more.

    Parameters
    ----------
    ratings : Ratings
    test : float
        The share of the users (of those with enough ratings) to hold out.
    given : float or int
        What is told of each: a share of the user's ratings (Liang et al.: 0.8; at least one is given and
        one is left), or a number of them («given 5»).
    min_ratings : int, optional
        What a user needs to be held out; by default 2, or one more than `given` ratings.
    seed : int

    Returns
    -------
    UserSplit (train, given, test)

    Raises
    ------
    ParameterError
    DataError
        Too few users with enough ratings.

    References
    ----------
    Marlin, Collaborative Filtering: A Machine Learning Perspective, 2004, section 3.3.
    Liang, Krishnan, Hoffman, Jebara, Variational Autoencoders for Collaborative Filtering, WWW 2018,
    section 4.2.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 120, rank=4, seed=0).ratings
    >>> train, given, test = split_users(ratings, test=0.2)
    >>> model = hs.ExplicitMF(rank=4, reg=0.05).fit(train)
    >>> cold = model.rmse(test)  # the mean and the items' biases
    >>> told = model.with_rows(model.fold_in(given))
    >>> bool(told.rmse(test) < cold)
    True

    `told` knows the held-out users; those of `train` have no ratings in `given`, so it knows them no
    longer: it is a model to score, not to keep.
    """
    least = _checked(ratings, given, min_ratings, seed)
    counts = row_counts(ratings, "user")
    enough = np.flatnonzero(counts >= least)
    (size,) = sizes_of(len(enough), f"users with {least} ratings", test, None)
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(enough)[:size]
    return _cut(ratings, chosen, _to_predict(ratings, given, generator))


def kfold_users(
    ratings: Ratings,
    folds: int = 5,
    *,
    given: float | int = 0.8,
    min_ratings: int | None = None,
    seed: int = 0,
) -> Iterator[UserSplit]:
    """(train, given, test) for each of `folds` groups of users.

    The question of `split_users`, with every user who has enough ratings held out once.

    Raises
    ------
    ParameterError, DataError
    """
    least = _checked(ratings, given, min_ratings, seed)
    enough = np.flatnonzero(row_counts(ratings, "user") >= least)
    check_folds(folds, len(enough), f"users with {least} ratings")
    generator = np.random.default_rng(seed)
    groups = np.array_split(generator.permutation(enough), folds)
    to_predict = _to_predict(ratings, given, generator)
    return (_cut(ratings, group, to_predict) for group in groups)


def _checked(ratings: Ratings, given: float | int, min_ratings: int | None, seed: int) -> int:
    """The number of ratings that a user needs to be held out."""
    require_ratings(ratings)
    check_integer("seed", seed, 0)
    if is_integer(given):
        check_integer("given", given, 1, example=5)
        least = int(given) + 1
    else:
        check_share("given", given)
        least = 2
    if min_ratings is None:
        return least
    check_integer("min_ratings", min_ratings, 2, example=5)
    if min_ratings < least:
        raise ParameterError(
            "min_ratings",
            min_ratings,
            f"must exceed the {given} that are given of each user",
            f"try min_ratings={least}",
        )
    return min_ratings


def _to_predict(ratings: Ratings, given: float | int, generator: np.random.Generator) -> Array:
    """A mask of the cells that are test cells where their user is held out."""
    counts = row_counts(ratings, "user")
    told = np.full(len(counts), given) if is_integer(given) else np.rint(given * counts)
    left = counts - np.clip(told, 1, np.maximum(counts - 1, 1))
    after = cells_after(ratings, generator.random(len(ratings)))
    mask: Array = after < np.repeat(left, counts)
    return mask


def _cut(ratings: Ratings, users: Array, to_predict: Array) -> UserSplit:
    held_out = np.zeros(len(ratings.users), dtype=bool)
    held_out[users] = True
    label = np.where(held_out[ratings.user_index()], 1 + to_predict, 0)
    return UserSplit(*cut(ratings, label, 3, "users"))
