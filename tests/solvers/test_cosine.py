"""The cosine contrastive loss: kernel against oracle, the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, CosineBlocks, CosineRows, CosineTerms
from halfstep.errors import InternalError

M, N = 61, 83


def positives(weighted: bool) -> CSR:
    """Some users without positives, one with all items."""
    generator = np.random.default_rng(3)
    there = generator.random((M, N)) < 0.1
    there[7], there[40] = False, True
    rows, columns = np.nonzero(there)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=M))]).astype(np.int64)
    weights = generator.uniform(0.5, 2, len(rows)).astype(np.float32) if weighted else None
    return CSR(indptr, columns.astype(np.uint32), np.ones(len(rows), dtype=np.float32), weights)


def unit(rows: int, rank: int, dtype: str, seed: int) -> Array:
    X = np.random.default_rng(seed).standard_normal((rows, rank))
    return np.asarray(X / np.sqrt(np.sum(X * X, axis=1))[:, None], dtype=dtype)


def epochs(
    backend: str,
    rank: int,
    dtype: str = "float64",
    *,
    weighted: bool = False,
    items_fixed: bool = False,
    size: int = 19,
    draws: int = 45,
    count: int = 2,
) -> list[Array]:
    """Factors and sums after a few epochs."""
    runs_on = get_backend(backend, dtype=dtype)
    users, items = (
        CosineRows(unit(rows, rank, dtype, seed), np.zeros(rows, dtype=dtype))
        for rows, seed in ((M, 1), (N, 2))
    )
    generator = np.random.default_rng(5)
    step = CosineTerms(0.2, 30.0, (0.7, 0.4), items_fixed)
    for _ in range(count):
        order = generator.permutation(M).astype(np.uint32)
        # drawn with replacement: an item may come twice
        drawn = generator.integers(0, N, (-(-M // size), draws)).astype(np.uint32)
        runs_on.cosine_epoch(
            positives(weighted), CosineBlocks(order, size, drawn), step, users, items
        )
    return [users.factors, users.sums, items.factors, items.sums]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rank", [1, 3, 16, 33, 64, 130])
def test_kernel_takes_the_steps_of_the_formulas(rank: int, weighted: bool) -> None:
    found, wanted = (epochs(name, rank, weighted=weighted) for name in ("native", "numpy"))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


def test_float32_is_near() -> None:
    found, wanted = epochs("native", 24, "float32", count=1), epochs("numpy", 24, count=1)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_sizes_of_blocks_and_numbers_of_draws() -> None:
    for size, draws in ((1, 1), (8, 32), (M, 200), (500, 31)):
        found, wanted = (epochs(name, 5, size=size, draws=draws) for name in ("native", "numpy"))
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


def test_items_stay_where_they_are_fixed() -> None:
    users, _, items, sums = epochs("native", 8, items_fixed=True)
    np.testing.assert_array_equal(items, unit(N, 8, "float64", 2))
    assert not sums.any()
    np.testing.assert_allclose(users, epochs("numpy", 8, items_fixed=True)[0], rtol=1e-9)


def test_rows_are_of_unit_length_and_rows_without_positives_stay() -> None:
    users, sums, items, _ = epochs("native", 8)
    for rows in (users, items):
        np.testing.assert_allclose(np.sum(rows * rows, axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(users[7], unit(M, 8, "float64", 1)[7])
    assert sums[7] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_threads(dtype: str) -> None:
    before = hs.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            found.append(epochs("native", 33, dtype, size=40))
    finally:
        hs.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_user_in_two_blocks_is_a_bug_of_the_caller() -> None:
    backend = get_backend("native", dtype="float64")
    users, items = (CosineRows(unit(rows, 4, "float64", 1), np.zeros(rows)) for rows in (M, N))
    order, drawn = np.zeros(2, dtype=np.uint32), np.zeros((1, 3), dtype=np.uint32)
    step = CosineTerms(0.2, 30.0, (0.7, 0.4), False)
    with pytest.raises(InternalError, match="two blocks"):
        backend.cosine_epoch(positives(False), CosineBlocks(order, 2, drawn), step, users, items)
