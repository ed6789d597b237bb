"""The certificate against a dense solution of the convex problem, and what it must refuse."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.diagnostics import certificate as module
from halfstep.diagnostics.certificate import certify
from halfstep.diagnostics.lanczos import largest_singular
from halfstep.errors import HistoryRequiredError, ParameterError, UnknownIdError

sys.path.insert(0, str(Path(__file__).parent))
import convex

CASES = {
    "no biases": {"biases": False, "reg_scaling": "none", "reg": 3.0, "center": False},
    "regularized biases": {"biases": True, "reg_scaling": "none", "reg": (4.0, 4.0, 2.0)},
    "free biases": {"biases": True, "reg_scaling": "none", "reg": (4.0, 4.0, 0.0)},
    "unequal": {"biases": True, "reg_scaling": "none", "reg": (12.0, 1.5, 0.7)},
    "count": {"biases": True, "reg_scaling": "count", "reg": (0.3, 0.25, 0.1)},
    "count, free biases": {"biases": True, "reg_scaling": "count", "reg": (0.3, 0.3, 0.0)},
    "count, no biases": {"biases": False, "reg_scaling": "count", "reg": 0.3},
}
FULL = 24


def fit(ratings, case, rank=FULL, **more):
    params = {"max_iter": 3000, "tol": 1e-15, "dtype": "float64", "seed": 1, **CASES[case], **more}
    return hs.ExplicitMF(rank=rank, **params).fit(ratings)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "weighted"])
def instance(request):
    return testing.random_ratings(30, 24, 0.45, seed=5, weighted=request.param)


@pytest.mark.parametrize("case", CASES)
def test_the_optimum_is_certified_and_it_is_the_convex_one(instance, case):
    model = fit(instance, case)
    found = model.certificate()
    solved = convex.solve(instance, model.objective_)
    assert found.verdict == "optimal"
    assert found.gap <= 1e-6
    assert found.lower_bound <= solved.objective * (1 + 1e-10)
    assert solved.objective <= found.objective * (1 + 1e-10)
    assert abs(found.objective - model.trace_[-1].objective) <= 1e-10 * found.objective
    values = model.singular_values()
    expected = np.linalg.svd(solved.X, compute_uv=False)
    np.testing.assert_allclose(values, expected[: len(values)], atol=1e-3 * expected[0])


@pytest.mark.parametrize("case", CASES)
def test_the_bound_holds_at_every_sweep(instance, case):
    least = convex.solve(instance, fit(instance, case, rank=1, max_iter=1).objective_).objective
    for rank, sweeps in ((1, 1), (2, 40), (5, 3), (FULL, 2), (FULL, 30)):
        found = fit(instance, case, rank=rank, max_iter=sweeps, tol=0.0).certificate()
        assert found.lower_bound <= least * (1 + 1e-9)
        assert found.objective >= least * (1 - 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_too_small_a_rank_is_refused_and_the_direction_lowers_the_objective(instance, case):
    model = fit(instance, case, rank=1)
    found = model.certificate()
    assert found.verdict == "rank too small"
    assert found.gap > 1e-3
    assert found.rest_ratio > 1
    assert "too small" in str(found)
    assert found.gradient < 1e-4
    longer = replace(
        model.factors_,
        user_factors=np.hstack([model.factors_.user_factors, found.direction.user_factors]),
        item_factors=np.hstack([model.factors_.item_factors, found.direction.item_factors]),
    )
    after = testing.objective_value(instance, model.objective_, longer)
    assert found.direction.fall > 0
    assert after <= found.objective - found.direction.fall * (1 - 1e-6)


def test_a_fit_that_is_not_converged_is_called_so(instance):
    found = fit(instance, "count", max_iter=3, tol=0.0).certificate()
    assert found.verdict == "not converged"
    assert found.gap > 1e-6
    assert "Not converged" in str(found)


def test_wrong_factors_are_refused(instance):
    model = fit(instance, "regularized biases")
    wrong = replace(model.factors_, item_factors=model.factors_.item_factors[::-1].copy())
    found = certify(instance.by_user, model.objective_, wrong, tolerance=1e-6)
    assert found.verdict == "not converged"
    assert found.gap > 0.01
    for shrunk in (0.99, 1.01):  # near the optimum, and not at it
        near = replace(model.factors_, item_factors=model.factors_.item_factors * shrunk)
        found = certify(instance.by_user, model.objective_, near, tolerance=1e-6)
        assert found.verdict == "not converged"
        assert found.gap > 1e-6


def test_random_factors_are_refused(instance):
    objective = fit(instance, "count", max_iter=1).objective_
    start = hs.Factors.random(instance, 5, biases=True, mean=0.0, dtype="float64", seed=0)
    found = certify(instance.by_user, objective, start, tolerance=1e-6)
    assert found.verdict == "not converged"


def test_the_gradient_and_the_imbalance_are_those_of_the_formula(instance):
    model = fit(instance, "unequal", rank=2, max_iter=2, tol=0.0)
    # settled biases are those of J's minimum over them: put them in, and the literal gradient is
    # ours
    for _ in range(900):
        f = model.factors_
        g = testing.gradient(instance, model.objective_, f)
        step = 0.03
        model.factors_ = replace(
            f,
            user_bias=f.user_bias - step * g["user_bias"],
            item_bias=f.item_bias - step * g["item_bias"],
        )
    g = testing.gradient(instance, model.objective_, model.factors_)
    assert max(np.abs(g["user_bias"]).max(), np.abs(g["item_bias"]).max()) < 1e-6
    W, Z = model.factors_.user_factors, model.factors_.item_factors
    found = model.certificate()
    level = np.sqrt(12.0 * 1.5)
    a, b = np.sqrt(12.0 / level), np.sqrt(1.5 / level)  # W̃ = a W, ∂J/∂W̃ = ∂J/∂W / a
    size = np.sqrt((g["user_factors"] ** 2).sum() / a**2 + (g["item_factors"] ** 2).sum() / b**2)
    penalty = level * np.sqrt(a**2 * (W**2).sum() + b**2 * (Z**2).sum())
    assert found.gradient == pytest.approx(size / penalty, rel=1e-4)
    users, items = 12.0 * W.T @ W, 1.5 * Z.T @ Z
    assert found.imbalance == pytest.approx(
        np.linalg.norm(users - items) / np.linalg.norm(users + items)
    )


def test_rows_without_ratings(instance):
    part = instance.select((instance.user_index() != 3) & (instance.by_user.indices != 2))
    for case in ("count", "regularized biases", "free biases"):
        assert fit(part, case).certificate().verdict == "optimal"


def test_other_ratings_find_their_rows(instance):
    model = fit(instance, "regularized biases")
    users, items, r = instance.to_arrays()
    weight = instance.by_user.weights
    keep = users != users[0]
    part = hs.Ratings.from_arrays(
        users[keep], items[keep], r[keep], weight=None if weight is None else weight[keep]
    )
    one = model.certificate(part)
    two = model.certificate(instance.select(keep))
    assert one.objective == pytest.approx(two.objective, rel=1e-12)
    assert one.lower_bound == pytest.approx(two.lower_bound, rel=1e-9)
    with pytest.raises(UnknownIdError):
        model.certificate(hs.Ratings.from_arrays([1], items[:1], [3.0]))


def test_what_has_no_certificate_says_so(instance, tmp_path):
    with pytest.raises(ParameterError, match="reg"):
        fit(instance, "no biases", reg=(0.0, 1.0, 1.0), max_iter=1, rank=2).certificate()
    model = fit(instance, "count", max_iter=1)
    for bad in (-1.0, float("nan"), "1"):
        with pytest.raises(ParameterError, match="tolerance"):
            model.certificate(tolerance=bad)
    model.objective_ = replace(model.objective_, nonnegative=True)
    with pytest.raises(ParameterError, match="nonnegative"):
        model.certificate()
    fit(instance, "count", max_iter=1).save(tmp_path / "m.safetensors", history=False)
    loaded = hs.load(tmp_path / "m.safetensors")
    with pytest.raises(HistoryRequiredError):
        loaded.certificate()
    assert loaded.certificate(instance).gap > 0


def test_the_cells_may_come_in_chunks(instance, monkeypatch):
    model = fit(instance, "count", rank=3, max_iter=5)
    whole = model.certificate()
    monkeypatch.setattr(module, "_CHUNK", 50)
    assert model.certificate().lower_bound == pytest.approx(whole.lower_bound, rel=1e-12)


def test_float32_is_certified_to_what_it_can_hold(simulated):
    model = hs.ExplicitMF(rank=40, reg=0.2, max_iter=500, tol=0).fit(simulated)
    found = model.certificate()
    assert found.tolerance == 1e-5
    assert found.verdict == "optimal"


@pytest.mark.parametrize("count", [1, 5])
def test_lanczos_finds_the_largest_singular_values(count):
    generator = np.random.default_rng(0)
    A = generator.standard_normal((300, 200)) @ np.diag(0.97 ** np.arange(200))
    found = largest_singular(
        lambda x: A @ x,
        lambda x: A.T @ x,
        A.shape,
        count,
        enough=lambda value, residual: residual <= 1e-9 * value,
        floor=1e-12,
    )
    values = np.linalg.svd(A, compute_uv=False)
    assert found.values[0] == pytest.approx(values[0], rel=1e-9)
    assert values[0] * (1 - 1e-12) <= found.bound <= values[0] * (1 + 1e-6)
    assert len(found.values) == count
    k = len(found.values)
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(k), atol=1e-9)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(k), atol=1e-9)
    np.testing.assert_allclose(A @ found.right, found.left * found.values, atol=1e-8 * values[0])


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_lanczos_of_few_directions_is_exact(rank):
    generator = np.random.default_rng(1)
    A = generator.standard_normal((40, rank)) @ generator.standard_normal((rank, 25))
    found = largest_singular(
        lambda x: A @ x, lambda x: A.T @ x, A.shape, 6, enough=lambda v, r: False, floor=1e-10
    )
    values = np.linalg.svd(A, compute_uv=False)[:rank]
    np.testing.assert_allclose(found.values, values, rtol=1e-10)
    assert found.bound <= (values[0] * (1 + 1e-9) if rank else 1e-9)
    np.testing.assert_allclose(found.left * found.values @ found.right.T, A, atol=1e-8)


def test_free_biases_that_are_not_found_prove_nothing():
    """Biases alone fit a path of ratings, so that no bound is above 0; they take many steps to find."""
    n = 4000
    users = np.repeat(np.arange(n), 2)
    items = users + np.arange(2 * n) % 2
    walk = np.random.default_rng(0).standard_normal(2 * n).cumsum()
    ratings = hs.Ratings.from_arrays(users, items, walk)
    model = hs.ExplicitMF(rank=1, reg=(1e3, 1e3, 0.0), reg_scaling="none", max_iter=1).fit(ratings)
    start = hs.Factors.random(ratings, 1, biases=True, mean=0.0, dtype="float64", seed=0)
    start = replace(start, user_factors=np.zeros_like(start.user_factors))
    found = certify(ratings.by_user, model.objective_, start, tolerance=1e-6)
    assert found.lower_bound == 0
    assert found.verdict == "not converged"
