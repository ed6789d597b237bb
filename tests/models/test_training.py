"""The training loop: stopping, validation, warm starts, callbacks, and parameters that are refused."""

import dataclasses
import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.errors import (
    BackendError,
    DataError,
    HalfstepError,
    NotFittedError,
    ParameterError,
    SingularSystemError,
)
from halfstep.training import Listener


@pytest.fixture(scope="module")
def parts(simulated):
    return hs.split_random(simulated, test=0.2, seed=0)


def model(**params):
    return hs.ExplicitMF(**{"rank": 3, "reg": 0.05, "dtype": "float64", "tol": 0.0, **params})


def same(one, two):
    testing.assert_same_bits(one.factors_, two.factors_)
    return True


backends = pytest.mark.parametrize("backend", testing.BACKENDS)

# ------------------------------------------------------------------------------ stopping


@backends
def test_max_iter_is_the_number_of_sweeps(simulated, backend):
    for sweeps in (1, 4):
        fitted = model(max_iter=sweeps).fit(simulated, backend=backend)
        assert len(fitted.trace_) == fitted.n_iter_ == fitted.best_iter_ == sweeps
        assert [row.sweep for row in fitted.trace_] == list(range(1, sweeps + 1))
        assert fitted.stopped_ == "max_iter"


@backends
def test_tol_stops_at_the_first_sweep_that_gains_less(simulated, backend):
    fitted = model(tol=1e-3, max_iter=200).fit(simulated, backend=backend)
    J = [row.objective for row in fitted.trace_]
    gains = [(a - b) / a for a, b in pairwise(J)]
    assert fitted.stopped_ == "converged"
    assert gains[-1] <= 1e-3
    assert all(gain > 1e-3 for gain in gains[:-1])
    whole = model(max_iter=len(J)).fit(simulated, backend=backend)
    assert same(fitted, whole)


def test_the_longer_fit_begins_with_the_shorter_one(simulated):
    short, long = (model(max_iter=n).fit(simulated).trace_ for n in (3, 6))
    assert [row.objective for row in long[:3]] == [row.objective for row in short]


@backends
def test_validation_keeps_the_best_sweep(parts, backend):
    train, valid = parts
    fitted = model(rank=12, reg=1e-3, max_iter=60, patience=2).fit(
        train, validation=valid, backend=backend
    )
    errors = [row.validation_rmse for row in fitted.trace_]
    assert fitted.stopped_ == "validation"
    assert fitted.best_iter_ == int(np.argmin(errors)) + 1 < len(errors) == fitted.n_iter_
    assert len(errors) - fitted.best_iter_ == 2
    assert fitted.rmse(valid) == pytest.approx(min(errors), rel=1e-12)
    whole = model(rank=12, reg=1e-3, max_iter=fitted.best_iter_).fit(train, backend=backend)
    assert same(fitted, whole)


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_counts_sweeps_without_a_better_error(parts, patience):
    train, valid = parts
    fitted = model(rank=12, reg=1e-3, max_iter=80, patience=patience).fit(train, validation=valid)
    errors = [row.validation_rmse for row in fitted.trace_]
    best = np.minimum.accumulate(errors)
    since = [k - int(np.argmin(errors[: k + 1])) for k in range(len(errors))]
    assert max(since[:-1]) < patience
    assert since[-1] == patience
    assert min(errors) == best[-1]


def test_validation_may_be_pairs(parts):
    train, valid = parts
    users, items, r = valid.to_arrays()
    by_ratings = model(max_iter=4).fit(train, validation=valid)
    by_pairs = model(max_iter=4).fit(train, validation=(np.column_stack([users, items]), r))
    assert [r.validation_rmse for r in by_ratings.trace_] == [
        r.validation_rmse for r in by_pairs.trace_
    ]


def test_validation_with_unknown_ids_measures_the_fallback(parts):
    train, valid = parts
    users, items, r = valid.to_arrays()
    more = hs.Ratings.from_arrays(
        [*users.tolist(), -1, -2, users[0]],
        [*items.tolist(), items[0], -5, -6],
        [*r, 1.0, 5.0, 2.0],
    )
    fitted = model(max_iter=3).fit(train, validation=more)
    best = fitted.trace_[fitted.best_iter_ - 1]
    assert fitted.rmse(more) == pytest.approx(best.validation_rmse, rel=1e-12)
    nobody = hs.Ratings.from_arrays(["x", "y"], ["p", "q"], [1.0, 5.0])
    fitted = model(max_iter=3).fit(train, validation=nobody)
    expected = math.sqrt(((1 - train.mean()) ** 2 + (5 - train.mean()) ** 2) / 2)
    assert fitted.trace_[-1].validation_rmse == pytest.approx(expected, rel=1e-12)


def test_validation_weights_count_as_in_rmse(parts):
    train, valid = parts
    weight = np.random.default_rng(0).uniform(0.1, 5, len(valid))
    heavy = valid.with_weights(weight)
    fitted = model(max_iter=3).fit(train, validation=heavy)
    best = fitted.trace_[fitted.best_iter_ - 1]
    assert best.validation_rmse == pytest.approx(fitted.rmse(heavy), rel=1e-9)


def test_empty_validation_is_refused(parts):
    train, valid = parts
    with pytest.raises(DataError, match=r"validation|holds no ratings"):
        model().fit(train, validation=valid.select(np.array([], dtype=int)))
    with pytest.raises(DataError, match=r"validation|holds no ratings"):
        model().fit(train, validation=(np.empty((0, 2), dtype=int), []))


@pytest.mark.parametrize("bad", [3, "valid", ("a",), ([[1, 2]],), np.zeros((3, 2), dtype=int)])
def test_what_is_no_validation_is_refused(parts, bad):
    with pytest.raises(HalfstepError):
        model().fit(parts[0], validation=bad)


# --------------------------------------------------------------------------- warm starts


@backends
def test_a_warm_start_goes_on(simulated, backend):
    first = model(max_iter=3).fit(simulated, backend=backend)
    before = first.factors_.user_factors.tobytes()
    more = model(max_iter=3).fit(simulated, init=first, backend=backend)
    whole = model(max_iter=6).fit(simulated, backend=backend)
    assert more.trace_[0].objective <= first.trace_[-1].objective * (1 + 1e-12)
    assert [r.objective for r in more.trace_] == [r.objective for r in whole.trace_[3:]]
    assert same(more, whole)
    assert first.factors_.user_factors.tobytes() == before


def test_a_model_may_start_from_itself_and_from_a_loaded_one(simulated, tmp_path):
    first = model(max_iter=3).fit(simulated)
    loaded = hs.load(first.save(tmp_path / "m"), mmap=True)
    expected = model(max_iter=2).fit(simulated, init=first)
    assert same(model(max_iter=2).fit(simulated, init=loaded), expected)
    first.set_params(max_iter=2)
    assert same(first.fit(simulated, init=first), expected)


@pytest.mark.parametrize("order", ["new before", "new after", "fewer"])
def test_ids_that_are_new_or_gone_in_a_warm_start(simulated, order):
    users, items, r = simulated.to_arrays()
    shift = {"new before": 1000, "new after": -1000, "fewer": 0}[order]
    if order == "fewer":
        keep = (users % 3 > 0) & (items % 4 > 0)
        changed = hs.Ratings.from_arrays(users[keep], items[keep], r[keep])
    else:
        extra = slice(0, 300)
        changed = hs.Ratings.from_arrays(
            np.concatenate([users, users[extra] - shift]),
            np.concatenate([items, items[extra] - shift]),
            np.concatenate([r, r[extra]]),
        )
    first = model(max_iter=30).fit(simulated)
    start = hs.Factors.random(
        changed, 3, biases=True, mean=changed.mean(), dtype="float64", seed=0
    ).started_from(first.factors_)
    known = first.factors_.user_ids.lookup(changed.users.values)
    assert (start.user_factors[known >= 0] == first.factors_.user_factors[known[known >= 0]]).all()
    assert (start.user_factors[known < 0] != 0).all()
    warm = model(max_iter=1).fit(changed, init=first)
    cold = model(max_iter=1).fit(changed)
    assert warm.trace_[0].objective < cold.trace_[0].objective


def test_a_warm_start_between_other_settings(simulated):
    """Another dtype, without biases, without centring: the factors that both have go over."""
    first = model(max_iter=5).fit(simulated)
    for params in ({"dtype": "float32"}, {"biases": False}, {"center": False}):
        warm = model(max_iter=2, **params).fit(simulated, init=first)
        assert np.isfinite(warm.factors_.user_factors).all()
        back = model(max_iter=2).fit(simulated, init=warm)
        assert np.isfinite(back.factors_.user_factors).all()


def test_text_ids_warm_start_integer_ones(simulated):
    first = model(max_iter=5).fit(simulated)
    users, items, r = simulated.to_arrays()
    text = hs.Ratings.from_arrays([str(u) for u in users], [str(i) for i in items], r)
    warm, again = (
        model(max_iter=1).fit(text, init=first),
        model(max_iter=1).fit(simulated, init=first),
    )
    assert warm.trace_[0].objective == pytest.approx(again.trace_[0].objective, rel=1e-9)


@pytest.mark.parametrize("bad", [3, "model", hs.ExplicitMF, {"rank": 3}, np.zeros(3)])
def test_what_is_no_start_is_refused(simulated, bad):
    with pytest.raises(ParameterError, match="init="):
        model().fit(simulated, init=bad)


def test_a_start_that_does_not_fit_is_refused(simulated, fitted):
    with pytest.raises(NotFittedError):
        model().fit(simulated, init=hs.ExplicitMF())
    with pytest.raises(ParameterError, match="init='int': must be a fitted model"):
        model().fit(simulated, init=3)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_start_of_another_rank(simulated, nonnegative):
    """Columns are appended or dropped, and less is left to do than from a random start."""
    given = {"nonnegative": nonnegative}
    start = model(rank=4, max_iter=20, **given).fit(simulated)
    for rank in (2, 6):
        warm = model(rank=rank, max_iter=1, **given).fit(simulated, init=start)
        cold = model(rank=rank, max_iter=1, **given).fit(simulated)
        assert warm.rank_ == rank
        assert warm.trace_[0].objective < cold.trace_[0].objective


# ------------------------------------------------------------------ callbacks and traces


def test_a_callback_stops_the_fit(simulated):
    heard = []

    def stop(row):
        heard.append(row)
        return row.sweep >= 3

    fitted = model().fit(simulated, callbacks=[stop])
    assert fitted.stopped_ == "callback"
    assert tuple(heard) == tuple(fitted.trace_)
    assert fitted.n_iter_ == fitted.best_iter_ == 3
    assert same(fitted, model(max_iter=3).fit(simulated))


def test_every_callback_is_told(simulated):
    heard = []
    callbacks = [lambda row: row.sweep == 2, lambda row: heard.append(row.sweep)]
    model().fit(simulated, callbacks=callbacks)
    assert heard == [1, 2]


@pytest.mark.parametrize("answer", [None, False, 0, "", np.False_, np.float64(0.0)])
def test_false_answers_go_on(simulated, answer):
    assert model(max_iter=3).fit(simulated, callbacks=[lambda row: answer]).n_iter_ == 3


@pytest.mark.parametrize("answer", [True, 1, "stop", np.True_, np.float64(2.0)])
def test_true_answers_stop(simulated, answer):
    assert model(max_iter=3).fit(simulated, callbacks=[lambda row: answer]).n_iter_ == 1


@backends
def test_the_trace_as_columns(parts, backend):
    train, valid = parts
    fitted = model(max_iter=4).fit(train, validation=valid, backend=backend)
    columns = fitted.trace_.to_dict()
    assert list(columns) == [
        "sweep",
        "objective",
        "train_rmse",
        "validation_rmse",
        "seconds_items",
        "seconds_users",
        "seconds_measure",
    ]
    assert {len(column) for column in columns.values()} == {4}
    assert columns["sweep"] == [1, 2, 3, 4]
    assert all(second >= 0 for name in columns if "seconds" in name for second in columns[name])
    assert fitted.rmse(train) == pytest.approx(
        columns["train_rmse"][fitted.best_iter_ - 1], rel=1e-9
    )
    assert fitted.rmse(valid) == pytest.approx(min(columns["validation_rmse"]), rel=1e-9)
    plain = model(max_iter=2).fit(train).trace_.to_dict()
    assert plain["validation_rmse"] == [None, None]


def test_trace_rows_cannot_be_changed(fitted):
    with pytest.raises(dataclasses.FrozenInstanceError):
        fitted.trace_[0].objective = 0.0


def test_the_weighted_train_rmse_is_that_of_rmse(simulated):
    weighted = simulated.with_weights(np.random.default_rng(0).uniform(0.1, 5, len(simulated)))
    fitted = model(max_iter=3).fit(weighted)
    assert fitted.rmse(weighted) == pytest.approx(fitted.trace_[-1].train_rmse, rel=1e-9)


def test_listeners_hear_of_steps_and_sweeps(simulated):
    heard = []
    listener = Listener(
        on_step=lambda sweep, step: heard.append((sweep, step)),
        on_sweep=lambda row: heard.append((row.sweep, "swept")),
    )
    model(max_iter=2).fit(simulated, progress=listener)
    assert heard == [(s, step) for s in (1, 2) for step in ("items", "users", "swept")]


def test_progress_writes_nothing_to_the_output():
    code = """
import halfstep as hs
ratings = hs.simulate(60, 40, rank=2, ratings_per_user=10, min_per_user=5, seed=0).ratings
a = hs.ExplicitMF(rank=2, max_iter=3).fit(ratings, progress=True)
b = hs.ExplicitMF(rank=2, max_iter=3).fit(ratings)
assert a.factors_.user_factors.tobytes() == b.factors_.user_factors.tobytes()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "\x1b" not in done.stderr


def test_progress_leaves_with_an_error(simulated, capfd):
    """A fit that fails under a progress line gives the error alone, and the next fit works."""

    def fail(row):
        raise RuntimeError("stop that")

    with pytest.raises(RuntimeError, match="stop that"):
        model().fit(simulated, progress=True, callbacks=[fail])
    model(max_iter=1).fit(simulated, progress=True)
    assert capfd.readouterr().out == ""


# ----------------------------------------------------------------------- both backends


@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_both_backends_learn_the_same(simulated, dtype):
    one, two = (model(max_iter=3, dtype=dtype).fit(simulated, backend=b) for b in testing.BACKENDS)
    testing.assert_near(one.factors_, two.factors_, 20 * testing.TOLERANCE[dtype])
    for a, b in zip(one.trace_, two.trace_, strict=True):
        assert a.objective == pytest.approx(b.objective, rel=testing.TOLERANCE[dtype])
        assert a.train_rmse == pytest.approx(b.train_rmse, rel=testing.TOLERANCE[dtype])


def test_a_backend_object_is_taken(simulated):
    made = hs.get_backend("native")
    assert same(model(max_iter=2).fit(simulated, backend=made), model(max_iter=2).fit(simulated))


def test_a_refit_forgets(simulated):
    once = model(max_iter=3).fit(simulated)
    twice = model(max_iter=3).fit(simulated.select(range(400))).fit(simulated)
    assert same(once, twice)
    assert twice.n_iter_ == 3
    assert twice.data_summary_ == once.data_summary_


def test_seeds(simulated):
    one, same_seed, other = (model(max_iter=2, seed=s).fit(simulated) for s in (1, 1, 2))
    assert same(one, same_seed)
    assert (one.factors_.user_factors != other.factors_.user_factors).any()
    model(max_iter=1, seed=2**63).fit(simulated)
    model(max_iter=1, seed=np.int64(5)).fit(simulated)


def test_the_fit_does_not_touch_its_input(simulated):
    before = [a.tobytes() for a in (simulated.by_user.values, simulated.by_item.values)]
    users, items, r = simulated.to_arrays()
    X, weight = np.column_stack([users, items]), np.ones(len(r))
    kept = X.tobytes(), r.tobytes(), weight.tobytes()
    model(max_iter=2).fit(X, r, sample_weight=weight)
    assert kept == (X.tobytes(), r.tobytes(), weight.tobytes())
    assert before == [a.tobytes() for a in (simulated.by_user.values, simulated.by_item.values)]


# ------------------------------------------------------------------------- small tables

TINY = {
    "one rating": ([1], [1], [3.0]),
    "one user": ([1, 1, 1], [1, 2, 3], [1.0, 2.0, 3.0]),
    "one item": ([1, 2, 3], [1, 1, 1], [1.0, 2.0, 3.0]),
    "all equal": ([1, 1, 2, 2], [1, 2, 1, 2], [4.0] * 4),
    "all zero": ([1, 1, 2, 2], [1, 2, 1, 2], [0.0] * 4),
    "negative": ([1, 1, 2, 2], [1, 2, 1, 2], [-1.0, -2.0, -3.0, -4.0]),
    "large": ([1, 1, 2, 2], [1, 2, 1, 2], [100.0, 200.0, 300.0, 400.0]),
    "tiny": ([1, 1, 2, 2], [1, 2, 1, 2], [1e-15, 2e-15, 3e-15, 4e-15]),
    "an empty half": ([1, 2], [1, 2], [5.0, 1.0]),
}


@backends
@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("table", TINY)
def test_tiny_tables(table, center, dtype, backend):
    users, items, r = TINY[table]
    ratings = hs.Ratings.from_arrays(users, items, r)
    fitted = hs.ExplicitMF(rank=4, center=center, dtype=dtype).fit(ratings, backend=backend)
    J = [row.objective for row in fitted.trace_]
    assert np.isfinite(J).all()
    assert all(b <= a * (1 + 1e-5) for a, b in pairwise(J))
    assert np.isfinite(fitted.predict(users, items)).all()
    fitted.recommend(n=3)
    fitted.similar_items(items)
    fitted.explain(users[0], items[0])


def test_an_empty_table_is_refused(simulated):
    with pytest.raises(DataError, match=r"ratings|holds no"):
        model().fit(simulated.select(np.array([], dtype=int)))
    with pytest.raises(DataError, match="holds no ratings"):
        model().fit(np.empty((0, 2), dtype=int), [])


# -------------------------------------------------------------------- refused parameters

BAD = {
    "rank": [0, -1, 1.5, 2.0, True, "a", None, [3], np.nan, 10**9, np.array([1, 2])],
    "reg": [
        -1,
        -1e-9,
        math.nan,
        math.inf,
        [1, 2],
        [1, 2, 3, 4],
        [],
        "x",
        "0.1",
        None,
        True,
        [0.1, -1, 0.1],
        [0.1, 0.1, math.nan],
        [[1, 2, 3]],
        np.ones((3, 3)),
        1j,
        {"user": 1},
        10**400,
    ],
    "reg_scaling": ["frequency", "Count", None, 1, [], np.array(["count", "none"])],
    "biases": ["yes", 1, None, []],
    "center": ["yes", 0, None],
    "nonnegative": ["no", 1, None],
    "dtype": ["float16", "f4", float, np.float32, np.dtype("float32"), None, [], "object"],
    "tol": [-1e-9, 1, 2, math.nan, math.inf, "small", None, True, [1e-3], 1j],
    "max_iter": [0, -1, 1.5, True, "all", None, math.inf],
    "patience": [0, -1, 1.5, True, "much", None],
    "seed": [-1, 1.5, "seed", None, True, [1]],
    "solver": ["sgd!", "", "ALS", None, 3, [], object()],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD.items() for value in values],
    ids=lambda value: " ".join(repr(value).split())[:30].split(" at 0x")[0],
)
def test_a_bad_parameter_names_itself_and_its_value(simulated, name, value):
    made = model(**{name: value})  # the constructor only stores
    assert getattr(made, name) is value
    with pytest.raises(ParameterError) as caught:
        made.fit(simulated)
    text = str(caught.value)
    assert text.startswith(f"{name}=")
    assert "\n" not in text
    assert len(text) < 400
    assert "; " in text
    assert caught.value.argument == name
    assert not hasattr(made, "factors_")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", np.int64(2)),
        ("rank", np.uint8(2)),
        ("rank", np.uint8(255)),
        ("reg", 0),
        ("reg", 1),
        ("reg", [0.1, 0.2, 0.3]),
        ("reg", np.array([0.1, 0.2, 0.3], dtype=np.float32)),
        ("reg", np.float32(0.1)),
        ("reg", np.int8(1)),
        ("biases", np.True_),
        ("tol", 0),
        ("tol", np.float32(1e-3)),
        ("seed", np.uint64(2**63)),
        ("solver", hs.ALS()),
    ],
    ids=repr,
)
def test_numbers_of_any_kind_are_taken_and_saved(simulated, tmp_path, name, value):
    fitted = model(**{"max_iter": 1, name: value}).fit(simulated)
    back = hs.load(fitted.save(tmp_path / "m"))
    assert same(fitted, back)
    assert same(back.fit(simulated), fitted)


@pytest.mark.parametrize("backend", ["gpu", "", "Native", None, 3, object(), hs.ALS(), []])
def test_a_bad_backend_names_itself(simulated, backend):
    with pytest.raises((ParameterError, BackendError)) as caught:
        model().fit(simulated, backend=backend)
    assert str(caught.value).startswith("backend=")


def test_a_backend_that_refuses_says_why(simulated):
    class Slow:
        name = "slow"

        def supports(self, *, dtype):
            return f"it cannot count in {dtype}"

    with pytest.raises(BackendError, match="backend='slow': it cannot count in float64"):
        model().fit(simulated, backend=Slow())


def test_an_unknown_parameter_is_refused():
    with pytest.raises(ParameterError, match="ranks=3: is not a parameter of ExplicitMF"):
        model().set_params(ranks=3)
    with pytest.raises(TypeError):
        hs.ExplicitMF(ranks=3)


@pytest.mark.parametrize("callbacks", [[3], 3, print, [None], "stop"])
def test_bad_callbacks_leave_no_model(simulated, callbacks):
    made = model()
    with pytest.raises((HalfstepError, TypeError)):
        made.fit(simulated, callbacks=callbacks)
    assert not hasattr(made, "factors_")


# --------------------------------------------------------------------- singular systems


@backends
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_a_singular_row_is_named(dtype, backend):
    ratings = hs.Ratings.from_arrays(["ann", "ann", "bob"], ["x", "y", "x"], [1.0, 2.0, 3.0])
    made = hs.ExplicitMF(rank=5, reg=0.0, dtype=dtype)
    with pytest.raises(SingularSystemError) as caught:
        made.fit(ratings, backend=backend)
    text = str(caught.value)
    assert "item 'x'" in text
    assert "raise reg" in text
    assert dtype in text
    assert "\n" not in text
    assert (caught.value.side, caught.value.row) == ("item", 0)
    assert not hasattr(made, "factors_")


@backends
def test_a_singular_user_is_named(backend):
    """Items are held by λ, users are not."""
    users = np.repeat(["ann", "bob"], 4)
    items = np.tile([30, 10, 20, 40], 2)
    ratings = hs.Ratings.from_arrays([*users, "cid"], [*items, 10], np.arange(9.0))
    made = hs.ExplicitMF(rank=2, reg=(0.0, 1.0, 0.0), dtype="float64", biases=False)
    with pytest.raises(SingularSystemError, match=r"user 'cid'.*1 ratings, rank 2") as caught:
        made.fit(ratings, backend=backend)
    assert (caught.value.side, caught.value.row) == ("user", 2)


@backends
def test_nothing_to_hold_a_factor_is_no_error_where_ratings_do(backend):
    ratings = testing.random_ratings(20, 15, 0.8)
    fitted = hs.ExplicitMF(rank=2, reg=0.0, dtype="float64", max_iter=3).fit(
        ratings, backend=backend
    )
    assert np.isfinite(fitted.trace_[-1].objective)


def test_a_singular_row_in_fold_in_is_named(simulated):
    fitted = model(reg=0.0, rank=3).fit(simulated)
    with pytest.raises(SingularSystemError, match=r"user 'new'.*fold in more ratings"):
        fitted.fold_in([("new", 1)], [3.0])
