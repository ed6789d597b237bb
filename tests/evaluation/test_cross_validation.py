"""Cross-validation over parts of one's own: folds by time, of users, a single split."""

from __future__ import annotations

import math

import pytest

import halfstep as hs
from halfstep.errors import ParameterError


@pytest.fixture(scope="module")
def ratings():
    return hs.Ratings.from_arrays(*_timed())


def _timed():
    users, items, values = hs.simulate(
        80, 40, rank=3, ratings_per_user=15, min_per_user=5, seed=2
    ).ratings.to_arrays()
    return users, items, values, [37 * row % 1009 for row in range(len(users))]


MODEL = hs.ExplicitMF(rank=2, reg=0.05, max_iter=5)


def fresh():
    return hs.ExplicitMF(**MODEL.get_params())


def test_parts_are_what_is_measured(ratings):
    found = hs.cross_validate(MODEL, ratings, hs.rolling_origin(ratings, 3))
    expected = [fresh().fit(a).rmse(b, clip=True) for a, b in hs.rolling_origin(ratings, 3)]
    assert [fold.rmse for fold in found.folds] == expected
    whole = hs.cross_validate(MODEL, ratings, hs.kfold(ratings, 3, seed=4))
    assert whole.mean("mae") == hs.cross_validate(MODEL, ratings, 3, seed=4).mean("mae")


def test_given_ratings_are_folded_in(ratings):
    split = hs.split_users(ratings, test=0.3)
    (fold,) = hs.cross_validate(MODEL, ratings, [split]).folds
    model = fresh().fit(split.train)
    told = model.with_rows(model.fold_in(split.given))
    assert fold.rmse == told.rmse(split.test, clip=True)
    assert fold.mae == told.mae(split.test, clip=True)
    assert fold.rmse != model.rmse(split.test, clip=True)
    assert fold.train_rmse == model.trace_[-1].train_rmse


def test_one_split_has_no_standard_error(ratings):
    found = hs.cross_validate(MODEL, ratings, [hs.split_by_time(ratings)])
    assert math.isnan(found.standard_error("rmse"))
    assert "of one split" in str(found)
    assert "±" not in str(found)


def test_a_model_that_cannot_be_told_ratings(ratings):
    folds = hs.kfold_users(ratings, 3)
    with pytest.raises(ParameterError, match=r"model=Biases\(\): cannot be told .* kfold_cold"):
        hs.cross_validate(hs.Biases(), ratings, folds)


def test_parts_that_are_none(ratings):
    used_up = hs.kfold(ratings, 3)
    list(used_up)
    with pytest.raises(ParameterError, match=r"folds=.*yields no parts"):
        hs.cross_validate(MODEL, ratings, used_up)
    with pytest.raises(ParameterError, match=r"folds=.*pairs \(train, test\)"):
        hs.cross_validate(MODEL, ratings, [hs.split_random(ratings, valid=0.1)])
    with pytest.raises(ParameterError, match="folds="):
        hs.cross_validate(MODEL, ratings, hs.split_random(ratings))  # not in a list
    with pytest.raises(ParameterError, match=r"folds=2\.5"):
        hs.cross_validate(MODEL, ratings, 2.5)
