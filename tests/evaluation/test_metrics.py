"""Errors of ratings and where they arise: against scikit-learn and pandas."""

import math
import re

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from scripted import Scripted, ratings_of
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

import halfstep as hs
from halfstep.errors import DataError, HistoryRequiredError, ParameterError
from halfstep.evaluation import error_by_activity, error_by_popularity
from halfstep.evaluation.breakdowns import quantile_groups

NAMES = ["rmse", "mae", "r2", "user_rmse", "user_mae", "item_rmse", "item_mae"]


@st.composite
def parts(draw):
    """(train, test, model): the test part has weights or not, and one or few distinct ratings."""
    m, n = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 5, 1000]))
    table = rng.integers(0, levels, size=(m, n)) / 4 - 1
    held = rng.random((m, n)) < 0.5
    held[0, 0] = True
    test = ratings_of(np.where(held, table, np.nan))
    if draw(st.booleans()):
        test = test.with_weights(rng.uniform(0.1, 5, len(test)))
    train = np.where(held, np.nan, table)
    if held.all():
        train = np.vstack([train, np.zeros(n)])
    scores = rng.normal(size=train.shape)
    return ratings_of(train), test, Scripted(ratings_of(train), scores)


def frame_of(test, model, train):
    users, items, r = test.to_arrays()
    c = test.by_user.weights
    counts = {
        "activity": np.diff(train.by_user.indptr)[train.users.lookup(users)],
        "popularity": np.diff(train.by_item.indptr)[train.items.lookup(items)],
    }
    frame = pd.DataFrame({"user": users, "item": items, "r": r.astype(float), **counts})
    frame["c"] = np.ones(len(r)) if c is None else c.astype(float)
    frame["e"] = model.predict(users, items) - frame.r
    return frame


@given(parts())
def test_errors_of_ratings_against_scikit_learn(given_parts):
    train, test, model = given_parts
    found = hs.evaluate(model, test, NAMES, n_resamples=0)
    frame = frame_of(test, model, train)

    def by_oracle(part, oracle):
        return oracle(part.r, part.r + part.e, sample_weight=part.c)

    for name, oracle in (("rmse", root_mean_squared_error), ("mae", mean_absolute_error)):
        assert found[name].value == pytest.approx(by_oracle(frame, oracle))
        for side in ("user", "item"):
            own = {key: by_oracle(part, oracle) for key, part in frame.groupby(side)}
            figure = found[f"{side}_{name}"]
            assert dict(zip(figure.ids, figure.values, strict=True)) == pytest.approx(own)
            assert figure.value == pytest.approx(np.mean(list(own.values())))
            if side == "user":
                ours = found[name]
                assert dict(zip(ours.ids, ours.values, strict=True)) == pytest.approx(own)
    if len(frame) > 1:  # of a single rating scikit-learn says NaN, with a warning
        assert found["r2"].value == pytest.approx(by_oracle(frame, r2_score), rel=1e-6)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda count: np.full((count, 1), 3.0), r"shape \(6, 1\)': .* 6 pairs"),
        (lambda count: np.full(1, 3.0), r"shape \(1,\)': predicts"),
        (lambda count: 3.0, r"shape \(\)': predicts"),
        (lambda count: ["high"] * count, "predicts no numbers"),
        (lambda count: np.where(np.arange(count) == 3, np.nan, 3.0), r"predicts nan for .*№ 03"),
        (lambda count: np.full(count, np.inf), r"predicts inf for .*№ 00"),
    ],
)
def test_predictions_that_are_wrong(answer, told):
    """A NaN would make the figure NaN, leave users out of others, and be «better» in a comparison."""
    test = ratings_of(np.full((1, 6), 3.0))

    class Wrong:
        def predict(self, users, items):
            return answer(len(users))

    good = Scripted(test, np.zeros((1, 6)))
    with pytest.raises(DataError, match="model=") as caught:
        hs.evaluate(Wrong(), test, "user_rmse")
    assert re.search(told, str(caught.value))
    with pytest.raises(DataError, match="model="):
        hs.compare({"wrong": Wrong(), "good": good}, test, "rmse")


def test_r2_of_equal_ratings_is_that_of_scikit_learn():
    test = ratings_of([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]])
    value = np.float64(np.float32(0.1))
    missed = Scripted(test, np.zeros((2, 3)))
    hit = Scripted(test, np.full((2, 3), value))
    r = test.by_user.values.astype(float)
    assert hs.evaluate(missed, test, "r2")["r2"].value == r2_score(r, np.zeros(6)) == 0.0
    assert hs.evaluate(hit, test, "r2")["r2"].value == r2_score(r, np.full(6, value)) == 1.0


def test_a_fitted_model_is_measured_as_it_measures_itself():
    ratings = hs.simulate(200, 60, rank=2, ratings_per_user=12, seed=2).ratings
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    test = test.with_weights(np.random.default_rng(0).uniform(0.5, 2, len(test)))
    model = hs.ExplicitMF(rank=4, reg=0.001).fit(train)
    for clip in (False, True):
        found = hs.evaluate(model, test, NAMES, clip=clip, n_resamples=0)
        assert found["rmse"].value == pytest.approx(model.rmse(test, clip=clip), rel=1e-12)
        assert found["mae"].value == pytest.approx(model.mae(test, clip=clip), rel=1e-12)
    assert hs.evaluate(model, test, "r2")["r2"].value == pytest.approx(model.score(test), rel=1e-9)
    assert model.rmse(test, clip=True) != model.rmse(test)


def test_a_user_with_very_many_ratings():
    n = 300_000
    items = np.arange(n)
    r = (items % 5).astype(float)
    test = hs.Ratings.from_arrays([*np.zeros(n, dtype=int), 1], [*items, 0], [*r, 0.0])
    model = Scripted(test, np.zeros((2, n)))
    found = hs.evaluate(model, test, ["rmse", "user_rmse"], n_resamples=0)
    assert found["rmse"].value == pytest.approx(math.sqrt(6 * n / (n + 1)))
    assert found["user_rmse"].value == pytest.approx(math.sqrt(6) / 2)


# ----------------------------------------------------------------- by activity, popularity


@given(parts(), st.integers(1, 12))
def test_error_tables_against_pandas(given_parts, bins):
    train, test, model = given_parts
    frame = frame_of(test, model, train)
    for table, by, side in (
        (error_by_activity(model, test, bins=bins), "activity", "user"),
        (error_by_popularity(model, test, train=train, bins=bins), "popularity", "item"),
    ):
        assert np.all(table.lowest <= table.highest)
        assert np.all(table.highest[:-1] < table.lowest[1:])  # equal counts stay together
        assert len(table) <= bins + 1
        for g in range(len(table)):
            part = frame[frame[by].between(table.lowest[g], table.highest[g])]
            assert {table.lowest[g], table.highest[g]} == {part[by].min(), part[by].max()}
            assert (table.ratings[g], table.rows[g]) == (len(part), part[side].nunique())
            e, c = part.e.to_numpy(), part.c.to_numpy()
            assert table.rmse[g] == pytest.approx(np.sqrt(np.average(e**2, weights=c)))
            assert table.mae[g] == pytest.approx(np.average(np.abs(e), weights=c))
            assert table.bias[g] == pytest.approx(np.average(e, weights=c), abs=1e-12)
        assert table.ratings.sum() == len(test)
        assert len(pd.DataFrame(table.to_dict())) == len(str(table).splitlines()) - 1 == len(table)


def test_figures_are_compared_as_objects(calibrated):
    """Their arrays have no one answer, and `==` must not raise."""
    _, test, model = calibrated
    for make in (
        lambda: hs.evaluate(model, test, "rmse", n_resamples=0),
        lambda: hs.evaluate(model, test, "rmse", n_resamples=0)["rmse"],
        lambda: error_by_activity(model, test),
        lambda: hs.calibration_table(model, test, 0.5),
    ):
        one, two = make(), make()
        assert one == one
        assert one != two


def test_groups_are_equal_where_counts_allow_it():
    counts = np.random.default_rng(0).permutation(1000) + 1
    assert np.bincount(quantile_groups(counts, 10)).tolist() == [100] * 10
    with_zeros = np.concatenate([np.zeros(500, dtype=int), counts])
    assert np.bincount(quantile_groups(with_zeros, 10)).tolist() == [500] + [100] * 10
    assert quantile_groups(np.array([3, 3, 3]), 10).tolist() == [0, 0, 0]
    assert quantile_groups(np.array([0, 0]), 3).tolist() == [0, 0]


def test_unknown_users_and_items_have_no_training_ratings():
    ratings = hs.simulate(40, 30, rank=2, ratings_per_user=10, seed=3).ratings
    model = hs.ExplicitMF(rank=2).fit(ratings)
    users, items, _ = ratings.to_arrays()
    test = hs.Ratings.from_arrays([10**6, users[0]], [items[0], 10**6], [1.0, 5.0])
    table = error_by_activity(model, test)
    assert (table.lowest[0], table.highest[0], table.rows[0]) == (0, 0, 1)
    assert table.bias[0] == pytest.approx(model.predict(10**6, items[0]) - 1.0, rel=1e-6)
    assert error_by_popularity(model, test).lowest[0] == 0


# ------------------------------------------------------------------------- intervals


@pytest.fixture(scope="module")
def calibrated():
    ratings = hs.simulate(400, 80, rank=2, ratings_per_user=25, seed=4).ratings
    train, calibration, test = hs.split_random(ratings, valid=0.2, test=0.2, seed=1)
    model = hs.ExplicitMF(rank=2).fit(train).calibrate(calibration)
    test = test.with_weights(np.random.default_rng(0).uniform(0.5, 2, len(test)))
    return train, test, model


def test_what_the_tables_refuse(calibrated, tmp_path):
    train, test, model = calibrated
    with pytest.raises(ParameterError, match="bins=0"):
        error_by_activity(model, test, bins=0)
    with pytest.raises(DataError, match="holds no ratings"):
        error_by_popularity(model, test.select(np.zeros(len(test), dtype=bool)))
    with pytest.raises(DataError, match="test="):
        error_by_popularity(model, None)
    model.save(tmp_path / "m.safetensors", history=False)
    bare = hs.load(tmp_path / "m.safetensors")
    with pytest.raises(HistoryRequiredError, match="error_by_activity needs them"):
        error_by_activity(bare, test)
    assert len(error_by_activity(bare, test, train=train, bins=2)) == 2
