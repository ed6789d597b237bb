"""`draw_rows` and `multiply`: native against the readable backend, and both against the formula."""

import os

import numpy as np
import pytest
from scipy import stats

from halfstep import _native, get_num_threads, set_num_threads, testing
from halfstep.backends import CSR, RowTerms, get_backend
from halfstep.backends.base import Noise
from halfstep.backends.philox import normals, philox
from halfstep.errors import InternalError, SingularSystemError

NUMPY, NATIVE = get_backend("numpy"), get_backend("native")
GAUSS = RowTerms(2.5, 0.0, -7.5, 2.5)  # α = 2.5, μ = 3
RANKS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65)
SIZES = (0, 1, 7, 8, 9, 16, 17, 33)
LONGEST = 70_000  # more than one block of 65,536


def cells_of(sizes, columns, generator, *, weighted):
    """Random cells of rows of these lengths."""
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    chosen = [np.sort(generator.choice(columns, size, replace=False)) for size in sizes]
    indices = np.concatenate([np.empty(0), *chosen]).astype(np.uint32)
    values = (generator.integers(0, 11, len(indices)) / 2).astype(np.float32)
    weights = None
    if weighted:
        weights = generator.choice([0.25, 1.0, 3.0], len(indices)).astype(np.float32)
    return CSR(indptr, indices, values, weights)


def problem(sizes, rank, bias, dtype, *, columns=40, weighted=False, offset=True, each=False):
    """The arguments of a call but for the arrays that it writes."""
    generator = np.random.default_rng(1000 * len(sizes) + rank)
    D = rank + bias
    half = generator.standard_normal((D, D + 3))
    return {
        "cells": cells_of(sizes, columns, generator, weighted=weighted),
        "fixed": (generator.standard_normal((columns, rank)) / np.sqrt(rank)).astype(dtype),
        "terms": GAUSS,
        "offset": generator.standard_normal(columns).astype(dtype) if offset else None,
        "prior": (np.eye(D) + half @ half.T / (D + 3)).astype(dtype),
        "linear": generator.standard_normal((len(sizes) if each else 1, D)).astype(dtype),
        "noise": Noise(0x0123_4567_89AB_CDEF, 3),
    }


def rows_of(cells, rank, bias, dtype):
    """Arrays to write to, full of NaN."""
    out = np.full((cells.n_rows, rank), np.nan, dtype=dtype)
    return out, np.full(cells.n_rows, np.nan, dtype=dtype) if bias else None


def joined(rows):
    factors, bias = rows
    return factors if bias is None else np.column_stack([factors, bias])


def draw(backend, given):
    """(x, A⁻¹ h) of every row, the bias last."""
    dtype, rank = given["fixed"].dtype, given["fixed"].shape[1]
    bias = len(given["prior"]) > rank
    drawn, mean = (rows_of(given["cells"], rank, bias, dtype) for _ in range(2))
    backend.draw_rows(**given, out=drawn[0], out_bias=drawn[1], mean=mean)
    return joined(drawn), joined(mean)


def near(found, expected, dtype):
    largest = max(1.0, float(np.abs(expected).max(initial=0.0)))
    assert found.shape == expected.shape
    worst = float(np.abs(found.astype(float) - expected).max(initial=0.0))
    assert worst <= testing.TOLERANCE[dtype] * largest, (worst, largest)


# --------------------------------------------------------------------- the same answers


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("rows", SIZES)
def test_at_every_size(rows, rank, bias, dtype):
    sizes = np.random.default_rng(rows).integers(0, 41, rows)
    given = problem(sizes, rank, bias, dtype, weighted=rows % 2 == 0, each=rows % 3 == 0)
    for found, expected in zip(draw(NATIVE, given), draw(NUMPY, given), strict=True):
        near(found, expected, dtype)


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rank", [1, 8, 33])
def test_with_every_argument(rank, bias, offset, each, weighted, dtype):
    options = {"weighted": weighted, "offset": offset, "each": each}
    given = problem([0, 1, 2, 15, 16, 17, 40], rank, bias, dtype, **options)
    for found, expected in zip(draw(NATIVE, given), draw(NUMPY, given), strict=True):
        near(found, expected, dtype)


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("rank", [1, 8, 17, 65])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 1000])
def test_at_every_length(length, rank, dtype):
    given = problem([length] * 3, rank, True, dtype, columns=1000, weighted=True)
    for found, expected in zip(draw(NATIVE, given), draw(NUMPY, given), strict=True):
        near(found, expected, dtype)


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_of_many_blocks(dtype, weighted):
    given = problem([3, LONGEST, 0], 5, True, dtype, columns=LONGEST, weighted=weighted)
    for found, expected in zip(draw(NATIVE, given), draw(NUMPY, given), strict=True):
        near(found, expected, dtype)


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("backend", [NUMPY, NATIVE], ids=["numpy", "native"])
@pytest.mark.parametrize("rank", [1, 8, 17, 33])
def test_is_the_formula(rank, backend, dtype):
    """x = A⁻¹ h + L⁻¹ ε with A = Lᵀ L, from dense float64 matrices."""
    given = problem([0, 1, 30], rank, True, dtype, weighted=True, each=True)
    drawn, mean = draw(backend, given)
    cells = given["cells"]
    F = np.column_stack([given["fixed"].astype(float), np.ones(40)])
    for u in range(3):
        part = slice(cells.indptr[u], cells.indptr[u + 1])
        f, c = F[cells.indices[part]], cells.weights[part].astype(float)
        target = cells.values[part] - 3.0 - given["offset"][cells.indices[part]].astype(float)
        A = given["prior"].astype(float) + 2.5 * (f.T * c) @ f
        h = given["linear"][u].astype(float) + 2.5 * f.T @ (c * target)
        expected = np.linalg.solve(A, h)
        near(mean[u], expected, dtype)
        # any upper triangular root of A with a positive diagonal is its Cholesky root
        L = np.linalg.cholesky(A).T
        assert np.allclose(L.T @ L, A)
        near(drawn[u], expected + np.linalg.solve(L, normals(given["noise"], u, rank + 1)), dtype)


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("backend", [NUMPY, NATIVE], ids=["numpy", "native"])
@pytest.mark.parametrize("bias", [False, True])
def test_the_mean_is_the_solution(bias, backend, dtype):
    """What `solve_rows` finds, and it is not needed for the draw."""
    given = problem([0, 1, 5, 40], 9, bias, dtype, weighted=True)
    drawn, mean = draw(backend, given)
    solved, alone = (rows_of(given["cells"], 9, bias, dtype) for _ in range(2))
    system = {name: given[name] for name in ("offset", "prior", "linear")}
    backend.solve_rows(
        *(given["cells"], given["fixed"], GAUSS),
        **system,
        ridge=np.zeros(9 + bias, dtype=dtype),
        scale=None,
        out=solved[0],
        out_bias=solved[1],
    )
    near(mean, joined(solved).astype(float), dtype)
    backend.draw_rows(**given, out=alone[0], out_bias=alone[1])
    assert joined(alone).tobytes() == drawn.tobytes()


# --------------------------------------------------------------------------- same bits


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("rank", [1, 16, 33])
def test_same_bits_for_any_number_of_threads(rank, dtype):
    generator = np.random.default_rng(0)
    sizes = np.append(generator.integers(0, 60, 2000), LONGEST)
    given = problem(sizes, rank, True, dtype, columns=LONGEST, weighted=True)
    before, seen = get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            drawn, mean = draw(NATIVE, given)
            seen.add((drawn.tobytes(), mean.tobytes()))
    finally:
        set_num_threads(before)
    assert len(seen) == 1


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("backend", [NUMPY, NATIVE], ids=["numpy", "native"])
def test_noise_is_that_of_seed_step_and_row_alone(backend, dtype):
    given = problem([4] * 20, 9, True, dtype)
    cells = given["cells"]
    whole, _ = draw(backend, given)
    few = CSR(cells.indptr[:6], cells.indices[:20], cells.values[:20])
    part, _ = draw(backend, given | {"cells": few})
    assert part.tobytes() == whole[:5].tobytes()
    # the others' ratings do not reach a row
    values = cells.values.copy()
    values[:40] += 1
    other, _ = draw(backend, given | {"cells": CSR(cells.indptr, cells.indices, values)})
    assert other[10:].tobytes() == whole[10:].tobytes()
    assert (other[:10] != whole[:10]).any(axis=1).all()
    seed, step = given["noise"].seed, given["noise"].step
    for changed in (
        Noise(seed + 1, step),
        Noise(seed ^ 1 << 40, step),  # all 64 bits of the seed count
        Noise(seed, step + 1),
        Noise(seed, 2**32 - 1),
    ):
        assert (draw(backend, given | {"noise": changed})[0] != whole).mean() > 0.99
    same = np.repeat(given["cells"].values[:4], 5).reshape(4, 5).T.ravel()
    alike = CSR(
        np.arange(6, dtype=np.int64) * 4,
        np.tile(cells.indices[:4], 5),
        np.ascontiguousarray(same),
    )
    rows, _ = draw(backend, given | {"cells": alike})
    assert len(np.unique(rows, axis=0)) == 5  # alike, and yet each has numbers of its own


# -------------------------------------------------------------------- random numbers


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_philox(counter, key, expected):
    """The vectors of Random123 for philox4x32-10."""
    assert philox(np.array([counter]), key).tolist() == [list(expected)]


def noise_itself(backend, rows, count, noise, dtype):
    """ε, which is what is drawn of rows without ratings whose prior is N(0, I)."""
    cells = CSR(np.zeros(rows + 1, dtype=np.int64), np.empty(0, np.uint32), np.empty(0, np.float32))
    out = np.full((rows, count), np.nan, dtype=dtype)
    backend.draw_rows(
        cells,
        np.ones((1, count), dtype=dtype),
        GAUSS,
        offset=None,
        prior=np.eye(count, dtype=dtype),
        linear=np.zeros((1, count), dtype=dtype),
        noise=noise,
        out=out,
        out_bias=None,
    )
    return out


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("count", [1, 3, 4, 5, 17])
def test_both_backends_have_the_stated_numbers(count, dtype):
    noise = Noise(0xFFFF_FFFF_0000_0001, 2**32 - 1)
    expected = np.array([normals(noise, row, count) for row in range(300)])
    near(noise_itself(NATIVE, 300, count, noise, dtype), expected, dtype)
    near(noise_itself(NUMPY, 300, count, noise, dtype), expected, dtype)
    words = philox(np.array([[0, 7, 0, noise.step]]), (1, 0xFFFF_FFFF))[0]
    assert np.allclose(expected[7, :4], stats.norm.ppf((words[:count] + 0.5) / 2**32))


@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_the_numbers_are_normal_and_independent(dtype):
    found = noise_itself(NATIVE, 20_000, 13, Noise(5, 0), dtype).astype(float)
    after = noise_itself(NATIVE, 20_000, 13, Noise(5, 1), dtype).astype(float)
    assert stats.kstest(found.ravel(), "norm").pvalue > 1e-3
    tails = (np.abs(found) > stats.norm.isf(0.5e-3)).sum()
    assert stats.binomtest(int(tails), found.size, 1e-3).pvalue > 1e-3
    pairs = {
        "columns": np.corrcoef(found.T)[np.triu_indices(13, 1)],
        "rows": [np.corrcoef(found[:-1, 0], found[1:, 0])[0, 1]],
        "steps": [np.corrcoef(found[:, k], after[:, k])[0, 1] for k in range(13)],
    }
    for name, correlations in pairs.items():
        assert np.abs(correlations).max() < 4.5 / np.sqrt(20_000), name


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("bias", [False, True])
def test_moments_of_many_draws(bias, dtype):
    """20,000 rows of the same ratings: their mean is A⁻¹ h and their covariance A⁻¹."""
    one = problem([25], 4, bias, dtype, weighted=True)
    cells, count = one["cells"], 20_000
    many = CSR(
        np.arange(count + 1, dtype=np.int64) * 25,
        *(np.tile(part, count) for part in (cells.indices, cells.values, cells.weights)),
    )
    drawn, mean = draw(NATIVE, one | {"cells": many})
    assert (mean == mean[0]).all()
    F = one["fixed"][cells.indices].astype(float)
    F = np.column_stack([F, np.ones(25)]) if bias else F
    A = one["prior"].astype(float) + 2.5 * (F.T * cells.weights) @ F
    root = np.linalg.cholesky(A).T  # Rᵀ R = A, so that R (x − A⁻¹ h) is standard normal
    white = (drawn - mean[0].astype(float)) @ root.T
    D = len(A)
    assert np.abs(white.mean(axis=0)).max() < 4.5 / np.sqrt(count)
    assert np.abs(np.cov(white.T) - np.eye(D)).max() < 4.5 * np.sqrt(2 / count)
    for k in range(D):
        assert stats.kstest(white[:, k], "norm").pvalue > 1e-3 / D


# ----------------------------------------------------------------------------- errors


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("rank", [1, 8, 17])
def test_both_name_the_first_row_that_has_no_answer(rank, dtype):
    """Rows 2 and 3 have no ratings and a prior without precision."""
    given = problem([40, 40, 0, 0, 40], rank, False, dtype)
    given["prior"] = np.zeros((rank, rank), dtype=dtype)
    for backend in (NUMPY, NATIVE):
        with pytest.raises(SingularSystemError) as caught:
            draw(backend, given)
        assert caught.value.row == 2


def test_a_precision_that_is_none_is_named():
    given = problem([0, 0], 3, False, "float64")
    for prior in (
        -np.eye(3),
        np.diag([1.0, 1.0, 0.0]),
        np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]]),
    ):
        for backend in (NUMPY, NATIVE):
            with pytest.raises(SingularSystemError) as caught:
                draw(backend, given | {"prior": prior})
            assert caught.value.row == 0


def wrong_calls():
    """(what is wrong, the arguments that are)."""
    T = np.float64
    return {
        "a prior of another size": {"prior": np.eye(9)},
        "no square": {"prior": np.ones((10, 9))},
        "a linear term of another size": {"linear": np.ones((1, 9))},
        "linear terms of some rows": {"linear": np.ones((3, 10))},
        "an offset too many": {"offset": np.ones(41)},
        "factors of another type": {"fixed": np.ones((40, 9), dtype=np.float32)},
        "a fixed side too short": {"fixed": np.ones((3, 9)), "offset": np.ones(3)},
        "rows of another number": {"out": np.empty((5, 9))},
        "factors of another number": {"out": np.empty((4, 8))},
        "a bias too many": {"out_bias": np.empty(5)},
        "a mean of another shape": {"mean": (np.empty((4, 8)), np.empty(4))},
        "a mean without its bias": {"mean": (np.empty((4, 9)), None)},
        "a mean of another type": {"mean": (np.empty((4, 9), np.float32), np.empty(4, np.float32))},
        "a bias where there is none": {
            "out_bias": None,
            "prior": np.eye(9),
            "linear": np.ones((1, 9)),
            "mean": (np.empty((4, 9)), np.empty(4, dtype=T)),
        },
    }


@pytest.mark.parametrize("what", wrong_calls())
def test_wrong_calls_are_refused_before_anything_is_written(what):
    given = problem([2, 0, 5, 9], 9, True, "float64") | {
        "out": np.full((4, 9), 7.0),
        "out_bias": np.full(4, 7.0),
        "mean": None,
    }
    given |= wrong_calls()[what]
    before = given["out"].copy()
    with pytest.raises(InternalError):
        NATIVE.draw_rows(**given)
    assert given["out"].tobytes() == before.tobytes()


@pytest.mark.parametrize("noise", [(-1, 0), (2**64, 0), (0, -1), (0, 2**32), (1.5, 0), (0, None)])
def test_numbers_that_are_no_seed_or_step(noise):
    given = problem([2], 3, False, "float64") | {"noise": Noise(*noise)}
    with pytest.raises((OverflowError, TypeError)):
        NATIVE.draw_rows(**given, out=np.empty((1, 3)), out_bias=None)


def test_an_output_that_is_an_input_is_refused():
    given = problem([2, 2], 3, False, "float64", columns=2)
    with pytest.raises(InternalError):
        NATIVE.draw_rows(**given, out=given["fixed"], out_bias=None)
    out = np.empty((2, 3))
    with pytest.raises(InternalError):
        NATIVE.draw_rows(**given, out=out, out_bias=None, mean=(out, None))


# --------------------------------------------------------------------------- multiply


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("rows", SIZES)
def test_multiply_at_every_size(rows, rank, dtype):
    generator = np.random.default_rng(rows + rank)
    sizes = generator.integers(0, 41, rows)
    cells = cells_of(sizes, 40, generator, weighted=rows % 2 == 0)
    factors = (generator.standard_normal((40, rank)) / np.sqrt(rank)).astype(dtype)
    C = np.zeros((rows, 40))
    for u in range(rows):
        part = slice(cells.indptr[u], cells.indptr[u + 1])
        C[u, cells.indices[part]] = cells.values[part]
    for backend in (NUMPY, NATIVE):
        found = backend.multiply(cells, factors)
        assert found.dtype == factors.dtype
        near(found, C @ factors.astype(float), dtype)


@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_multiply_has_the_same_bits_for_any_number_of_threads(dtype):
    generator = np.random.default_rng(0)
    sizes = np.append(generator.integers(0, 60, 3000), LONGEST)
    cells = cells_of(sizes, LONGEST, generator, weighted=False)
    factors = generator.standard_normal((LONGEST, 33)).astype(dtype)
    before, seen = get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            seen.add(NATIVE.multiply(cells, factors).tobytes())
    finally:
        set_num_threads(before)
    assert len(seen) == 1
    near(NATIVE.multiply(cells, factors)[-1:], _last_row(cells, factors), dtype)


def _last_row(cells, factors):
    part = slice(cells.indptr[-2], cells.indptr[-1])
    return (cells.values[part].astype(float) @ factors[cells.indices[part]].astype(float))[None]


def test_multiply_refuses_what_does_not_fit():
    cells = cells_of([2, 3], 5, np.random.default_rng(0), weighted=False)
    cells.indices[0] = 4
    with pytest.raises(InternalError):
        NATIVE.multiply(cells, np.ones((4, 3)))
    for out in (np.empty((3, 3)), np.empty((2, 4)), np.empty((2, 3), dtype=np.float32)):
        with pytest.raises((InternalError, TypeError)):
            _native.multiply(cells.indptr, cells.indices, cells.values, np.ones((5, 3)), out)


# --------------------------------------------------------------------- instruction sets

COMPARE = """
import sys
sys.path.insert(0, sys.argv[1])
import test_draw_rows as tests
from halfstep import _native
assert _native.isa() == sys.argv[2], _native.isa()
for dtype in tests.testing.DTYPES:
    for rank in (1, 8, 17, 33):
        for bias in (False, True):
            tests.test_at_every_size(9, rank, bias, dtype)
        tests.test_multiply_at_every_size(9, rank, dtype)
        tests.test_is_the_formula(rank, tests.NATIVE, dtype)
    tests.test_a_row_of_many_blocks(dtype, True)
    tests.test_same_bits_for_any_number_of_threads(17, dtype)
    tests.test_both_backends_have_the_stated_numbers(17, dtype)
    tests.test_both_name_the_first_row_that_has_no_answer(8, dtype)
"""


@pytest.mark.parametrize("isa", _native.available_isas())
def test_every_instruction_set(isa, run_code):
    done = run_code(COMPARE, os.path.dirname(__file__), isa, HALFSTEP_ISA=isa)
    assert done.returncode == 0, done.stderr
