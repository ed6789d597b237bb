"""`RankingMF`: it learns what was planted, answers, folds in, refuses, and comes back from a file."""

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import DataError, HistoryRequiredError, ParameterError
from halfstep.models.params import Parameters

LOSSES = ("bpr", "warp", "logistic", "softmax")


def planted(users=250, items=120, rank=3, each=12, seed=0):
    """Items of the highest w·z + noise of every user, the popular ones seen more often."""
    generator = np.random.default_rng(seed)
    W, Z = generator.standard_normal((users, rank)), generator.standard_normal((items, rank))
    score = (
        1.5 * W @ Z.T
        + 0.7 * generator.standard_normal(items)
        + generator.gumbel(size=(users, items))
    )
    taken = np.argsort(-score, axis=1)[:, :each]
    return hs.Ratings.from_arrays(np.repeat(np.arange(users), each), taken.ravel())


@pytest.fixture(scope="module")
def parts():
    return hs.split_random(planted(), test=0.2, seed=0)


def auc(scores, train, test):
    """Of every held-out cell against all items in neither part."""
    n = scores.shape[1]
    seen = np.zeros(scores.shape, dtype=bool)
    for part in (train, test):
        seen[part.user_index(), part.by_user.indices] = True
    total = []
    for u, i in zip(test.user_index(), test.by_user.indices, strict=True):
        total.append(np.mean(scores[u, i] > scores[u, np.flatnonzero(~seen[u])]))
    assert n == len(test.items)
    return np.mean(total)


@pytest.mark.parametrize(
    "given",
    [
        {"loss": "bpr"},
        {"loss": "bpr", "negatives": 4, "hard": True},
        {"loss": "bpr", "sampling": "popularity", "schedule": "decay"},
        {"loss": "warp"},
        {"loss": "logistic"},
        {"loss": "softmax", "negatives": 10, "schedule": "constant"},
    ],
)
def test_it_learns_what_was_planted(parts, given):
    train, test = parts
    model = hs.RankingMF(rank=8, max_iter=40, reg=0.01, metric="auc", **given).fit(train)
    objective = [row.objective for row in model.trace_]
    assert objective[-1] < 0.9 * objective[0]
    f = model.factors_
    scores = f.user_factors @ f.item_factors.T + f.item_bias
    own = auc(scores, train, test)
    popular = np.broadcast_to(np.bincount(train.by_user.indices, minlength=120), scores.shape)
    assert own > 0.04 + auc(popular, train, test)
    assert abs(model.score(test) - own) < 0.03
    found = model.predict(train.users.take(np.arange(250)), train.items.take(np.full(250, 7)))
    np.testing.assert_allclose(found, scores[:, 7], rtol=1e-4, atol=1e-5)


def test_validation_stops_and_keeps_the_best(parts):
    train, test = parts
    model = hs.RankingMF(rank=8, max_iter=200, rate=0.5, patience=3, reg=0.0)
    model.fit(train, validation=test)
    measured = [row.validation_score for row in model.trace_]
    assert model.stopped_ == "validation"
    assert model.best_iter_ == int(np.argmax(measured)) + 1 == len(measured) - 3
    again = model.settled().fit(train)
    assert again.factors_.item_factors.tobytes() == model.factors_.item_factors.tobytes()


def test_the_native_fit_is_the_one_of_the_oracle():
    ratings = planted(40, 30, each=6)
    for loss in LOSSES:
        model = hs.RankingMF(rank=5, loss=loss, negatives=3, max_iter=2, dtype="float64", alpha=0.5)
        factors = [model.fit(ratings, backend=name).factors_ for name in ("numpy", "native")]
        np.testing.assert_allclose(
            factors[0].item_factors, factors[1].item_factors, rtol=1e-8, atol=1e-10
        )


def test_only_values_above_0_are_positives():
    users, items = [1, 1, 1, 2, 2, 3], ["a", "b", "c", "a", "b", "c"]
    ratings = hs.Ratings.from_arrays(users, items, [1, 0, 2, 3, -1, 0])
    model = hs.RankingMF(rank=2, max_iter=30).fit(ratings)
    assert not model.factors_.user_factors[2].any()  # user 3 has none
    assert model.predict(1, "b") < min(model.predict([1, 1], ["a", "c"]))  # b is a negative
    assert len(model.history_.indices) == 6  # and has been seen
    with pytest.raises(DataError, match="no value above 0"):
        hs.RankingMF(rank=2).fit(hs.Ratings.from_arrays([1], [2], [0.0]))


def test_alpha_and_weights_are_weights_of_steps():
    base = planted(60, 40, each=8)
    counts = np.random.default_rng(0).integers(1, 4, len(base)).astype(np.float32)
    users, items = (
        base.users.take(base.user_index()),
        base.items.take(base.by_user.indices),
    )
    counted = hs.Ratings.from_arrays(users, items, counts)
    model = hs.RankingMF(rank=4, max_iter=3, alpha=0.5)
    by_alpha = model.fit(counted).factors_.item_factors
    weights = (0.5 * counted.by_user.values).astype(np.float32)
    by_weight = hs.RankingMF(rank=4, max_iter=3).fit(base, sample_weight=weights)
    assert by_alpha.tobytes() == by_weight.factors_.item_factors.tobytes()
    plain = hs.RankingMF(rank=4, max_iter=3).fit(counted).factors_.item_factors
    assert (
        plain.tobytes()
        == hs.RankingMF(rank=4, max_iter=3).fit(base).factors_.item_factors.tobytes()
    )
    assert plain.tobytes() != by_alpha.tobytes()


@pytest.mark.parametrize("loss", LOSSES)
def test_odd_tables(loss):
    one = hs.Ratings.from_arrays(["a b"], ["é"])  # one item, which is a positive: no step
    model = hs.RankingMF(rank=3, loss=loss, max_iter=2).fit(one)
    assert np.isfinite(model.factors_.user_factors).all()
    everything = hs.Ratings.from_arrays([1, 1, 1, 2], [1, 2, 3, 1])
    for rank in (1, 7, 33):
        model = hs.RankingMF(rank=rank, loss=loss, max_iter=3).fit(everything)
        assert np.isfinite(model.predict([1, 2], [3, 3])).all()
        start = hs.RankingMF(rank=rank, loss=loss, max_iter=1).fit(everything).factors_
        # user 1 has no negative: never moved
        assert model.factors_.user_factors[0].tobytes() == start.user_factors[0].tobytes()
    if loss == "bpr":
        assert model.predict(2, 1) > model.predict(2, 3)


@pytest.mark.parametrize("loss", LOSSES)
def test_folding_in(parts, loss):
    train, test = parts
    model = hs.RankingMF(rank=8, loss=loss, max_iter=40, reg=0.01).fit(train)
    folded = model.fold_in(train)
    f = model.factors_
    scores = folded.factors @ f.item_factors.T + f.item_bias
    stored = f.user_factors @ f.item_factors.T + f.item_bias
    assert auc(scores, train, test) > auc(stored, train, test) - 0.05
    # whoever else is folded in
    mask = train.user_index() == 17
    alone = model.fold_in(train.select(mask)).factors[17]
    assert alone.tobytes() == folded.factors[17].tobytes()
    fresh = model.with_rows(
        model.fold_in(hs.Ratings.from_arrays([9999] * 2, train.items.take(np.array([1, 2]))))
    )
    best = fresh.recommend(9999, n=5)
    found = {item for item, _ in best[9999]}
    assert len(found) == 5
    assert not found & set(train.items.take(np.array([1, 2])).tolist())
    with pytest.raises(ParameterError, match="cannot be folded in"):
        model.fold_in(train, side="item")


def test_files(parts, tmp_path):
    train, test = parts
    model = hs.RankingMF(rank=5, loss="warp", reg=(0.1, 0.2, 0.3), max_iter=4).fit(train)
    path = model.save(tmp_path / "model.safetensors")
    for mmap in (False, True):
        loaded = hs.load(path, mmap=mmap)
        assert loaded.get_params() == model.get_params()
        assert loaded.objective_ == model.objective_
        assert loaded.score(test) == model.score(test)
        assert loaded.fold_in(train).factors.tobytes() == model.fold_in(train).factors.tobytes()
        first = train.users.id_at(0)
        assert str(loaded.recommend(first, n=4)) == str(model.recommend(first, n=4))
    bare = hs.load(model.save(tmp_path / "bare.safetensors", history=False))
    with pytest.raises(HistoryRequiredError):
        bare.score(test)
    plain = hs.RankingMF(rank=5, item_bias=False, max_iter=2).fit(train)
    loaded = hs.load(plain.save(tmp_path / "plain.safetensors"))
    assert loaded.factors_.item_bias is None
    assert loaded.predict(first, 3) == plain.predict(first, 3)


def test_it_is_an_estimator(parts):
    sklearn = pytest.importorskip("sklearn.base")
    train, _ = parts
    model = hs.RankingMF(rank=3, max_iter=2, sampling="popularity")
    assert sklearn.clone(model).get_params() == model.get_params()
    assert isinstance(model, Parameters)
    pairs = np.column_stack([train.user_index(), train.by_user.indices])
    found = sklearn.clone(model).fit(pairs, np.ones(len(pairs))).factors_.item_factors
    assert found.shape == (120, 3)


def test_a_warm_start_goes_on(parts):
    train, _ = parts
    model = hs.RankingMF(rank=8, max_iter=10).fit(train)
    on = hs.RankingMF(rank=8, max_iter=1).fit(train, init=model)
    assert on.trace_[0].objective < hs.RankingMF(rank=8, max_iter=1).fit(train).trace_[0].objective


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", 0),
        ("loss", "mse"),
        ("negatives", 0),
        ("negatives", 1.5),
        ("sampling", "rare"),
        ("sampling", -1.0),
        ("sampling", True),
        ("hard", 3),
        ("margin", -1.0),
        ("alpha", 0.0),
        ("reg", -0.1),
        ("rate", float("nan")),
        ("schedule", "fast"),
        ("decay", -1),
        ("max_iter", 0),
        ("tol", 1.0),
        ("patience", 0),
        ("dtype", "float16"),
        ("seed", -1),
        ("item_bias", "yes"),
    ],
)
def test_parameters_are_checked(name, value):
    with pytest.raises(ParameterError) as raised:
        hs.RankingMF(**{name: value}).fit(planted(20, 10, each=3))
    assert raised.value.argument == name


def test_options_that_do_not_go_together_are_refused(parts):
    train, test = parts
    with pytest.raises(ParameterError, match="hard"):
        hs.RankingMF(loss="softmax", hard=True).fit(train)
    model = hs.RankingMF(rank=3, max_iter=1).fit(train)
    user, item = train.users.id_at(0), train.items.id_at(0)
    for asked in (
        lambda: model.explain(user, item),
        lambda: model.predict(user, item, std=True),
        lambda: model.predict(user, item, interval=0.9),
        lambda: model.recommend(user, strategy="ucb"),
        lambda: model.recommend(user, strategy="thompson"),
        lambda: model.calibrate(test),
        lambda: model.influence(user),
        lambda: model.certificate(),
        lambda: model.effective_parameters(),
    ):
        with pytest.raises(ParameterError):
            asked()
    for metric in ("auc", "ndcg@10"):
        with pytest.raises((ParameterError, DataError), match="X"):
            model.set_params(metric=metric).score(hs.Ratings.from_arrays([-5], [-7]))
    turned = model.canonical()
    np.testing.assert_allclose(turned.predict(user, item), model.predict(user, item), rtol=1e-4)


def test_lists_are_scored_as_they_are_recommended():
    table = hs.Ratings.from_arrays([0, 0, 1, 1, 2], [0, 1, 0, 2, 1], [1.0, -1.0, 1.0, 0.0, 1.0])
    part = hs.Ratings.from_arrays([0, 0, 1], [1, 2, 1])  # user 0 has told about item 1
    model = hs.RankingMF(rank=2, max_iter=3, metric="hit_rate@1").fit(table, validation=part)
    assert model.recommend(0, n=5).found.tolist() == [2]
    assert model.score(part) == 1.0
    assert model.trace_[-1].validation_score == 1.0
    assert model.score(part) == hs.evaluate(model, part, metrics=["hit_rate@1"])["hit_rate@1"].value


def test_items_are_not_solved_again():
    model = hs.RankingMF(rank=3, max_iter=2).fit(planted(20, 10, each=3))
    user, item = model.factors_.user_ids.id_at(0), model.factors_.item_ids.id_at(0)
    for asked in (lambda: model.updated([(user, item)]), lambda: model.without_users(user)):
        with pytest.raises(ParameterError, match="items=False"):
            asked()
    model.updated([(user, item)], items=False)
    model.without_users(user, items=False)
