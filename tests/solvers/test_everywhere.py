"""Systems that share α₀ FᵀF, in the axes in which that is diagonal."""

import numpy as np
import pytest

import halfstep as hs
from halfstep import get_num_threads, set_num_threads, testing
from halfstep.backends import CSR, RowTerms, get_backend
from halfstep.errors import InternalError, SingularSystemError
from halfstep.objectives import RowProblem
from halfstep.solvers.everywhere import Everywhere
from halfstep.solvers.linear import NonNegative

ALPHA0 = 0.3
IALS = RowTerms(0.0, 2.0, 0.0, 2.0)  # a = b = 2 r
LENGTHS = (0, 1, 2, 5, 17, 40, 0, 100, 120)
NATIVE = get_backend("native")


def cells_of(columns=150, lengths=LENGTHS):
    generator = np.random.default_rng(0)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    chosen = [np.sort(generator.permutation(columns)[:n]) for n in lengths]
    indices = np.concatenate([np.empty(0), *chosen]).astype(np.uint32)
    return CSR(indptr, indices, generator.integers(1, 9, len(indices)).astype(np.float32))


def fixed_of(rank, dtype, columns=150):
    """Factors of very different sizes, in axes of no meaning."""
    generator = np.random.default_rng(rank)
    rows = generator.standard_normal((columns, rank)) * 0.9 ** np.arange(rank)
    axes = np.linalg.qr(generator.standard_normal((rank, rank)))[0]
    return (rows @ axes).astype(dtype)


def problem_of(cells, rank, dtype, linear=None):
    scale = (1.0 + 0.1 * np.diff(cells.indptr)).astype(dtype)
    return RowProblem(IALS, np.full(rank, 0.2, dtype=dtype), scale, linear=linear)


def systems(problem, cells, fixed):
    """A and h of every row, in float64."""
    F, found = fixed.astype(float), []
    P = ALPHA0 * F.T @ F
    for u in range(cells.n_rows):
        row = slice(cells.indptr[u], cells.indptr[u + 1])
        f, a = F[cells.indices[row]], 2.0 * cells.values[row].astype(float)
        A = P + (f.T * a) @ f + float(problem.scale[u]) * np.diag(problem.ridge.astype(float))
        h = f.T @ a
        if problem.linear is not None:
            h = h + problem.linear[u if len(problem.linear) > 1 else 0].astype(float)
        found.append((A, h))
    return found


def dense(problem, cells, fixed):
    """The formula, in float64."""
    return np.array([np.linalg.solve(A, h) for A, h in systems(problem, cells, fixed)])


@pytest.mark.parametrize("backend", testing.BACKENDS)
@pytest.mark.parametrize("linear", ["none", "one", "each"])
@pytest.mark.parametrize("rank", [1, 8, 17, 64, 130])
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_it_is_the_solution(dtype, rank, linear, backend):
    backend, cells, fixed = get_backend(backend), cells_of(), fixed_of(rank, dtype)
    rows = {"none": 0, "one": 1, "each": cells.n_rows}[linear]
    q = np.random.default_rng(1).standard_normal((rows, rank)).astype(dtype) if rows else None
    problem = problem_of(cells, rank, dtype, q)
    out = np.full((cells.n_rows, rank), np.nan, dtype=dtype)
    Everywhere.of(fixed, ALPHA0, backend).solve(problem, cells, out, backend)
    expected = dense(problem, cells, fixed)
    worst = np.abs(out - expected).max()
    assert worst <= testing.TOLERANCE[dtype] * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("method", [hs.CG(steps=3), hs.Subspace(block=8)], ids=repr)
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_a_step_comes_nearer_from_its_start(method, dtype):
    rank = 40
    cells, fixed = cells_of(), fixed_of(rank, dtype)
    problem = problem_of(cells, rank, dtype)
    there = Everywhere.of(fixed, ALPHA0, NATIVE)
    expected = dense(problem, cells, fixed)
    out = np.random.default_rng(2).standard_normal(expected.shape).astype(dtype)

    def values():
        """½ (x − x*)ᵀ A (x − x*) of every row."""
        errors = out.astype(float) - expected
        made = zip(systems(problem, cells, fixed), errors, strict=True)
        return np.array([0.5 * e @ A @ e for (A, _), e in made])

    before = values()
    there.solve(problem, cells, out, NATIVE, method)
    assert (values() < before)[np.diff(cells.indptr) > 0].all()
    for _ in range(200):
        there.solve(problem, cells, out, NATIVE, method)
    worst = np.abs(out - expected).max()
    assert worst <= 10 * testing.TOLERANCE[dtype] * np.abs(expected).max()
    assert not out[np.diff(cells.indptr) == 0].any()


@pytest.mark.parametrize("method", [None, hs.Cholesky(), hs.CG(), hs.Subspace()], ids=repr)
@pytest.mark.parametrize("rank", [17, 64])
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_a_row_has_the_same_bits_alone_and_on_any_number_of_threads(dtype, rank, method):
    cells, fixed = cells_of(lengths=LENGTHS * 30), fixed_of(rank, dtype)
    problem = problem_of(cells, rank, dtype)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            there = Everywhere.of(fixed, ALPHA0, NATIVE)
            found.append(np.ones((cells.n_rows, rank), dtype=dtype))
            there.solve(problem, cells, found[-1], NATIVE, method)
    finally:
        set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    for u in range(len(LENGTHS)):
        row = slice(cells.indptr[u], cells.indptr[u + 1])
        indptr = np.array([0, row.stop - row.start], dtype=np.int64)
        alone = CSR(indptr, cells.indices[row].copy(), cells.values[row].copy())
        own = RowProblem(IALS, problem.ridge, problem.scale[u : u + 1])
        x = np.ones((1, rank), dtype=dtype)
        there.solve(own, alone, x, NATIVE, method)
        np.testing.assert_array_equal(x[0], found[0][u])


def test_more_axes_than_rows():
    """FᵀF is singular, and its smallest eigenvalues may come out below 0."""
    for columns in (0, 1, 5):
        fixed = fixed_of(30, np.float32, columns)
        cells = cells_of(columns, lengths=(0, min(1, columns), columns))
        problem = problem_of(cells, 30, np.float32)
        there = Everywhere.of(fixed, ALPHA0, NATIVE)
        assert (there.prior >= 0).all()
        out = np.full((3, 30), np.nan, dtype=np.float32)
        there.solve(problem, cells, out, NATIVE)
        np.testing.assert_allclose(out, dense(problem, cells, fixed), atol=1e-5)


def test_a_row_without_a_solution_is_named():
    cells = cells_of()
    for broken in (np.nan, np.inf):
        fixed = fixed_of(8, np.float32)
        fixed[3] = broken
        there = Everywhere.of(fixed, ALPHA0, NATIVE)
        problem, out = problem_of(cells, 8, np.float32), np.zeros((cells.n_rows, 8), np.float32)
        with pytest.raises(SingularSystemError) as caught:
            there.solve(problem, cells, out, NATIVE)
        assert caught.value.row == 1  # the first that has cells


@pytest.mark.parametrize("rank", [4, 50])
@pytest.mark.parametrize("reg", [0.0, 1e-12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_steps_do_not_follow_the_rounding_of_axes_without_factors(rank, reg, dtype, backend):
    users, items = np.divmod(np.arange(24), 4)  # every user has every item
    made = hs.ImplicitMF(rank, reg=reg, solver="als-cg", dtype=dtype, max_iter=8, tol=0.0)
    found = made.fit(hs.Ratings.from_arrays(users, items), backend=backend)
    J = np.array([row.objective for row in found.trace_])
    assert (np.diff(J) <= 1e-5 * J[:-1]).all()
    assert np.abs(found.factors_.item_factors).max() < 100


def test_what_has_no_other_axes_is_refused():
    cells, fixed = cells_of(), fixed_of(4, np.float64)
    there = Everywhere.of(fixed, ALPHA0, NATIVE)
    out, four = np.zeros((cells.n_rows, 4)), np.ones(4)
    for problem, method in (
        (RowProblem(IALS, four, None), NonNegative()),
        (RowProblem(IALS, four, None, nonnegative=True), None),
        (RowProblem(IALS, four, None, prior=np.eye(4)), None),
        (RowProblem(IALS, np.ones(5), None), None),
        (RowProblem(IALS, np.arange(1.0, 5.0), None), None),
    ):
        with pytest.raises(InternalError):
            there.solve(problem, cells, out, NATIVE, method)
