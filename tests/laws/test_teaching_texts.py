"""The formulas of the teaching texts, written literally, and the traps on the way to them.

Three well-known introductions describe this problem: a guide to ALS with code, a lecture on matrix
factorization (objective, gradients, closed form), and notes on gradient descent. What they print is
here in float64, with what goes wrong when it is copied as it stands.
"""

from dataclasses import replace

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.backends import get_backend
from halfstep.errors import SingularSystemError
from halfstep.objectives import Reg, SquaredError
from halfstep.solvers import Problem
from halfstep.solvers.als import half_step

LAM = 0.7


@pytest.fixture(scope="module")
def ratings():
    return testing.random_ratings(14, 11, 0.5, seed=8)


def observed(ratings):
    """(R, mask) dense: the mask says what is observed, the value does not."""
    R, mask = np.zeros(ratings.shape), np.zeros(ratings.shape, dtype=bool)
    cells = (ratings.user_index(), ratings.by_user.indices)
    R[cells], mask[cells] = ratings.by_user.values, True
    return R, mask


def plain(ratings, rank=3, seed=0, lam=LAM):
    """The texts' objective: no biases, no centring, plain λ."""
    objective = SquaredError(0.0, Reg(lam, lam, lam), "none", biases=False)
    factors = hs.Factors.random(ratings, rank, biases=False, mean=0.0, dtype="float64", seed=seed)
    Z = np.random.default_rng(seed).normal(size=factors.item_factors.shape)
    return objective, replace(factors, item_factors=Z)


def als_step_of_the_guide(R, mask, x, y, k, lam):
    """x_u = (Σ_observed y_i y_iᵀ + λ I)⁻¹ Σ_observed r_ui y_i, one user after the other.

    As in the guide's code, but looping over the observed items themselves: its loop runs over the
    tuple that `np.nonzero` returns, which is one step with all indices at once.
    """
    x = x.copy()
    for u in range(len(R)):
        A, B = np.zeros((k, k)), np.zeros((k, 1))
        for i in np.flatnonzero(mask[u]):
            y_i = y[i, :].reshape((k, 1))
            A += np.dot(y_i, y_i.T)
            B += R[u, i] * y_i
        x[u, :] = np.dot(np.linalg.inv(A + lam * np.identity(k)), B).reshape(k)
    return x


@pytest.mark.parametrize("backend", testing.BACKENDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_the_guides_step_is_one_half_step(ratings, backend, dtype, tolerance):
    objective, f = plain(ratings)
    R, mask = observed(ratings)
    expected = als_step_of_the_guide(R, mask, f.user_factors, f.item_factors, 3, LAM)
    problem = Problem.of(ratings, objective, 3, dtype)
    out = np.empty((14, 3), dtype=dtype)
    fixed = f.item_factors.astype(dtype)
    half_step(problem, "user", (fixed, None), (out, None), get_backend(backend))
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


def test_the_guides_loop_as_printed_is_another_computation(ratings):
    """The trap: `for i in np.nonzero(row)` runs once, with an array of all indices."""
    R, _ = observed(ratings)
    _, f = plain(ratings)
    y, u = f.item_factors, 0
    printed = []
    for indices in np.nonzero(R[u, :]):
        printed.append(indices)
    assert len(printed) == 1
    assert printed[0].shape == (np.count_nonzero(R[u]),)
    with pytest.raises(ValueError, match="reshape"):
        y[printed[0], :].reshape((3, 1))


def test_a_zero_is_not_a_missing_cell(ratings):
    """The trap: looking for nonzeros loses the ratings of 0."""
    R, mask = observed(ratings)
    assert np.count_nonzero(R) < mask.sum() == len(ratings)
    objective, f = plain(ratings)
    with_zeros = als_step_of_the_guide(R, mask, f.user_factors, f.item_factors, 3, LAM)
    without = als_step_of_the_guide(R, R != 0, f.user_factors, f.item_factors, 3, LAM)
    assert np.abs(with_zeros - without).max() > 0.05
    problem = Problem.of(ratings, objective, 3, "float64")
    out = np.empty((14, 3))
    half_step(problem, "user", (f.item_factors, None), (out, None), get_backend("native"))
    np.testing.assert_allclose(out, with_zeros, atol=1e-10)


@pytest.mark.parametrize("backend", testing.BACKENDS)
def test_a_singular_system_is_not_swallowed(backend):
    """The trap: `except LinAlgError: pass` leaves the old row in place and says nothing."""
    few = hs.Ratings.from_arrays(["ann", "bob", "bob"], [1, 1, 2], [3.0, 4.0, 0.0])
    model = hs.ExplicitMF(rank=2, reg=0.0, biases=False)
    with pytest.raises(SingularSystemError, match=r"(user|item) .*no unique solution.*raise reg"):
        model.fit(few, backend=backend)


def test_the_lectures_stochastic_gradients_sum_to_the_gradient(ratings):
    """∂f_dn/∂w_d = −[x_dn − (W Zᵀ)_dn] z_n, summed over Ω, plus λ_w W."""
    objective, f = plain(ratings)
    W, Z = f.user_factors, f.item_factors
    R, mask = observed(ratings)
    dW, dZ = LAM * W, LAM * Z
    for u, i in zip(*np.nonzero(mask), strict=True):
        residual = R[u, i] - W[u] @ Z[i]
        dW[u] -= residual * Z[i]
        dZ[i] -= residual * W[u]
    found = testing.gradient(ratings, objective, f)
    np.testing.assert_allclose(found["user_factors"], dW, atol=1e-12)
    np.testing.assert_allclose(found["item_factors"], dZ, atol=1e-12)


@pytest.mark.parametrize("backend", testing.BACKENDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_an_epoch_is_the_lectures_stochastic_gradient_descent(ratings, backend, dtype, tolerance):
    """w_d ← w_d + η [x_dn − (W Zᵀ)_dn] z_n, z_n likewise with the old w_d, one cell at a time."""
    objective, f = plain(ratings, lam=0.0)
    start = replace(
        f,
        user_factors=0.5 * f.user_factors.astype(dtype),
        item_factors=0.5 * f.item_factors.astype(dtype),
    )
    W, Z = start.user_factors.astype(float), start.item_factors.astype(float)
    solver = hs.SGD(schedule="constant", rate=0.05, seed=3)
    sweep = solver.begin(Problem.of(ratings, objective, 3, dtype), start, get_backend(backend))
    out = start.empty_like()
    list(sweep(start, out))

    R, _ = observed(ratings)
    eta = 0.05 / np.std(ratings.by_user.values.astype(float))
    users = np.random.default_rng(3).permutation(14)  # as they are dealt: eight at a time
    for group in (users[:8], users[8:]):
        cells = [np.flatnonzero(observed(ratings)[1][d]) for d in group]
        for turn in range(max(map(len, cells))):
            for d, items in zip(group, cells, strict=True):
                if turn < len(items):
                    n = items[turn]
                    residual = R[d, n] - W[d] @ Z[n]
                    W[d], Z[n] = W[d] + eta * residual * Z[n], Z[n] + eta * residual * W[d]
    np.testing.assert_allclose(out.user_factors, W, atol=tolerance)
    np.testing.assert_allclose(out.item_factors, Z, atol=tolerance)


def test_the_notes_matrix_gradient_needs_the_mask(ratings):
    """∂L/∂U = E V with E = R̂ − R on Ω only. The trap: zeros for the missing cells of R alone."""
    objective, f = plain(ratings, lam=0.0)
    W, Z = f.user_factors, f.item_factors
    R, mask = observed(ratings)
    E = np.where(mask, W @ Z.T - R, 0.0)
    found = testing.gradient(ratings, objective, f)
    np.testing.assert_allclose(found["user_factors"], E @ Z, atol=1e-12)
    np.testing.assert_allclose(found["item_factors"], E.T @ W, atol=1e-12)
    unmasked = W @ Z.T - R
    assert np.abs(unmasked @ Z - E @ Z).max() > 1.0


@pytest.mark.parametrize("backend", testing.BACKENDS)
def test_the_notes_matrix_gradient_is_the_backends(ratings, backend):
    """∂L/∂U = E V and ∂L/∂V = Eᵀ U, the matrix form itself, where a backend never makes E."""
    _, f = plain(ratings, lam=0.0)
    W, Z = f.user_factors, f.item_factors
    R, mask = observed(ratings)
    E = np.where(mask, W @ Z.T - R, 0.0)
    dW, dZ = np.empty_like(W), np.empty_like(Z)
    runs_on = get_backend(backend)
    squares = runs_on.gradient(ratings.by_user, W, Z, None, None, 0.0, out=dW, out_bias=None)
    runs_on.gradient(ratings.by_item, Z, W, None, None, 0.0, out=dZ, out_bias=None)
    np.testing.assert_allclose(dW, E @ Z, atol=1e-12)
    np.testing.assert_allclose(dZ, E.T @ W, atol=1e-12)
    np.testing.assert_allclose(squares, (E**2).sum(), rtol=1e-12)


@pytest.mark.parametrize("backend", testing.BACKENDS)
def test_the_notes_loop_is_gradient_descent(ratings, backend):
    """U ← U − η E V and V ← V − η Eᵀ U, both from the old U and V, with λ = 0."""
    objective, f = plain(ratings, lam=0.0)
    R, mask = observed(ratings)
    U, V, eta = f.user_factors.copy(), f.item_factors.copy(), 0.01
    for _ in range(25):
        E = np.where(mask, U @ V.T - R, 0.0)
        U, V = U - eta * (E @ V), V - eta * (E.T @ U)
    problem = Problem.of(ratings, objective, 3, "float64")
    sweep = hs.GD(step=eta, momentum=0.0).begin(problem, f, get_backend(backend))
    current, spare = f, f.empty_like()
    for _ in range(25):
        assert list(sweep(current, spare)) == ["gradient", "step"]
        current, spare = spare, current
    np.testing.assert_allclose(current.user_factors, U, atol=1e-10)
    np.testing.assert_allclose(current.item_factors, V, atol=1e-10)


def test_nothing_missing_is_the_closed_form():
    """Wᵀ = (Zᵀ Z + λ_w I)⁻¹ Zᵀ Xᵀ: one matrix for all rows where nothing is missing."""
    generator = np.random.default_rng(4)
    X = generator.normal(size=(6, 5))
    users, items = np.indices(X.shape).reshape(2, -1)
    ratings = hs.Ratings.from_arrays(users, items, X.ravel())
    objective, f = plain(ratings)
    Z = f.item_factors
    stored = X.astype(np.float32).astype(float)
    expected = np.linalg.solve(Z.T @ Z + LAM * np.identity(3), Z.T @ stored.T).T
    problem = Problem.of(ratings, objective, 3, "float64")
    out = np.empty((6, 3))
    half_step(problem, "user", (Z, None), (out, None), get_backend("native"))
    np.testing.assert_allclose(out, expected, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize("backend", testing.BACKENDS)
@pytest.mark.parametrize("rank", [1, 3, 16, 40])
def test_the_closed_form_of_a_whole_table(rank, backend, dtype, tolerance):
    """The same for 70 users and 60 items, at once for all rows (and not one after the other)."""
    X = np.random.default_rng(5).integers(0, 11, (70, 60)) / 2
    ratings = hs.Ratings.from_dense(X)
    objective, f = plain(ratings, rank=rank)
    Z = f.item_factors.astype(dtype).astype(float)
    expected = np.linalg.solve(Z.T @ Z + LAM * np.identity(rank), Z.T @ X.T).T
    problem = Problem.of(ratings, objective, rank, dtype)
    out = np.empty((70, rank), dtype=dtype)
    half_step(problem, "user", (Z.astype(dtype), None), (out, None), get_backend(backend))
    np.testing.assert_allclose(out, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize("scaling", ["none", "count"])
@pytest.mark.parametrize("backend", testing.BACKENDS)
def test_the_closed_form_with_biases(backend, scaling, dtype, tolerance):
    """[Wᵀ; b_uᵀ] = ([Z 1]ᵀ[Z 1] + s diag(λ_w, …, λ_b))⁻¹ [Z 1]ᵀ (X − μ − 1 b_iᵀ)ᵀ, with s = 1 or n."""
    X = np.random.default_rng(6).integers(0, 11, (70, 60)) / 2
    ratings = hs.Ratings.from_dense(X)
    reg = Reg(0.3, 0.3, 0.1)
    objective = SquaredError(ratings.mean(), reg, scaling, biases=True)
    generator = np.random.default_rng(7)
    Z, b_i = (generator.normal(size=shape).astype(dtype) for shape in ((60, 4), 60))
    Z1 = np.column_stack([Z, np.ones(60)]).astype(float)
    s = 60 if scaling == "count" else 1
    A = Z1.T @ Z1 + s * np.diag([reg.user] * 4 + [reg.bias])
    expected = np.linalg.solve(A, Z1.T @ (X - X.mean() - b_i).T).T
    problem = Problem.of(ratings, objective, 4, dtype)
    W, b_u = np.empty((70, 4), dtype=dtype), np.empty(70, dtype=dtype)
    half_step(problem, "user", (Z, b_i), (W, b_u), get_backend(backend))
    found = np.column_stack([W, b_u])
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())
