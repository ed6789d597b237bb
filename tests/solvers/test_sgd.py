"""Stochastic gradient descent: both backends take the same steps, and they lead to J's minimum."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import halfstep as hs
from halfstep import _native, testing
from halfstep.backends import get_backend
from halfstep.backends.base import Parts, StepRows, StepTerms
from halfstep.errors import DivergedError, InternalError, ParameterError
from halfstep.objectives import Reg, SquaredError
from halfstep.solvers import Problem, solver_from_dict, solver_to_dict
from halfstep.solvers.sgd import parts_for

NUMPY, NATIVE = get_backend("numpy"), get_backend("native")
RANKS = (1, 2, 7, 8, 15, 16, 17, 24, 33, 64, 65, 130)
T = ("float32", "float64")


def dealt(rows, parts, generator):
    cuts = np.sort(np.concatenate([[0, rows], generator.integers(0, rows + 1, parts - 1)]))
    return Parts(generator.permutation(rows).astype(np.uint32), cuts.astype(np.int64))


def epoch(backend, rank, dtype, *, parts=3, biases=True, weighted=True, adaptive=True, **changes):
    """Two epochs from a random start; the arrays after them. User 3 and item 5 have no ratings."""
    generator = np.random.default_rng(rank)
    cells = testing.random_ratings(30, 21, 0.4, seed=1, weighted=weighted)
    cells = cells.select((cells.user_index() != 3) & (cells.by_user.indices != 5)).by_user
    users, items = dealt(30, parts, generator), dealt(21, parts, generator)
    grid = backend.sgd_grid(cells, users, items)
    sides = [
        StepRows(
            (generator.standard_normal((rows, rank)) / np.sqrt(rank)).astype(dtype),
            generator.standard_normal(rows).astype(dtype) if biases else None,
            generator.uniform(0, 1, rows).astype(dtype) if rank % 2 else None,
            generator.uniform(1, 2, (rows, 2)).astype(dtype) if adaptive else None,
        )
        for rows in (30, 21)
    ]
    terms = StepTerms(2.5, 0.05, 0.02, (0.3, 0.2, 0.1), 0.1, False, False)
    terms = replace(terms, **changes)
    for _ in range(2):
        diagonals = generator.permutation(parts).astype(np.int64)
        backend.sgd_epoch(grid, diagonals, terms, *sides)
    return [a for s in sides for a in (s.factors, s.bias, s.sums) if a is not None]


def same_steps(rank, dtype, **options):
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    pairs = zip(
        epoch(NATIVE, rank, dtype, **options), epoch(NUMPY, rank, dtype, **options), strict=True
    )
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


OPTIONS = {
    "everything": {},
    "no biases": {"biases": False},
    "no weights": {"weighted": False},
    "one rate": {"adaptive": False},
    "one part": {"parts": 1},
    "many parts": {"parts": 20},
    "head only": {"head_only": True},
    "nonnegative": {"nonnegative": True},
}


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("name", OPTIONS)
def test_both_backends_take_the_same_steps(name, rank, dtype):
    same_steps(rank, dtype, **OPTIONS[name])


COMPARE = """
import sys
sys.path.insert(0, sys.argv[1])
import test_sgd as tests
from halfstep import _native
assert _native.isa() == sys.argv[2], _native.isa()
for dtype in tests.T:
    for rank in (1, 8, 17, 64, 130):
        for options in tests.OPTIONS.values():
            tests.same_steps(rank, dtype, **options)
"""


@pytest.mark.parametrize("isa", _native.available_isas())
def test_every_instruction_set_takes_the_same_steps(isa, run_code):
    done = run_code(COMPARE, os.path.dirname(__file__), isa, HALFSTEP_ISA=isa)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 5, 40])
def test_both_backends_visit_in_the_same_order(parts, weighted):
    generator = np.random.default_rng(parts)
    cells = testing.random_ratings(90, 40, 0.3, seed=2, weighted=weighted).by_user
    users, items = dealt(90, parts, generator), dealt(40, parts, generator)
    starts, *columns = NATIVE.sgd_grid(cells, users, items).arrays()
    expected = NUMPY.sgd_grid(cells, users, items)
    np.testing.assert_array_equal(starts, expected.starts)
    names = ("users", "items", "values", "weights")
    for column, name in zip(columns, names, strict=True):
        if getattr(expected, name) is None:
            assert column is None
        else:
            np.testing.assert_array_equal(column, getattr(expected, name))


def test_every_cell_is_visited_once_and_diagonals_share_no_rows():
    generator = np.random.default_rng(0)
    ratings = testing.random_ratings(50, 30, 0.4, seed=3)
    cells, B = ratings.by_user, 4
    grid = NATIVE.sgd_grid(cells, dealt(50, B, generator), dealt(30, B, generator))
    starts, users, items, values, _ = grid.arrays()
    order = np.lexsort((items, users))
    np.testing.assert_array_equal(users[order], ratings.user_index())
    np.testing.assert_array_equal(items[order], cells.indices)
    np.testing.assert_array_equal(values[order], cells.values)
    for d in range(B):
        for rows in (users, items):
            seen = [
                set(rows[starts[b] : starts[b + 1]].tolist())
                for b in (p * B + (p + d) % B for p in range(B))
            ]
            assert len(set().union(*seen)) == sum(map(len, seen))


@pytest.mark.parametrize(
    ("order", "cuts", "message"),
    [
        ([0, 1, 1], [0, 3], "every row once"),
        ([0, 1, 9], [0, 3], "every row once"),
        ([0, 1, 2], [0, 2], "indptr must begin at 0"),
        ([0, 1, 2], [0], "1 to 65534 parts"),
        ([0, 1], [0, 2], "users must be the rows"),
    ],
)
def test_the_kernels_refuse_parts_that_threads_could_share(order, cuts, message):
    cells = hs.Ratings.from_arrays([1, 2, 3], [1, 2, 2], [1.0, 2.0, 3.0]).by_user
    users = Parts(np.array(order, dtype=np.uint32), np.array(cuts, dtype=np.int64))
    items = Parts(np.array([0, 1], dtype=np.uint32), np.array([0, 2], dtype=np.int64))
    with pytest.raises(InternalError, match=message):
        NATIVE.sgd_grid(cells, users, items)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sums": np.ones((3, 1))},
        {"bias": np.zeros(2)},
        {"share": np.zeros(4)},
        {"factors": np.zeros((2, 4))},
        {"factors": np.zeros((3, 4), dtype=np.float32)},
        {"sums": None},
        {"bias": None},
    ],
    ids=str,
)
def test_the_kernels_refuse_arrays_that_do_not_fit(wrong):
    cells = hs.Ratings.from_arrays([1, 2, 3], [1, 2, 2], [1.0, 2.0, 3.0]).by_user
    whole = [Parts(np.arange(k, dtype=np.uint32), np.array([0, k])) for k in (3, 2)]
    grid = NATIVE.sgd_grid(cells, *whole)
    users, items = (
        StepRows(np.zeros((k, 4)), np.zeros(k), np.zeros(k), np.ones((k, 2))) for k in (3, 2)
    )
    terms = StepTerms(0.0, 0.1, 0.1, (0.1, 0.1, 0.1), 1.0, False, False)
    with pytest.raises(InternalError):
        NATIVE.sgd_epoch(grid, np.array([0]), terms, replace(users, **wrong), items)
    with pytest.raises(InternalError):
        NATIVE.sgd_epoch(grid, np.array([1]), terms, users, items)
    halves = Parts(np.arange(3, dtype=np.uint32), np.array([0, 1, 3]))  # beside one part of items
    with pytest.raises(InternalError):
        NATIVE.sgd_epoch(
            NATIVE.sgd_grid(cells, halves, whole[1]), np.array([0]), terms, users, items
        )


# ------------------------------------------------------------------------------ fits


@pytest.fixture(scope="module")
def ratings():
    return hs.simulate(300, 120, rank=4, ratings_per_user=50, min_per_user=5, seed=0).ratings


@pytest.mark.parametrize("schedule", ["adagrad", "decay", "constant"])
@pytest.mark.parametrize("biases", [True, False])
def test_same_bits_for_any_number_of_threads(schedule, biases):
    ratings = hs.simulate(1500, 400, rank=4, ratings_per_user=60, seed=0).ratings
    assert parts_for(40, *ratings.shape, len(ratings)) >= 4  # threads have blocks to share
    before, fits = hs.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            solver = hs.SGD(schedule=schedule)
            model = hs.ExplicitMF(rank=40, solver=solver, biases=biases, max_iter=4, tol=0.0)
            fits.append(model.fit(ratings))
    finally:
        hs.set_num_threads(before)
    for other in fits[1:]:
        testing.assert_same_bits(fits[0].factors_, other.factors_)


@pytest.mark.parametrize("reg_scaling", ["count", "none"])
def test_it_comes_to_the_objective_of_als(ratings, reg_scaling):
    params = {
        "rank": 5,
        "reg": 0.15 if reg_scaling == "count" else (8.0, 8.0, 2.0),
        "reg_scaling": reg_scaling,
        "dtype": "float64",
    }
    least = hs.ExplicitMF(**params, max_iter=1000, tol=1e-12).fit(ratings).trace_[-1].objective
    solver = hs.SGD(schedule="decay", rate=0.05, decay=0.05)
    model = hs.ExplicitMF(**params, solver=solver, max_iter=400, tol=0.0).fit(ratings)
    assert model.trace_[-1].objective <= least * (1 + 1e-3)
    assert model.trace_[-1].objective >= least * (1 - 1e-6)


def test_the_scale_of_the_ratings_does_not_matter(ratings):
    users, items, r = ratings.to_arrays()
    params = {"rank": 4, "reg": 0.0, "max_iter": 5, "tol": 0.0, "dtype": "float64"}
    fits = [
        hs.ExplicitMF(**params, solver="sgd").fit(hs.Ratings.from_arrays(users, items, factor * r))
        for factor in (1, 64)
    ]
    one, two = (model.predict(users[:50], items[:50]) for model in fits)
    np.testing.assert_allclose(64 * one, two, rtol=1e-6)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("far", [100, 1e4])
def test_ratings_far_from_zero_without_a_mean(ratings, far, biases):
    users, items, r = ratings.to_arrays()
    params = {"rank": 4, "center": False, "biases": biases, "max_iter": 10, "tol": 0.0}
    model = hs.ExplicitMF(**params, solver="sgd").fit(hs.Ratings.from_arrays(users, items, r + far))
    assert model.trace_[-1].objective < 0.1 * far**2 * len(r)  # half of it is the error of 0


def test_the_scale_of_the_weights_does_not_matter(ratings):
    users, items, r = ratings.to_arrays()
    params = {"rank": 4, "max_iter": 5, "tol": 0.0, "dtype": "float64"}
    one, two = (
        hs.ExplicitMF(**params, solver="sgd").fit(
            hs.Ratings.from_arrays(users, items, r, weight=np.full(len(r), weight))
        )
        for weight in (1, 4096)
    )
    testing.assert_near(one.factors_, two.factors_, 1e-9)


def test_the_seed_is_the_order_of_the_visits(ratings):
    def factors(seed):
        model = hs.ExplicitMF(rank=4, solver=hs.SGD(seed=seed), max_iter=2, tol=0.0)
        return model.fit(ratings).factors_

    testing.assert_same_bits(factors(3), factors(3))
    assert np.abs(factors(3).user_factors - factors(4).user_factors).max() > 1e-4


def test_a_warm_start_is_kept(ratings):
    first = hs.ExplicitMF(rank=4, max_iter=10).fit(ratings)
    solver = hs.SGD(schedule="constant", rate=1e-6)
    second = hs.ExplicitMF(rank=4, solver=solver, max_iter=1).fit(ratings, init=first)
    testing.assert_near(first.factors_, second.factors_, 1e-3)


def test_rows_stay_nonnegative(ratings):
    objective = SquaredError(0.0, Reg(0.1, 0.1, 0.1), "count", biases=True, nonnegative=True)
    start = hs.Factors.random(ratings, 6, biases=True, mean=0.0, dtype="float32", seed=0)
    problem = Problem.of(ratings, objective, 6, "float32")
    sweep, out = hs.SGD().begin(problem, start, NATIVE), start.empty_like()
    values = []
    for _ in range(10):
        list(sweep(start, out))
        start, out = out, start
        assert (start.user_factors >= 0).all()
        assert (start.item_factors >= 0).all()
        values.append(objective.value(ratings.by_user, ratings.by_item, start, NATIVE).objective)
    assert values[-1] < values[0]


@pytest.mark.parametrize("backend", testing.BACKENDS)
def test_a_rate_that_is_too_high_is_one_clear_error(backend):
    few = testing.random_ratings(30, 20, 0.5, seed=0)
    model = hs.ExplicitMF(rank=3, solver=hs.SGD(schedule="constant", rate=20.0), reg=0.0)
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="lower the solver's step"):
        model.fit(few, backend=backend)


def test_no_penalty_is_too_large(ratings):
    model = hs.ExplicitMF(rank=3, reg=1e6, solver="sgd", max_iter=3, tol=0.0).fit(ratings)
    assert np.abs(model.factors_.item_factors).max() < 1e-3


def test_another_objective_is_refused(ratings):
    start = hs.Factors.random(ratings, 2, biases=True, mean=0.0, dtype="float32", seed=0)
    problem = Problem.of(ratings, SquaredError(0.0, Reg(1, 1, 1), "none", True), 2, "float32")
    with pytest.raises(ParameterError, match="does not minimize"):
        hs.SGD().begin(replace(problem, objective=object()), start, NATIVE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate=0: must be a finite number above 0"),
        ({"rate": float("nan")}, "rate=nan: must be"),
        ({"rate": "fast"}, "rate='fast': must be"),
        ({"schedule": "cosine"}, "schedule='cosine': is not a choice; choose one of adagrad"),
        ({"schedule": None}, "schedule=None: is not a choice"),
        ({"decay": -1}, "decay=-1: must be a finite number of at least 0"),
        ({"decay": True}, "decay=True: must be"),
        ({"seed": -1}, "seed=-1: must be an integer"),
        ({"seed": 1.5}, "seed=1.5: must be an integer"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ParameterError) as caught:
        hs.SGD(**options)
    assert str(caught.value).startswith(message)


def test_a_model_file_holds_it(ratings, tmp_path):
    solver = hs.SGD(rate=np.float32(0.5), schedule="decay", decay=0.25, seed=np.int64(7))
    assert solver_from_dict(solver_to_dict(solver)) == solver
    model = hs.ExplicitMF(rank=2, solver=hs.SGD(seed=7), max_iter=2).fit(ratings)
    model.save(tmp_path / "model.safetensors")
    assert hs.load(tmp_path / "model.safetensors").solver == hs.SGD(seed=7)


INTERRUPTED = """
import sys
import halfstep as hs
ratings = hs.simulate(4000, 1000, rank=2, ratings_per_user=100, min_per_user=5, seed=0).ratings
class Tell:
    def __call__(self, row):
        print(row.sweep, flush=True)
model = hs.ExplicitMF(rank=128, solver="sgd", max_iter=100_000, tol=0.0)
try:
    model.fit(ratings, callbacks=[Tell()])
except KeyboardInterrupt:
    print("interrupted", model.stopped_, flush=True)
"""


def test_ctrl_c_is_answered_within_a_second():
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.2)
        sent = time.perf_counter()
        child.send_signal(signal.SIGINT)
        lines = child.stdout.read().splitlines()
        assert time.perf_counter() - sent < 1.0
    assert lines[-1] == "interrupted interrupted"
