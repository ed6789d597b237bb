"""ALS on a table in which nothing is missing: one factorization for all rows, in whatever company."""

import os

import numpy as np
import pytest

import halfstep as hs
from halfstep import _native, testing
from halfstep.backends import CSR, RowTerms, get_backend
from halfstep.solvers import get_solver
from halfstep.solvers.linear import EXACT_UP_TO
from halfstep.threads import get_num_threads, set_num_threads


def table(m, n, seed=0):
    """Half-star ratings, 0 among them, in every cell."""
    return np.random.default_rng(seed).integers(0, 11, (m, n)) / 2


def arguments(m, n, rank, dtype, *, bias, missing=0):
    """Cells with `missing` of the last row's left out, and the arguments of `solve_rows`."""
    generator = np.random.default_rng(m + n + rank)
    indices = np.tile(np.arange(n, dtype=np.uint32), m)
    values = table(m, n).astype(np.float32).reshape(-1)
    indptr = np.arange(m + 1, dtype=np.int64) * n
    indptr[-1] -= missing
    cells = CSR(indptr, indices[: indptr[-1]], values[: indptr[-1]])
    return cells, {
        "fixed": (generator.standard_normal((n, rank)) / np.sqrt(rank)).astype(dtype),
        "terms": RowTerms(1.0, 0.0, -3.0, 1.0),
        "offset": generator.standard_normal(n).astype(dtype),
        "prior": None,
        "linear": None,
        "ridge": np.linspace(0.2, 0.4, rank + bias).astype(dtype),
        "scale": np.diff(indptr).astype(dtype),
    }


def solve(name, cells, given, bias):
    dtype, rank = given["fixed"].dtype, given["fixed"].shape[1]
    out = np.full((cells.n_rows, rank), np.nan, dtype=dtype)
    out_bias = np.full(cells.n_rows, np.nan, dtype=dtype) if bias else None
    rest = {k: v for k, v in given.items() if k != "fixed"}
    get_backend(name).solve_rows(cells, given["fixed"], out=out, out_bias=out_bias, **rest)
    return out if out_bias is None else np.column_stack([out, out_bias])


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 7, 8, 16, 17, 31, 64, 65])
@pytest.mark.parametrize("m", [1, 2, 15, 16, 47, 48, 49, 97])
def test_native_is_the_oracle(m, rank, bias, dtype):
    cells, given = arguments(m, 140, rank, dtype, bias=bias)
    expected = solve("numpy", cells, given, bias)
    found = solve("native", cells, given, bias)
    scale = max(1.0, np.abs(expected).max())
    assert np.abs(found - expected).max() <= testing.TOLERANCE[dtype] * scale


@pytest.mark.parametrize("isa", _native.available_isas())
def test_every_instruction_set(isa, run_code):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import test_full_tables as tests
from halfstep import _native
assert _native.isa() == sys.argv[2]
for dtype in ("float32", "float64"):
    tests.test_a_full_row_has_the_same_bits_in_any_company(dtype)
    for rank in (1, 8, 17, 65):
        tests.test_native_is_the_oracle(53, rank, True, dtype)
"""
    done = run_code(code, os.path.dirname(__file__), isa, HALFSTEP_ISA=isa)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_a_full_row_has_the_same_bits_in_any_company(dtype):
    cells, given = arguments(120, 150, 20, dtype, bias=True)
    whole = solve("native", cells, given, True)
    short, less = arguments(120, 150, 20, dtype, bias=True, missing=40)
    found = solve("native", short, less, True)
    assert found[:-1].tobytes() == whole[:-1].tobytes()
    assert found[-1].tobytes() != whole[-1].tobytes()
    before = get_num_threads()
    try:
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            assert solve("native", cells, given, True).tobytes() == whole.tobytes()
            assert solve("native", short, less, True).tobytes() == found.tobytes()
    finally:
        set_num_threads(before)


LAWS = [
    testing.law_objective_is_the_formula,
    testing.law_objective_never_rises,
    testing.law_gradient_is_zero_at_convergence,
    testing.law_relabelling_permutes,
    testing.law_swapping_sides_swaps_the_factors,
    testing.law_same_bits_for_any_threads,
    testing.law_same_bits_for_any_order_of_rows,
    testing.law_fold_in_is_the_users_row,
    testing.law_explanations_sum_to_the_score,
    testing.law_matches_the_oracle,
]


class Full(testing.Case):
    """The case with every cell observed, and no weights."""

    def ratings(self, users=40, items=30, share=1.0):
        return testing.random_ratings(users, items, 1.0, seed=self.seed)


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("reg_scaling", ["count", "none"])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_laws_of_full_tables(law, reg_scaling, biases, dtype):
    reg = 0.1 if reg_scaling == "count" else 1.0
    objective = {"biases": biases, "reg_scaling": reg_scaling, "reg": reg}
    case = Full(objective=objective, dtype=dtype)
    assert case.ratings().is_complete
    law(case)


def test_full_tables_are_solved_exactly_at_any_rank(tmp_path):
    rank = EXACT_UP_TO + 6
    assert get_solver("als", rank, complete=True).linear == hs.Cholesky()
    ratings = hs.Ratings.from_dense(table(90, 80))
    assert ratings.is_complete
    assert not ratings.with_weights(np.ones(len(ratings))).is_complete
    model = hs.ExplicitMF(rank=rank, max_iter=2).fit(ratings)
    back = hs.load(model.save(tmp_path / "m.safetensors"))
    for one in (model, back):
        assert one.explain(3, 4).exact
        folded = one.fold_in(ratings)
        assert folded.factors.tobytes() == model.factors_.user_factors.tobytes()
    gaps = hs.ExplicitMF(rank=rank, max_iter=2).fit(ratings.select(np.arange(1, len(ratings))))
    assert not gaps.explain(3, 4).exact
