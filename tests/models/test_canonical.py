"""Which of the equivalent factors: canonical axes, singular values, alignment."""

from dataclasses import replace

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.errors import DataError, HistoryRequiredError, NotFittedError, ParameterError
from halfstep.objectives import row_weights

PLAIN = {"reg_scaling": "none", "reg": (4.0, 3.0, 1.0)}
COUNT = {"reg_scaling": "count", "reg": (0.2, 0.15, 0.1)}
BOTH = pytest.mark.parametrize("objective", [PLAIN, COUNT], ids=["plain", "count"])


def scales(ratings, objective):
    if objective["reg_scaling"] == "none":
        return np.ones(len(ratings.users)), np.ones(len(ratings.items))
    return row_weights(ratings.by_user), row_weights(ratings.by_item)


def off_diagonal(gram):
    return np.abs(gram - np.diag(np.diag(gram))).max()


@pytest.fixture(scope="module")
def weighted():
    return testing.random_ratings(60, 45, 0.4, seed=2, weighted=True)


@BOTH
@pytest.mark.parametrize("sweeps", [1, 30])
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_nothing_that_is_observed_changes(weighted, objective, sweeps, dtype):
    model = hs.ExplicitMF(rank=6, dtype=dtype, max_iter=sweeps, tol=0, **objective).fit(weighted)
    turned = model.canonical()
    close = 1e-5 if dtype == "float32" else 1e-12
    before = testing.objective_value(weighted, model.objective_, model.factors_)
    after = testing.objective_value(weighted, model.objective_, turned.factors_)
    assert abs(after - before) <= close * before
    users = weighted.users.take(np.arange(60))
    items = weighted.items.take(np.arange(45))
    pairs = np.repeat(users, 45), np.tile(items, 60)
    np.testing.assert_allclose(turned.predict(*pairs), model.predict(*pairs), atol=10 * close)
    some = weighted.select(weighted.user_index() < 20)
    one, two = model.fold_in(some), turned.fold_in(some)
    predicted = [f.factors @ m.factors_.item_factors.T for f, m in ((one, model), (two, turned))]
    np.testing.assert_allclose(*predicted, atol=100 * close)
    np.testing.assert_allclose(one.bias, two.bias, atol=100 * close)
    assert turned.factors_.dtype == dtype
    assert turned.factors_.user_bias is model.factors_.user_bias
    assert turned.get_params() == model.get_params()


@BOTH
def test_the_axes_are_those_of_the_definition(weighted, objective):
    model = hs.ExplicitMF(rank=6, dtype="float64", max_iter=3, tol=0, **objective).fit(weighted)
    f = model.canonical().factors_
    s_i = scales(weighted, objective)[1]
    gram = f.item_factors.T @ (s_i[:, None] * f.item_factors)
    assert off_diagonal(gram) <= 1e-12 * gram[0, 0]
    assert (np.diff(np.diag(gram)) < 0).all()
    largest = np.abs(f.item_factors).argmax(axis=0)
    assert (f.item_factors[largest, np.arange(6)] > 0).all()
    again = model.canonical().canonical().factors_
    np.testing.assert_allclose(again.item_factors, f.item_factors, atol=1e-10)


@BOTH
def test_the_departure_vanishes_at_convergence(weighted, objective):
    departures = []
    for sweeps in (1, 10, 3000):
        model = hs.ExplicitMF(
            rank=3, dtype="float64", max_iter=sweeps, tol=1e-15 if sweeps > 10 else 0, **objective
        ).fit(weighted)
        turned = model.canonical()
        departures.append(turned.departure_)
        s_u, _ = scales(weighted, objective)
        gram = turned.factors_.user_factors.T @ (s_u[:, None] * turned.factors_.user_factors)
        rest = np.linalg.norm(gram - np.diag(np.diag(gram))) / np.linalg.norm(gram)
        assert turned.departure_ == pytest.approx(rest, abs=1e-12)
    assert departures[0] > 1e-3
    assert departures[2] < 1e-5 < departures[1]


@BOTH
def test_two_seeds_agree_after_it(objective):
    ratings = hs.simulate(120, 80, rank=3, ratings_per_user=30, min_per_user=8, seed=3).ratings
    reg = (12.0, 10.0, 3.0) if objective is PLAIN else (0.3, 0.25, 0.1)
    models = [
        hs.ExplicitMF(
            rank="grow", reg=reg, reg_scaling=objective["reg_scaling"], seed=seed,
            dtype="float64", max_iter=3000, tol=1e-11,
        ).fit(ratings).canonical()
        for seed in (0, 1)
    ]  # fmt: skip
    assert all(model.certificate().gap <= 1e-6 for model in models)
    one, two = (model.factors_ for model in models)
    assert one.rank == two.rank
    values = models[0].singular_values()
    assert (values[:-1] / values[1:]).min() > 1.001  # no ties: the axes are determined
    testing.assert_near(one, two, 1e-3)
    users = ratings.users.take(np.arange(100))
    some = ratings.select(ratings.user_index() < 100)
    assert len(users) == 100
    testing.assert_near(
        replace(one, user_factors=models[0].fold_in(some).factors, user_bias=None, item_bias=None),
        replace(two, user_factors=models[1].fold_in(some).factors, user_bias=None, item_bias=None),
        1e-3,
    )


@BOTH
def test_two_seeds_agree_on_real_ratings(data_folder, objective):
    ratings = hs.read_ratings(data_folder / "ml-100k" / "u.data")
    reg = (40.0, 40.0, 5.0) if objective is PLAIN else (0.25, 0.25, 0.05)
    models = []
    for seed in (0, 1):
        model = hs.ExplicitMF(
            rank="grow", reg=reg, reg_scaling=objective["reg_scaling"], seed=seed,
            dtype="float64", max_iter=2000, tol=1e-8,
        ).fit(ratings)  # fmt: skip
        turned = model.canonical()
        assert turned.certificate().gap <= 1e-6
        before = value_of(ratings, model)
        assert value_of(ratings, turned) == pytest.approx(before, rel=1e-12)
        some = ratings.select(ratings.user_index() < 100)
        one, two = model.fold_in(some), turned.fold_in(some)
        np.testing.assert_allclose(
            one.factors @ model.factors_.item_factors.T,
            two.factors @ turned.factors_.item_factors.T,
            atol=1e-8,
        )
        models.append(turned)
    one, two = models
    assert one.rank_ == two.rank_
    testing.assert_near(one.factors_, two.factors_, 0.02)


def value_of(ratings, model):
    backend = hs.get_backend("native", dtype="float64")
    return model.objective_.value(
        ratings.by_user, ratings.by_item, model.factors_, backend
    ).objective


def test_equal_singular_values_are_still_a_rotation(weighted):
    start = hs.Factors.random(weighted, 4, biases=False, mean=0.0, dtype="float64", seed=0)
    Z = np.linalg.qr(np.random.default_rng(0).standard_normal((45, 4)))[0]  # Gram = identity
    factors = replace(start, item_factors=Z)
    found = factors.canonical()
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(4), atol=1e-12)
    gram = found.factors.item_factors.T @ found.factors.item_factors
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(
        found.factors.user_factors @ found.factors.item_factors.T,
        factors.user_factors @ Z.T,
        atol=1e-12,
    )


def test_columns_of_zeros_come_last(weighted):
    model = hs.ExplicitMF(rank=2, dtype="float64", max_iter=5, **PLAIN).fit(weighted)
    f = model.factors_
    longer = replace(
        f,
        user_factors=np.insert(f.user_factors, [0, 1], 0.0, axis=1),
        item_factors=np.insert(f.item_factors, [0, 1], 0.0, axis=1),
    )
    turned = longer.canonical().factors
    np.testing.assert_allclose(turned.item_factors[:, 2:], 0, atol=1e-12)
    np.testing.assert_allclose(turned.user_factors[:, 2:], 0, atol=1e-12)
    np.testing.assert_allclose(
        turned.item_factors[:, :2], f.canonical().factors.item_factors, atol=1e-10
    )
    np.testing.assert_allclose(longer.singular_values()[2:], 0, atol=1e-12)


def test_factors_that_are_zero(weighted):
    start = hs.Factors.random(weighted, 3, biases=True, mean=0.0, dtype="float32", seed=0)
    found = start.canonical()
    assert not found.factors.item_factors.any()
    assert np.isfinite(found.factors.user_factors).all()
    assert not start.singular_values().any()
    assert replace(start, user_factors=start.user_factors * 0).canonical().departure == 0


def test_of_tied_entries_the_first_decides_the_sign(weighted):
    start = hs.Factors.random(weighted, 1, biases=False, mean=0.0, dtype="float64", seed=0)
    Z = np.zeros((45, 1))
    Z[7], Z[9] = -1.0, 1.0 + 1e-9
    assert replace(start, item_factors=Z).canonical().factors.item_factors[7, 0] == 1.0
    Z[9] = 1.01
    assert replace(start, item_factors=Z).canonical().factors.item_factors[7, 0] == -1.0


@BOTH
def test_singular_values_are_those_of_the_product(weighted, objective):
    model = hs.ExplicitMF(rank=5, dtype="float64", max_iter=4, **objective).fit(weighted)
    f = model.factors_
    s_u, s_i = scales(weighted, objective)
    M = f.user_factors @ f.item_factors.T
    expected = np.linalg.svd(np.sqrt(np.outer(s_u, s_i)) * M, compute_uv=False)
    np.testing.assert_allclose(model.singular_values(), expected[:5], rtol=1e-10)
    plain = np.linalg.svd(M, compute_uv=False)
    np.testing.assert_allclose(f.singular_values(), plain[:5], rtol=1e-10)


def test_more_factors_than_rows():
    ratings = testing.random_ratings(4, 3, 0.8, seed=1)
    model = hs.ExplicitMF(rank=7, dtype="float64", max_iter=5).fit(ratings)
    assert len(model.singular_values()) == 3
    assert model.canonical().rank_ == 7


def test_the_same_bits_for_any_number_of_threads(weighted):
    model = hs.ExplicitMF(rank=6, **COUNT).fit(weighted)
    before = hs.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            hs.set_num_threads(threads)
            results.append(model.canonical().factors_)
    finally:
        hs.set_num_threads(before)
    testing.assert_same_bits(*results)


def test_alignment_undoes_a_rotation(weighted):
    model = hs.ExplicitMF(rank=5, dtype="float64", max_iter=5).fit(weighted)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    turned = model.factors_.rotated(Q)
    found = turned.align(model.factors_)
    assert found.distance < 1e-13
    np.testing.assert_allclose(found.rotation, Q.T, atol=1e-12)
    testing.assert_near(found.factors, model.factors_, 1e-12)


def test_alignment_of_a_retrained_model(weighted):
    first = hs.ExplicitMF(rank=3, dtype="float64", max_iter=300, tol=1e-12, **COUNT).fit(weighted)
    keep = np.random.default_rng(0).random(len(weighted)) < 0.98
    users = weighted.user_index()
    keep &= users != 5  # a user leaves
    part = hs.Ratings.from_arrays(
        weighted.users.take(users[keep]),
        weighted.items.take(weighted.by_user.indices[keep]),
        weighted.by_user.values[keep],
    )
    second = hs.ExplicitMF(
        rank=3, dtype="float64", max_iter=300, tol=1e-12, seed=9, **COUNT
    ).fit(part)  # fmt: skip
    aligned = second.align(first)
    known = first.factors_.user_ids.lookup(second.factors_.user_ids.values)
    items = first.factors_.item_ids.lookup(second.factors_.item_ids.values)
    squares = size = 0.0
    for mine, other in (
        (aligned.factors_.user_factors, first.factors_.user_factors[known]),
        (aligned.factors_.item_factors, first.factors_.item_factors[items]),
    ):
        squares += ((mine - other) ** 2).sum()
        size += (other**2).sum()
    assert aligned.distance_ == pytest.approx(np.sqrt(squares / size))
    raw = second.factors_
    before = ((raw.user_factors - first.factors_.user_factors[known]) ** 2).sum()
    assert squares < before
    np.testing.assert_allclose(
        aligned.factors_.user_factors @ aligned.factors_.item_factors.T,
        raw.user_factors @ raw.item_factors.T,
        atol=1e-10,
    )


@pytest.mark.parametrize(("mine", "theirs"), [(2, 4), (4, 2)])
def test_alignment_of_other_ranks(weighted, mine, theirs):
    one = hs.ExplicitMF(rank=mine, dtype="float64", max_iter=5).fit(weighted)
    two = hs.ExplicitMF(rank=theirs, dtype="float64", max_iter=5).fit(weighted)
    found = one.factors_.align(two.factors_)
    assert found.factors.rank == 4
    assert found.rotation.shape == (mine, 4)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(mine), atol=1e-12)
    np.testing.assert_allclose(
        found.factors.user_factors @ found.factors.item_factors.T,
        one.factors_.user_factors @ one.factors_.item_factors.T,
        atol=1e-10,
    )
    if mine < theirs:
        with pytest.raises(ParameterError, match="rank"):
            one.align(two)
    else:
        assert one.align(two).distance_ == found.distance


def test_what_cannot_be_aligned_or_turned_says_so(weighted, tmp_path):
    strangers = hs.Ratings.from_arrays(["ann", "bob"], ["x", "y"], [1.0, 2.0])
    model = hs.ExplicitMF(rank=4, max_iter=2, **COUNT).fit(weighted)
    with pytest.raises(DataError, match="shares no user"):
        model.align(hs.ExplicitMF(rank=2, max_iter=1).fit(strangers))
    for ask in ("canonical", "singular_values", "certificate"):
        with pytest.raises(NotFittedError):
            getattr(hs.ExplicitMF(), ask)()
    model.save(tmp_path / "m.safetensors", history=False)
    with pytest.raises(HistoryRequiredError):
        hs.load(tmp_path / "m.safetensors").canonical()
    plain = hs.ExplicitMF(rank=4, max_iter=2, **PLAIN).fit(weighted)
    plain.save(tmp_path / "p.safetensors", history=False)
    loaded = hs.load(tmp_path / "p.safetensors")
    testing.assert_same_bits(loaded.canonical().factors_, plain.canonical().factors_)
    model.objective_ = replace(model.objective_, nonnegative=True)
    for ask in (model.canonical, lambda: model.align(plain)):
        with pytest.raises(ParameterError, match="nonnegative"):
            ask()


def test_a_canonical_model_is_saved_like_any_other(weighted, tmp_path):
    turned = hs.ExplicitMF(rank=4, max_iter=2, **COUNT).fit(weighted).canonical()
    turned.save(tmp_path / "m.safetensors")
    testing.assert_same_bits(hs.load(tmp_path / "m.safetensors").factors_, turned.factors_)
