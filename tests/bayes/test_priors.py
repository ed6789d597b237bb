"""The prior of the rows of a side: its draws against the distributions that they are said to have."""

import numpy as np
import pytest
from scipy import stats

from halfstep.backends import get_backend
from halfstep.bayes.priors import RowPrior, draw_prior, smallest_scatter

BACKEND = get_backend("native")
DRAWS = 4000


def many(rows, smallest, draws=DRAWS, seed=0):
    """m (draws, D) and Λ (draws, D, D) given the rows."""
    random = np.random.default_rng(seed)
    found = [draw_prior(rows, smallest, random, BACKEND) for _ in range(draws)]
    return np.array([mean for mean, _ in found]), np.array([precision for _, precision in found])


def posterior(rows, smallest):
    """(W, ν, β, centre), one row after the other: what is known after one is the prior of the next.

    β₀ = 1, ν₀ = D, and a row y moves the centre by (y − centre) / (β + 1) and adds
    β / (β + 1) (y − centre)(y − centre)ᵀ to W⁻¹.
    """
    D = rows.shape[1]
    inverse, freedom, strength, centre = np.diag(smallest), D, 1.0, np.zeros(D)
    for y in rows.astype(float):
        gap = y - centre
        inverse = inverse + strength / (strength + 1) * np.outer(gap, gap)
        centre = centre + gap / (strength + 1)
        freedom, strength = freedom + 1, strength + 1
    return np.linalg.inv(inverse), freedom, strength, centre


@pytest.mark.parametrize("D", [1, 2, 4])
@pytest.mark.parametrize("N", [0, 1, 2, 30])
def test_draws_have_the_moments_of_a_normal_wishart(N, D):
    rows = np.random.default_rng(N + D).standard_normal((N, D)) * 0.3 + 0.4
    smallest = smallest_scatter(D - 1, True, 1.3)
    W, freedom, strength, centre = posterior(rows, smallest)
    means, precisions = many(rows, smallest)
    # E Λ = ν W, Var Λ_ij = ν (W_ij² + W_ii W_jj)
    spread = np.sqrt(freedom * (W**2 + np.outer(np.diag(W), np.diag(W))))
    gaps = (precisions.mean(axis=0) - freedom * W) / spread
    assert np.abs(gaps).max() < 4.5 / np.sqrt(DRAWS)
    # Λ_dd / W_dd is χ² of ν
    for d in range(D):
        assert stats.kstest(precisions[:, d, d] / W[d, d], "chi2", (freedom,)).pvalue > 1e-3 / D
    # the determinant, of which every entry is a part, against scipy's draws
    theirs = stats.wishart(freedom, W).rvs(DRAWS, random_state=1).reshape(DRAWS, D, D)
    ours, others = (np.linalg.slogdet(drawn)[1] for drawn in (precisions, theirs))
    assert stats.ks_2samp(ours, others).pvalue > 1e-3
    # Rᵀ (m − centre) √β is standard normal where Λ = R Rᵀ
    roots = np.linalg.cholesky(precisions)
    white = np.einsum("sdk,sd->sk", roots, means - centre) * np.sqrt(strength)
    assert stats.kstest(white.ravel(), "norm").pvalue > 1e-3
    if D > 1:
        assert np.abs(np.corrcoef(white.T)[np.triu_indices(D, 1)]).max() < 4.5 / np.sqrt(DRAWS)


@pytest.mark.parametrize("N", [0, 1, 7])
def test_rows_and_their_prior_drawn_in_turn_keep_the_prior(N):
    """Λ and m from the prior, rows from them, Λ and m again given the rows: the same distribution."""
    D, random = 3, np.random.default_rng(N)
    smallest = smallest_scatter(2, True, 2.0)
    found = {"Λ": [], "m": [], "y": []}
    for _ in range(3000):
        mean, precision = draw_prior(np.zeros((0, D)), smallest, random, BACKEND)
        root = np.linalg.cholesky(precision)
        rows = np.ascontiguousarray(
            mean + np.linalg.solve(root.T, random.standard_normal((D, N))).T
        )
        mean, precision = draw_prior(rows, smallest, random, BACKEND)
        found["Λ"].append(np.diag(precision) * smallest)  # W₀ = 1 / smallest
        found["m"].append(mean @ precision @ mean)
        found["y"].append(np.einsum("ud,de,ue->", rows - mean, precision, rows - mean))
    diagonal = np.array(found["Λ"])
    for d in range(D):
        assert stats.kstest(diagonal[:, d], "chi2", (D,)).pvalue > 1e-3 / D
    assert stats.kstest(found["m"], "chi2", (D,)).pvalue > 1e-3
    if N:
        assert stats.kstest(found["y"], "chi2", (D * N,)).pvalue > 1e-3


@pytest.mark.parametrize("unit", [0.1, 10.0, 1e4])
def test_the_unit_of_the_ratings_is_that_of_the_prior(unit):
    """w·z and b have the unit of a rating: w grows with its root, b with itself."""
    rows = np.random.default_rng(0).standard_normal((20, 4))
    scale = np.array([np.sqrt(unit)] * 3 + [unit])
    one = many(rows, smallest_scatter(3, True, 1.0), 5)
    two = many(rows * scale, smallest_scatter(3, True, unit), 5)
    np.testing.assert_allclose(two[0], one[0] * scale, rtol=1e-8)
    np.testing.assert_allclose(two[1], one[1] / np.outer(scale, scale), rtol=1e-8)


def test_the_prior_of_a_row():
    """m + Aᵀ x and Λ times that, for all rows alike or each."""
    random = np.random.default_rng(0)
    mean, half = random.standard_normal(3), random.standard_normal((3, 3))
    shift = random.random((5, 3))
    precision = half @ half.T + np.eye(3)
    plain, shifted = (RowPrior(mean, precision, mean, given) for given in (None, shift))
    rows = np.array([4, 1])
    np.testing.assert_allclose(shifted.means(rows), mean + shift[rows])
    np.testing.assert_allclose(plain.means(rows), [mean, mean])
    np.testing.assert_allclose(plain.linear("float64"), (precision @ mean)[None])
    np.testing.assert_allclose(shifted.linear("float64"), (mean + shift) @ precision)
    assert shifted.linear("float32").dtype == np.float32
    assert plain.log_determinant == pytest.approx(np.linalg.slogdet(precision)[1])
