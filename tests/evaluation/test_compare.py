"""Intervals that cover, p-values that are uniform where nothing differs, and their correction."""

import itertools
import json
import math

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from scipy.stats import permutation_test
from scripted import Scripted, ratings_of

import halfstep as hs
from halfstep.errors import ParameterError
from halfstep.evaluation.resampling import (
    bootstrap_totals,
    exchanged_totals,
    holm,
    percentile_interval,
)


def part_with_errors(*errors):
    """(test, models): every model's error of each held-out rating of a (users, items) table."""
    shape = np.shape(errors[0])
    whole = np.where(np.isnan(errors[0]), np.nan, 3.0)
    test = ratings_of(whole)
    train = ratings_of(np.full(shape, 3.0))
    models = {
        f"model {place}": Scripted(train, np.nan_to_num(3.0 + np.asarray(own)))
        for place, own in enumerate(errors)
    }
    return test, models


# ----------------------------------------------------------------------- resampling


def test_resampled_sums_are_sums_of_drawn_rows(monkeypatch):
    sums = 10.0 ** np.arange(5)[:, None]
    totals = bootstrap_totals(sums, 300, seed=1)
    counts = totals[:, 0].astype(int) // 10 ** np.arange(5)[:, None] % 10  # each row's own digit
    assert np.all(counts.sum(axis=0) == 5)
    assert abs(counts.mean() - 1) < 1e-12
    assert counts.std() == pytest.approx(math.sqrt(1 - 1 / 5), rel=0.1)
    np.testing.assert_array_equal(totals, bootstrap_totals(sums, 300, seed=1))
    assert not np.array_equal(totals, bootstrap_totals(sums, 300, seed=2))
    one, two = exchanged_totals(sums, sums * 0, 300, seed=1)
    assert np.all(one + two == 11111)
    digits = one[:, 0].astype(int) // 10 ** np.arange(5)[:, None] % 10
    assert set(digits.ravel()) == {0, 1}
    assert np.all(np.abs(digits.mean(axis=1) - 0.5) < 4 * 0.5 / math.sqrt(300))


def test_intervals_cover_the_rmse_as_often_as_they_say():
    """Users with few and with many ratings, and errors of their own size: a ratio of sums."""
    rng = np.random.default_rng(0)
    trials, users, covered = 800, 150, 0
    truth = math.sqrt(np.average([1.0, 4.0], weights=[0.5 * 3, 0.5 * 12]))
    for trial in range(trials):
        busy = rng.random(users) < 0.5
        size = 1 + rng.poisson(np.where(busy, 11, 2))
        squares = rng.gamma(size / 2, 2 * np.where(busy, 4.0, 1.0))  # σ² χ² with `size`
        totals = bootstrap_totals(np.stack([squares, size], axis=1), 300, seed=trial)
        lower, upper = percentile_interval(np.sqrt(totals[:, 0] / totals[:, 1]), 0.9)
        covered += lower <= truth <= upper
    assert abs(covered / trials - 0.9) < 3 * math.sqrt(0.09 / trials)  # ± 0.032


def test_evaluate_resamples_users_with_all_their_ratings():
    """One user with all the error: the RMSE's interval knows that it may be drawn twice or never."""
    errors = np.zeros((40, 20))
    errors[7] = 2.0
    test, models = part_with_errors(errors)
    figure = hs.evaluate(models["model 0"], test, "rmse", n_resamples=4000)["rmse"]
    # the user is drawn Binomial(40, 1/40) times: 2.5 % and 97.5 % quantiles 0 and 3
    assert (figure.lower, figure.upper) == pytest.approx((0.0, math.sqrt(3 * 4 / 40)))
    assert figure.value == pytest.approx(math.sqrt(4 / 40))
    half = hs.evaluate(models["model 0"], test, "rmse", n_resamples=4000, confidence=0.5)["rmse"]
    assert (half.lower, half.upper) == pytest.approx((0.0, math.sqrt(2 * 4 / 40)))
    none = hs.evaluate(models["model 0"], test, "rmse", n_resamples=0)["rmse"]
    assert math.isnan(none.lower)


# --------------------------------------------------------------------- differences


def test_p_is_that_of_all_exchanges_and_of_the_rmse_over_all_ratings():
    """Against every exchange of eight users' labels, for a ratio of sums with unequal users."""
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=(8, 6)), 1.4 * rng.normal(size=(8, 6))
    missing = rng.random((8, 6)) < np.linspace(0, 0.8, 8)[:, None]
    one[missing] = two[missing] = np.nan
    test, models = part_with_errors(one, two)
    found = hs.compare(models, test, "rmse", n_resamples=20_000).differences[0]
    squares = np.stack([np.nansum(one**2, axis=1), np.nansum(two**2, axis=1)])
    count = np.count_nonzero(~missing)

    def difference(exchanged):
        totals = np.where(exchanged, squares[::-1], squares).sum(axis=1)
        return math.sqrt(totals[0] / count) - math.sqrt(totals[1] / count)

    observed = difference(np.zeros(8, dtype=bool))
    assert found.difference == pytest.approx(observed, rel=1e-6)
    every = [difference(np.array(own)) for own in itertools.product([False, True], repeat=8)]
    p = np.mean(np.abs(every) >= abs(observed) - 1e-12)
    assert 0.02 < p < 0.9
    assert found.p == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 20_000))


def test_p_of_a_mean_over_users_is_scipys():
    rng = np.random.default_rng(5)
    one, two = rng.normal(size=(10, 5)), 1.3 * rng.normal(size=(10, 5))
    test, models = part_with_errors(one, two)
    found = hs.compare(models, test, "user_mae", n_resamples=20_000).differences[0]
    own = np.abs(one).mean(axis=1), np.abs(two).mean(axis=1)
    oracle = permutation_test(
        own, lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert found.difference == pytest.approx(oracle.statistic, rel=1e-6)
    assert found.p == pytest.approx(oracle.pvalue, abs=0.014)


def test_equally_large_differences_count_however_they_are_summed():
    """Nine users with d = ±0.1: every exchange is at least as large as the smallest possible sum."""
    one = np.array([0.1, 0.3, 0.7, 0.2, 0.9, 1.7, 0.4, 0.5, 2.3])[:, None]
    signs = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1])[:, None]
    test, models = part_with_errors(one, one + 0.1 * signs)
    for name in ("mae", "user_mae"):
        assert hs.compare(models, test, name).differences[0].p == 1.0


def test_the_rmse_over_ratings_is_not_the_mean_over_users():
    """Most users are better under one model, most ratings under the other."""
    one, two = np.full((30, 40), 1.0), np.full((30, 40), 1.2)
    one[:10] = 1.4
    two[:10] = 1.1
    for errors in (one, two):
        errors[10:, 4:] = np.nan  # twenty users with few ratings
    test, models = part_with_errors(one, two)
    rmse, by_user = hs.compare(models, test, ["rmse", "user_rmse"]).differences
    assert rmse.difference > 0 > by_user.difference
    assert rmse.lower > 0
    assert rmse.better == "model 1"


def test_p_is_uniform_where_the_models_are_alike():
    rng = np.random.default_rng(1)
    found = []
    for trial in range(500):
        size = rng.integers(1, 9, 40).astype(float)
        squares = rng.gamma(size / 2, 2.0, (2, 40))
        one, two = (np.stack([own, size], axis=1) for own in squares)
        drawn = exchanged_totals(one, two, 199, seed=trial)
        of = [np.sqrt(t[..., 0] / t[..., 1]) for t in (one.sum(axis=0), two.sum(axis=0), *drawn)]
        found.append((1 + np.count_nonzero(abs(of[2] - of[3]) >= abs(of[0] - of[1]))) / 200)
    p = np.array(found)
    assert abs(p.mean() - 0.5) < 3 * math.sqrt(1 / 12 / 500)
    for level in (0.05, 0.25, 0.5, 0.9):
        assert abs(np.mean(p <= level) - level) < 3 * math.sqrt(level * (1 - level) / 500)


def test_intervals_of_differences_are_paired():
    """Users differ far more than models do: unpaired intervals would be useless."""
    rng = np.random.default_rng(2)
    hard = rng.gamma(2.0, 1.0, (80, 1))
    one = hard * rng.normal(size=(80, 30))
    test, models = part_with_errors(one, 1.02 * one)
    found = hs.compare(models, test, ["rmse", "mae", "r2"]).differences
    figure = hs.evaluate(models["model 0"], test, "rmse")["rmse"]
    assert found[0].upper - found[0].lower < 0.1 * (figure.upper - figure.lower)
    assert [d.better for d in found[:2]] == ["model 0", "model 0"]
    assert found[0].lower < found[0].difference < found[0].upper < 0


def test_the_same_model_twice_does_not_differ():
    train = ratings_of([[1.0, 2.0, np.nan], [3.0, np.nan, 4.0]])
    test = ratings_of([[np.nan, np.nan, 2.0], [np.nan, 3.0, np.nan]])
    model = Scripted(train, np.arange(6.0).reshape(2, 3))
    names = ["rmse", "r2", "ndcg@2", "mrr", "item_rmse"]
    found = hs.compare({"a": model, "b": model}, test, names)
    for difference in found.differences:
        assert (difference.difference, difference.p, difference.p_corrected) == (0, 1, 1)
        assert difference.better == ""


def test_one_user_proves_nothing():
    test, models = part_with_errors(np.ones((1, 5)), np.zeros((1, 5)))
    found = hs.compare(models, test, "rmse").differences[0]
    assert (found.difference, found.p, found.units) == (1.0, 1.0, 1)
    assert math.isnan(found.lower)
    assert found.better == ""


def test_only_users_that_all_models_have_are_compared():
    ratings = hs.simulate(60, 30, rank=2, ratings_per_user=12, seed=2).ratings
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    users, items, r = train.to_arrays()
    some = users >= 20
    part = hs.Ratings.from_arrays(users[some], items[some], r[some])
    models = {"all": hs.ExplicitMF(rank=2).fit(train), "some": hs.ExplicitMF(rank=2).fit(part)}
    found = hs.compare(models, test, ["recall@5", "rmse"], n_resamples=50)
    recall, rmse = found.differences
    assert recall.units == np.count_nonzero(np.diff(test.by_user.indptr)[20:])
    assert rmse.units == np.count_nonzero(np.diff(test.by_user.indptr))
    assert found.unknown > 0
    alone = hs.evaluate(models["all"], test, "recall@5")["recall@5"]
    assert recall.value_one == pytest.approx(np.mean(alone.values[alone.ids >= 20]))
    assert found.values["all"] == {"recall@5": recall.value_one, "rmse": rmse.value_one}


# ------------------------------------------------------------------- many at once


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm(p):
    p = np.array(p)
    corrected = holm(p)
    order = np.argsort(p, kind="stable")
    for j, place in enumerate(order):
        steps = [min(1.0, (len(p) - i) * p[order[i]]) for i in range(j + 1)]
        assert corrected[place] == max(steps)
    assert np.all(corrected >= p)
    assert np.all(np.diff(corrected[order]) >= 0)
    assert np.all(corrected <= np.minimum(1, len(p) * p))  # never more than Bonferroni's


def test_every_pair_or_each_against_a_reference():
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(3, 30, 10)) * np.array([1.0, 1.1, 2.0])[:, None, None]
    test, models = part_with_errors(*errors)
    every = hs.compare(models, test, ["rmse", "mae"], n_resamples=500)
    pairs = [("model 0", "model 1"), ("model 0", "model 2"), ("model 1", "model 2")]
    assert [(d.one, d.two) for d in every.differences] == pairs * 2
    assert [d.metric for d in every.differences] == ["rmse"] * 3 + ["mae"] * 3
    p = np.array([d.p for d in every.differences])
    np.testing.assert_array_equal([d.p_corrected for d in every.differences], holm(p))
    assert every.differences[1].better == "model 0"
    fewer = hs.compare(models, test, ["rmse", "mae"], reference="model 2", n_resamples=500)
    assert [(d.one, d.two) for d in fewer.differences] == [
        ("model 0", "model 2"),
        ("model 1", "model 2"),
    ] * 2
    assert fewer.differences[0].p_corrected < every.differences[1].p_corrected
    assert len(pd.DataFrame(every.to_dict())) == 6
    assert json.loads(json.dumps(every.as_dict()))["differences"][0]["one"] == "model 0"
    text = str(every)
    assert "model 0 − model 2" in text
    assert "p (Holm)" in text


def test_what_is_neither_higher_nor_lower_has_no_better():
    seen = np.tril(np.ones((12, 12)), -2) > 0  # the first items are the popular ones
    train, test = ratings_of(np.where(seen, 3.0, np.nan)), ratings_of(np.where(seen, np.nan, 3.0))
    order = np.tile(np.arange(12.0), (12, 1))
    models = {"popular": Scripted(train, -order), "rare": Scripted(train, order)}
    found = hs.compare(models, test, "popularity@3").differences[0]
    assert found.p_corrected < 0.05
    assert found.lower > 0
    assert found.better == ""


def test_what_compare_refuses():
    test, models = part_with_errors(np.ones((3, 4)), np.zeros((3, 4)))
    for wrong in ({}, {"a": models["model 0"]}, list(models.values()), {1: 2, 3: 4}):
        with pytest.raises(ParameterError, match="models="):
            hs.compare(wrong, test)
    with pytest.raises(ParameterError, match="reference='best'"):
        hs.compare(models, test, "rmse", reference="best")
    for name in ("coverage@5", "gini@5"):
        with pytest.raises(ParameterError, match="no users can be paired"):
            hs.compare(models, test, name)
    with pytest.raises(ParameterError, match="n_resamples=0"):
        hs.compare(models, test, "rmse", n_resamples=0)
    with pytest.raises(ParameterError, match="confidence=0"):
        hs.compare(models, test, "rmse", confidence=0)
