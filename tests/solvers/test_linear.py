"""The linear solvers inside ALS: their choice, their arguments, their answers, and what a model says."""

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.backends import CSR, RowTerms, get_backend
from halfstep.errors import ParameterError, SingularSystemError
from halfstep.solvers import Problem, get_solver, solver_from_dict, solver_to_dict
from halfstep.solvers.linear import EXACT_UP_TO, linear_for_rows

METHODS = [
    hs.CG(steps=1),
    hs.CG(steps=4),
    hs.CG(steps=30, tol=0.2),
    hs.Subspace(block=1),
    hs.Subspace(block=7),
    hs.Subspace(block=32),
]
INEXACT = [hs.ALS(linear=hs.CG(steps=2)), hs.ALS(linear=hs.Subspace(block=1)), "als-cg"]


# ------------------------------------------------------------------- choice and arguments


def test_the_rank_chooses():
    assert get_solver("als", EXACT_UP_TO) == hs.ALS(linear=hs.Cholesky())
    assert get_solver(hs.ALS(), EXACT_UP_TO + 1) == hs.ALS(linear=hs.CG(steps=3))
    assert get_solver(hs.ALS(linear=hs.Cholesky()), 500).linear == hs.Cholesky()
    assert get_solver("als-subspace", 3).linear == hs.Subspace()


def test_row_lengths_choose_where_all_rows_share_a_matrix():
    """Short rows have a small dual at any rank; of long ones a step is cheaper where K is large."""
    for rank in (128, 1024):
        assert linear_for_rows(rank, [np.full(1000, 20), np.full(900, 27)]) == hs.Cholesky()
        assert linear_for_rows(rank, [np.full(1000, 200), np.full(900, 300)]) == hs.CG()
    assert linear_for_rows(16, [np.full(1000, 200)]) == hs.Cholesky()
    assert linear_for_rows(1024, [np.zeros(5), np.zeros(0)]) == hs.Cholesky()
    few_long = np.append(np.full(10_000, 20), 5000)  # one of the primal systems
    assert linear_for_rows(1024, [few_long]) == hs.Cholesky()


def test_who_ends_with_exact_users():
    assert get_solver("als", EXACT_UP_TO).ends_with_users
    assert not get_solver("als", EXACT_UP_TO + 1).ends_with_users
    assert hs.ALS(linear=hs.Cholesky()).ends_with_users
    assert not get_solver("als-cg", 3).ends_with_users
    assert not get_solver("als-subspace", 3).ends_with_users


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: hs.CG(steps=0),
        lambda: hs.CG(steps=2.5),
        lambda: hs.CG(steps=True),
        lambda: hs.CG(steps=2**70),
        lambda: hs.CG(tol=-0.1),
        lambda: hs.CG(tol=1.0),
        lambda: hs.CG(tol=float("nan")),
        lambda: hs.CG(tol="small"),
        lambda: hs.Subspace(block=0),
        lambda: hs.Subspace(block="all"),
        lambda: hs.Subspace(block=2**70),
        lambda: hs.ALS(linear="cg"),
        lambda: hs.ALS(linear=hs.CG),
        lambda: hs.ALS(linear=None),
    ],
)
def test_wrong_arguments(wrong):
    with pytest.raises(ParameterError, match=r"steps|tol|block|linear"):
        wrong()


@pytest.mark.parametrize(
    ("solver", "text"),
    [
        (hs.ALS(), "ALS(linear='auto')"),
        (hs.ALS(linear=hs.CG(steps=5)), "ALS(linear=CG(steps=5, tol=0.0))"),
        (hs.ALS(linear=hs.Subspace(block=16)), "ALS(linear=Subspace(block=16))"),
        (hs.ALS(linear=hs.Cholesky()), "ALS(linear=Cholesky())"),
    ],
)
def test_written_and_read(solver, text):
    assert repr(solver) == text
    assert solver_from_dict(solver_to_dict(solver)) == solver
    assert text in repr(hs.ExplicitMF(solver=solver))


def test_clone_replaces_solvers_whole():
    base = pytest.importorskip("sklearn.base")
    model = hs.ExplicitMF(solver=hs.ALS(linear=hs.CG(steps=2)))
    assert base.clone(model).get_params() == model.get_params()
    assert model.set_params(solver=hs.ALS(linear=hs.Subspace())).solver.linear == hs.Subspace()


# --------------------------------------------------------------------------- the answers


def _cells(generator, weighted):
    lengths = np.array([0, 1, 2, 5, 8, 17, 40, 0, 90])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.concatenate([np.sort(generator.permutation(100)[:n]) for n in lengths])
    values = generator.integers(0, 11, len(indices)) / 2
    weights = generator.choice([0.25, 1.0, 3.0], len(indices)).astype(np.float32)
    return CSR(
        indptr.astype(np.int64),
        indices.astype(np.uint32),
        values.astype(np.float32),
        weights if weighted else None,
    )


def _solve(name, method, dtype, rank, whole):
    """(x, bias) of rows with a random start; with everything that a row problem has where `whole`."""
    generator = np.random.default_rng(rank)
    size = rank + whole
    half = generator.standard_normal((size, size)) / np.sqrt(size)
    cells = _cells(generator, whole)
    made = {
        "fixed": generator.standard_normal((100, rank)) / np.sqrt(rank),
        "offset": generator.standard_normal(100) if whole else None,
        "prior": half @ half.T if whole else None,
        "linear": generator.standard_normal((cells.n_rows, size)) if whole else None,
        "ridge": generator.random(size) + 0.5,
        "scale": 1.0 + np.diff(cells.indptr) * 0.1 if whole else None,
        "out": generator.standard_normal((cells.n_rows, rank)),
        "out_bias": generator.standard_normal(cells.n_rows) if whole else None,
    }
    given = {k: None if v is None else v.astype(dtype) for k, v in made.items()}
    terms = RowTerms(0.5, 0.25, -3.0, 1.0)
    get_backend(name).solve_rows(cells, given.pop("fixed"), terms, method=method, **given)
    return given["out"], given["out_bias"]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("rank", [1, 10, 50, 64, 100, 128, 200])
@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_native_is_the_oracle(method, dtype, rank, whole):
    found, expected = (_solve(name, method, dtype, rank, whole) for name in ("native", "numpy"))
    for one, two in zip(found, expected, strict=True):
        if two is not None:
            worst = np.abs(one.astype(float) - two).max()
            assert worst <= testing.TOLERANCE[dtype] * max(1.0, np.abs(two).max())


@pytest.mark.parametrize("backend", testing.BACKENDS)
@pytest.mark.parametrize("method", [hs.CG(), hs.Subspace(block=1)], ids=repr)
def test_a_system_that_is_not_positive_definite_names_its_row(backend, method):
    cells = _cells(np.random.default_rng(0), False)
    scale = np.ones(cells.n_rows)
    scale[5:] = -1e6
    with pytest.raises(SingularSystemError) as told:
        get_backend(backend).solve_rows(
            cells,
            np.ones((100, 2)),
            RowTerms(1.0, 0.0, 0.0, 1.0),
            offset=None,
            prior=None,
            linear=None,
            ridge=np.ones(2),
            scale=scale,
            out=np.zeros((cells.n_rows, 2)),
            out_bias=None,
            method=method,
        )
    assert told.value.row == 5


@pytest.mark.parametrize("solver", INEXACT, ids=repr)
def test_a_sweep_leaves_its_start_alone(solver):
    case = testing.Case(solver=get_solver(solver, 3))
    ratings = case.ratings()
    start = case.fit(ratings, max_iter=1).factors_
    before, out = start.copy(), start.empty_like()
    problem = Problem.of(ratings, testing._objective(case, ratings), 3, "float64")
    for _ in case.solver.begin(problem, start, get_backend("native"))(start, out):
        pass
    testing.assert_same_bits(start, before)


@pytest.mark.parametrize("linear", [hs.CG(), hs.Subspace()], ids=repr)
def test_the_optimum_does_not_change(linear):
    """The same J to a thousandth, and predictions of the same quality, at a rank of the rule."""
    ratings = hs.simulate(500, 200, rank=4, seed=1).ratings
    train, test = hs.split_random(ratings, test=0.2, seed=0)
    exact, other = (
        hs.ExplicitMF(rank=80, reg=0.05, solver=hs.ALS(linear=how)).fit(train)
        for how in (hs.Cholesky(), linear)
    )
    assert other.trace_[-1].objective <= 1.001 * exact.trace_[-1].objective
    assert other.rmse(test) <= 1.002 * exact.rmse(test)


def test_extreme_scales_do_not_vanish():
    """Residuals whose squares are below the range of float32 still count."""
    ratings = testing.random_ratings(40, 30, 0.5)
    users, items, r = ratings.to_arrays()
    options = {"rank": 3, "reg": 1e-12, "max_iter": 5, "tol": 0.0, "biases": False}
    options["solver"] = hs.ALS(linear=hs.CG(steps=5))
    plain = hs.ExplicitMF(**{**options, "reg": 1e-2}).fit(users_items(users, items), r)
    tiny = hs.ExplicitMF(**options).fit(users_items(users, items), r * 1e-10)
    assert tiny.trace_[-1].train_rmse == pytest.approx(
        1e-10 * plain.trace_[-1].train_rmse, rel=1e-2
    )


def users_items(users, items):
    return np.column_stack([users.astype(object), items.astype(object)])


def test_constant_ratings_converge_to_nothing():
    users, items = np.divmod(np.arange(60), 10)
    for dtype in testing.DTYPES:
        for linear in (hs.CG(steps=20), hs.Subspace(block=2)):
            model = hs.ExplicitMF(
                rank=4, solver=hs.ALS(linear=linear), max_iter=60, tol=0.0, dtype=dtype
            ).fit(np.column_stack([users, items]), np.full(60, 3.5))
            assert model.trace_[-1].train_rmse < 1e-5


# --------------------------------------------------------------------- what a model says


@pytest.mark.parametrize("solver", INEXACT, ids=repr)
def test_explanations_of_inexact_models_say_so(tmp_path, solver):
    ratings = testing.random_ratings(30, 20, 0.4)
    model = hs.ExplicitMF(rank=6, reg=0.05, max_iter=2, solver=solver).fit(ratings)
    user, item = ratings.users.id_at(2), ratings.items.id_at(3)
    back = hs.load(model.save(tmp_path / "m.safetensors"))
    for one in (model, back):
        told = one.explain(user, item)
        assert not told.exact
        assert "folded-in" in str(told)
        folded = one.with_rows(one.fold_in(ratings))
        assert told.score == pytest.approx(folded.predict(user, item), abs=1e-4)
        assert told.baseline + told.contributions.sum() == pytest.approx(told.score)


def test_the_rule_reaches_the_explanation(tmp_path):
    ratings = testing.random_ratings(30, 20, 0.4)
    for rank, exact in ((EXACT_UP_TO, True), (EXACT_UP_TO + 1, False)):
        model = hs.ExplicitMF(rank=rank, max_iter=1).fit(ratings)
        back = hs.load(model.save(tmp_path / "m.safetensors"))
        for one in (model, back):
            assert one.explain(ratings.users.id_at(2), ratings.items.id_at(3)).exact is exact
