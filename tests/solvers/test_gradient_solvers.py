"""Gradient descent and L-BFGS: arguments, what a sweep does, bounds, the optimum they share with ALS."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.backends import get_backend
from halfstep.errors import BackendError, DivergedError, ParameterError
from halfstep.objectives import Reg, SquaredError
from halfstep.solvers import Problem, get_solver, solver_from_dict, solver_to_dict
from halfstep.solvers.steepness import Steepness

SOLVERS = [
    hs.GD(),
    hs.GD(momentum=0.0),
    hs.GD(scaling="none"),
    hs.GD(step=0.2, scaling="rows"),
    hs.LBFGS(),
    hs.LBFGS(iterations=3, memory=2),
]
solvers = pytest.mark.parametrize("solver", SOLVERS, ids=repr)
backends = pytest.mark.parametrize("backend", testing.BACKENDS)


@pytest.fixture(scope="module")
def ratings():
    return testing.random_ratings(30, 20, 0.4, seed=1, weighted=True)


def problem_of(
    ratings, *, nonnegative=False, biases=True, rank=3, scaling="count", dtype="float64"
):
    objective = SquaredError(
        ratings.mean(), Reg(0.1, 0.2, 0.05), scaling, biases, nonnegative=nonnegative
    )
    start = hs.Factors.random(
        ratings, rank, biases=biases, mean=objective.mean, dtype=dtype, seed=0
    )
    return Problem.of(ratings, objective, rank, dtype), start


def sweeps(solver, problem, start, backend, count):
    """The factors after each sweep, the start first."""
    runs_on = get_backend(backend)
    current = start.copy()
    sweep = solver.begin(problem, current, runs_on)
    found = [current]
    for _ in range(count):
        out = current.empty_like()
        before = current.copy()
        list(sweep(current, out))
        testing.assert_same_bits(before, current)
        current = out
        found.append(out)
    return found


# --------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: hs.GD(step=0),
        lambda: hs.GD(step=-1.0),
        lambda: hs.GD(step=float("nan")),
        lambda: hs.GD(step=float("inf")),
        lambda: hs.GD(step="armijo"),
        lambda: hs.GD(step=True),
        lambda: hs.GD(step=None),
        lambda: hs.GD(momentum=1.0),
        lambda: hs.GD(momentum=-0.1),
        lambda: hs.GD(momentum="some"),
        lambda: hs.GD(scaling="columns"),
        lambda: hs.GD(scaling=["rows"]),
        lambda: hs.LBFGS(iterations=0),
        lambda: hs.LBFGS(iterations=2.5),
        lambda: hs.LBFGS(memory=0),
        lambda: hs.LBFGS(memory=True),
        lambda: hs.LBFGS(memory=2**70),
    ],
)
def test_wrong_arguments(wrong):
    with pytest.raises(ParameterError, match=r"^(step|momentum|scaling|iterations|memory)=.*; "):
        wrong()


@solvers
def test_written_and_read(solver, simulated, tmp_path):
    assert solver_from_dict(solver_to_dict(solver)) == solver
    model = hs.ExplicitMF(rank=2, solver=solver, max_iter=2).fit(simulated)
    loaded = hs.load(model.save(tmp_path / "m.safetensors"))
    assert loaded.solver == solver
    testing.assert_same_bits(loaded.factors_, model.factors_)


def test_names():
    assert get_solver("gd", 3) == hs.GD()
    assert get_solver("lbfgs", 3) == hs.LBFGS()
    assert not get_solver("gd", 3).ends_with_users
    assert not get_solver("lbfgs", 3).ends_with_users


def test_who_descends():
    assert hs.GD().descends
    assert not hs.GD(step=0.1).descends
    assert hs.LBFGS().descends


def test_what_is_scaled():
    assert hs.GD().scaled
    assert not hs.GD(step=0.1).scaled
    assert hs.GD(step=0.1, scaling="rows").scaled
    assert not hs.GD(scaling="none").scaled


def test_lbfgs_needs_float64(ratings):
    class Narrow:
        name = "narrow"

        def supports(self, *, dtype):
            return None if dtype == "float32" else "float32 only"

    problem, start = problem_of(ratings)
    with pytest.raises(BackendError, match="float32 only"):
        hs.LBFGS().begin(problem, start, Narrow())


# ---------------------------------------------------------------------------------- gradient


@backends
@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("rank", [1, 7, 17])
@pytest.mark.parametrize(
    "case",
    [case for case in testing.OBJECTIVES if "loss" not in case],
    ids=lambda o: "-".join(map(str, o.values())),
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_objectives_gradient_is_the_dense_one(weighted, case, rank, dtype, backend):
    drawn = testing.random_ratings(19, 13, 0.3, seed=rank, weighted=weighted)
    keep = (drawn.user_index() != 3) & (drawn.by_user.indices != 5)  # a row without ratings
    ratings = drawn.select(keep)
    given = testing.Case(objective=case)
    objective = testing._objective(given, ratings)
    _, start = problem_of(ratings, biases=objective.biases, rank=rank, dtype=dtype)
    if objective.features is not None:
        start = start.with_maps(*ratings.shape[::-1])
    generator = np.random.default_rng(2)
    for array in start._arrays():
        array[...] = generator.standard_normal(array.shape) / np.sqrt(rank)
    start = replace(start, mean=objective.mean)
    out = start.empty_like()
    runs_on = get_backend(backend)
    value = objective.gradient(ratings.by_user, ratings.by_item, start, runs_on, out)
    expected = testing.gradient(ratings, objective, start)
    for name, array in expected.items():
        scale = max(1.0, np.abs(array).max())
        off = np.abs(getattr(out, name) - array).max()
        assert off <= testing.TOLERANCE[dtype] * scale, name
    again = objective.value(ratings.by_user, ratings.by_item, start, runs_on)
    assert value.objective == pytest.approx(again.objective, rel=1e-14)
    assert backend == "numpy" or value == again  # to the bit


# ------------------------------------------------------------------------------------ sweeps


@backends
def test_heavy_ball(ratings, backend):
    """x ← x + v with v ← β v − η ∂J, written literally."""
    problem, start = problem_of(ratings)
    eta, beta = 0.01, 0.7
    x = {name: array.astype(float) for name, array in testing._arrays(start).items()}
    v = {name: np.zeros_like(array) for name, array in x.items()}
    for _ in range(6):
        g = testing.gradient(ratings, problem.objective, replace(start, **x))
        for name in x:
            v[name] = beta * v[name] - eta * g[name]
            x[name] = x[name] + v[name]
    found = sweeps(hs.GD(step=eta, momentum=beta), problem, start, backend, 6)[-1]
    for name, array in testing._arrays(found).items():
        np.testing.assert_allclose(array, x[name], atol=1e-12)


@pytest.mark.parametrize("scaling", ["count", "none"])
def test_the_steepness_is_the_formula(ratings, scaling):
    problem, start = problem_of(ratings, scaling=scaling)
    c_u, c_i = (part.weights.astype(float) for part in (ratings.by_user, ratings.by_item))
    n_u = np.array([c_u[ratings.user_index() == u].sum() for u in range(30)])
    n_i = np.array([c_i[p:q].sum() for p, q in pairwise(ratings.by_item.indptr)])
    start.item_factors[...] = 0.5
    W, Z = start.user_factors, start.item_factors
    rho = 0.5 * (n_u @ (W**2).sum(1) + n_i @ (Z**2).sum(1)) / (3 * n_u.sum())
    s_u, s_i = (n_u, n_i) if scaling == "count" else (1.0, 1.0)
    expected = (
        (rho * n_u + 0.1 * s_u)[:, None],
        (rho * n_i + 0.2 * s_i)[:, None],
        n_u + 0.05 * s_u,
        n_i + 0.05 * s_i,
    )
    for found, wanted in zip(Steepness(problem).at(start), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_constant_step_that_is_too_long_diverges(simulated):
    model = hs.ExplicitMF(rank=3, solver=hs.GD(step=10.0), max_iter=200)
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(DivergedError, match=r"'gd': J is .* lower the solver's step"),
    ):
        model.fit(simulated)
    assert not hasattr(model, "factors_")


def test_a_constant_step_may_raise_j_and_goes_on(ratings):
    """J that rises is no reason to stop where the solver does not promise that it falls."""
    model = hs.ExplicitMF(
        rank=3, solver=hs.GD(step=0.3, momentum=0.95, scaling="rows"), max_iter=60
    )
    J = [row.objective for row in model.fit(ratings).trace_]
    assert any(b > a for a, b in pairwise(J))
    assert J[-1] < J[0]


@solvers
def test_nonnegative_factors(ratings, solver):
    """W, Z ≥ 0 after every sweep; at the end, what the gradient still asks for is forbidden."""
    problem, start = problem_of(ratings, nonnegative=True)
    unbounded = replace(problem, objective=replace(problem.objective, nonnegative=False))
    free = sweeps(solver, unbounded, start, "native", 40)[-1]
    found = sweeps(solver, problem, start, "native", 1000 if solver == hs.GD() else 100)
    runs_on, objective = get_backend("native"), problem.objective
    values = []
    for factors in found[:20]:
        assert factors.user_factors.min() >= 0
        assert factors.item_factors.min() >= 0
        value = objective.value(ratings.by_user, ratings.by_item, factors, runs_on)
        values.append(value.objective)
    if solver.descends:
        assert all(b <= a * (1 + 1e-12) for a, b in pairwise(values))
    assert free.user_factors.min() < 0
    if solver not in (hs.GD(), hs.LBFGS()):
        return  # slower to get there
    last = found[-1]
    g = testing.gradient(ratings, problem.objective, last)
    for name in ("user_factors", "item_factors"):
        x = getattr(last, name)
        assert np.abs(np.minimum(x, g[name])).max() < 2e-3, name  # x ≥ 0, g ≥ 0, x g = 0
        assert (x == 0).any()
    assert np.abs(g["user_bias"]).max() < 2e-3


@solvers
def test_rows_without_ratings_are_zero(ratings, solver):
    part = ratings.select((ratings.user_index() != 4) & (ratings.by_user.indices != 6))
    problem, start = problem_of(part)
    last = sweeps(solver, problem, start, "native", 3)[-1]
    assert not last.user_factors[4].any()
    assert not last.item_factors[6].any()
    assert last.user_bias[4] == last.item_bias[6] == 0


@solvers
def test_a_fit_may_go_on_from_another(ratings, solver):
    params = {"rank": 3, "solver": solver, "dtype": "float64", "tol": 0.0}
    first = hs.ExplicitMF(**params, max_iter=20).fit(ratings)
    second = hs.ExplicitMF(**params, max_iter=5).fit(ratings, init=first)
    assert second.trace_[-1].objective < first.trace_[-1].objective * (1 + 1e-12)
    assert second.trace_[0].objective < first.trace_[0].objective


@solvers
def test_without_a_penalty(ratings, solver):
    """λ = 0 leaves nothing to hold a row without ratings; no warning, no division by 0."""
    part = ratings.select(ratings.user_index() != 4)
    model = hs.ExplicitMF(rank=2, reg=0.0, solver=solver, max_iter=4).fit(part)
    J = [row.objective for row in model.trace_]
    assert J[-1] < J[0]


def test_at_the_optimum_nothing_moves(ratings):
    """A sweep from a minimum neither raises J nor fails."""
    problem, start = problem_of(ratings)
    best = sweeps(hs.LBFGS(iterations=200), problem, start, "native", 10)[-1]
    for solver in (hs.GD(), hs.LBFGS()):
        after = sweeps(solver, problem, best, "native", 2)[-1]
        testing.assert_near(best, after, 1e-6)


def test_the_scale_of_the_ratings_does_not_stop_lbfgs(simulated):
    """The penalty grows with the ratings, so that all of J does with their square."""
    users, items, r = simulated.to_arrays()

    def errors(scale):
        params = {"rank": 3, "reg": 0.1 * scale, "dtype": "float64", "max_iter": 3, "tol": 0.0}
        made = hs.Ratings.from_arrays(users, items, scale * r)
        model = hs.ExplicitMF(**params, biases=False, solver="lbfgs").fit(made)
        return [row.train_rmse / scale for row in model.trace_]

    for power in (-50, 50):
        np.testing.assert_allclose(errors(2.0**power), errors(1.0), rtol=1e-6)


def test_lbfgs_has_the_same_bits_for_any_threads_of_blas():
    """More unknowns than BLAS sums on one thread if it is let."""
    code = """
import hashlib
import halfstep as hs
ratings = hs.simulate(1500, 1000, rank=3, ratings_per_user=20, min_per_user=5, seed=0).ratings
f = hs.ExplicitMF(rank=16, max_iter=2, solver="lbfgs").fit(ratings).factors_
print(hashlib.sha256(f.user_factors.tobytes() + f.item_factors.tobytes()).hexdigest())
"""
    seen = set()
    for blas, own in (("1", "1"), ("2", "3"), ("4", "2")):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": blas, "HALFSTEP_NUM_THREADS": own}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout)
    assert len(seen) == 1


# --------------------------------------------------------------------------------- real data


def test_ml_100k_reaches_the_optimum_of_als(data_folder):
    """J of converged ALS (38,200.48) within 1e-6 at K = 100, by both."""
    ratings = hs.read_ratings(data_folder / "ml-100k" / "u.data")
    for solver, limit in ((hs.LBFGS(), 10), (hs.GD(), 250)):
        model = hs.ExplicitMF(
            rank=100,
            reg=(15, 15, 3),
            reg_scaling="none",
            dtype="float64",
            solver=solver,
            max_iter=limit,
            tol=0.0,
        )
        model.fit(ratings, callbacks=[lambda row: row.objective < 38200.4815 * (1 + 1e-6)])
        assert model.stopped_ == "callback", model.trace_[-1]
        assert model.trace_[-1].objective > 38200.4
