"""`compare_cold`: the errors of the folds, pooled; intervals that are paired; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import ParameterError


@pytest.fixture(scope="module")
def known():
    """Ratings, and a feature of the items that says how good they are."""
    ratings = hs.simulate(120, 60, rank=2, ratings_per_user=20, item_bias_std=0.8, seed=3).ratings
    sums = np.bincount(ratings.by_user.indices, ratings.by_user.values, 60)
    means = sums / np.maximum(np.bincount(ratings.by_user.indices, minlength=60), 1)
    levels = np.searchsorted(np.quantile(means, (0.25, 0.5, 0.75)), means)
    return ratings, {"item": ratings.items.values, "class": levels.astype(str)}


def _model():
    return hs.BayesianMF(2, samples=6, burn_in=4)


def test_the_figures_are_those_of_the_folds(known):
    ratings, table = known
    found = hs.compare_cold(_model(), ratings, "item", 3, item_features=table, clip=False, seed=1)
    squares = {"without features": 0.0, "with features": 0.0, "biases only": 0.0}
    gaps = dict.fromkeys(squares, 0.0)
    for train, test in hs.kfold_cold(ratings, "item", 3, seed=1):
        fits = {
            "without features": _model().fit(train),
            "with features": _model().fit(train, item_features=table),
            "biases only": hs.Biases().fit(train),
        }
        for name, model in fits.items():
            squares[name] += len(test) * model.rmse(test) ** 2
            gaps[name] += len(test) * model.mae(test)
    for name in squares:
        assert found[name].rmse == pytest.approx(np.sqrt(squares[name] / len(ratings)))
        assert found[name].mae == pytest.approx(gaps[name] / len(ratings))
        low, high = found[name].rmse_interval
        assert low < found[name].rmse < high
    gain = found["with features"].rmse - found["without features"].rmse
    assert found.gain.rmse == pytest.approx(gain)
    assert (found.ratings, found.folds, found.side) == (len(ratings), 3, "item")
    assert found.units == np.count_nonzero(np.diff(ratings.by_item.indptr))


def test_features_that_tell_are_shown_to_help(known):
    ratings, table = known
    found = hs.compare_cold(_model(), ratings, "item", 2, item_features=table)
    low, high = found.gain.rmse_interval
    assert low < found.gain.rmse < high < 0
    text = str(found)
    for words in (
        "biases only",
        "without features",
        "with features",
        "difference",
        "95 % interval",
    ):
        assert words in text
    assert found.as_dict()["errors"]["difference"]["rmse"] == found.gain.rmse


def test_implicit_features_are_left_out_of_the_one_side(known):
    ratings, _ = known
    model = hs.BayesianMF(2, samples=4, burn_in=2, implicit_features=True)
    found = hs.compare_cold(model, ratings, "user", 2)
    plain = hs.compare_cold(
        hs.BayesianMF(2, samples=4, burn_in=2),
        ratings,
        "user",
        2,
        user_features={"user": ratings.users.values, "odd": ratings.users.values % 2},
    )
    assert found["without features"] == plain["without features"]
    assert model.implicit_features
    assert not hasattr(model, "factors_")


def test_what_compare_cold_refuses(known):
    ratings, table = known
    with pytest.raises(ParameterError, match="no features to compare with"):
        hs.compare_cold(_model(), ratings)
    with pytest.raises(ParameterError, match="side"):
        hs.compare_cold(_model(), ratings, "film", item_features=table)
    with pytest.raises(ParameterError, match="confidence"):
        hs.compare_cold(_model(), ratings, "item", item_features=table, confidence=2)
    with pytest.raises(ParameterError, match="model='Biases': cannot be fitted with features"):
        hs.compare_cold(hs.Biases(), ratings, "item", item_features=table)
