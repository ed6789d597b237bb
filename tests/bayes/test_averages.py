"""The mean of the draws: as one product of factors, and centred."""

from dataclasses import replace

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.backends import get_backend
from halfstep.bayes.averages import MeanProduct
from halfstep.bayes.density import PosteriorDensity
from halfstep.bayes.posterior import Posterior, fitted
from halfstep.bayes.priors import RowPrior
from halfstep.factors import Factors

NATIVE = get_backend("native")
M, N, K = 60, 45, 3


def draws_of(count, *, seed=0, dtype="float64", noise=0.3, sizes=(M, N), rank=K):
    """Factors near each other, and each turned as it likes."""
    random = np.random.default_rng(seed)
    W, Z = (random.standard_normal((size, rank)) for size in sizes)
    for _ in range(count):
        turn = np.linalg.qr(random.standard_normal((rank, rank)))[0]
        yield tuple(
            np.ascontiguousarray(
                ((side + noise * random.standard_normal(side.shape)) @ turn).astype(dtype)
            )
            for side in (W, Z)
        )


def averaged(draws, counts, kept, dtype="float64"):
    mean = MeanProduct(counts, K, kept, dtype, NATIVE)
    for draw in draws:
        mean.add(*draw)
    return mean.factors()


def some_counts(seed=1):
    random = np.random.default_rng(seed)
    return random.integers(0, 50, M), random.integers(0, 60, N)


def dense_mean(draws):
    return np.mean([W.astype(float) @ Z.astype(float).T for W, Z in draws], axis=0)


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("count", [1, 2, 8, 9, 40])
def test_is_the_mean_where_there_is_room(count, dtype):
    draws = list(draws_of(count, dtype=dtype))
    U, V = averaged(draws, some_counts(), N, dtype)
    assert U.dtype == V.dtype == np.dtype(dtype)
    assert U.shape[1] == V.shape[1] <= N
    error = np.abs(U.astype(float) @ V.astype(float).T - dense_mean(draws)).max()
    assert error < {"float32": 1e-5, "float64": 1e-10}[dtype]


@pytest.mark.parametrize("count", [3, 8, 11])
@pytest.mark.parametrize("kept", [1, 4, 6, 9])
def test_is_the_truncated_decomposition_where_there_is_not(kept, count):
    """Of M with every entry times the roots of its row's and column's counts (0 counts as 1)."""
    draws, counts = list(draws_of(count)), some_counts()
    U, V = averaged(draws, counts, kept)
    assert U.shape == (M, min(kept, count * K))
    roots = [np.sqrt(np.maximum(c, 1)) for c in counts]
    weighted = roots[0][:, None] * dense_mean(draws) * roots[1]
    left, values, right = np.linalg.svd(weighted)
    best = (left[:, :kept] * values[:kept]) @ right[:kept]
    found = roots[0][:, None] * (U @ V.T) * roots[1]
    least = np.linalg.norm(weighted - best)
    if count * K <= kept + 4 * K:  # all fit before anything is cut off
        np.testing.assert_allclose(found, best, atol=1e-9 * values[0])
    assert np.linalg.norm(weighted - found) <= 1.05 * least + 1e-9 * values[0]


def test_many_draws_lose_little():
    """Cut off every four draws, a hundred times: not far from one decomposition of the whole."""
    draws = list(draws_of(400, noise=0.5))
    counts = np.ones(M), np.ones(N)
    U, V = averaged(draws, counts, 2 * K)
    whole = dense_mean(draws)
    values = np.linalg.svd(whole, compute_uv=False)
    least = np.sqrt((values[2 * K :] ** 2).sum())
    assert np.linalg.norm(whole - U @ V.T) < 1.2 * least
    assert np.linalg.norm(whole - U @ V.T) < 0.02 * np.linalg.norm(whole)


def test_draws_that_are_all_alike_or_nothing():
    W, Z = next(iter(draws_of(1)))
    U, V = averaged([(W, Z)] * 30, some_counts(), 4)
    np.testing.assert_allclose(U @ V.T, W @ Z.T, atol=1e-9)
    U, V = averaged([(0 * W, 0 * Z)] * 30, some_counts(), 4)
    assert (U @ V.T == 0).all()


def test_same_bits_for_any_number_of_threads():
    sizes = (3000, 2000)
    draws = list(draws_of(12, dtype="float32", sizes=sizes, rank=16))
    before, seen = hs.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            mean = MeanProduct(tuple(np.ones(s) for s in sizes), 16, 32, "float32", NATIVE)
            for draw in draws:
                mean.add(*draw)
            seen.add(b"".join(side.tobytes() for side in mean.factors()))
    finally:
        hs.set_num_threads(before)
    assert len(seen) == 1


# ------------------------------------------------------------------------- centring


def random_draws(ratings, count, *, biases, shifted, dtype="float64"):
    """(factors, density) with priors far from 0."""
    random = np.random.default_rng(3)
    m, n = ratings.shape
    D = K + biases
    for _ in range(count):
        priors = []
        for rows in (m, n):
            mean = random.standard_normal(D)
            shift = random.standard_normal((rows, D)) if shifted else None
            typical = mean if shift is None else mean + shift.mean(axis=0)
            priors.append(RowPrior(mean, np.eye(D), typical, shift))
        factors = Factors(
            random.standard_normal((m, K)).astype(dtype),
            random.standard_normal((n, K)).astype(dtype),
            random.standard_normal(m).astype(dtype) if biases else None,
            random.standard_normal(n).astype(dtype) if biases else None,
            3.5,
            ratings.users,
            ratings.items,
        )
        yield factors, PosteriorDensity(3.5, *priors, 1.0, biases)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("biases", [False, True])
def test_the_mean_is_that_of_the_predictions(biases, shifted):
    """For rows with ratings; one without is its prior's mean, an unknown one the typical row."""
    ratings = testing.random_ratings(20, 15, 0.5)
    counts = [np.diff(cells.indptr) for cells in (ratings.by_user, ratings.by_item)]
    counts[0][4] = counts[1][6] = 0
    draws = list(random_draws(ratings, 5, biases=biases, shifted=shifted))
    posterior = Posterior(tuple(counts), 0.5, np.random.default_rng(0))
    posterior.begin(draws[0][0], 15, NATIVE)
    for factors, density in draws:
        posterior.add(factors, density, factors.user_side)
    found = posterior.mean(draws[0][0])
    u, i = (x.ravel() for x in np.indices((21, 16)))
    u, i = np.where(u == 20, -1, u), np.where(i == 15, -1, i)
    expected = np.zeros(len(u))
    for factors, density in draws:
        sides = []
        for prior, rows, empty in (
            (density.users, factors.user_side, 4),
            (density.items, factors.item_side, 6),
        ):
            Y = rows[0] if rows[1] is None else np.column_stack(rows)
            Y = np.vstack([Y, prior.typical])
            Y[empty] = prior.means(np.array([empty]))[0]
            sides.append(Y)
        a, b = sides[0][u], sides[1][i]
        expected += 3.5 + np.einsum("rk,rk->r", a[:, :K], b[:, :K])
        if biases:
            expected += a[:, K] + b[:, K]
    np.testing.assert_allclose(fitted(found, u, i, NATIVE), expected / 5, atol=1e-9)
    assert len(posterior.draws) == 2  # every second one is kept, as it was
    kept, (factors, _) = posterior.draws[0], draws[1]
    assert (kept.factors.user_factors[:-1] == factors.user_factors).all()
    assert len(kept.factors.item_factors) == 16


def test_the_row_of_nobody_is_drawn_from_its_prior():
    ratings = testing.random_ratings(20, 15, 0.5)
    (factors, density), *_ = random_draws(ratings, 1, biases=True, shifted=True)
    half = np.random.default_rng(0).standard_normal((K + 1, K + 1))
    precision = half @ half.T + np.eye(K + 1)
    density = replace(density, users=replace(density.users, precision=precision))
    counts = tuple(np.ones(size) for size in ratings.shape)
    posterior = Posterior(counts, 1, np.random.default_rng(0))
    posterior.begin(factors, 2 * K, NATIVE)
    for _ in range(3000):
        posterior.add(factors, density, factors.user_side)
    nobody = np.array(
        [[*d.factors.user_factors[-1], d.factors.user_bias[-1]] for d in posterior.draws]
    )
    white = (nobody - density.users.typical) @ np.linalg.cholesky(precision)
    assert np.abs(white.mean(axis=0)).max() < 4.5 / np.sqrt(3000)
    assert np.abs(np.cov(white.T) - np.eye(K + 1)).max() < 4.5 * np.sqrt(2 / 3000)
