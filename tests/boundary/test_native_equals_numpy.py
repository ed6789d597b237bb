"""The native backend against the readable one, call by call, at the sizes where vectors end."""

import os

import numpy as np
import pytest

from halfstep import _native, get_num_threads, set_num_threads, testing
from halfstep.backends import CSR, RowTerms, get_backend
from halfstep.errors import SingularSystemError
from halfstep.solvers.linear import CG, NonNegative, Subspace

SIZES = (0, 1, 7, 8, 9, 15, 16, 17, 31, 33)
RANKS = SIZES[1:]
T = {"float32": np.float32, "float64": np.float64}
SQUARED = RowTerms(1.0, 0.0, -3.0, 1.0)
IMPLICIT = RowTerms(0.0, 1.0, 0.0, 1.0)  # a = b = c v
WRMF = RowTerms(0.0, 1.0, 0.25, 1.0)
NUMPY, NATIVE = get_backend("numpy"), get_backend("native")


def near(found, expected, dtype, scale=None):
    """Within the stated tolerance of the largest entry."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    largest = max(1.0, float(np.abs(expected).max(initial=0.0))) if scale is None else scale
    worst = float(np.abs(found - expected).max(initial=0.0))
    assert worst <= testing.TOLERANCE[dtype] * largest, (worst, largest)


def cells_of(rows, columns, generator, *, each=None, weighted=False):
    """Random cells: rows of every length from 0 to `columns`."""
    sizes = generator.integers(0, columns + 1, rows) if each is None else np.full(rows, each)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    chosen = [np.sort(generator.permutation(columns)[:size]) for size in sizes]
    indices = np.concatenate([np.empty(0), *chosen]).astype(np.uint32)
    values = (generator.integers(0, 11, len(indices)) / 2).astype(np.float32)
    weights = None
    if weighted:
        weights = generator.choice([0.25, 1.0, 3.0], len(indices)).astype(np.float32)
    return CSR(indptr, indices, values, weights)


def symmetric(size, dtype, generator):
    half = generator.standard_normal((size, size + 2))
    whole = half @ half.T / (size + 2)
    return ((whole + whole.T) / 2).astype(dtype)


def solve(backend, cells, fixed, terms, dtype, **given):
    """(x, bias) of `solve_rows`."""
    rank, bias = fixed.shape[1], given.pop("bias", True)
    out = np.full((cells.n_rows, rank), np.nan, dtype=dtype)
    out_bias = np.full(cells.n_rows, np.nan, dtype=dtype) if bias else None
    arguments = {
        "offset": None,
        "prior": None,
        "linear": None,
        "scale": None,
        "ridge": np.full(rank + bias, 0.5, dtype=dtype),
        **given,
    }
    backend.solve_rows(cells, fixed, terms, out=out, out_bias=out_bias, **arguments)
    return out if out_bias is None else np.column_stack([out, out_bias])


# ---------------------------------------------------------------------------- solve_rows


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("rows", SIZES)
def test_solve_rows_at_every_size(rows, rank, bias, dtype):
    generator = np.random.default_rng(rows * 100 + rank)
    cells = cells_of(rows, 40, generator, weighted=rows % 2 == 0)
    fixed = (generator.standard_normal((40, rank)) / np.sqrt(rank)).astype(dtype)
    offset = generator.standard_normal(40).astype(dtype)
    given = {"offset": offset, "bias": bias}
    expected = solve(NUMPY, cells, fixed, SQUARED, dtype, **given)
    near(solve(NATIVE, cells, fixed, SQUARED, dtype, **given), expected, dtype)


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000])
@pytest.mark.parametrize("rank", [1, 8, 17, 64])
def test_solve_rows_at_every_length(length, rank, dtype):
    generator = np.random.default_rng(length)
    cells = cells_of(5, max(1, length), generator, each=length, weighted=True)
    fixed = (generator.standard_normal((max(1, length), rank)) / np.sqrt(rank)).astype(dtype)
    expected = solve(NUMPY, cells, fixed, SQUARED, dtype)
    near(solve(NATIVE, cells, fixed, SQUARED, dtype), expected, dtype)


VARIANTS = {
    "prior": ("prior",),
    "prior and one linear": ("prior", "linear one"),
    "prior and a linear each": ("prior", "linear each"),
    "diagonal prior": ("diagonal prior", "scale"),
    "diagonal prior and a linear each": ("diagonal prior", "linear each"),
    "linear each": ("linear each",),
    "linear one": ("linear one",),
    "scale": ("scale",),
    "offset": ("offset",),
    "everything": ("prior", "linear each", "scale", "offset"),
    "nothing": (),
}


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("terms", [SQUARED, IMPLICIT, WRMF, RowTerms(0.5, 0.25, -1.0, 0.75)])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rank", [1, 8, 17])
def test_solve_rows_with_every_argument(rank, variant, terms, bias, weighted, dtype):
    generator = np.random.default_rng(rank)
    rows, columns, size = 11, 23, rank + bias
    cells = cells_of(rows, columns, generator, weighted=weighted)
    fixed = (generator.standard_normal((columns, rank)) / np.sqrt(rank)).astype(dtype)
    possible = {
        "prior": ("prior", symmetric(size, dtype, generator)),
        "diagonal prior": ("prior", generator.uniform(0.0, 3.0, size).astype(dtype)),
        "linear one": ("linear", generator.standard_normal((1, size)).astype(dtype)),
        "linear each": ("linear", generator.standard_normal((rows, size)).astype(dtype)),
        "scale": ("scale", generator.uniform(0.5, 20, rows).astype(dtype)),
        "offset": ("offset", generator.standard_normal(columns).astype(dtype)),
    }
    given = dict(possible[name] for name in VARIANTS[variant])
    given["ridge"] = generator.uniform(0.1, 1.0, size).astype(dtype)
    expected = solve(NUMPY, cells, fixed, terms, dtype, bias=bias, **given)
    near(solve(NATIVE, cells, fixed, terms, dtype, bias=bias, **given), expected, dtype)


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("signs", ["positive", "some zero", "some negative"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("method", [None, CG(steps=3), Subspace(block=9), NonNegative()], ids=repr)
@pytest.mark.parametrize("rank", [1, 8, 17, 64, 130])
def test_diagonal_priors_by_every_method(rank, method, bias, signs, dtype):
    """Rows shorter than K and longer; with weights of 0 or less the shorter ones have no dual."""
    generator = np.random.default_rng(rank)
    rows, columns, size = 24, 150, rank + bias
    cells = cells_of(rows, columns, generator, weighted=True)
    if signs != "positive":
        cells.weights[::4] = 0.0 if signs == "some zero" else -1e-3
    fixed = (generator.standard_normal((columns, rank)) / np.sqrt(rank)).astype(dtype)
    start = generator.standard_normal((rows, size)).astype(dtype)
    diagonal = (0.1 * generator.uniform(0.0, 1.0, size) ** 4).astype(dtype)
    given = {
        "offset": generator.standard_normal(columns).astype(dtype),
        "linear": None,
        "ridge": generator.uniform(0.1, 1.0, size).astype(dtype),
        "scale": generator.uniform(0.5, 20, rows).astype(dtype),
        "method": method,
    }
    found = []
    for backend, prior in ((NUMPY, diagonal), (NATIVE, diagonal), (NATIVE, np.diag(diagonal))):
        out, out_bias = start[:, :rank].copy(), start[:, rank].copy() if bias else None
        arguments = {**given, "prior": prior, "out": out, "out_bias": out_bias}
        backend.solve_rows(cells, fixed, WRMF, **arguments)
        found.append(out if out_bias is None else np.column_stack([out, out_bias]))
    near(found[1], found[0], dtype)
    near(found[2], found[0], dtype)


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("method", [None, CG(steps=3), Subspace(block=9), NonNegative()], ids=repr)
def test_diagonal_priors_have_the_same_bits_for_any_number_of_threads(method, dtype):
    generator = np.random.default_rng(0)
    cells = cells_of(400, 150, generator, weighted=True)
    fixed = (generator.standard_normal((150, 96)) / 10).astype(dtype)
    prior = generator.uniform(0.0, 3.0, 96).astype(dtype)
    ridge = np.full(96, 0.1, dtype=dtype)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            out = np.ones((400, 96), dtype=dtype)
            given = {"offset": None, "linear": None, "scale": None, "out_bias": None}
            NATIVE.solve_rows(
                cells, fixed, WRMF, prior=prior, ridge=ridge, out=out, method=method, **given
            )
            found.append((out, NATIVE.rotate(out, symmetric(96, dtype, np.random.default_rng(1)))))
    finally:
        set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other[0], found[0][0])
        np.testing.assert_array_equal(other[1], found[0][1])


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_of_a_million_ratings(dtype, weighted):
    generator = np.random.default_rng(0)
    columns, rank = 1_000_000, 8
    values = (generator.integers(1, 11, columns) / 2).astype(np.float32)
    weights = generator.choice([0.5, 2.0], columns).astype(np.float32) if weighted else None
    indptr = np.array([0, columns, columns + 0], dtype=np.int64)
    cells = CSR(indptr, np.arange(columns, dtype=np.uint32), values, weights)
    fixed = (generator.standard_normal((columns, rank)) + 0.5).astype(dtype)
    offset = generator.standard_normal(columns).astype(dtype)
    scale = np.array([columns, 1], dtype=dtype)
    given = {"offset": offset, "scale": scale, "ridge": np.full(rank + 1, 0.1, dtype=dtype)}
    expected = solve(NUMPY, cells, fixed, SQUARED, dtype, **given)
    found = solve(NATIVE, cells, fixed, SQUARED, dtype, **given)
    near(found, expected, dtype)
    assert not found[1].any()
    users = expected[:, :rank].astype(dtype)
    arguments = (cells, users, fixed, np.zeros(2, dtype=dtype), offset, 3.0)
    assert NATIVE.squared_error(*arguments) == pytest.approx(
        NUMPY.squared_error(*arguments), rel=testing.TOLERANCE[dtype]
    )


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("rank", [1, 8, 17])
def test_both_name_the_same_singular_row(rank, dtype):
    generator = np.random.default_rng(0)
    cells = cells_of(12, 30, generator, each=30)
    fixed = generator.standard_normal((30, rank)).astype(dtype)
    indptr = cells.indptr.copy()
    indptr[8:] -= 30  # row 7 has no cells, and a linear term that asks for an answer
    short = CSR(indptr, cells.indices[:-30], cells.values[:-30])
    linear = np.ones((1, rank), dtype=dtype)
    rows = []
    for backend in (NUMPY, NATIVE):
        with pytest.raises(SingularSystemError) as caught:
            solve(
                backend,
                short,
                fixed,
                SQUARED,
                dtype,
                bias=False,
                linear=linear,
                ridge=np.zeros(rank, dtype=dtype),
            )
        rows.append(caught.value.row)
    assert rows == [7, 7]


# ---------------------------------------------------- gram, rotations, error, predictions


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("rows", [*SIZES, 1000])
def test_gram(rows, rank, scaled, dtype):
    generator = np.random.default_rng(rows + rank)
    factors = generator.standard_normal((rows, rank)).astype(dtype)
    scale = generator.uniform(0, 3, rows).astype(dtype) if scaled else None
    found = NATIVE.gram(factors, scale)
    near(found, NUMPY.gram(factors, scale), dtype)
    assert (found == found.T).all()


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("rank", [*RANKS, 64, 130])
@pytest.mark.parametrize("rows", [*SIZES, 64, 65, 300])
def test_rotate(rows, rank, dtype):
    generator = np.random.default_rng(rows + rank)
    factors = generator.standard_normal((rows, rank)).astype(dtype)
    basis = (generator.standard_normal((rank, rank)) / np.sqrt(rank)).astype(dtype)
    found = NATIVE.rotate(factors, basis)
    near(found, NUMPY.rotate(factors, basis), dtype)
    for row in range(0, rows, 7):  # a row has the same bits alone
        np.testing.assert_array_equal(NATIVE.rotate(factors[row : row + 1], basis)[0], found[row])


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("biases", ["none", "user", "item", "both"])
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("rows", SIZES)
def test_squared_error_and_predict(rows, rank, biases, weighted, dtype):
    generator = np.random.default_rng(rows + rank)
    columns = 19
    cells = cells_of(rows, columns, generator, weighted=weighted)
    model = (
        generator.standard_normal((rows, rank)).astype(dtype),
        generator.standard_normal((columns, rank)).astype(dtype),
        generator.standard_normal(rows).astype(dtype) if biases in ("user", "both") else None,
        generator.standard_normal(columns).astype(dtype) if biases in ("item", "both") else None,
        3.25,
    )
    expected = NUMPY.squared_error(cells, *model)
    assert NATIVE.squared_error(cells, *model) == pytest.approx(
        expected, rel=testing.TOLERANCE[dtype], abs=0
    )
    users = generator.integers(-1, rows, 57) if rows else np.full(57, -1)
    items = generator.integers(-1, columns, 57)
    near(NATIVE.predict(users, items, *model), NUMPY.predict(users, items, *model), dtype)
    nobody = np.full(3, -1)
    assert (NATIVE.predict(nobody, nobody, *model) == np.array(3.25, dtype=dtype)).all()
    assert len(NATIVE.predict(nobody[:0], nobody[:0], *model)) == 0


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("biases", ["none", "user", "item", "both"])
@pytest.mark.parametrize("rank", [*RANKS, 64, 65])
@pytest.mark.parametrize("rows", SIZES)
def test_gradient(rows, rank, biases, weighted, dtype):
    generator = np.random.default_rng(rows + rank)
    columns = 19
    cells = cells_of(rows, columns, generator, weighted=weighted)
    model = (
        (generator.standard_normal((rows, rank)) / np.sqrt(rank)).astype(dtype),
        (generator.standard_normal((columns, rank)) / np.sqrt(rank)).astype(dtype),
        generator.standard_normal(rows).astype(dtype) if biases in ("user", "both") else None,
        generator.standard_normal(columns).astype(dtype) if biases in ("item", "both") else None,
        3.25,
    )
    found = []
    for backend in (NUMPY, NATIVE):
        out = np.full((rows, rank), np.nan, dtype=dtype)
        out_bias = None if biases == "item" else np.full(rows, np.nan, dtype=dtype)
        squares = backend.gradient(cells, *model, out=out, out_bias=out_bias)
        found.append((out, out_bias, squares))
    (expected, expected_bias, expected_squares), (out, out_bias, squares) = found
    near(out, expected, dtype)
    if out_bias is not None:
        near(out_bias, expected_bias, dtype)
    assert squares == pytest.approx(expected_squares, rel=testing.TOLERANCE[dtype], abs=0)
    assert squares == NATIVE.squared_error(cells, *model)  # to the bit


# --------------------------------------------------------------------------------- topk


def filters(queries, items, generator):
    def lists(share):
        chosen = [np.flatnonzero(generator.random(items) < share) for _ in range(queries)]
        indptr = np.concatenate([[0], np.cumsum([len(c) for c in chosen])]).astype(np.int64)
        return indptr, np.concatenate([np.empty(0), *chosen]).astype(np.uint32)

    exclude, candidates = lists(0.3), lists(0.5)
    allow = generator.random(items) < 0.6
    none = (np.zeros(queries + 1, dtype=np.int64), np.empty(0, dtype=np.uint32))
    everything = np.tile(np.arange(items, dtype=np.uint32), queries)
    all_of_them = (np.arange(queries + 1, dtype=np.int64) * items, everything)
    return {
        "nothing": {},
        "exclude": {"exclude": exclude},
        "candidates": {"candidates": candidates},
        "allow": {"allow": allow},
        "all three": {"exclude": exclude, "candidates": candidates, "allow": allow},
        "exclude and allow": {"exclude": exclude, "allow": allow},
        "exclude nothing": {"exclude": none},
        "no candidates": {"candidates": none},
        "exclude everything": {"exclude": all_of_them},
        "everything a candidate": {"candidates": all_of_them},
        "allow nothing": {"allow": np.zeros(items, dtype=bool)},
    }


FILTERS = tuple(filters(1, 1, np.random.default_rng(0)))


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    ("queries", "items", "rank", "n"),
    [
        *[(q, 33, 8, 5) for q in SIZES],
        *[(9, i, 7, 4) for i in SIZES],
        *[(9, 40, k, 6) for k in RANKS],
        *[(5, 70, 9, n) for n in (1, 7, 8, 9, 33, 70, 100)],
        (3, 5000, 4, 10),
    ],
)
def test_topk(queries, items, rank, n, name, biased, dtype):
    """Whole numbers, so that scores are exact, ties are many, and the answer is one to the bit."""
    generator = np.random.default_rng(queries + items + rank + n)
    q = generator.integers(-3, 4, (queries, rank)).astype(dtype)
    z = generator.integers(-3, 4, (items, rank)).astype(dtype)
    bias = generator.integers(-2, 3, items).astype(dtype) if biased else None
    given = filters(queries, items, generator)[name]
    index, score = NATIVE.topk(q, z, bias, n, **given)
    expected_index, expected_score = NUMPY.topk(q, z, bias, n, **given)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_array_equal(score, expected_score)


@pytest.mark.parametrize("dtype", T)
def test_topk_of_rounded_scores(dtype):
    generator = np.random.default_rng(0)
    q = generator.standard_normal((20, 33)).astype(dtype)
    z = generator.standard_normal((500, 33)).astype(dtype)
    index, score = NATIVE.topk(q, z, None, 10)
    expected_index, expected_score = NUMPY.topk(q, z, None, 10)
    near(score, expected_score, dtype, scale=33.0)
    exact = np.take_along_axis(q.astype(float) @ z.astype(float).T, index, axis=1)
    near(exact, expected_score, dtype, scale=33.0)
    assert (np.diff(score, axis=1) <= 0).all()
    assert np.mean(index == expected_index) > 0.99


@pytest.mark.parametrize("dtype", T)
def test_all_scores_equal(dtype):
    """Equal scores stand in the order of the items, signed zeros among them."""
    z = np.zeros((100, 9), dtype=dtype)
    z[::2] = -0.0
    q = np.ones((3, 9), dtype=dtype)
    index, score = NATIVE.topk(q, z, None, 20)
    assert (index == np.arange(20)).all()
    assert (score == 0).all()
    index, _ = NATIVE.topk(-q, z, None, 100)
    assert (index == np.arange(100)).all()


# --------------------------------------------------------------------- instruction sets

COMPARE = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import test_native_equals_numpy as tests
from halfstep import _native
assert _native.isa() == sys.argv[2], _native.isa()
for dtype in tests.T:
    for rank in (1, 8, 17, 33):
        for bias in (False, True):
            tests.test_solve_rows_at_every_size(9, rank, bias, dtype)
        for scaled in (False, True):
            tests.test_gram(17, rank, scaled, dtype)
        tests.test_squared_error_and_predict(9, rank, "both", True, dtype)
        tests.test_gradient(9, rank, "both", True, dtype)
        for name in tests.FILTERS:
            tests.test_topk(9, 33, rank, 5, name, True, dtype)
    tests.test_a_row_of_a_million_ratings(dtype, True)
    for name in tests.VARIANTS:
        tests.test_solve_rows_with_every_argument(17, name, tests.SQUARED, True, True, dtype)
    tests.test_both_name_the_same_singular_row(8, dtype)
    tests.test_all_scores_equal(dtype)
"""


@pytest.mark.parametrize("isa", _native.available_isas())
def test_every_instruction_set(isa, run_code):
    done = run_code(COMPARE, os.path.dirname(__file__), isa, HALFSTEP_ISA=isa)
    assert done.returncode == 0, done.stderr


SMALL_FIT = """
import halfstep as hs
ratings = hs.simulate(30, 20, rank=2, ratings_per_user=8, min_per_user=3, seed=0).ratings
try:
    hs.ExplicitMF(rank=2, max_iter=2).fit(ratings)
except ValueError as error:
    print(error)
    raise SystemExit(7)
"""


@pytest.mark.parametrize("name", ["avx3", "AVX2 ", "none", "0", "é"])
def test_an_unknown_instruction_set_is_one_clear_error(name, run_code):
    done = run_code(SMALL_FIT, HALFSTEP_ISA=name)
    assert done.returncode == 7, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert "HALFSTEP_ISA" in lines[0]
    assert name.strip() in lines[0]
    for known in _native.available_isas():
        assert known in lines[0]


def test_the_empty_name_is_the_default(run_code):
    done = run_code("from halfstep import _native\nprint(_native.isa())", HALFSTEP_ISA="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == _native.isa() or os.environ.get("HALFSTEP_ISA")


def test_each_instruction_set_gives_the_same_bits_for_any_number_of_threads(run_code):
    code = """
import hashlib
import halfstep as hs
ratings = hs.simulate(300, 200, rank=3, ratings_per_user=60, min_per_user=5, seed=0).ratings
f = hs.ExplicitMF(rank=17, max_iter=3).fit(ratings).factors_
print(hashlib.sha256(f.user_factors.tobytes() + f.item_factors.tobytes()).hexdigest())
"""
    for isa in _native.available_isas():
        seen = {
            run_code(code, HALFSTEP_ISA=isa, HALFSTEP_NUM_THREADS=threads).stdout
            for threads in ("1", "2", "3", "8")
        }
        assert len(seen) == 1
        assert seen != {""}
