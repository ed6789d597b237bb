"""The mean, the biases, the most popular items."""

import itertools

import baseline_twins as twins
import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import ParameterError


@pytest.mark.parametrize("weighted", [False, True])
def test_the_global_mean(weighted):
    r, c = twins.table(weighted=weighted)
    model = hs.GlobalMean().fit(twins.as_ratings(r, c))
    assert model.predict(0, 1) == pytest.approx(twins.mean(r, c), rel=1e-6)
    assert model.predict([0, -5], [1, -7]).tolist() == [model.mean_] * 2
    assert [i for i, _ in model.recommend(3, 4)[3]] == [0, 1, 2, 3]  # nothing to rank by


@pytest.mark.parametrize("scaling", ["none", "count"])
@pytest.mark.parametrize("reg", [5.0, (0.5, 3.0), 1e-3])
@pytest.mark.parametrize("weighted", [False, True])
def test_biases_solve_the_normal_equations(weighted, reg, scaling):
    r, c = twins.table(weighted=weighted)
    model = hs.Biases(reg, reg_scaling=scaling).fit(twins.as_ratings(r, c))
    pair = reg if isinstance(reg, tuple) else (reg, reg)
    mu, b_u, b_i = twins.biases(r, c, pair, scaling == "count")
    assert model.mean_ == pytest.approx(mu, rel=1e-6)
    np.testing.assert_allclose(model.user_bias_, b_u, atol=1e-6)
    np.testing.assert_allclose(model.item_bias_, b_i, atol=1e-6)
    assert model.user_bias_[3] == model.item_bias_[4] == 0
    for u, i in itertools.product((0, 3, 5), (1, 4)):
        assert model.predict(u, i) == pytest.approx(mu + b_u[u] + b_i[i], abs=1e-5)
    assert model.predict(-9, 1) == pytest.approx(mu + b_i[1], abs=1e-5)
    assert model.predict(0, -9) == pytest.approx(mu + b_u[0], abs=1e-5)


def test_biases_without_regularization_are_a_least_squares_solution():
    r, c = twins.table(weighted=True)
    ratings = twins.as_ratings(r, c)
    model = hs.Biases(0).fit(ratings)
    mu, b_u, b_i = twins.biases(r, c, (0, 0))
    users, items, _ = ratings.to_arrays()
    np.testing.assert_allclose(model.predict(users, items), mu + b_u[users] + b_i[items], atol=1e-6)


def test_users_and_items_that_have_nothing_in_common():
    """Two tables beside one another: the system without λ has more than one singular direction."""
    ratings = hs.Ratings.from_arrays([1, 1, 2, 8, 9, 9], [1, 2, 1, 7, 7, 8], [5, 3, 4, 1, 2, 1])
    model = hs.Biases(0).fit(ratings)
    users, items, r = ratings.to_arrays()
    gradient = r - model.predict(users, items)
    for rows in (ratings.user_index(), ratings.by_user.indices):
        np.testing.assert_allclose(np.bincount(rows, gradient), 0, atol=1e-7)


def test_biases_recommend_by_the_bias_of_the_item():
    r, c = twins.table()
    model = hs.Biases().fit(twins.as_ratings(r, c))
    found = model.recommend([0, 7], 12)
    for u in (0, 7):
        unseen = np.flatnonzero(np.isnan(r[u]))
        best = unseen[np.argsort(-model.item_bias_[unseen], kind="stable")]
        assert [i for i, _ in found[u]] == best.tolist()
        for item, score in found[u]:
            assert score == pytest.approx(model.predict(u, item))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_most_popular(weighted):
    r, c = twins.table(weighted=weighted)
    ratings = twins.as_ratings(r, c)
    counted = hs.MostPopular().fit(ratings)
    np.testing.assert_allclose(counted.counts_, c.sum(0))
    best = np.argsort(-c.sum(0), kind="stable")
    found = counted.recommend(2, 12, exclude_seen=False)[2]
    assert found == [(i, c.sum(0)[i]) for i in best.tolist()]
    mu = twins.mean(r, c)
    shrunken = mu + (c * (np.nan_to_num(r) - mu)).sum(0) / (c.sum(0) + 2.0)
    rated = hs.MostPopular("mean", reg=2.0).fit(ratings)
    np.testing.assert_allclose(rated.predict([0] * 12, np.arange(12)), shrunken, atol=1e-6)
    found = rated.recommend([-3], 12, unknown="bias")[-3]
    assert [i for i, _ in found] == np.argsort(-rated.item_bias_, kind="stable").tolist()
    np.testing.assert_allclose([s for _, s in found], np.sort(shrunken)[::-1], atol=1e-6)
    same = hs.MostPopular("count", reg=2.0).fit(ratings)
    assert same.rmse(ratings) == rated.rmse(ratings)  # `by` is of the ranking alone


def test_equally_popular_items_are_in_the_order_of_their_ids():
    model = hs.MostPopular().fit([(u, i) for u in (1, 2) for i in (5, 3, 9)], [3.0] * 6)
    assert [i for i, _ in model.recommend(1, 3, exclude_seen=False)[1]] == [3, 5, 9]


def test_parameters_after_the_fit_change_nothing(simulated):
    model = hs.MostPopular().fit(simulated)
    before = list(model.recommend(n=3))
    model.set_params(by="mean")
    assert list(model.recommend(n=3)) == before


@pytest.mark.parametrize(
    "model",
    [
        hs.Biases(-1.0),
        hs.Biases("five"),
        hs.Biases((1, 2, 3)),
        hs.Biases(np.nan),
        hs.Biases(True),
        hs.Biases(reg_scaling="both"),
        hs.MostPopular("fame"),
        hs.MostPopular(reg=-1),
        hs.MostPopular(reg=np.inf),
    ],
    ids=repr,
)
def test_parameters_are_checked(model, simulated):
    with pytest.raises(ParameterError):
        model.fit(simulated)
    assert not hasattr(model, "history_")


def test_baseline_rmse_is_made_of_them(simulated):
    train, test = hs.split_random(simulated, seed=0)
    assert hs.baseline_rmse(train, test, reg=2.0) == {
        "global mean": hs.GlobalMean().fit(train).rmse(test),
        "biases only": hs.Biases(2.0).fit(train).rmse(test),
    }
