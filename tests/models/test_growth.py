"""rank="grow": the rank of the convex solution, found by the training loop and the certificate."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.errors import ParameterError
from halfstep.training import Listener

sys.path.insert(0, str(Path(__file__).parents[1] / "diagnostics"))
import convex

CASES = {
    "plain": {"reg_scaling": "none", "reg": (4.0, 4.0, 2.0)},
    "unequal": {"reg_scaling": "none", "reg": (16.0, 2.0, 0.0)},
    "count": {"reg_scaling": "count", "reg": (0.3, 0.25, 0.1)},
    "no biases": {"reg_scaling": "none", "reg": 5.0, "biases": False, "center": False},
}


def grow(ratings, **more):
    params = {"max_iter": 3000, "tol": 1e-8, "dtype": "float64", "seed": 1, **more}
    fit = {name: params.pop(name) for name in ("init", "validation", "callbacks", "backend",
                                               "progress") if name in params}  # fmt: skip
    return hs.ExplicitMF(rank="grow", **params).fit(ratings, **fit)


@pytest.fixture(scope="module")
def instance():
    return testing.random_ratings(30, 24, 0.45, seed=5, weighted=True)


@pytest.mark.parametrize("case", CASES)
def test_it_ends_at_the_rank_of_the_convex_solution(instance, case):
    model = grow(instance, **CASES[case])
    solved = convex.solve(instance, model.objective_)
    assert model.rank_ == solved.rank
    assert 2 <= model.rank_ < 24
    assert model.stopped_ == "converged"
    assert model.certificate().gap <= 1e-8
    assert model.trace_[-1].objective == pytest.approx(solved.objective, rel=1e-7)
    W, Z = model.factors_.user_factors, model.factors_.item_factors
    scale = np.abs(solved.M).max()
    np.testing.assert_allclose(W @ Z.T, solved.M, atol=2e-3 * scale)


@pytest.mark.parametrize("reg", [1.0, 3.0, 10.0])
def test_a_larger_penalty_has_a_smaller_rank(instance, reg):
    less = grow(instance, reg=reg, reg_scaling="none").rank_
    more = grow(instance, reg=2 * reg, reg_scaling="none").rank_
    assert more < less


def test_where_no_factor_is_worth_its_penalty_none_is_left(instance):
    model = grow(instance, reg=(1000.0, 1000.0, 1.0), reg_scaling="none")
    assert (model.rank_, model.stopped_) == (1, "converged")
    assert np.abs(model.factors_.user_factors @ model.factors_.item_factors.T).max() < 1e-6
    assert model.certificate().verdict == "optimal"


def test_the_trace_goes_on_and_the_objective_falls(instance):
    told, steps, swept = [], [], []
    listener = Listener(
        on_step=lambda sweep, step: steps.append((sweep, step)),
        on_sweep=lambda row: swept.append(row.sweep),
    )
    model = grow(instance, callbacks=[told.append], progress=listener, **CASES["plain"])
    sweeps = [row.sweep for row in model.trace_]
    assert sweeps == list(range(1, model.n_iter_ + 1))
    assert told == list(model.trace_)
    assert swept == sweeps
    assert steps == [(s, step) for s in sweeps for step in ("items", "users")]
    for before, after in pairwise(model.trace_):
        assert after.objective <= before.objective * (1 + 1e-9)
    assert [stage.sweep for stage in model.growth_] == sorted(s.sweep for s in model.growth_)
    assert model.growth_[0].rank == 4
    assert model.growth_[-1].rank == model.rank_
    assert model.growth_[-1].gap <= 1e-8
    assert model.growth_[-1].sweep == model.n_iter_ == model.best_iter_


@pytest.mark.parametrize("most", [1, 3, 4, 7])
def test_max_iter_bounds_all_sweeps(instance, most):
    model = grow(instance, max_iter=most, **CASES["plain"])
    assert (model.n_iter_, model.stopped_) == (most, "max_iter")


def test_float32_reaches_its_gap(instance):
    model = grow(instance, dtype="float32", tol=1e-5, **CASES["plain"])
    assert model.stopped_ == "converged"
    assert model.factors_.dtype == "float32"
    assert model.certificate().gap <= 2e-5


def test_a_gap_beyond_the_precision_ends_the_fit(instance):
    model = grow(instance, dtype="float32", tol=0.0, max_iter=5000, **CASES["plain"])
    assert model.stopped_ == "converged"
    assert model.n_iter_ < 5000


def test_a_solver_that_may_raise_j_is_not_done_where_it_did(instance):
    model = grow(instance, reg=0.3, solver="sgd", tol=1e-4, max_iter=200, dtype="float32")
    assert any(after.objective > before.objective for before, after in pairwise(model.growth_))
    assert model.certificate().gap > 1e-4
    assert model.stopped_ == "max_iter"


def test_both_backends_find_the_same(instance):
    one = grow(instance, backend="numpy", **CASES["count"])
    two = grow(instance, **CASES["count"])
    assert one.rank_ == two.rank_
    testing.assert_near(one.factors_, two.factors_, 1e-6)


def test_the_same_bits_for_any_number_of_threads(instance):
    before, fits = hs.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            fits.append(grow(instance, dtype="float32", tol=1e-4, **CASES["count"]))
    finally:
        hs.set_num_threads(before)
    for other in fits[1:]:
        testing.assert_same_bits(fits[0].factors_, other.factors_)
        assert [r.objective for r in other.trace_] == [r.objective for r in fits[0].trace_]


def test_users_are_those_of_fold_in(instance):
    model = grow(instance, **CASES["count"])
    folded = model.fold_in(instance)
    np.testing.assert_allclose(folded.factors, model.factors_.user_factors, atol=1e-9)
    assert model.explain(*next(zip(*instance.to_arrays()[:2], strict=True))).exact


def test_validation_keeps_the_best_sweep_of_all_ranks():
    ratings = hs.simulate(150, 100, rank=3, ratings_per_user=20, min_per_user=5, seed=1).ratings
    train, valid = hs.split_random(ratings, test=0.2, seed=0)
    model = grow(train, validation=valid, reg=0.01, patience=4, tol=1e-6, max_iter=300)
    errors = [row.validation_rmse for row in model.trace_]
    assert model.stopped_ == "validation"
    assert model.best_iter_ == int(np.argmin(errors)) + 1
    assert model.n_iter_ == model.best_iter_ + 4
    assert model.rmse(valid) == pytest.approx(min(errors), rel=1e-9)


def test_a_callback_stops_it(instance):
    model = grow(instance, callbacks=[lambda row: row.sweep == 8], **CASES["plain"])
    assert (model.stopped_, model.n_iter_) == ("callback", 8)


@pytest.mark.parametrize("sweep", [2, 8])
def test_ctrl_c_keeps_the_last_sweep(instance, sweep):
    def interrupt(row):
        if row.sweep == sweep:
            raise KeyboardInterrupt

    model = hs.ExplicitMF(rank="grow", dtype="float64", tol=1e-8, **CASES["plain"])
    with pytest.raises(KeyboardInterrupt):
        model.fit(instance, callbacks=[interrupt])
    assert model.stopped_ == "interrupted"
    assert model.n_iter_ == sweep
    value = testing.objective_value(instance, model.objective_, model.factors_)
    assert value == pytest.approx(model.trace_[-1].objective, rel=1e-10)


def test_ctrl_c_between_two_ranks(instance, monkeypatch):
    from halfstep.models import growth

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(growth, "_measured", interrupted)
    model = hs.ExplicitMF(rank="grow", dtype="float64", **CASES["plain"])
    with pytest.raises(KeyboardInterrupt):
        model.fit(instance)
    assert (model.stopped_, model.n_iter_) == ("interrupted", 3)


def test_it_starts_from_a_model_of_any_rank(instance):
    whole = grow(instance, **CASES["plain"])
    again = grow(instance, init=whole, **CASES["plain"])
    assert again.rank_ == whole.rank_
    assert again.n_iter_ < whole.n_iter_
    large = hs.ExplicitMF(rank=20, dtype="float64", max_iter=2, **CASES["plain"]).fit(instance)
    assert grow(instance, init=large, **CASES["plain"]).rank_ == whole.rank_
    fixed = hs.ExplicitMF(rank=whole.rank_, dtype="float64", max_iter=1, **CASES["plain"])
    assert fixed.fit(instance, init=whole).trace_[0].objective <= whole.trace_[-1].objective * (
        1 + 1e-9
    )


def test_what_cannot_grow_says_so(instance):
    for bad in ("automatic", "Grow", ""):
        with pytest.raises(ParameterError, match="rank"):
            hs.ExplicitMF(rank=bad).fit(instance)
    for reg in (0.0, (0.0, 1.0, 1.0), (1.0, 0.0, 1.0)):
        with pytest.raises(ParameterError, match="reg"):
            hs.ExplicitMF(rank="grow", reg=reg).fit(instance)
    with pytest.raises(ParameterError, match="nonnegative"):
        hs.ExplicitMF(rank="grow", nonnegative=True).fit(instance)
    with pytest.raises(ParameterError, match="init"):
        hs.ExplicitMF(rank="grow").fit(instance, init="a model")
    with pytest.raises(ValueError, match="fitted"):
        hs.ExplicitMF(rank="grow").fit(instance, init=hs.ExplicitMF())


def test_it_is_saved_and_goes_on(instance, tmp_path):
    model = grow(instance, **CASES["count"])
    model.save(tmp_path / "m.safetensors")
    loaded = hs.load(tmp_path / "m.safetensors")
    assert loaded.rank == "grow"
    assert loaded.rank_ == model.rank_
    testing.assert_same_bits(loaded.factors_, model.factors_)
    assert loaded.certificate().gap == pytest.approx(model.certificate().gap, rel=1e-6)
    assert loaded.get_params() == model.get_params()
    some = instance.select(instance.user_index() < 3)
    assert loaded.with_rows(loaded.fold_in(some)).rank_ == model.rank_


def test_scikit_learn_takes_it(instance):
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    model = clone(hs.ExplicitMF(rank="grow", reg=0.3, max_iter=30))
    users, items, r = instance.to_arrays()
    codes = np.unique(items, return_inverse=True)[1]
    scores = cross_val_score(model, np.column_stack([users, codes]), r, cv=3)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_real_ratings(data_folder, seed):
    ratings = hs.read_ratings(data_folder / "ml-100k" / "u.data")
    model = grow(
        ratings, reg=(15.0, 15.0, 3.0), reg_scaling="none", tol=1e-5, max_iter=400, seed=seed
    )
    assert model.stopped_ == "converged"
    assert 68 <= model.rank_ <= 71
    assert model.trace_[-1].objective == pytest.approx(38_200.48, abs=0.05)
    assert model.certificate().gap <= 1e-5
