"""Features in `ExplicitMF`: the formula, cold users and items, new rows, files. (The laws for implicit
features are in tests/laws.)"""

import numpy as np
import pytest

import halfstep as hs
from halfstep.backends import get_backend
from halfstep.errors import DataError, ModelFileError, ParameterError
from halfstep.evaluation.splits import check_split
from halfstep.features.design import Tables
from halfstep.files import read_tensors, write_tensors
from halfstep.models.explicit import check_reg


def planted(seed=0, users=400, items=150, share=0.2, noise=0.3):
    """Ratings of which most is said by features: w_u = A'x_u + a little, b_u = a'x_u, likewise items."""
    rng = np.random.default_rng(seed)
    K = 2
    ages = rng.normal(size=users)
    towns = rng.integers(0, 4, size=users)
    X = np.column_stack([ages, np.eye(4)[towns]])
    Y = rng.normal(size=(items, 5))
    A, B = rng.normal(0, 0.6, (5, K)), rng.normal(0, 0.5, (5, K))
    W = X @ A + rng.normal(0, 0.1, (users, K))
    Z = Y @ B + rng.normal(0, 0.1, (items, K))
    b_i = Y @ rng.normal(0, 0.4, 5)
    truth = 3.5 + b_i[None, :] + W @ Z.T
    u, i = np.nonzero(rng.random((users, items)) < share)
    ratings = hs.Ratings.from_arrays(
        u, [f"film é {k:03d}" for k in i], truth[u, i] + rng.normal(0, noise, len(u))
    )
    people = {"user": np.arange(users), "age": ages, "town": [f"town {t}" for t in towns]}
    films = (Y.astype(np.float32), [f"film é {k:03d}" for k in range(items)])
    return ratings, people, films, truth


@pytest.fixture(scope="module")
def world():
    return planted()


def model_of(**params):
    return hs.ExplicitMF(**{"rank": 2, "reg": 2.0, "reg_scaling": "none", "seed": 1, **params})


@pytest.fixture(scope="module")
def both(world):
    ratings, people, films, _ = world
    return model_of(implicit_features=True).fit(ratings, user_features=people, item_features=films)


def dense(features, ids):
    cells = features.aligned(ids)
    X = np.zeros((len(ids), features.shape[1]))
    row = np.repeat(np.arange(len(ids)), np.diff(cells.indptr))
    X[row, cells.indices] = cells.values
    return X


# ---------------------------------------------------------------------- the objective


@pytest.mark.parametrize("scaling", ["none", "sqrt", "count"])
@pytest.mark.parametrize("biases", [True, False])
def test_j_is_the_formula(world, scaling, biases):
    ratings, people, films, _ = world
    weights = np.random.default_rng(0).choice([0.5, 1.0, 2.0], size=len(ratings))
    reg, strength = check_reg((2.0, 1.0, 0.5) if scaling == "none" else (0.1, 0.09, 0.05)), 3.0
    model = model_of(
        reg=(reg.user, reg.item, reg.bias),
        reg_scaling=scaling,
        biases=biases,
        implicit_features=True,
        feature_reg=strength,
        dtype="float64",
        max_iter=3,
        tol=0.0,
    ).fit(ratings, sample_weight=weights, user_features=people, item_features=films)
    f = model.factors_
    R, C = np.zeros(ratings.shape), np.zeros(ratings.shape)
    cell = ratings.user_index(), ratings.by_user.indices
    R[cell], C[cell] = ratings.by_user.values, weights
    b_u = f.user_bias if biases else np.zeros(len(R))
    b_i = f.item_bias if biases else np.zeros(R.shape[1])
    fit = f.mean + b_u[:, None] + b_i[None, :] + f.user_factors @ f.item_factors.T
    expected = 0.5 * np.sum(C * (R - fit) ** 2)
    tables = Tables.of(people, films, implicit=True)
    for rows, bias, A, table, ids, rated, level, n in (
        (f.user_factors, b_u, f.user_map, tables.user, f.user_ids, C > 0, reg.user, C.sum(1)),
        (f.item_factors, b_i, f.item_map, tables.item, f.item_ids, (C > 0).T, reg.item, C.sum(0)),
    ):
        implicit = rated / np.sqrt(np.maximum(rated.sum(1, keepdims=True), 1))
        X = np.hstack([dense(table, ids), implicit])
        s = n ** {"none": 0.0, "sqrt": 0.5, "count": 1.0}[scaling]
        mean = X @ A
        expected += 0.5 * level * np.sum(s * np.sum((rows - mean[:, :2]) ** 2, axis=1))
        if biases:
            expected += 0.5 * reg.bias * np.sum(s * (bias - mean[:, 2]) ** 2)
        expected += 0.5 * strength * np.sqrt(1 + np.sum(X**2, axis=0)) @ np.sum(A**2, axis=1)
    assert model.trace_[-1].objective == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("linear", [hs.Cholesky(), hs.CG(steps=2), hs.Subspace(block=1)], ids=repr)
def test_j_never_rises(world, dtype, linear):
    ratings, people, films, _ = world
    model = model_of(
        solver=hs.ALS(linear=linear), dtype=dtype, implicit_features=True, max_iter=12, tol=0.0
    ).fit(ratings, user_features=people, item_features=films)
    J = np.array([row.objective for row in model.trace_])
    assert (np.diff(J) <= (1e-6 if dtype == "float32" else 1e-12) * J[:-1]).all()
    assert J[-1] < 0.9 * J[0]


def test_the_gradient_vanishes_in_the_end():
    ratings, people, films, _ = planted(users=60, items=40)
    model = model_of(dtype="float64", max_iter=400, tol=1e-15)
    model.fit(ratings, user_features=people, item_features=films)
    designs = Tables.of(people, films, implicit=False).designs(ratings)
    objective = model.objective_.with_features(ratings, designs, "auto")
    backend, slopes = get_backend("numpy", dtype="float64"), model.factors_.empty_like()
    value = objective.gradient(ratings.by_user, ratings.by_item, model.factors_, backend, slopes)
    assert value.objective == pytest.approx(model.trace_[-1].objective, rel=1e-10)
    for array in slopes._arrays():
        assert np.abs(array).max() < 1e-3
    # and it is the slope of J: a step along one coordinate of each array
    moved = model.factors_.copy()
    generator = np.random.default_rng(0)
    for array in moved._arrays():
        array += generator.normal(0, 0.1, array.shape)
    objective.gradient(ratings.by_user, ratings.by_item, moved, backend, slopes)
    for array, slope in zip(moved._arrays(), slopes._arrays(), strict=True):
        k, ε = np.argmax(np.abs(slope)), 1e-5
        values = []
        for step in (ε, -ε):
            array.flat[k] += step
            values.append(
                objective.value(ratings.by_user, ratings.by_item, moved, backend).objective
            )
            array.flat[k] -= step
        assert (values[0] - values[1]) / (2 * ε) == pytest.approx(slope.flat[k], rel=1e-5)


def test_a_weight_of_two_is_the_row_twice(world):
    ratings, people, _, _ = world
    users, items, r = ratings.to_arrays()
    weight = np.where(np.arange(len(r)) % 3 == 0, 2, 1)
    twice = hs.Ratings.from_arrays(
        np.repeat(users, weight), np.repeat(items, weight), np.repeat(r, weight), duplicates="merge"
    )
    params = {"implicit_features": True, "dtype": "float64", "max_iter": 5, "tol": 0.0}
    one = model_of(**params).fit(ratings, sample_weight=weight, user_features=people)
    two = model_of(**params).fit(twice, user_features=people)
    np.testing.assert_allclose(one.factors_.user_map, two.factors_.user_map, atol=1e-9)
    np.testing.assert_allclose(one.factors_.item_factors, two.factors_.item_factors, atol=1e-9)


def test_any_number_of_threads_gives_the_same_bits(world, run_code):
    code = """
import sys, numpy as np, halfstep as hs
hs.set_num_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
u, i = np.nonzero(rng.random((900, 500)) < 0.25)
ratings = hs.Ratings.from_arrays(u, i, rng.integers(1, 6, len(u)))
X = rng.normal(size=(900, 3)).astype(np.float32)
model = hs.ExplicitMF(rank=40, reg=5.0, reg_scaling="none", implicit_features=True, max_iter=2)
model.fit(ratings, user_features=(X, np.arange(900)))
f = model.factors_
print(hash(b"".join(a.tobytes() for a in f._arrays())), model.trace_[-1].objective)
"""
    told = {
        run_code(code, threads, OMP_NUM_THREADS=threads, PYTHONHASHSEED="0").stdout
        for threads in ("1", "2", "3", "8")
    }
    assert len(told) == 1
    assert told.pop().strip()


# ---------------------------------------------------------------------- what it is for


def test_a_planted_map_is_found_and_predicts_cold_items_and_users(world):
    ratings, people, films, truth = world
    for side, tables in (
        ("item", {"item_features": films}),
        ("user", {"user_features": people, "item_features": films}),
    ):
        train, test = hs.split_cold(ratings, side, test=0.2, seed=0)
        check_split(train, test, kind=f"cold-{side}")
        model = model_of(reg=1.0, max_iter=60).fit(train, **tables)
        blind = model_of(reg=1.0, max_iter=60).fit(train)
        assert model.rmse(test) < 0.6 * blind.rmse(test)
        # that of the other side, beside the mean: all that a model without features has
        means = hs.Biases()
        assert model.rmse(test) < 0.6 * means.fit(train).rmse(test)
        u, i = test.user_index(), test.by_user.indices
        users, items, _ = test.to_arrays()
        assert np.corrcoef(model.predict(users, items), truth[u, i])[0, 1] > 0.9
    f = model.factors_
    X = dense(Tables.of(people, None, implicit=False).user, f.user_ids)
    mean = X @ f.user_map.astype(float)
    fitted = mean[:, :2] @ f.item_factors.T.astype(float)
    rated = truth - truth.mean(axis=0)
    assert np.corrcoef((fitted - fitted.mean(axis=0)).ravel(), rated.ravel())[0, 1] > 0.9


def test_rows_without_ratings_are_what_their_features_say(world):
    ratings, people, films, _ = world
    part = ratings.select((ratings.user_index() != 4) & (ratings.by_user.indices != 7))
    for scaling, reg in (("none", 2.0), ("sqrt", 0.5), ("count", 0.1)):
        model = model_of(reg=reg, reg_scaling=scaling).fit(
            part, user_features=people, item_features=films
        )
        f = model.factors_
        X = dense(Tables.of(people, None, implicit=False).user, f.user_ids)
        expected = X[4] @ f.user_map.astype(float)
        np.testing.assert_allclose(f.user_factors[4], expected[:2], atol=1e-5)
        assert f.user_bias[4] == pytest.approx(expected[2], abs=1e-5)


def test_tables_may_hold_rows_that_nobody_rated(world):
    ratings, _, (Y, names), _ = world
    more = (np.vstack([Y, Y[:3] * 0.9]), [*names, "neu 1", "neu 2", "neu 3"])
    model = model_of().fit(ratings, item_features=more)
    assert len(model.factors_.item_ids) == ratings.shape[1] + 3
    users = ratings.users.take(np.arange(50))
    near = np.corrcoef(model.predict(users, ["neu 1"] * 50), model.predict(users, [names[0]] * 50))
    assert near[0, 1] > 0.9
    assert "neu 1" in model.recommend(int(users[0]), n=200).to_dict()["item"]


def test_implicit_features_are_of_the_training_part_alone(world):
    ratings, people, _, _ = world
    train, test = hs.split_random(ratings, test=0.3, seed=0)
    check_split(train, test, of=ratings)
    designs = Tables(implicit=True).designs(train)
    assert designs.user_rows.nnz == designs.item_rows.nnz == len(train)
    seen = np.diff(train.by_user.indptr)
    lengths = np.add.reduceat(
        designs.user_rows.values.astype(float) ** 2, train.by_user.indptr[:-1]
    )
    np.testing.assert_allclose(lengths[seen > 0], 1.0, rtol=1e-5)
    # what is held out, and its pattern, does not reach the factors
    one = model_of(implicit_features=True, max_iter=5, tol=0.0).fit(train, user_features=people)
    two = model_of(implicit_features=True, max_iter=5, tol=0.0, patience=50)
    two.fit(train, user_features=people, validation=test)
    if two.best_iter_ == 5:
        assert one.factors_.user_factors.tobytes() == two.factors_.user_factors.tobytes()
    assert [row.objective for row in one.trace_] == [row.objective for row in two.trace_]


def test_selection_passes_the_features_to_its_trials():
    ratings, _, films, _ = planted(users=80, items=50)
    model = hs.ExplicitMF(rank=2, reg="auto", reg_scaling="none", implicit_features=True)
    found = hs.select(ratings, model=model, item_features=films, folds=2)
    blind = hs.select(ratings, model=model.set_params(implicit_features=False), folds=2)
    assert found.chosen.rmse != blind.chosen.rmse
    either = model.set_params(implicit_features=True, reg_scaling="auto")
    scalings = {t.reg_scaling for t in hs.select(ratings, model=either, folds=2).trials}
    assert scalings == {"none", "sqrt"}
    fitted = model.set_params(implicit_features=True).fit(
        ratings, item_features=films, selection=found
    )
    assert fitted.factors_.item_map is not None
    assert fitted.objective_.reg == found.chosen.reg


# ---------------------------------------------------------------------- single rows


def test_fold_in_is_the_row(world, both):
    ratings, people, _, _ = world
    for features in (None, people):
        folded = both.fold_in(ratings, features=features)
        assert folded.factors.tobytes() == both.factors_.user_factors.tobytes()
        assert folded.bias.tobytes() == both.factors_.user_bias.tobytes()
    single = both.fold_in(ratings.select(ratings.user_index() == 5), features=people)
    assert single.factors[5].tobytes() == both.factors_.user_factors[5].tobytes()
    # another user with the ratings and features of user 5
    own = ratings.by_user.indices[ratings.user_index() == 5]
    r = ratings.by_user.values[ratings.user_index() == 5]
    given = {name: [column[5]] for name, column in people.items()} | {"user": [9999]}
    alone = hs.Ratings.from_arrays([9999] * len(own), ratings.items.take(own), r)
    new = both.fold_in(alone, features=given)
    np.testing.assert_allclose(new.factors[0], both.factors_.user_factors[5], atol=1e-5)
    # features matter, and those of an average user are taken where nothing is known
    bare = both.fold_in(alone)
    assert np.abs(bare.factors[0] - new.factors[0]).max() > 1e-3
    joined = both.with_rows(new)
    again = joined.fold_in(alone)
    assert again.factors.tobytes() == new.factors.tobytes()


def test_explanations_sum_to_the_score(world, both):
    ratings = world[0]
    for user in (0, 17):
        item = ratings.items.id_at(3)
        told = both.explain(user, item)
        assert told.exact
        assert told.score == pytest.approx(both.predict(user, item), abs=1e-4)
        assert told.baseline + told.contributions.sum() == pytest.approx(told.score)


@pytest.mark.parametrize(("scaling", "reg"), [("none", 2.0), ("sqrt", 0.5), ("count", 0.1)])
@pytest.mark.parametrize("implicit", [True, False])
def test_influence_is_fold_in_without_the_rating(world, implicit, scaling, reg):
    ratings, people, films, _ = world
    model = model_of(dtype="float64", reg=reg, reg_scaling=scaling, implicit_features=implicit).fit(
        ratings, user_features=people, item_features=films
    )
    user = 8
    told = model.influence(user)
    rows = ratings.user_index() == user
    everything = model.fold_in(ratings.select(rows)).factors[user]
    for k in (0, 1, len(told.others) - 1):
        left = rows & (ratings.by_user.indices != ratings.items.lookup([told.others[k]])[0])
        less = model.fold_in(ratings.select(left)).factors[user]
        np.testing.assert_allclose(told.moves[k, :2], everything - less, atol=1e-6)


def test_influence_of_an_only_rating(world):
    ratings, people, _, _ = world
    of_user = ratings.user_index() == 3
    rows = ~of_user | (np.arange(len(ratings)) == np.argmax(of_user))
    part = ratings.select(rows)
    model = model_of(dtype="float64", implicit_features=True).fit(part, user_features=people)
    told = model.influence(3)
    cold = model.with_features({name: [c[3]] for name, c in people.items()} | {"user": [-7]})
    expected = (
        model.factors_.user_factors[3]
        - cold.factors_.user_factors[cold.factors_.user_ids.lookup([-7])[0]]
    )
    np.testing.assert_allclose(told.moves[0, :2], expected, atol=1e-9)


def test_how_sure_and_what_to_try(world, both):
    ratings = world[0]
    item = ratings.items.id_at(2)
    _, std = both.predict([1, 2], [item, item], std=True)
    assert (std > 0).all()
    drawn = [both.recommend([1], n=3, strategy="thompson", seed=s) for s in range(4)]
    assert len(drawn[0].to_dict()["item"]) == 3
    best = both.recommend([1], n=3, strategy="ucb", kappa=0.0)
    np.testing.assert_array_equal(
        best.to_dict()["item"], both.recommend([1], n=3).to_dict()["item"]
    )
    # a draw is centred at the row of its user
    from halfstep.models.strategies import sampled_users

    draws = np.mean([sampled_users(both, np.array([1]), s, "native")[0][0] for s in range(300)], 0)
    np.testing.assert_allclose(draws, both.factors_.user_factors[1], atol=0.08)


def test_rotations_leave_predictions_and_fold_in_alone(world, both):
    ratings, people, _, _ = world
    turned = both.canonical()
    users, items, _ = ratings.to_arrays()
    np.testing.assert_allclose(turned.predict(users, items), both.predict(users, items), atol=1e-4)
    folded = turned.fold_in(ratings, features=people)
    np.testing.assert_allclose(folded.factors, turned.factors_.user_factors, atol=1e-4)
    small = both.factors_.narrowed(1)
    assert small.user_map.shape == (both.factors_.user_map.shape[0], 2)
    np.testing.assert_array_equal(small.user_map[:, 1], both.factors_.user_map[:, 2])


def test_a_warm_start_keeps_the_map(world, both):
    ratings, people, films, _ = world
    again = model_of(implicit_features=True, max_iter=1)
    again.fit(ratings, user_features=people, item_features=films, init=both)
    assert again.trace_[0].objective <= both.trace_[-1].objective * (1 + 1e-6)
    wider = model_of(rank=3, implicit_features=True, max_iter=1)
    wider.fit(ratings, user_features=people, item_features=films, init=both)
    assert wider.factors_.user_map.shape[1] == 4


# ---------------------------------------------------------------------- new rows


def test_new_users_and_items_are_asked_by_their_features(world, both):
    _, people, (Y, names), _ = world
    newcomers = {
        "user": [7000, 7001],
        "age": [people["age"][0], -2.0],
        "town": ["town 1", "elsewhere"],
    }
    films = (Y[:2], ["ganz neu", "ähnlich"])
    model = both.with_features(newcomers, films)
    assert len(model.factors_.user_ids) == len(both.factors_.user_ids) + 2
    asked = [7000, 7001], ["ganz neu", names[5]]
    np.testing.assert_array_equal(
        both.predict(*asked, user_features=newcomers, item_features=films), model.predict(*asked)
    )
    told = both.recommend([7000], n=5, user_features=newcomers).to_dict()
    again = both.with_features(newcomers).recommend([7000], n=5).to_dict()
    np.testing.assert_array_equal(told["item"], again["item"])
    row = model.factors_.user_ids.lookup([7001])[0]
    x = dense(both.features_.user.encoding.encode(newcomers), hs.Features.from_table(newcomers).ids)
    typical = both.features_.user.typical.astype(float)
    typical[: x.shape[1]] = x[1]
    expected = typical @ both.factors_.user_map.astype(float)
    np.testing.assert_allclose(model.factors_.user_factors[row], expected[:2], atol=1e-5)
    assert model._exact_users == both._exact_users
    assert model.explain(7000, names[0]).score == pytest.approx(
        model.predict(7000, names[0]), abs=1e-4
    )
    # users with ratings stay what they are
    kept = both.with_features({"user": [5], "age": [99.0], "town": ["town 0"]})
    np.testing.assert_array_equal(kept.factors_.user_factors, both.factors_.user_factors)


def test_effects_of_features(both):
    told = both.feature_effects("user")
    assert told.names[:2] == ["age", "town=town 0"]
    assert told.groups[0] == "age"
    assert told.groups[-1] == "implicit"
    assert len(told) == len(both.factors_.user_map)
    np.testing.assert_array_equal(told.bias, both.factors_.user_map[:, 2])
    assert told.factors[0] == pytest.approx(np.linalg.norm(both.factors_.user_map[0, :2]), rel=1e-5)
    assert len(told.to_dict()["feature"]) == len(told)
    assert "more" in str(told)
    with pytest.raises(ParameterError, match="side='film'"):
        both.feature_effects("film")


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("history", [True, False])
def test_a_file_holds_the_features(tmp_path, world, both, history):
    ratings, people, _, _ = world
    loaded = hs.load(both.save(tmp_path / "m.safetensors", history=history))
    for one, two in zip(both.factors_._arrays(), loaded.factors_._arrays(), strict=True):
        assert one.tobytes() == two.tobytes()
    assert loaded.features_ == both.features_
    assert loaded.get_params() == both.get_params()
    newcomers = {"user": [7000], "age": [1.0], "town": ["town 1"]}
    assert loaded.predict(7000, "film é 001", user_features=newcomers) == both.predict(
        7000, "film é 001", user_features=newcomers
    )
    folded = loaded.fold_in(ratings, features=people)
    assert folded.factors.tobytes() == both.factors_.user_factors.tobytes()
    if history:
        assert loaded.fold_in(ratings).factors.tobytes() == folded.factors.tobytes()
        assert loaded.explain(3, "film é 001").score == both.explain(3, "film é 001").score
    else:
        assert not any("table" in name for name in read_tensors(tmp_path / "m.safetensors")[0])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("user_map", lambda a: a[:-1]),
        ("user_map", lambda a: a * np.nan),
        ("user_typical", lambda a: a.astype(np.float64)),
        ("user_table.columns", lambda a: a + np.uint32(100)),
        ("user_table.indptr", lambda a: a[::-1].copy()),
        ("user_table.values", lambda a: a[:-1]),
        ("item_implicit", None),
    ],
)
def test_damaged_files_are_refused(tmp_path, both, name, change):
    arrays, metadata = read_tensors(both.save(tmp_path / "m.safetensors"))
    arrays = dict(arrays)
    whole = arrays.pop(name)
    if change is not None:
        arrays[name] = change(whole)
    write_tensors(tmp_path / "m.safetensors", arrays, metadata)
    with pytest.raises(ModelFileError):
        hs.load(tmp_path / "m.safetensors")


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"solver": "sgd"}, "solver='sgd': cannot be had with features"),
        ({"nonnegative": True}, "nonnegative=True: cannot be had with features"),
        ({"rank": "grow"}, "rank='grow': cannot be had with features"),
        ({"reg": 0.0}, "feature_reg='auto': needs reg > 0"),
        ({"feature_reg": 0.0}, "feature_reg=0.0: must be"),
        ({"feature_reg": "much"}, "feature_reg='much': must be"),
        ({"implicit_features": 1}, "implicit_features=1"),
    ],
)
def test_what_cannot_be_fitted_says_so(world, params, match):
    ratings, people, _, _ = world
    with pytest.raises(ParameterError, match=match):
        model_of(**params).fit(ratings, user_features=people)


def test_what_cannot_be_asked_says_so(world, both):
    ratings, people, films, _ = world
    plain = model_of(max_iter=2).fit(ratings)
    with pytest.raises(ParameterError, match=r"features.*fitted without a table of user features"):
        plain.fold_in(ratings, features=people)
    with pytest.raises(ParameterError, match=r"item_features.*fitted without"):
        plain.with_features(item_features=films)
    with pytest.raises(ParameterError, match="has no features in this model"):
        plain.feature_effects()
    with pytest.raises(ParameterError, match="are missing"):
        both.with_features()
    with pytest.raises(DataError, match="town"):
        both.with_features({"user": [7000], "age": [3.0]})
    for ask in (both.certificate, both.effective_parameters):
        with pytest.raises(ParameterError, match="was fitted with features"):
            ask()
    with pytest.raises(DataError, match="user_features='str'"):
        model_of().fit(ratings, user_features="people")


def test_intervals_are_calibrated_by_fits_with_the_features(world):
    ratings, people, films, _ = world
    model = model_of(max_iter=5).fit(ratings, user_features=people, item_features=films)
    model.calibrate(ratings, folds=2)
    blind = model_of(max_iter=5).fit(ratings).calibrate(ratings, folds=2)
    _, low, high = model.predict(1, "film é 002", interval=0.9)
    _, blind_low, blind_high = blind.predict(1, "film é 002", interval=0.9)
    assert high - low < blind_high - blind_low
