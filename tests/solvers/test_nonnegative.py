"""Non-negative factors: the row problem against scipy, and what a model makes of it."""

import os

import numpy as np
import pytest
from scipy.optimize import nnls

import halfstep as hs
from halfstep import _native, testing
from halfstep.backends import CSR, RowTerms, get_backend
from halfstep.errors import ParameterError, SingularSystemError
from halfstep.solvers import get_solver
from halfstep.solvers.linear import NonNegative

RANKS = (1, 2, 7, 8, 16, 17, 64, 65)
LENGTHS = np.array([0, 1, 2, 5, 16, 40, 0, 90])
NMF = {"nonnegative": True, "biases": False, "center": False}


def problem(rank, dtype, *, bias, weighted, seed=0, ridge=0.3):
    """The arguments of `solve_rows`, some rows without cells and some with one."""
    generator = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(LENGTHS)])
    indices = np.concatenate([np.sort(generator.permutation(100)[:n]) for n in LENGTHS])
    values = generator.integers(0, 11, len(indices)) / 2
    weights = generator.choice([0.25, 1.0, 3.0], len(indices)) if weighted else None
    cells = CSR(
        indptr.astype(np.int64),
        indices.astype(np.uint32),
        values.astype(np.float32),
        None if weights is None else weights.astype(np.float32),
    )
    size = rank + bias
    return cells, {
        "fixed": (generator.standard_normal((100, rank)) / np.sqrt(rank)).astype(dtype),
        "terms": RowTerms(1.0, 0.0, -2.0, 1.0),
        "offset": generator.standard_normal(100).astype(dtype),
        "prior": None,
        "linear": None,
        "ridge": np.full(size, ridge, dtype=dtype),
        "scale": (1.0 + 0.1 * LENGTHS).astype(dtype) if weighted else None,
    }


def solve(name, cells, given, bias):
    """(factors, bias) by a backend."""
    dtype, rank = given["fixed"].dtype, given["fixed"].shape[1]
    out = np.full((cells.n_rows, rank), -1.0, dtype=dtype)
    out_bias = np.full(cells.n_rows, 7.0, dtype=dtype) if bias else None
    arguments = {k: v for k, v in given.items() if k != "fixed"}
    get_backend(name).solve_rows(
        cells, given["fixed"], out=out, out_bias=out_bias, method=NonNegative(), **arguments
    )
    return out if out_bias is None else np.column_stack([out, out_bias])


def by_scipy(cells, given, bias):
    """‖√a (f·x − t)‖² + s d x² as stacked rows, the bias as the difference of two unknowns ≥ 0."""
    F = given["fixed"].astype(float)
    rank = F.shape[1]
    d = given["ridge"].astype(float)
    found = np.zeros((cells.n_rows, rank + bias))
    for u in range(cells.n_rows):
        row = slice(cells.indptr[u], cells.indptr[u + 1])
        i = cells.indices[row]
        if not len(i):
            continue
        c = np.ones(len(i)) if cells.weights is None else cells.weights[row].astype(float)
        t = cells.values[row] - 2.0 - given["offset"].astype(float)[i]
        s = 1.0 if given["scale"] is None else float(given["scale"][u])
        M = np.column_stack([F[i], np.ones(len(i))]) if bias else F[i]
        M = np.vstack([np.sqrt(c)[:, None] * M, np.diag(np.sqrt(s * d))])
        if bias:
            M = np.column_stack([M, -M[:, rank]])
        x, _ = nnls(M, np.concatenate([np.sqrt(c) * t, np.zeros(rank + bias)]), maxiter=10_000)
        found[u, :rank] = x[:rank]
        if bias:
            found[u, rank] = x[rank] - x[rank + 1]
    return found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_native_and_numpy_are_scipys_answer(dtype, rank, bias, weighted):
    cells, given = problem(rank, dtype, bias=bias, weighted=weighted, seed=rank)
    expected = by_scipy(cells, given, bias)
    if rank > 1:
        assert (expected[LENGTHS > 2, :rank] == 0).any()
        assert (expected[LENGTHS > 2, :rank] > 0).any()
    for name in testing.BACKENDS:
        found = solve(name, cells, given, bias)
        assert (found[:, :rank] >= 0).all()
        assert not found[LENGTHS == 0].any()
        scale = max(1.0, np.abs(expected).max())
        assert np.abs(found - expected).max() <= testing.TOLERANCE[dtype] * scale


@pytest.mark.parametrize("isa", _native.available_isas())
def test_every_instruction_set(isa, run_code):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import test_nonnegative as tests
from halfstep import _native
assert _native.isa() == sys.argv[2]
for dtype in ("float32", "float64"):
    for rank in (1, 8, 17, 65):
        tests.test_native_and_numpy_are_scipys_answer(dtype, rank, True, True)
"""
    done = run_code(code, os.path.dirname(__file__), isa, HALFSTEP_ISA=isa)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_ties_of_equal_factors(dtype):
    """Two factors that are the same column share its weight equally: the one minimum with a penalty."""
    cells, given = problem(6, dtype, bias=False, weighted=False)
    given["fixed"][:, 3:] = given["fixed"][:, :3]
    expected = by_scipy(cells, given, False)
    for name in testing.BACKENDS:
        found = solve(name, cells, given, False)
        np.testing.assert_allclose(found, expected, atol=testing.TOLERANCE[dtype] * 10)
        np.testing.assert_allclose(found[:, :3], found[:, 3:], atol=testing.TOLERANCE[dtype] * 10)


@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_all_targets_negative_is_zero(dtype):
    """Where any factor would raise what should be lower, all of them are 0: not −0, not rounding."""
    cells, given = problem(9, dtype, bias=False, weighted=False)
    given["fixed"] = np.abs(given["fixed"])
    given["offset"] = given["offset"] + np.array(50, dtype=dtype)
    for name in testing.BACKENDS:
        found = solve(name, cells, given, False)
        assert not found.any()
        assert not np.signbit(found).any()


def test_no_penalty_and_too_few_ratings_is_a_named_error():
    cells, given = problem(4, "float64", bias=False, weighted=False, ridge=0.0)
    rows = []
    for name in testing.BACKENDS:
        with pytest.raises(SingularSystemError) as caught:
            solve(name, cells, given, False)
        rows.append(caught.value.row)
    assert rows == [1, 1]
    few = hs.Ratings.from_arrays(["ann", "bob", "bob"], [1, 1, 2], [3.0, 4.0, 0.0])
    with pytest.raises(SingularSystemError, match=r"no unique solution.*raise reg"):
        hs.ExplicitMF(rank=2, reg=0.0, **NMF).fit(few)


# ------------------------------------------------------------------------------- models


@pytest.mark.parametrize("rank", [3, 70])
def test_als_solves_nonnegative_rows_by_itself(rank):
    assert get_solver("als", rank, nonnegative=True) == hs.ALS(linear=NonNegative())
    ratings = testing.random_ratings(30, 20, 0.5)
    model = hs.ExplicitMF(rank=rank, nonnegative=True, max_iter=4).fit(ratings)
    assert model._exact_users
    assert model.factors_.user_factors.min() == 0
    assert model.factors_.item_factors.min() == 0
    assert model.factors_.user_bias.min() < 0
    folded = model.fold_in(ratings)
    assert folded.factors.tobytes() == model.factors_.user_factors.tobytes()


@pytest.mark.parametrize("solver", ["als-cholesky", "als-cg", hs.ALS(linear=hs.Subspace(block=2))])
def test_other_ways_to_solve_rows_are_refused(simulated, solver):
    with pytest.raises(ParameterError, match=r"^linear=.*≥ 0; pass linear=\"auto\""):
        hs.ExplicitMF(solver=solver, nonnegative=True).fit(simulated)
    with pytest.raises(ParameterError, match=r"^linear=.*any sign"):
        hs.ExplicitMF(solver=hs.ALS(linear=NonNegative())).fit(simulated)


def test_saved_models_explain_and_fold_in_alike(tmp_path, simulated):
    model = hs.ExplicitMF(rank=6, reg=0.02, nonnegative=True, max_iter=5).fit(simulated)
    back = hs.load(model.save(tmp_path / "m.safetensors"))
    assert back.objective_ == model.objective_
    user, item = simulated.users.id_at(3), simulated.items.id_at(4)
    for one in (model, back):
        told = one.explain(user, item)
        assert told.exact
        assert told.score == pytest.approx(one.predict(user, item), abs=1e-4)
        assert told.baseline + told.contributions.sum() == pytest.approx(told.score)
        folded = one.fold_in(simulated, side="item")
        assert folded.factors.min() >= 0
        assert one.with_rows(folded).factors_.item_factors.tobytes() == folded.factors.tobytes()


def test_its_own_name_is_saved(tmp_path, simulated):
    solver = hs.ALS(linear=NonNegative())
    model = hs.ExplicitMF(rank=3, solver=solver, max_iter=2, **NMF).fit(simulated)
    assert hs.load(model.save(tmp_path / "m.safetensors")).solver == solver


def test_warm_starts_are_nonnegative_or_refused(simulated):
    plain = hs.ExplicitMF(rank=3, max_iter=3).fit(simulated)
    with pytest.raises(ParameterError, match=r"^init=.*below 0.*nonnegative=True"):
        hs.ExplicitMF(rank=3, nonnegative=True).fit(simulated, init=plain)
    first = hs.ExplicitMF(rank=3, nonnegative=True, max_iter=3).fit(simulated)
    warm = hs.ExplicitMF(rank=3, nonnegative=True, max_iter=1).fit(simulated, init=first)
    assert warm.trace_[0].objective <= first.trace_[-1].objective


def test_a_planted_table_is_recovered():
    """A non-negative table of rank 3 with a share of its cells hidden."""
    generator = np.random.default_rng(1)
    W, Z = generator.gamma(0.7, size=(80, 3)), generator.gamma(0.7, size=(60, 3))
    R = W @ Z.T
    seen = generator.random(R.shape) < 0.4
    train = hs.Ratings.from_dense(np.where(seen, R, np.nan))
    model = hs.ExplicitMF(
        rank=3, reg=1e-4, reg_scaling="none", max_iter=500, tol=1e-9, dtype="float64", **NMF
    ).fit(train)
    f = model.factors_
    assert min(f.user_factors.min(), f.item_factors.min()) >= 0
    hidden = (f.user_factors @ f.item_factors.T - R)[~seen]
    assert np.sqrt(np.mean(hidden**2)) < 0.02 * R.std()


def folds(path):
    """The customary five: rows of the file shuffled by RandomState(0), contiguous fifths."""
    users, items, r, _ = np.loadtxt(path, dtype=np.int64).T
    order = np.arange(len(r))
    np.random.RandomState(0).shuffle(order)
    for part in np.array_split(order, 5):
        rest = np.setdiff1d(order, part)
        yield (users[rest], items[rest], r[rest]), (users[part], items[part], r[part])


def test_movielens_100k_is_better_than_published(data_folder):
    """Surprise's documentation gives 0.963 for its NMF (K = 15) with five-fold cross-validation."""
    errors = {"biases": [], "classical": []}
    for train, (users, items, r) in folds(data_folder / "ml-100k" / "u.data"):
        ratings = hs.Ratings.from_arrays(*train)
        for name, options in (("biases", {"nonnegative": True}), ("classical", NMF)):
            model = hs.ExplicitMF(rank=15, reg=0.1, max_iter=20, **options).fit(ratings)
            errors[name].append(np.sqrt(np.mean((model.predict(users, items) - r) ** 2)))
    assert np.mean(errors["biases"]) < 0.93
    assert np.mean(errors["classical"]) < 0.94
