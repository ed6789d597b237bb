"""What a model says after it was fitted again, turned, or given more rows; and to odd questions."""

import pickle

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.errors import (
    DataError,
    HistoryRequiredError,
    ModelFileError,
    ParameterError,
    UnknownIdError,
)
from halfstep.files import read_tensors, write_tensors
from halfstep.models.uncertainty import variances


@pytest.fixture(scope="module")
def parts():
    return hs.split_random(hs.simulate(150, 60, rank=3, seed=2).ratings, test=0.2, seed=0)


@pytest.fixture
def model(parts):
    train, test = parts
    return hs.ExplicitMF(rank=4, reg=0.2, max_iter=10).fit(train).calibrate(test)


def new_user(model, user=10**6):
    items = model.factors_.item_ids.values[:6]
    return model.fold_in(hs.Ratings.from_arrays([user] * 6, items, np.arange(6) % 5 + 1.0))


# ------------------------------------------------------------------------- other factors


def test_fit_forgets_what_was_learned_of_other_factors(parts):
    train, test = parts
    grown = hs.ExplicitMF(rank="grow", reg=0.3, max_iter=60, tol=1e-3).fit(train)
    turned = grown.canonical().align(grown)
    assert hasattr(turned, "growth_")
    assert hasattr(turned, "distance_")
    assert not hasattr(turned, "departure_")  # these are no longer canonical axes
    turned.calibrate(test).predict(1, 1, std=True)
    turned.set_params(rank=3, max_iter=2).fit(train)
    fresh = hs.ExplicitMF(rank=3, reg=0.3, max_iter=2, tol=1e-3).fit(train)
    assert vars(turned).keys() == vars(fresh).keys()
    assert turned.calibration_ is None


def test_a_rotation_changes_no_std_and_no_interval(model, parts):
    train, _ = parts
    turned = model.canonical()
    users, items, _ = train.to_arrays()
    new_users, new_items = np.full(len(users), 10**6), np.full(len(items), 10**6)
    for pairs in ((users, items), (users, new_items), (new_users, items), (10**6, 10**6)):
        for question in ({"std": True}, {"interval": 0.8}):
            for one, two in zip(
                model.predict(*pairs, **question), turned.predict(*pairs, **question), strict=True
            ):
                np.testing.assert_allclose(one, two, rtol=2e-4)


@pytest.mark.parametrize("biases", [True, False])
def test_an_unknown_vector_counts_as_a_random_one(parts, biases):
    """The mean of fᵀ A⁻¹ f over the vectors of all items: tr(A⁻¹ (mean f fᵀ))."""
    train, _ = parts
    fit = hs.ExplicitMF(rank=3, reg=0.2, biases=biases, dtype="float64", max_iter=5).fit(train)
    n = len(fit.factors_.item_ids)
    rows = np.arange(20)
    of_all = variances(fit, "user", np.repeat(rows, n), np.tile(np.arange(n), 20), "this test")
    found = variances(fit, "user", rows, np.full(20, -1), "this test")
    np.testing.assert_allclose(found, of_all.reshape(20, n).mean(axis=1), rtol=1e-9)


def test_a_model_with_more_rows_answers_from_them(model, parts):
    train, _ = parts
    user, item = train.users.id_at(0), train.items.id_at(7)
    model.predict(user, item, std=True)
    model.influence(item=item)  # what is worked out once is kept
    assert vars(model).keys() >= {"_noise", "_by_item"}
    more = model.with_rows(new_user(model))
    assert not vars(more).keys() & {"_noise", "_by_item"}  # nor the old arrays with them
    fresh = pickle.loads(pickle.dumps(more))
    asked = ([user, 10**6], [item, item])
    for question in ({"std": True}, {"interval": 0.8}):
        for one, two in zip(
            more.predict(*asked, **question), fresh.predict(*asked, **question), strict=True
        ):
            assert one.tobytes() == two.tobytes()
    assert len(more.influence(10**6).others) == 6


def test_rows_of_another_rank_are_refused(model):
    ratings = testing.random_ratings(12, 10, 0.5)
    other = hs.ExplicitMF(rank=model.factors_.rank + 1).fit(ratings)
    with pytest.raises(ParameterError, match=r"folded.*this model has"):
        model.with_rows(other.fold_in(ratings))


def test_a_calibration_outlives_new_users_but_not_new_items(model):
    assert model.with_rows(new_user(model)).calibration_ is model.calibration_
    users = model.factors_.user_ids.values[:6]
    folded = model.fold_in(
        hs.Ratings.from_arrays(users, [10**6] * 6, np.arange(6) % 5 + 1.0), side="item"
    )
    assert model.with_rows(folded).calibration_ is None  # no history says what they were made of
    assert model.calibration_ is not None


def test_folds_are_fitted_as_far_as_the_model(parts, monkeypatch):
    train, test = parts
    model = hs.ExplicitMF(rank=16, reg=0.01, max_iter=100, tol=1e-7).fit(train, validation=test)
    assert model.stopped_ == "validation"
    sweeps, fit = [], hs.ExplicitMF.fit

    def seen(self, *given, **options):
        fit(self, *given, **options)
        sweeps.append(self.n_iter_)
        return self

    monkeypatch.setattr(hs.ExplicitMF, "fit", seen)
    model.calibrate(train, folds=3)
    assert sweeps == [model.best_iter_] * 3


# -------------------------------------------------------------------------- odd questions


@pytest.mark.parametrize("folds", [None, 3])
@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_a_calibration_wants_a_seed(model, parts, folds, seed):
    with pytest.raises(ParameterError, match="seed"):
        model.calibrate(parts[0] if folds else parts[1], folds=folds, seed=seed)


@pytest.mark.parametrize("level", [0, 5.0, "x", float("nan")])
def test_a_level_is_checked_where_nothing_is_asked(model, level):
    with pytest.raises(ParameterError, match="interval"):
        model.predict([], [], interval=level)


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, given: model.certificate(given),
        lambda model, given: model.effective_parameters(given),
        lambda model, given: model.influence(1, ratings=given),
        lambda model, given: model.explain(1, 1, ratings=given),
        lambda model, given: model.recommend(1, ratings=given),
    ],
)
@pytest.mark.parametrize("given", [[1, 2], np.zeros((3, 3)), {"user": [1]}], ids=str)
def test_ratings_are_ratings(model, ask, given):
    with pytest.raises(DataError, match=r"ratings=.*must be Ratings"):
        ask(model, given)


@pytest.mark.parametrize("other", ["model", None, hs.ExplicitMF])
def test_only_a_model_can_be_aligned_to(model, other):
    with pytest.raises(ParameterError, match="other"):
        model.align(other)


@pytest.mark.parametrize("reg_scaling", ["count", "none"])
def test_a_user_without_ratings(parts, reg_scaling):
    train, _ = parts
    fit = hs.ExplicitMF(rank=3, reg=0.2, reg_scaling=reg_scaling, max_iter=3).fit(train)
    user, item = train.users.id_at(0), train.items.id_at(0)
    bare = fit.with_rows(fit.fold_in([(user, 10**6)], [3.0], unknown="ignore"))
    assert len(bare.influence(user).others) == 0
    explanation = bare.explain(user, item)
    assert explanation.score == pytest.approx(bare.predict(user, item))
    assert len(explanation.items) == 0
    assert bare.predict(user, item, std=True)[1] > fit.predict(user, item, std=True)[1]


def test_nan_for_the_unknown_needs_no_variance():
    ratings = testing.random_ratings(23, 17, 0.6, seed=0)
    fit = hs.ExplicitMF(rank=2, reg=0.0, dtype="float64", max_iter=3).fit(ratings)
    user, item = ratings.users.id_at(0), ratings.items.id_at(0)
    mean, std = fit.predict([user, -9], [item, item], std=True, unknown="nan")
    assert np.isnan([mean[1], std[1]]).all()
    assert (mean[0], std[0]) == fit.predict(user, item, std=True)


def test_effective_parameters_of_ratings_that_float32_hardly_tells_apart(parts):
    train, _ = parts
    users, items, ratings = train.to_arrays()
    far = hs.Ratings.from_arrays(users, items, ratings + 1e6)
    near, shifted = (hs.ExplicitMF(rank=2, reg=0.3, max_iter=20).fit(r) for r in (train, far))
    one = near.effective_parameters(probes=2)
    two = shifted.effective_parameters(probes=2)
    assert two.count == pytest.approx(one.count, rel=0.1)


def test_a_damaged_mapped_history_is_named(model, tmp_path):
    tensors, metadata = read_tensors(model.save(tmp_path / "m.safetensors"), mmap=False)
    items = tensors["history.items"].copy()
    items[5] = 10**6
    write_tensors(tmp_path / "m.safetensors", {**tensors, "history.items": items}, metadata)
    with pytest.raises(ModelFileError):
        hs.load(tmp_path / "m.safetensors")
    loaded = hs.load(tmp_path / "m.safetensors", mmap=True)
    for ask in (
        loaded.certificate,
        loaded.canonical,
        loaded.effective_parameters,
        lambda: loaded.predict(1, 1, std=True),
        lambda: loaded.recommend(1, min_ratings=2),
    ):
        with pytest.raises(DataError, match="history"):
            ask()


def test_a_remedy_is_one_that_there_is(model, parts, tmp_path):
    """`ratings=` is told of only where it is an argument."""
    train, test = parts
    bare = hs.load(model.save(tmp_path / "m.safetensors", history=False))
    for ask in (
        lambda: bare.predict(1, 1, std=True),
        lambda: bare.predict(1, 1, interval=0.8),
        lambda: bare.calibrate(test),
        lambda: bare.recommend(1, strategy="ucb", ratings=train),
        lambda: bare.recommend(1, strategy="thompson", ratings=train),
        lambda: bare.recommend(1, min_ratings=2, ratings=train),
        bare.canonical,
        bare.singular_values,
    ):
        with pytest.raises(HistoryRequiredError, match="save with history=True") as error:
            ask()
        assert "ratings=," not in str(error.value)
    for ask in (
        bare.certificate,
        bare.effective_parameters,
        lambda: bare.influence(1),
        lambda: bare.explain(1, 1),
        lambda: bare.recommend(1),
    ):
        with pytest.raises(HistoryRequiredError, match="pass ratings=, or save"):
            ask()
    strange = hs.Ratings.from_arrays([1, 10**6], [1, 2], [3.0, 4.0])
    with pytest.raises(UnknownIdError, match="those that the model was fitted to"):
        bare.certificate(strange)
    strange = hs.Ratings.from_arrays([1, 2], [1, 10**6], [3.0, 4.0])
    with pytest.raises(UnknownIdError, match="those that the model was fitted to"):
        bare.certificate(strange)


def test_a_nonnegative_model_is_refused_before_anything_is_fitted(parts, monkeypatch):
    train, _ = parts
    model = hs.ExplicitMF(rank=2, nonnegative=True, max_iter=2).fit(train)
    monkeypatch.setattr(hs.ExplicitMF, "fit", lambda *given, **options: pytest.fail("it fits"))
    with pytest.raises(ParameterError, match="nonnegative"):
        model.calibrate(train, folds=3)
