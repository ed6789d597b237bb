"""More interactions for a fitted model, and users forgotten: against folding in the merged table."""

import pickle

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.errors import (
    DataError,
    HistoryRequiredError,
    ParameterError,
    SingularSystemError,
    UnknownIdError,
)

MODELS = {
    "explicit": lambda **p: hs.ExplicitMF(rank=3, reg=0.1, max_iter=6, **p),
    "explicit, plain": lambda **p: hs.ExplicitMF(
        rank=3, reg=(1.0, 2.0, 0.5), reg_scaling="none", max_iter=6, **p
    ),
    "no biases": lambda **p: hs.ExplicitMF(
        rank=3, reg=0.2, biases=False, center=False, max_iter=6, **p
    ),
    "non-negative": lambda **p: hs.ExplicitMF(rank=3, reg=0.1, nonnegative=True, max_iter=6, **p),
    "implicit features": lambda **p: hs.ExplicitMF(
        rank=3, reg=0.1, implicit_features=True, max_iter=6, **p
    ),
    "ials": lambda **p: hs.ImplicitMF(rank=3, reg=0.02, alpha0=0.2, max_iter=6, **p),
    "wrmf, biases": lambda **p: hs.ImplicitMF(
        rank=3, reg=0.05, loss="wrmf", biases=True, reg_scaling="count", max_iter=6, **p
    ),
    "binary": lambda **p: hs.ImplicitMF(
        rank=3, reg=0.05, confidence="binary", reg_scaling="none", max_iter=6, **p
    ),
}
every = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
weights = pytest.mark.parametrize("weighted", [False, True])


def old_table(weighted=False):
    return testing.random_ratings(23, 17, 0.4, seed=3, weighted=weighted)


def new_columns():
    """Known and new users and items; pairs that are in the table already, and one of 0."""
    table = old_table()
    users, items, _ = table.to_arrays()
    known = [(int(u), i) for u, i in zip(users[:4], items[:4], strict=True)]
    fresh = [
        (101, "é0003"),  # between the known ids
        (101, "a new item"),
        (103, "a new item"),
        (9_000, "é0000"),
        (9_000, "zoë № 2"),
        (9_000, "é0016"),
    ]
    pairs = dict.fromkeys(known + fresh)  # each once
    u, i = zip(*pairs, strict=True)
    return list(u), list(i), np.linspace(0.0, 4.0, len(u))


def new_table(weighted=False):
    u, i, r = new_columns()
    weight = np.linspace(0.5, 2.0, len(u)) if weighted else None
    return hs.Ratings.from_arrays(u, i, r, weight=weight)


def together(old, new, add):
    """One table of both, made from its rows."""
    one, two = old.to_arrays(), new.to_arrays()
    columns = [np.concatenate(both) for both in zip(one, two, strict=True)]
    weight = None
    if old.by_user.weights is not None:
        weight = np.concatenate([old.by_user.weights, new.by_user.weights])
    return hs.Ratings.from_arrays(*columns, weight=weight, duplicates="sum" if add else "last")


def part(table, *, users=None, items=None):
    u, i, _ = table.to_arrays()
    keep = np.ones(len(u), dtype=bool)
    if users is not None:
        keep &= np.isin(u, users)
    if items is not None:
        keep &= np.isin(i.astype(str), np.asarray(items).astype(str))
    chosen = table.select(keep)
    users, items, r = chosen.to_arrays()
    return hs.Ratings.from_arrays(users, items, r, weight=chosen.by_user.weights)


@every
@weights
@pytest.mark.parametrize("backend", testing.BACKENDS)
def test_users_are_what_folding_in_their_merged_rows_gives(make, weighted, backend):
    old = old_table(weighted)
    model = make(dtype="float64").fit(old, backend=backend)
    u, i, r = new_columns()
    known = [k for k, item in enumerate(i) if item.startswith("é")]
    new = hs.Ratings.from_arrays(
        [u[k] for k in known],
        [i[k] for k in known],
        r[known],
        weight=np.linspace(0.5, 2.0, len(known)) if weighted else None,
    )
    before = model.factors_.copy()
    found = model.updated(new, items=False, backend=backend)
    testing.assert_same_bits(model.factors_, before)
    users = new.users.take(np.arange(len(new.users)))
    whole = together(old, new, add=isinstance(model, hs.ImplicitMF))
    folded = model.fold_in(part(whole, users=users), backend=backend)
    rows = found.factors_.user_ids.lookup(users)
    np.testing.assert_array_equal(found.factors_.user_factors[rows], folded.factors)
    if folded.bias is not None:
        np.testing.assert_array_equal(found.factors_.user_bias[rows], folded.bias)
    other = np.setdiff1d(old.users.values, users)
    np.testing.assert_array_equal(
        found.factors_.user_factors[found.factors_.user_ids.lookup(other)],
        before.user_factors[before.user_ids.lookup(other)],
    )
    np.testing.assert_array_equal(found.factors_.item_factors, before.item_factors)
    assert found._exact_users
    same_history(found, whole)


def same_history(model, table):
    """The model's history is that of the table, whose ids are the model's."""
    assert model.factors_.user_ids == table.users
    assert model.factors_.item_ids == table.items
    for name in ("indptr", "indices", "values", "weights"):
        one, two = getattr(model.history_, name), getattr(table.by_user, name)
        assert (one is None) == (two is None)
        if one is not None:
            assert one.dtype == two.dtype
            np.testing.assert_allclose(one, two, rtol=1e-6)
    assert model.data_summary_["ratings"] == len(table)
    assert (model.data_summary_["users"], model.data_summary_["items"]) == table.shape


@every
@weights
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_items_are_what_folding_in_their_merged_columns_gives(make, weighted, dtype):
    """Users by what is known of the items, items by all, users again: with the model's own answers."""
    old, new = old_table(weighted), new_table(weighted)
    model = make(dtype=dtype).fit(old)
    whole = together(old, new, add=isinstance(model, hs.ImplicitMF))
    users, items = (ids.take(np.arange(len(ids))) for ids in (new.users, new.items))
    own = part(whole, users=users)
    step = model.with_rows(model.fold_in(own, unknown="ignore"))
    step = step.with_rows(step.fold_in(part(whole, items=items), side="item"))
    expected = step.with_rows(step.fold_in(own))
    found = model.updated(new)
    testing.assert_near(found.factors_, expected.factors_, testing.TOLERANCE[dtype])
    same_history(found, whole)
    again = found.fold_in(own)
    rows = found.factors_.user_ids.lookup(users)
    np.testing.assert_array_equal(found.factors_.user_factors[rows], again.factors)
    assert not found._exact_users
    untouched = sorted(set(old.items.values.tolist()) - set(items))
    np.testing.assert_array_equal(
        found.factors_.item_factors[found.factors_.item_ids.lookup(untouched)],
        model.factors_.item_factors[model.factors_.item_ids.lookup(untouched)],
    )


@pytest.mark.parametrize("loss", ["ials", "wrmf"])
def test_the_systems_of_touched_rows_are_solved(loss):
    """Against dense algebra: (α₀ ZᵀZ + Σ c z zᵀ + λ s I) w = Σ c t z, with n of the fit."""
    old, new = old_table(), new_table()
    alpha, alpha0, reg = 1.5, 0.3, 0.04
    model = hs.ImplicitMF(
        rank=3, alpha=alpha, alpha0=alpha0, reg=reg, loss=loss, dtype="float64", max_iter=4
    ).fit(old)
    found = model.updated(new)
    counts = found.history_.to_scipy(len(found.factors_.item_ids)).toarray()
    stored = np.zeros_like(counts, dtype=bool)
    stored[
        np.repeat(np.arange(len(counts)), np.diff(found.history_.indptr)), found.history_.indices
    ] = True
    W, Z = found.factors_.user_factors, found.factors_.item_factors
    for user in new.users.take(np.arange(len(new.users))):
        u = int(found.factors_.user_ids.lookup([user])[0])
        s = stored[u].sum() + alpha0 * 17  # the items of the fit
        c = alpha * counts[u]
        b = c + alpha0 * (c > 0) if loss == "wrmf" else c
        A = alpha0 * Z.T @ Z + (Z.T * c) @ Z + reg * s * np.eye(3)
        np.testing.assert_allclose(A @ W[u], Z.T @ b, rtol=1e-5, atol=1e-7)


def test_forms_of_what_is_new():
    """Pairs, counts or none, frames: as fit takes them; ids of text and integers are the same."""
    pd = pytest.importorskip("pandas")
    old = old_table()
    model = MODELS["ials"]().fit(old)
    pairs = [(100, "é0001"), (77_777, "é0002"), (100, "é0001")]
    found = model.updated(pairs)
    twice = model.updated(pairs[:2], [2.0, 1.0])
    testing.assert_same_bits(found.factors_, twice.factors_)
    frame = pd.DataFrame({"user": [100, 77_777], "item": ["é0001", "é0002"], "rating": [2.0, 1.0]})
    testing.assert_same_bits(found.factors_, model.updated(frame).factors_)
    text = [("100", "é0001"), ("77777", "é0002")]
    testing.assert_same_bits(found.factors_, model.updated(text, [2.0, 1.0]).factors_)
    explicit = MODELS["explicit"]().fit(old)
    testing.assert_same_bits(
        explicit.updated(frame).factors_, explicit.updated(pairs[:2], [2.0, 1.0]).factors_
    )
    assert explicit.updated(pairs[:2], [9.0, 1.0]).scale_ == (0.0, 9.0)
    assert found.scale_ == model.scale_


def test_one_update_of_many_and_the_answers_after_it(tmp_path):
    old, new = old_table(), new_table()
    model = MODELS["ials"]().fit(old)
    found = model.updated(new)
    assert found.get_params() == model.get_params()
    listed = set(found.recommend(9_000, n=30).found.tolist())
    assert listed == set(found.factors_.item_ids.values.tolist()) - {"é0000", "zoë № 2", "é0016"}
    told = found.explain(9_000, "é0005")
    assert told.score == pytest.approx(float(found.predict(9_000, "é0005")), rel=1e-4)
    assert {name for name, _, _ in told} == {"é0000", "zoë № 2", "é0016"}
    back = hs.load(found.save(tmp_path / "m.safetensors"))
    testing.assert_same_bits(back.factors_, found.factors_)
    mapped = hs.load(tmp_path / "m.safetensors", mmap=True)
    again = [one.updated(new) for one in (found, back, mapped, pickle.loads(pickle.dumps(found)))]
    for other in again[1:]:
        testing.assert_same_bits(again[0].factors_, other.factors_)


@pytest.mark.parametrize("name", ["ials", "wrmf, biases"])
@pytest.mark.parametrize("side", ["user", "item"])
def test_folding_in_after_a_change_goes_by_the_rows_as_they_are_now(tmp_path, name, side):
    table, new = old_table(), new_table()
    model = MODELS[name]().fit(table)
    for side_of in ("user", "item"):  # whatever is remembered is
        model.fold_in(table, side=side_of)
    changed = [model.updated(new), model.without_users(100)]
    for found in changed:
        again = hs.load(found.save(tmp_path / "m.safetensors"))
        for at_first in (found, found.canonical()):
            again.factors_ = at_first.factors_
            ours = at_first.fold_in(table, side=side, unknown="ignore")
            theirs = again.fold_in(table, side=side, unknown="ignore")
            assert np.array_equal(ours.factors, theirs.factors)


def test_an_update_of_a_calibrated_model():
    train, test = hs.split_random(hs.simulate(150, 60, rank=3, seed=2).ratings, test=0.2, seed=0)
    model = hs.ExplicitMF(rank=3, reg=0.2, max_iter=5).fit(train).calibrate(test)
    user, item = train.users.id_at(0), train.items.id_at(3)
    one = [(user, item)]
    kept = model.updated(one, [4.0], items=False)
    assert kept.calibration_ is model.calibration_
    assert kept.predict(user, item, std=True)[1] > 0
    assert model.updated(one, [4.0]).calibration_ is None
    assert model.without_users(user).calibration_ is None
    assert model.calibration_ is not None


def test_what_cannot_be_updated_says_why(tmp_path):
    old = old_table()
    model = MODELS["ials"]().fit(old)
    with pytest.raises(UnknownIdError, match=r"'zoë'.*not known to the model.*items=True"):
        model.updated([(100, "zoë")], items=False)
    with pytest.raises(DataError):
        model.updated([])
    with pytest.raises(ParameterError, match="items"):
        model.updated([(100, "é0001")], items="yes")
    most = [(1, 2), (2, 2), (2, 3)], [3e38, 1.0, 1.0]
    with pytest.raises(DataError, match="float32"):
        hs.ImplicitMF(rank=2, confidence="binary").fit(*most).updated(*most)
    bare = hs.load(model.save(tmp_path / "m.safetensors", history=False))
    with pytest.raises(HistoryRequiredError, match="updated needs them"):
        bare.updated([(100, "é0001")])
    with pytest.raises(DataError, match="text"):
        hs.ImplicitMF(rank=2).fit([(1, 2), (2, 3)]).updated([("ann", 2)])
    with pytest.raises(SingularSystemError, match="'a new item'"):
        hs.ExplicitMF(rank=3, reg=(0.1, 0.0, 0.0), max_iter=2).fit(old).updated(
            [(100, "a new item")], [3.0]
        )
    bayesian = hs.BayesianMF(rank=2, samples=4, burn_in=1).fit(old)
    for ask in (
        lambda: bayesian.updated([(100, "é0001")], [3.0]),
        lambda: bayesian.without_users(100),
    ):
        with pytest.raises(ParameterError, match=r"BayesianMF.*draws"):
            ask()


# --------------------------------------------------------------------------- users forgotten


@every
@pytest.mark.parametrize("items", [False, True])
def test_a_forgotten_user_leaves_nothing(make, items, tmp_path):
    table = testing.random_ratings(23, 17, 0.4, seed=5, weighted=True)
    users, names, r = table.to_arrays()
    text = np.array([f"user № {u}" for u in users], dtype=object)
    table = hs.Ratings.from_arrays(text, names, r, weight=table.by_user.weights)
    model = make(dtype="float64").fit(table)
    gone = ["user № 103", "user № 124", "user № 103"]
    before = model.factors_.copy()
    found = model.without_users(gone, items=items)
    testing.assert_same_bits(model.factors_, before)

    left = table.select(~np.isin(text, gone))
    kept = found.factors_.user_ids.take(np.arange(len(found.factors_.user_ids)))
    assert set(kept) == set(text) - set(gone)
    rows = model.factors_.user_ids.lookup(kept)
    np.testing.assert_array_equal(found.factors_.user_factors, before.user_factors[rows])
    users, names, values = left.to_arrays()
    assert found.history_.values.tolist() == values.tolist()
    assert found.factors_.item_ids.take(found.history_.indices).tolist() == names.tolist()

    path = found.save(tmp_path / "m.safetensors")
    data = path.read_bytes()
    for user in set(gone):
        row = int(model.factors_.user_ids.lookup([user])[0])
        assert user.encode() not in data
        if before.user_factors[row].any():  # a non-negative one may be 0
            assert before.user_factors[row].tobytes() not in data
        cells = slice(*model.history_.indptr[row : row + 2])
        assert len(model.history_.values[cells]) > 3
        assert model.history_.indices[cells].tobytes() not in data
    assert "user № 100".encode() in data
    back = hs.load(path)
    testing.assert_same_bits(back.factors_, found.factors_)

    touched = np.unique(table.to_arrays()[1][np.isin(text, gone)].astype(str))
    changed = (found.factors_.item_factors != before.item_factors).any(axis=1)
    where = model.factors_.item_ids.lookup(touched.tolist())
    assert set(np.flatnonzero(changed)) == (set(where) if items else set())
    if items:
        bare = model.without_users(gone, items=False)
        expected = bare.with_rows(bare.fold_in(part(left, items=touched), side="item"))
        testing.assert_near(found.factors_, expected.factors_, 1e-12)
    with pytest.raises(UnknownIdError, match="not known to the model"):
        found.without_users(gone[0])


def test_an_item_that_nobody_else_had_is_0():
    pairs = [(1, 10), (1, 20), (2, 20), (2, 30), (3, 30), (3, 20)]
    model = hs.ImplicitMF(rank=2, reg=0.01).fit(pairs)
    found = model.without_users(1)
    assert not found.factors_.item_factors[0].any()
    assert found.factors_.item_ids == model.factors_.item_ids
    assert found.without_users([2]).history_.nnz == 2
    with pytest.raises(DataError, match="all users"):
        found.without_users([2, 3])
    with pytest.raises(UnknownIdError, match=r"user=7.*\(2 such ids\)"):
        model.without_users([1, 7, 8])
    assert model.without_users([]).history_.nnz == 6


def test_forgetting_without_a_history(tmp_path):
    model = MODELS["explicit"]().fit(old_table())
    bare = hs.load(model.save(tmp_path / "m.safetensors", history=False))
    with pytest.raises(HistoryRequiredError, match="without_users needs them"):
        bare.without_users(100)
    found = bare.without_users(100, items=False)
    assert len(found.factors_.user_ids) == 22
    assert found.history_ is None


def test_a_table_of_features_is_forgotten_too(tmp_path):
    table = old_table()
    users = table.users.take(np.arange(len(table.users)))
    features = {"user": users, "town": [f"town {u % 3}" for u in users], "age": users / 7.0}
    model = hs.ExplicitMF(rank=2, reg=0.2, max_iter=4).fit(table, user_features=features)
    found = model.without_users([100, 103])
    assert set(found._tables[0].ids.take(np.arange(21))) == set(users) - {100, 103}
    back = hs.load(found.save(tmp_path / "m.safetensors"))
    new = [(106, "é0001"), (12_345, "é0002")]
    testing.assert_same_bits(
        back.updated(new, [3.0, 4.0]).factors_, found.updated(new, [3.0, 4.0]).factors_
    )
    only = [(12_345, "é0002")]
    expected = found.fold_in(only, [4.0])
    one = found.updated(only, [4.0], items=False)
    row = one.factors_.user_ids.lookup([12_345])
    np.testing.assert_array_equal(one.factors_.user_factors[row], expected.factors)
