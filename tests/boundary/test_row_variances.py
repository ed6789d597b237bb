"""fᵀ A⁻¹ f: the native backend against a dense inverse in float64, at the sizes where vectors end."""

import json
import os

import numpy as np
import pytest

from halfstep import _native, get_num_threads, set_num_threads, testing
from halfstep.backends import CSR, RowTerms, get_backend
from halfstep.errors import InternalError, SingularSystemError

SQUARED = RowTerms(1.0, 0.0, -3.0, 1.0)
RANKS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64)
QUESTIONS = (0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65)


def problem(rows, rank, bias, dtype, *, columns=40, weighted=True, longest=40, seed=0):
    """Cells, fixed side and questions of every length from 0 on."""
    generator = np.random.default_rng(seed + 100 * rank)
    sizes = generator.integers(0, min(longest, columns) + 1, rows)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    chosen = [np.sort(generator.permutation(columns)[:size]) for size in sizes]
    indices = np.concatenate([np.empty(0), *chosen]).astype(np.uint32)
    values = generator.integers(0, 11, len(indices)).astype(np.float32) / 2
    weights = None
    if weighted:
        weights = generator.choice([0.25, 1.0, 3.0], len(indices)).astype(np.float32)
    counts = generator.choice(QUESTIONS, rows)
    asked = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    vectors = generator.standard_normal((19, rank)).astype(dtype)
    return {
        "cells": CSR(indptr, indices, values, weights),
        "fixed": (generator.standard_normal((columns, rank)) / np.sqrt(rank)).astype(dtype),
        "terms": SQUARED,
        "prior": None,
        "ridge": generator.uniform(0.5, 1.5, rank + bias).astype(dtype),
        "scale": generator.uniform(0.5, 2.0, rows).astype(dtype),
        "asked": (asked, generator.integers(0, 19, asked[-1]).astype(np.uint32)),
        "vectors": vectors,
    }


def dense(given):
    """The formula with an explicit inverse."""
    cells, (indptr, indices) = given["cells"], given["asked"]
    d = given["ridge"].astype(float)
    F, V = given["fixed"].astype(float), given["vectors"].astype(float)
    if len(d) > F.shape[1]:
        F, V = np.column_stack([F, np.ones(len(F))]), np.column_stack([V, np.ones(len(V))])
    found = []
    for u in range(cells.n_rows):
        part = slice(cells.indptr[u], cells.indptr[u + 1])
        f, v = F[cells.indices[part]], cells.values[part].astype(float)
        c = np.ones(len(f)) if cells.weights is None else cells.weights[part].astype(float)
        a = c * (given["terms"].a0 + given["terms"].a1 * v)
        P = np.zeros((len(d), len(d))) if given["prior"] is None else given["prior"].astype(float)
        P = np.diag(P) if P.ndim == 1 else P
        s = 1.0 if given["scale"] is None else float(given["scale"][u])
        inverse = np.linalg.inv(P + f.T @ np.diag(a) @ f + s * np.diag(d))
        found += [V[q] @ inverse @ V[q] for q in indices[indptr[u] : indptr[u + 1]]]
    return np.array(found)


def asked_of(backend, given):
    positional = {"cells", "fixed", "terms"}
    options = {name: value for name, value in given.items() if name not in positional}
    return get_backend(backend).row_variances(
        given["cells"], given["fixed"], given["terms"], **options
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rank", RANKS)
def test_at_every_size(rank, bias, dtype):
    given = problem(13, rank, bias, dtype)
    expected = dense(given)
    assert (expected > 0).all()
    for backend in ("numpy", "native"):
        found = asked_of(backend, given)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=testing.TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "changed",
    [
        {"scale": None},
        {"terms": RowTerms(0.5, 0.25, 0.0, 1.0)},
        {"prior": "dense"},
        {"prior": "diagonal"},
        {},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_with_every_argument(weighted, changed, bias, dtype):
    given = problem(9, 6, bias, dtype, weighted=weighted) | changed
    if given["prior"]:
        half = np.random.default_rng(1).standard_normal((6 + bias, 9))
        P = (half @ half.T).astype(dtype)
        given["prior"] = P if given["prior"] == "dense" else np.diag(P).copy()
    for backend in ("numpy", "native"):
        np.testing.assert_allclose(
            asked_of(backend, given), dense(given), rtol=testing.TOLERANCE[dtype]
        )


@pytest.mark.parametrize("bias", [False, True])
def test_a_row_longer_than_a_thread_sums(bias):
    rank, n = 5, 70_000
    generator = np.random.default_rng(3)
    given = problem(1, rank, bias, "float64")
    given["fixed"] = generator.standard_normal((n, rank))
    given["cells"] = CSR(
        np.array([0, n, n + 2]),
        np.concatenate([np.arange(n), [0, 1]]).astype(np.uint32),
        np.ones(n + 2, dtype=np.float32),
    )
    given["scale"] = np.array([3.0, 1.0])
    given["asked"] = (np.array([0, 2, 5]), np.arange(5, dtype=np.uint32))
    given["vectors"] = generator.standard_normal((5, rank))
    np.testing.assert_allclose(asked_of("native", given), dense_long(given), rtol=1e-9)


def dense_long(given):
    """As `dense`, without n × n matrices."""
    d = given["ridge"]
    F, V = given["fixed"], given["vectors"]
    if len(d) > F.shape[1]:
        F, V = np.column_stack([F, np.ones(len(F))]), np.column_stack([V, np.ones(len(V))])
    whole = F.T @ F + 3.0 * np.diag(d)
    short = F[:2].T @ F[:2] + np.diag(d)
    return np.array(
        [V[q] @ np.linalg.inv(A) @ V[q] for q, A in enumerate([whole] * 2 + [short] * 3)]
    )


def test_rows_not_asked_are_not_assembled():
    given = problem(2, 3, False, "float64")
    given["cells"] = CSR(
        np.array([0, 1, 2]), np.array([0, 1], dtype=np.uint32), np.ones(2, dtype=np.float32)
    )
    given["scale"] = np.array([0.0, 1.0])  # the first is singular
    given["asked"] = (np.array([0, 0, 1]), np.array([4], dtype=np.uint32))
    for backend in ("numpy", "native"):
        assert asked_of(backend, given)[0] > 0
    given["asked"] = (np.array([0, 1, 1]), np.array([4], dtype=np.uint32))
    for backend in ("numpy", "native"):
        with pytest.raises(SingularSystemError, match="row 0") as caught:
            asked_of(backend, given)
        assert caught.value.row == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_threads_and_any_company(dtype):
    given = problem(400, 16, True, dtype, columns=300, longest=300)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            found.append(asked_of("native", given).tobytes())
    finally:
        set_num_threads(before)
    assert len(set(found)) == 1
    whole = np.frombuffer(found[0], dtype=dtype)
    indptr, indices = given["asked"]
    u = int(np.argmax(np.diff(indptr)))
    part = slice(indptr[u], indptr[u + 1])
    cells = given["cells"]
    own = slice(cells.indptr[u], cells.indptr[u + 1])
    alone = given | {
        "cells": CSR(
            np.array([0, own.stop - own.start]),
            cells.indices[own],
            cells.values[own],
            cells.weights[own],
        ),
        "scale": given["scale"][u : u + 1],
        "asked": (np.array([0, 1]), indices[part][-1:]),
    }
    assert asked_of("native", alone)[0] == whole[part][-1]


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_row_variances import RANKS, asked_of, dense, problem
from halfstep import _native, testing
for dtype in ("float32", "float64"):
    for rank in RANKS:
        given = problem(9, rank, rank % 2 == 0, dtype)
        found, expected = asked_of("native", given), dense(given)
        np.testing.assert_allclose(found, expected, rtol=testing.TOLERANCE[dtype])
print(_native.isa())
"""


@pytest.mark.parametrize("isa", _native.available_isas())
def test_every_instruction_set(isa, run_code):
    done = run_code(PROGRAM, os.path.dirname(__file__), HALFSTEP_ISA=isa)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == isa


@pytest.mark.parametrize(
    "wrong",
    [
        {"asked": (np.array([0, 1]), np.array([0], dtype=np.uint32))},
        {"asked": (np.array([0, 1, 2]), np.array([0, 19], dtype=np.uint32))},
        {"asked": (np.array([0, 2, 1]), np.array([0, 1], dtype=np.uint32))},
        {"ridge": np.ones(6)},
        {"scale": np.ones(3)},
        {"vectors": np.ones((4, 2))},
        {"fixed": np.ones((1, 3))},
    ],
    ids=lambda wrong: json.dumps(list(wrong)),
)
def test_arrays_that_do_not_fit(wrong):
    given = problem(2, 3, True, "float64")
    given["cells"] = CSR(
        np.array([0, 1, 2]), np.array([0, 39], dtype=np.uint32), np.ones(2, dtype=np.float32)
    )
    given["asked"] = (np.array([0, 1, 2]), np.array([0, 1], dtype=np.uint32))
    assert len(asked_of("native", given)) == 2
    with pytest.raises(InternalError):
        asked_of("native", given | wrong)
