"""Accelerated ALS: J along a line, the balance of the two sides, and sweeps that begin further on."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.backends import get_backend
from halfstep.errors import ParameterError
from halfstep.solvers import ALS, CG, Problem
from halfstep.solvers.acceleration import Acceleration

MODELS = {
    "ratings": hs.ExplicitMF(rank=3, reg=(0.1, 0.2, 0.05)),
    "ratings, no biases": hs.ExplicitMF(rank=3, reg=1.0, reg_scaling="none", biases=False),
    "ials": hs.ImplicitMF(rank=3, reg=(0.1, 0.2, 0.1), alpha0=0.3, nu=0.5),
    "ials with biases": hs.ImplicitMF(rank=3, reg=(0.1, 0.2, 0.3), biases=True),
    "wrmf": hs.ImplicitMF(rank=3, loss="wrmf", confidence="log", reg=0.1, reg_scaling="count"),
    "wrmf with biases": hs.ImplicitMF(rank=3, loss="wrmf", biases=True, reg_scaling="none"),
}


def random_like(factors, seed):
    """Other arrays of the same shapes."""
    generator = np.random.default_rng(seed)
    return factors._map(lambda a: generator.standard_normal(a.shape).astype(a.dtype))


def moved(factors, way, t):
    point = factors.copy()
    for own, step in zip(point._arrays(), way._arrays(), strict=True):
        own += t * step
    return point


@pytest.mark.parametrize("rank", [1, 7, 16, 33])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernel_is_the_formula(rank, biases, dtype):
    ratings = testing.random_ratings(23, 17, 0.4, weighted=True)
    model = hs.ExplicitMF(rank=rank, biases=biases, dtype=dtype, max_iter=1).fit(ratings)
    here = random_like(model.factors_, 1)
    way = random_like(model.factors_, 2)
    native, oracle = (
        get_backend(name, dtype=dtype).line_errors(ratings.by_user, here, way)
        for name in ("native", "numpy")
    )
    np.testing.assert_allclose(native, oracle, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_j_along_a_line_is_j_at_its_points(name, backend):
    ratings = testing.random_ratings(23, 17, 0.4, weighted=True)
    model = hs.ImplicitMF if isinstance(MODELS[name], hs.ImplicitMF) else hs.ExplicitMF
    model = model(**{**MODELS[name].get_params(), "dtype": "float64", "max_iter": 1}).fit(ratings)
    runs_on = get_backend(backend, dtype="float64")
    problem = Problem.of(ratings, model.objective_, 3, "float64")
    here, way = random_like(model.factors_, 1), random_like(model.factors_, 2)
    cells = problem.by_user, problem.by_item
    found = model.objective_.along(*cells, here, way, runs_on)
    start = model.objective_.value(*cells, here, runs_on).objective
    assert found[0] == 0
    for t in (-0.7, 0.3, 1.0, 2.5):
        there = model.objective_.value(*cells, moved(here, way, t), runs_on).objective
        expected = np.polynomial.polynomial.polyval(t, found)
        assert there - start == pytest.approx(expected, rel=1e-6, abs=1e-6 * abs(start))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("linear", ["auto", CG(steps=2)], ids=repr)
def test_no_sweep_raises_j_and_fewer_are_needed(name, linear):
    ratings = hs.simulate(120, 90, rank=6, ratings_per_user=25, seed=3).ratings
    made = MODELS[name]
    reg = {"reg": 0.003} if isinstance(made, hs.ImplicitMF) else {}
    traces = []
    for acceleration in ("none", "line-search"):
        solver = ALS(linear=linear, acceleration=acceleration)
        params = {**made.get_params(), "rank": 6, "solver": solver, "dtype": "float64", "tol": 0.0}
        model = type(made)(**{**params, **reg, "max_iter": 25}).fit(ratings)
        traces.append([row.objective for row in model.trace_])
        if model._exact_users:
            folded = model.fold_in(ratings)
            assert folded.factors.tobytes() == model.factors_.user_factors.tobytes()
    plain, faster = traces
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(faster))
    reached = next(sweep for sweep, value in enumerate(faster) if value <= plain[-1] * (1 + 1e-9))
    assert reached <= 20, reached


def test_a_balanced_model_predicts_the_same_with_the_least_penalty():
    ratings = testing.random_ratings(40, 30, 0.4)
    model = hs.ImplicitMF(rank=4, dtype="float64", max_iter=2).fit(ratings)
    problem = Problem.of(ratings, model.objective_, 4, "float64")
    backend = get_backend("native", dtype="float64")
    stretch = np.diag([3.0, 0.2, 1.0, 7.0]) + 0.1
    start = replace(
        model.factors_,
        user_factors=model.factors_.user_factors @ stretch,
        item_factors=model.factors_.item_factors @ np.linalg.inv(stretch).T,
    )
    found = Acceleration(problem, model.objective_, backend).begun(start)
    scores = model.factors_.user_factors @ model.factors_.item_factors.T
    np.testing.assert_allclose(found.user_factors @ found.item_factors.T, scores, atol=1e-9)

    def penalty(T):
        W, Z = found.user_factors @ T, found.item_factors @ np.linalg.inv(T).T
        return model.objective_.value(
            problem.by_user,
            problem.by_item,
            replace(found, user_factors=W, item_factors=Z),
            backend,
        ).objective

    least = penalty(np.eye(4))
    generator = np.random.default_rng(0)
    for _ in range(20):
        assert least <= penalty(np.eye(4) + 1e-3 * generator.standard_normal((4, 4))) * (1 + 1e-12)


def test_the_same_bits_for_any_number_of_threads():
    ratings = hs.simulate(700, 400, rank=4, ratings_per_user=60, seed=0).ratings
    before, fits = hs.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            model = hs.ImplicitMF(rank=24, solver="als-accelerated", max_iter=4).fit(ratings)
            fits.append(model)
    finally:
        hs.set_num_threads(before)
    for other in fits[1:]:
        testing.assert_same_bits(fits[0].factors_, other.factors_)


@pytest.mark.parametrize("params", [{"nonnegative": True}, {"implicit_features": True}])
def test_what_has_no_acceleration_says_so(params):
    ratings = testing.random_ratings(20, 15, 0.4)
    with pytest.raises(ParameterError, match="acceleration"):
        hs.ExplicitMF(rank=2, solver="als-accelerated", **params).fit(ratings)
