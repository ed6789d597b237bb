"""`split_each_user`: shares of each user's ratings, nobody left without any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import DataError, ParameterError


def _ratings(sizes, seed=0):
    rng = np.random.default_rng(seed)
    pairs = [
        (f"u{u:03}", int(i)) for u, size in enumerate(sizes) for i in rng.permutation(60)[:size]
    ]
    return hs.Ratings.from_arrays(*zip(*pairs, strict=True))


def _counts(part):
    return np.diff(part.by_user.indptr)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=30, max_size=60),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
    st.integers(0, 5),
)
def test_every_user_keeps_the_share(sizes, test_share, valid_share, seed):
    ratings = _ratings([*sizes, 40])
    train, valid, test = hs.split_each_user(ratings, test=test_share, valid=valid_share, seed=seed)
    whole = _counts(ratings)
    assert np.array_equal(_counts(train) + _counts(valid) + _counts(test), whole)
    assert (_counts(train) >= 1).all()
    for part, share in ((test, test_share), (valid, valid_share)):
        wanted = share * whole
        assert (_counts(part) <= np.floor(wanted) + 1).all()
        enough = whole - 1 >= np.ceil(test_share * whole) + np.ceil(valid_share * whole)
        assert (_counts(part) >= np.floor(wanted))[enough].all()
    hs.check_split(train, valid, test)


def test_shares_hold_in_the_mean():
    ratings = _ratings([3] * 4000)
    train, test = hs.split_each_user(ratings, test=0.1, seed=1)
    assert len(test) / len(ratings) == pytest.approx(0.1, abs=0.01)
    assert (_counts(train) >= 2).all()


def test_any_of_a_users_ratings_may_be_held_out():
    ratings = _ratings([10])
    held = [
        set(hs.split_each_user(ratings, test=0.2, seed=seed)[1].to_arrays()[1].tolist())
        for seed in range(60)
    ]
    assert set().union(*held) == set(ratings.items.values.tolist())
    assert held[0] == set(hs.split_each_user(ratings, test=0.2, seed=0)[1].to_arrays()[1].tolist())


def test_the_order_of_the_table_does_not_matter():
    ratings = _ratings([5, 9, 20, 1])
    users, items, values = ratings.to_arrays()
    order = np.random.default_rng(4).permutation(len(users))
    other = hs.Ratings.from_arrays(users[order], items[order], values[order])
    for one, two in zip(
        hs.split_each_user(ratings, test=0.3), hs.split_each_user(other, test=0.3), strict=True
    ):
        assert np.array_equal(one.by_user.indices, two.by_user.indices)
        assert np.array_equal(one.by_user.indptr, two.by_user.indptr)


def test_bad_arguments():
    ratings = _ratings([5, 9])
    for share in (0, 1, -0.1, "a", True):
        with pytest.raises(ParameterError, match="test"):
            hs.split_each_user(ratings, test=share)
        with pytest.raises(ParameterError, match="valid"):
            hs.split_each_user(ratings, valid=share)
    with pytest.raises(ParameterError, match="leaves nothing to train on"):
        hs.split_each_user(ratings, valid=0.5, test=0.5)
    with pytest.raises(ParameterError, match="seed"):
        hs.split_each_user(ratings, seed=-1)
    with pytest.raises(DataError, match=r"1 rating of 1 user'.*too few"):
        hs.split_each_user(_ratings([1]), test=0.5)
    with pytest.raises(DataError, match="must be Ratings"):
        hs.split_each_user([1, 2])
