"""`ImplicitMF`: J against double loops, the answers of a fitted model, its files, what it refuses."""

import itertools
import json
import pickle

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.errors import (
    DataError,
    HistoryRequiredError,
    ModelFileError,
    NotFittedError,
    ParameterError,
    UnknownIdError,
)
from halfstep.evaluation.rank_validation import RankValidation
from halfstep.files import read_tensors, write_tensors
from halfstep.training import Listener


def counts(users=19, items=13, seed=0, *, weighted=False, empty=False):
    """Interactions: counts above and below 0, and of 0; with `empty` ids that have none."""
    generator = np.random.default_rng(seed)
    there = generator.random((users, items)) < 0.35
    there[np.arange(users), generator.integers(items, size=users)] = True
    u, i = np.nonzero(there)
    r = generator.choice([1.0, 1.0, 2.0, 5.0, 0.5, 0.0, -1.0, -3.0], len(u))
    weight = generator.choice([0.5, 1.0, 2.0], len(u)) if weighted else None
    names = [f"é{n:03d} №" for n in i.tolist()]
    table = hs.Ratings.from_arrays(100 + 3 * u, names, r, weight=weight)
    if not empty:
        return table
    more = hs.Ratings.from_arrays([1, 99_999], ["a", "é007 №"], [1.0, 1.0])
    return table.with_ids(more.users, more.items)


def liked(users=60, items=40, seed=0):
    """Interactions without counts, with something to learn."""
    table = hs.simulate(users, items, rank=3, seed=seed).ratings
    return table.select(table.by_user.values >= np.median(table.by_user.values))


def dense(table):
    """(r, weight, stored) as dense arrays."""
    cells = table.by_user
    shape = table.shape
    R, V, stored = np.zeros(shape), np.ones(shape), np.zeros(shape, dtype=bool)
    u = table.user_index()
    R[u, cells.indices], stored[u, cells.indices] = cells.values, True
    if cells.weights is not None:
        V[u, cells.indices] = cells.weights
    return R, V, stored


def brute_force(model, table):
    """J, one cell of the table at a time."""
    R, V, stored = dense(table)
    f = model.factors_
    W, Z = f.user_factors.astype(float), f.item_factors.astype(float)
    b_u = np.zeros(len(W)) if f.user_bias is None else f.user_bias.astype(float)
    b_i = np.zeros(len(Z)) if f.item_bias is None else f.item_bias.astype(float)
    users, items = stored.any(axis=1), stored.any(axis=0)
    alpha, alpha0 = model.alpha, model.alpha0
    total = 0.0
    for u, i in itertools.product(np.flatnonzero(users), np.flatnonzero(items)):
        score = b_u[u] + b_i[i] + W[u] @ Z[i]
        c = 0.0
        if stored[u, i]:
            r = abs(R[u, i])
            c = {"linear": r, "log": np.log(1 + r / model.epsilon), "binary": 1.0}[model.confidence]
            c *= alpha * V[u, i]
        p = float(stored[u, i] and R[u, i] > 0)
        if model.loss == "ials":
            total += 0.5 * c * (p - score) ** 2 + 0.5 * alpha0 * score**2
        elif stored[u, i]:
            total += 0.5 * (alpha0 + c) * (p - score) ** 2
        else:
            total += 0.5 * alpha0 * score**2
    reg = model.reg if np.ndim(model.reg) else (model.reg,) * 3
    for rows, bias, level, n, others in (
        (W, b_u, reg[0], stored.sum(axis=1), items.sum()),
        (Z, b_i, reg[1], stored.sum(axis=0), users.sum()),
    ):
        s = {"none": n**0.0, "count": n, "frequency": (n + alpha0 * others) ** model.nu}[
            model.reg_scaling
        ]
        total += 0.5 * level * s @ (rows**2).sum(axis=1) + 0.5 * reg[2] * s @ bias**2
    return total


@pytest.mark.parametrize("backend", testing.BACKENDS)
@pytest.mark.parametrize("loss", ["ials", "wrmf"])
@pytest.mark.parametrize("scaling", ["frequency", "count", "none"])
@pytest.mark.parametrize("confidence", ["linear", "log", "binary"])
@pytest.mark.parametrize("biases", [False, True])
def test_J_is_the_sum_over_all_cells(backend, loss, scaling, confidence, biases):
    table = counts(weighted=True, empty=True)
    model = hs.ImplicitMF(
        rank=3,
        alpha=1.5,
        alpha0=0.3,
        reg=(0.05, 0.1, 0.2),
        reg_scaling=scaling,
        nu=0.6,
        loss=loss,
        confidence=confidence,
        epsilon=0.7,
        biases=biases,
        dtype="float64",
        max_iter=3,
        tol=0.0,
    ).fit(table, backend=backend)
    assert model.trace_[-1].objective == pytest.approx(brute_force(model, table), rel=1e-6)
    trace = [row.objective for row in model.trace_]
    assert trace == sorted(trace, reverse=True)
    for ids, rows in (
        (model.factors_.user_ids, model.factors_.user_factors),
        (model.factors_.item_ids, model.factors_.item_factors),
    ):
        where = ids.lookup([1, 99_999] if ids.kind == "int" else ["a"])
        assert not rows[where].any()


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("loss", ["ials", "wrmf"])
def test_the_end_is_a_minimum(loss, biases):
    """J by double loops does not fall in any direction, to second order."""
    table = counts(9, 7)
    model = hs.ImplicitMF(
        rank=2, alpha0=0.4, reg=0.05, loss=loss, biases=biases, dtype="float64", tol=0.0
    )
    model.set_params(max_iter=2000).fit(table)
    least = brute_force(model, table)
    f, generator = model.factors_, np.random.default_rng(0)
    arrays = [f.user_factors, f.item_factors, f.user_bias, f.item_bias]
    h = 1e-5
    for _ in range(10):
        saved = [None if a is None else a.copy() for a in arrays]
        steps = [None if a is None else generator.normal(size=a.shape) for a in arrays]
        found = []
        for sign in (1, -1):
            for array, start, step in zip(arrays, saved, steps, strict=True):
                if array is not None:
                    array[...] = start + sign * h * step
            found.append(brute_force(model, table))
        for array, start in zip(arrays, saved, strict=True):
            if array is not None:
                array[...] = start
        assert abs(found[0] - found[1]) / (2 * h) < 1e-4 * least
        assert sum(found) / 2 > least - 1e-9


def test_backends_and_dtypes_agree():
    table = counts(weighted=True)
    for params in ({}, {"loss": "wrmf", "biases": True}, {"confidence": "binary"}):
        made = [
            hs.ImplicitMF(rank=3, reg=0.1, max_iter=4, tol=0, dtype=dtype, **params).fit(
                table, backend=backend
            )
            for dtype in testing.DTYPES
            for backend in testing.BACKENDS
        ]
        truth = made[2].factors_.user_factors @ made[2].factors_.item_factors.T
        for model in made:
            f = model.factors_
            np.testing.assert_allclose(f.user_factors @ f.item_factors.T, truth, atol=2e-3)
        testing.assert_near(made[2].factors_, made[3].factors_, 1e-8)


def test_the_two_losses_of_equal_confidences_are_one():
    """With c the same everywhere the targets are t = 1 + α₀ / c: factors times √t, and λ over t."""
    table = liked()
    t = 1 + 0.2 / 2.0
    common = {"rank": 3, "alpha": 2.0, "alpha0": 0.2, "confidence": "binary", "dtype": "float64"}
    start = hs.ImplicitMF(**common, max_iter=1).fit(table)
    one = hs.ImplicitMF(**common, reg=0.05 / t, max_iter=400, tol=0).fit(table, init=start)
    two = hs.ImplicitMF(**common, reg=0.05, loss="wrmf", max_iter=400, tol=0).fit(table, init=start)
    scores = [m.factors_.user_factors @ m.factors_.item_factors.T for m in (one, two)]
    np.testing.assert_allclose(t * scores[0], scores[1], atol=1e-4)


def test_confidences_can_be_given_as_weights():
    table = counts()
    r = table.by_user.values
    some = table.select(r != 0)
    by_counts = hs.ImplicitMF(rank=3, alpha=2.0, max_iter=3).fit(some)
    weight = 2.0 * np.abs(some.by_user.values)
    by_weights = hs.ImplicitMF(rank=3, confidence="binary", max_iter=3).fit(
        some, sample_weight=weight
    )
    testing.assert_near(by_counts.factors_, by_weights.factors_, 1e-5)


# ------------------------------------------------------------------------------- validation


@pytest.mark.parametrize("metric", ["ndcg@5", "recall@10", "map@5", "hit_rate@3", "mrr@10"])
@pytest.mark.parametrize("biases", [False, True])
def test_what_is_followed_is_what_evaluate_says(metric, biases):
    train, test = hs.split_random(liked(), test=0.25, seed=1)
    model = hs.ImplicitMF(rank=4, reg=0.05, biases=biases, metric=metric, max_iter=5, tol=0)
    model.fit(train, validation=test)
    followed = [row.validation_score for row in model.trace_]
    assert model.best_iter_ == int(np.argmax(followed)) + 1
    name = metric.replace("ndcg", "ndcg_binary")  # here what was liked has no grades
    found = hs.evaluate(model, test, metrics=[name])
    value = found[name].value
    assert max(followed) == pytest.approx(value, rel=1e-6)
    assert model.score(test) == pytest.approx(value, rel=1e-6)


def test_a_fit_stops_where_the_lists_no_longer_get_better():
    train, test = hs.split_random(liked(120, 60), test=0.3, seed=0)
    model = hs.ImplicitMF(rank=16, reg=1e-4, alpha0=0.01, max_iter=60, tol=0, patience=2)
    model.fit(train, validation=test)
    assert model.stopped_ == "validation"
    assert model.n_iter_ == model.best_iter_ + 2
    again = hs.ImplicitMF(**{**model.get_params(), "max_iter": model.best_iter_}).fit(train)
    testing.assert_same_bits(again.factors_, model.factors_)
    assert model.trace_.to_dict()["validation_score"][model.best_iter_ - 1] == model.score(test)


def test_a_part_that_measures_nothing_is_refused():
    train = liked()
    strangers = hs.Ratings.from_arrays([10**6], [1])
    for part in (strangers, train):  # nobody is known; nothing is new
        with pytest.raises(DataError, match="no new interaction"):
            hs.ImplicitMF(rank=2).fit(train, validation=part)
    users = train.to_arrays()[0]
    negative = hs.Ratings.from_arrays(users[:1], [10**6], [-1.0])
    with pytest.raises(DataError, match="no new interaction"):
        hs.ImplicitMF(rank=2, max_iter=1).fit(train).score(negative)
    missed = hs.Ratings.from_arrays(users[:1], [10**6], [1.0])  # an item nobody knows is missed
    assert hs.ImplicitMF(rank=2, max_iter=1).fit(train).score(missed) == 0.0
    with pytest.raises(ParameterError, match=r"metric='rmse'"):
        hs.ImplicitMF(metric="rmse").fit(train)


def test_few_of_many_users_are_followed(monkeypatch):
    train, test = hs.split_random(liked(), test=0.25, seed=1)
    monkeypatch.setattr("halfstep.evaluation.rank_validation._USERS", 10)
    held = RankValidation.of(test, (train.users, train.items), train.by_user, "ndcg@5")
    assert len(held.rows) == 10
    assert set(np.unique(held.user)) == set(range(10))


# ---------------------------------------------------------------------------------- answers


@pytest.fixture(scope="module", params=["ials", "wrmf, biases", "binary"])
def fitted(request):
    params = {
        "ials": {"nu": 0.7},
        "wrmf, biases": {"loss": "wrmf", "biases": True, "reg_scaling": "count"},
        "binary": {"confidence": "binary", "reg_scaling": "none"},
    }[request.param]
    model = hs.ImplicitMF(rank=3, reg=0.1, alpha0=0.3, dtype="float64", max_iter=8, **params)
    return model.fit(counts(weighted=True, seed=4))


def test_folding_in_gives_the_stored_users(fitted):
    table = counts(weighted=True, seed=4)
    folded = fitted.fold_in(table)
    np.testing.assert_array_equal(folded.factors, fitted.factors_.user_factors)
    testing.assert_near(fitted.with_rows(folded).factors_, fitted.factors_, 0.0)


def test_folding_in_users_and_items_that_are_new(fitted):
    item = fitted.factors_.item_ids.id_at(2)
    folded = fitted.fold_in([(7, item), (7, item)])  # pairs alone are counts of 1, which are added
    twice = fitted.fold_in([(7, item)], [2.0])
    np.testing.assert_array_equal(folded.factors, twice.factors)
    assert folded.factors.any()
    with pytest.raises(UnknownIdError, match="item='nowhere'"):
        fitted.fold_in([(7, "nowhere"), (7, item)])
    known = fitted.fold_in([(7, "nowhere"), (7, item)], unknown="ignore")
    np.testing.assert_array_equal(known.factors, fitted.fold_in([(7, item)]).factors)
    nothing = fitted.fold_in([(7, "nowhere")], unknown="ignore")
    assert not nothing.factors.any()
    cold = fitted.with_rows(nothing)
    scores = cold.predict([7] * 3, fitted.factors_.item_ids.take(np.arange(3)))
    bias = fitted.factors_.item_bias
    np.testing.assert_array_equal(scores, np.zeros(3) if bias is None else bias[:3])
    user = fitted.factors_.user_ids.id_at(0)
    one = fitted.fold_in([(user, "fresh")], side="item")
    assert fitted.with_rows(one).factors_.item_ids.lookup(["fresh"])[0] >= 0


def test_an_explanation_sums_to_the_score(fitted):
    f = fitted.factors_
    items = f.item_ids.take(np.arange(5))
    for user in f.user_ids.take(np.arange(6)):
        for item in items:
            told = fitted.explain(user, item)
            assert told.exact
            assert told.score == pytest.approx(float(fitted.predict(user, item)), abs=1e-9)
            assert told.score == pytest.approx(told.baseline + told.contributions.sum())
            assert "rated" not in str(told)
            assert "×" in str(told)
            if f.item_bias is None:
                assert told.baseline == 0
                assert "bias" not in str(told)


def test_influence_is_what_folding_in_without_an_interaction_gives(fitted):
    f, history = fitted.factors_, fitted.history_
    for side, ids in (("user", f.user_ids), ("item", f.item_ids)):
        table = counts(weighted=True, seed=4)
        users, items, r = table.to_arrays()
        weight = table.by_user.weights
        for row in ids.take(np.arange(4)):
            told = fitted.influence(**{side: row})
            own = np.flatnonzero((users if side == "user" else items) == row)
            others = (items if side == "user" else users)[own]
            whole = fitted.fold_in(
                hs.Ratings.from_arrays(users[own], items[own], r[own], weight=weight[own]),
                side=side,
            )
            assert len(told.others) == len(own)
            assert "×" in str(told)
            assert "rated" not in str(told)
            for place, other in enumerate(told.others):
                left = own[others != other]
                if not len(left):
                    np.testing.assert_allclose(told.moves[place][:3], whole.factors[0])
                    continue
                without = fitted.fold_in(
                    hs.Ratings.from_arrays(users[left], items[left], r[left], weight=weight[left]),
                    side=side,
                )
                moved = whole.factors[0] - without.factors[0]
                if whole.bias is not None:
                    moved = np.append(moved, whole.bias[0] - without.bias[0])
                np.testing.assert_allclose(told.moves[place], moved, rtol=1e-5, atol=1e-7)
    assert history is fitted.history_


def test_rotations_change_no_score(fitted):
    f = fitted.factors_
    scores = f.user_factors @ f.item_factors.T
    for turned in (fitted.canonical(), fitted.canonical().align(fitted)):
        g = turned.factors_
        np.testing.assert_allclose(g.user_factors @ g.item_factors.T, scores, atol=1e-12)
        assert brute_force(turned, counts(weighted=True, seed=4)) == pytest.approx(
            fitted.trace_[-1].objective, rel=1e-6
        )
        again = turned.fold_in(counts(weighted=True, seed=4))
        np.testing.assert_allclose(again.factors, g.user_factors, atol=1e-9)
    s_u, s_i = fitted._scales("this test")
    whole = np.sqrt(s_u)[:, None] * scores * np.sqrt(s_i)
    expected = np.linalg.svd(whole, compute_uv=False)[:3]
    np.testing.assert_allclose(fitted.singular_values(), expected, rtol=1e-8)


@pytest.mark.parametrize("scaling", ["frequency", "count", "none"])
def test_canonical_axes_are_those_of_the_scaled_factors(scaling):
    """At a minimum λ_w Wᵀ S_w W = λ_z Zᵀ S_z Z: both are diagonal, with the s of the objective."""
    level = {"frequency": 0.1, "count": 0.05, "none": 1.0}[scaling]
    model = hs.ImplicitMF(
        rank=3, reg=(level, 2 * level, 0.0), reg_scaling=scaling, nu=0.5, dtype="float64", tol=0.0
    )
    table = liked()
    model.set_params(max_iter=3000).fit(table)
    turned = model.canonical()
    assert turned.departure_ < 1e-4
    n_u, n_i = np.diff(table.by_user.indptr), np.diff(table.by_item.indptr)
    m, n = np.count_nonzero(n_u), np.count_nonzero(n_i)
    s = {
        "frequency": ((n_u + 0.1 * n) ** 0.5, (n_i + 0.1 * m) ** 0.5),
        "count": (n_u, n_i),
        "none": (np.ones(len(n_u)), np.ones(len(n_i))),
    }[scaling]
    for rows, scale in zip(
        (turned.factors_.user_factors, turned.factors_.item_factors), s, strict=True
    ):
        G = rows.T @ (scale[:, None] * rows)
        off = np.abs(G - np.diag(np.diag(G))).max()
        assert off < 1e-3 * np.diag(G).max()


def test_lists_and_neighbours():
    train, test = hs.split_random(liked(), test=0.25, seed=1)
    model = hs.ImplicitMF(rank=4, reg=0.05, max_iter=5).fit(train)
    user = train.users.id_at(0)
    seen = set(train.items.take(train.rows_of(np.array([0])).indices).tolist())
    listed = model.recommend(user, n=1000).found.tolist()
    assert set(listed) == set(train.items.values.tolist()) - seen
    scores = model.predict([user] * len(listed), listed)
    assert (np.diff(scores) <= 1e-6).all()
    assert len(model.similar_items(train.items.id_at(0), 5).found) == 5
    assert model.score(test) > 0.2


# ---------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda m: m.certificate(), "certificate"),
        (lambda m: m.effective_parameters(), "no effective parameters"),
        (lambda m: m.calibrate(counts()), "preference.*no noise"),
        (lambda m: m.calibrate(counts(), folds=3), "preference.*no noise"),
        (lambda m: m.predict(100, "é001 №", std=True), "preference.*no noise"),
        (lambda m: m.recommend(100, strategy="ucb"), "preference.*no noise"),
        (lambda m: m.recommend(100, strategy="thompson"), "preference.*no noise"),
    ],
    ids=["certificate", "df", "calibrate", "folds", "std", "ucb", "thompson"],
)
def test_what_preferences_do_not_have(fitted, ask, match):
    with pytest.raises(ParameterError, match=match) as error:
        ask(fitted)
    assert "ImplicitMF" in str(error.value) or "ImplicitSquaredError" in str(error.value)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"alpha": 0}, "alpha"),
        ({"alpha0": -1}, "alpha0"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"nu": -0.5}, "nu"),
        ({"nu": np.nan}, "nu"),
        ({"loss": "bpr"}, "loss"),
        ({"confidence": "square"}, "confidence"),
        ({"reg_scaling": "sqrt"}, "reg_scaling"),
        ({"reg": -1}, "reg"),
        ({"rank": 0}, "rank"),
        ({"rank": "grow"}, "rank"),
        ({"solver": "sgd"}, "solver"),
        ({"metric": "ndcg"}, "metric"),
        ({"patience": 0}, "patience"),
        ({"biases": 1}, "biases"),
        ({"tol": 1.0}, "tol"),
        ({"dtype": "float16"}, "dtype"),
        ({"seed": -1}, "seed"),
    ],
    ids=str,
)
def test_parameters_are_checked(params, match):
    with pytest.raises(ParameterError, match=match):
        hs.ImplicitMF(**params).fit(liked())


@pytest.mark.parametrize("r", [0.0, -2.0], ids=["zeros", "negative"])
def test_a_table_without_a_preference_is_refused(r):
    with pytest.raises(DataError, match="no interaction with a count above 0"):
        hs.ImplicitMF(rank=2).fit([(1, 2), (2, 3)], [r, r])
    with pytest.raises(DataError):
        hs.ImplicitMF(rank=2).fit([])
    with pytest.raises(DataError):
        hs.ImplicitMF(rank=2).fit([(1, 2)], [np.nan])


def test_a_table_of_one_row():
    model = hs.ImplicitMF(rank=2, reg=0.01).fit([("zoë", "№ 1")])
    assert 0 < model.predict("zoë", "№ 1") < 1
    assert len(model.recommend("zoë", n=3).found) == 0


# -------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_there_and_back(tmp_path, dtype, weighted):
    table = counts(weighted=weighted, empty=True)
    train, test = hs.split_random(liked(), test=0.2, seed=0)
    solver = hs.ALS(linear=hs.CG(steps=3))
    for model in (
        hs.ImplicitMF(rank=3, dtype=dtype, loss="wrmf", confidence="log", biases=True).fit(table),
        hs.ImplicitMF(rank=2, dtype=dtype, reg=(0.1, 0.2, 0.3), solver=solver, max_iter=3).fit(
            train, validation=test
        ),
    ):
        path = model.save(tmp_path / "m.safetensors")
        for back in (hs.load(path), hs.load(path, mmap=True), pickle.loads(pickle.dumps(model))):
            assert type(back) is hs.ImplicitMF
            assert back.get_params() == model.get_params()
            testing.assert_same_bits(back.factors_, model.factors_)
            assert back.objective_ == model.objective_
            assert back.trace_ == model.trace_
            assert back.scale_ == model.scale_
            user, item = model.factors_.user_ids.id_at(0), model.factors_.item_ids.id_at(1)
            again, told = back.explain(user, item), model.explain(user, item)
            assert again.contributions.tobytes() == told.contributions.tobytes()
            assert str(again) == str(told)
            assert back.influence(user).moves.tobytes() == model.influence(user).moves.tobytes()
            new = [(10**7, item)]
            assert back.fold_in(new).factors.tobytes() == model.fold_in(new).factors.tobytes()
            assert list(back.recommend(n=3)) == list(model.recommend(n=3))
            testing.assert_same_bits(back.updated(new).factors_, model.updated(new).factors_)
            np.testing.assert_array_equal(back.singular_values(), model.singular_values())
            fresh = hs.ImplicitMF(**back.get_params()).fit(train)
            assert np.isfinite(fresh.factors_.user_factors).all()


def test_a_file_without_a_history(tmp_path):
    train, test = hs.split_random(liked(), test=0.2, seed=0)
    model = hs.ImplicitMF(rank=2, max_iter=2).fit(train)
    bare = hs.load(model.save(tmp_path / "m.safetensors", history=False))
    user = train.users.id_at(0)
    for ask in (
        lambda: bare.explain(user, 1),
        lambda: bare.influence(user),
        lambda: bare.recommend(user),
        lambda: bare.score(test),
        bare.canonical,
    ):
        with pytest.raises(HistoryRequiredError):
            ask()
    told = bare.explain(user, train.items.id_at(0), ratings=train)
    expected = model.explain(user, train.items.id_at(0))
    np.testing.assert_array_equal(told.contributions, expected.contributions)
    assert list(bare.recommend(user, ratings=train)) == list(model.recommend(user))
    assert bare.influence(user, ratings=train).change.tobytes() == (
        model.influence(user).change.tobytes()
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("level"),
        lambda d: d.update(level=0.0),
        lambda d: d.update(level="much"),
        lambda d: d.update(active=[-1, 3]),
        lambda d: d.update(active=[3]),
        lambda d: d.pop("active"),
        lambda d: d.update(reg=[0.1, -1.0, 0.1]),
        lambda d: d.update(reg="none"),
        lambda d: d["params"].update(alpha=-1.0),
        lambda d: d["params"].update(loss="bpr"),
        lambda d: d["params"].update(dtype="float64"),
        lambda d: d["params"].update(biases=True),
        lambda d: d["params"].update(nonsense=1),
        lambda d: d["params"].pop("solver"),
        lambda d: d.update(params=[]),
        lambda d: d.update({"class": "ExplicitMF"}),
        lambda d: d.pop("exact_users"),
    ],
)
def test_a_damaged_document_is_named(tmp_path, damage):
    model = hs.ImplicitMF(rank=2, max_iter=2).fit(liked())
    path = model.save(tmp_path / "m.safetensors")
    tensors, metadata = read_tensors(path, mmap=False)
    document = json.loads(metadata["halfstep"])
    damage(document)
    write_tensors(path, tensors, {"halfstep": json.dumps(document)})
    with pytest.raises(ModelFileError):
        hs.load(path)


@pytest.mark.parametrize("name", ["user_factors", "item_factors", "history.items", "user_ids"])
def test_a_missing_or_broken_array_is_named(tmp_path, name):
    model = hs.ImplicitMF(rank=2, max_iter=2).fit(liked())
    path = model.save(tmp_path / "m.safetensors")
    tensors, metadata = read_tensors(path, mmap=False)
    write_tensors(path, {k: v for k, v in tensors.items() if k != name}, metadata)
    with pytest.raises(ModelFileError):
        hs.load(path)
    write_tensors(path, {**tensors, name: tensors[name][:-1]}, metadata)
    with pytest.raises(ModelFileError):
        hs.load(path)


# ------------------------------------------------------------------------------ fits and fits


def test_warm_starts_of_other_ranks_and_other_users():
    table = liked()
    one = hs.ImplicitMF(rank=4, reg=0.05, max_iter=30, tol=1e-7, dtype="float64").fit(table)
    more = hs.ImplicitMF(rank=6, reg=0.05, max_iter=1, dtype="float64").fit(table, init=one)
    less = hs.ImplicitMF(rank=2, reg=0.05, max_iter=1, dtype="float64").fit(table, init=one)
    for model in (more, less):
        cold = hs.ImplicitMF(**model.get_params()).fit(table)
        assert model.trace_[0].objective < cold.trace_[0].objective
    same = hs.ImplicitMF(rank=4, reg=0.05, max_iter=1, dtype="float64").fit(table, init=one)
    assert same.trace_[0].objective <= one.trace_[-1].objective * (1 + 1e-9)
    assert same.trace_[0].objective == pytest.approx(one.trace_[-1].objective, rel=1e-3)
    other = hs.ImplicitMF(rank=4, max_iter=2).fit([(10**6, 1), (0, 2)], init=one)
    assert other.factors_.user_ids.values.tolist() == [0, 10**6]
    explicit = hs.ExplicitMF(rank=3, max_iter=2).fit(table)
    assert hs.ImplicitMF(rank=4, max_iter=2).fit(table, init=explicit).n_iter_ == 2
    with pytest.raises(ParameterError, match="init"):
        hs.ImplicitMF(rank=4).fit(table, init="model")


def test_new_parameters_wait_for_the_next_fit():
    table = liked()
    model = hs.ImplicitMF(rank=3, reg=0.05, max_iter=3).fit(table)
    before = model.fold_in(table).factors
    model.set_params(alpha=50.0, loss="wrmf", biases=True, rank=7, reg=5.0)
    np.testing.assert_array_equal(model.fold_in(table).factors, before)
    assert model.rank_ == 3
    assert model.settled().alpha == 1.0
    model.fit(table)
    assert model.rank_ == 7
    assert model.factors_.user_bias is not None


@pytest.mark.parametrize("when", [1, 3])
def test_ctrl_c_keeps_the_last_sweep(when):
    table = liked()

    def interrupt(row):
        if row.sweep == when:
            raise KeyboardInterrupt

    model = hs.ImplicitMF(rank=3, max_iter=10, tol=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(table, callbacks=[interrupt])
    assert model.stopped_ == "interrupted"
    assert model.n_iter_ == when
    expected = hs.ImplicitMF(rank=3, max_iter=when, tol=0).fit(table)
    testing.assert_same_bits(model.factors_, expected.factors_)
    assert len(model.recommend(n=1)) == len(table.users)


def test_ctrl_c_before_the_first_sweep_leaves_nothing():
    def interrupt(sweep, step):
        raise KeyboardInterrupt

    model = hs.ImplicitMF(rank=3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(liked(), progress=Listener(on_step=interrupt))
    with pytest.raises(NotFittedError):
        model.predict(1, 1)


def test_callbacks_and_budgets_stop_a_fit():
    table = liked()
    model = hs.ImplicitMF(rank=3, max_iter=9, tol=0).fit(table, callbacks=[lambda r: r.sweep == 2])
    assert (model.stopped_, model.n_iter_) == ("callback", 2)
    assert hs.ImplicitMF(rank=3, tol=0).fit(table, budget=1e-9).stopped_ == "budget"


@pytest.mark.parametrize(
    "params",
    [
        {"alpha": 1e39},
        {"alpha": 1e-50},
        {"confidence": "log", "epsilon": 1e-46},
        {"confidence": "log", "epsilon": 1e39},
    ],
    ids=str,
)
def test_confidences_that_float32_does_not_hold_are_refused(params):
    with pytest.raises(ParameterError, match="alpha"):
        hs.ImplicitMF(rank=2, **params).fit(liked())


def test_counts_whose_confidence_float32_does_not_hold_are_refused():
    with pytest.raises(ParameterError, match="alpha"):
        hs.ImplicitMF(rank=2, alpha=10.0).fit([(1, 2), (3, 4)], [1.0, 3e38])


@pytest.mark.parametrize("model", [hs.ImplicitMF, hs.RankingMF])
@pytest.mark.parametrize("metric", ["ndcg", "ncdg@10", "recall@0"])
def test_a_metric_that_is_not_one_is_named_as_the_argument_that_it_is(model, metric):
    with pytest.raises(ParameterError, match=f"metric='{metric}'"):
        model(rank=2, metric=metric).fit(liked())


def test_a_score_of_a_model_whose_users_have_no_interactions_is_refused():
    pairs = [("a", 1), ("a", 2), ("b", 1)], [1.0, 1.0, 1.0]
    bare = hs.ImplicitMF(rank=2).fit(*pairs)
    bare = bare.with_rows(bare.fold_in([("c", 9)], unknown="ignore")).without_users(["a", "b"])
    with pytest.raises(DataError, match="no new interaction"):
        bare.score([("c", 1)])
