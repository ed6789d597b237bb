"""The λ of other libraries: their objective, written from their documentation, is ours times a constant.

Each function takes (ratings, weights-free) dense arrays and returns the library's objective at given
factors; `docs/objectives.md` says which `reg` and `reg_scaling` make ours the same.
"""

from dataclasses import replace

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.objectives import Reg, SquaredError

LAM = 0.37


def surprise_svd(r, p):
    """Σ over ratings of (r − r̂)² + λ (b_u² + b_i² + ‖p_u‖² + ‖q_i‖²)."""
    return sum(
        (r[u, i] - p.mean - p.b_u[u] - p.b_i[i] - p.W[u] @ p.Z[i]) ** 2
        + LAM * (p.b_u[u] ** 2 + p.b_i[i] ** 2 + p.W[u] @ p.W[u] + p.Z[i] @ p.Z[i])
        for u, i in r
    )


def cmfrec_plain(r, p):
    """Σ (r − r̂)² + λ (‖A‖² + ‖B‖² + ‖b_u‖² + ‖b_i‖²)."""
    squares = sum(
        (v - p.mean - p.b_u[u] - p.b_i[i] - p.W[u] @ p.Z[i]) ** 2 for (u, i), v in r.items()
    )
    return squares + LAM * sum((x**2).sum() for x in (p.W, p.Z, p.b_u, p.b_i))


def spark_als(r, p):
    """Σ (r − x·y)² + λ (Σ n_u ‖x_u‖² + Σ n_i ‖y_i‖²)."""
    n_u, n_i = np.zeros(len(p.W)), np.zeros(len(p.Z))
    for u, i in r:
        n_u[u] += 1
        n_i[i] += 1
    squares = sum((v - p.W[u] @ p.Z[i]) ** 2 for (u, i), v in r.items())
    return squares + LAM * (n_u @ (p.W**2).sum(1) + n_i @ (p.Z**2).sum(1))


def libmf(r, p):
    """Σ over ratings of (r − p·q)² + λ (‖p_u‖² + ‖q_i‖²)."""
    return sum(
        (v - p.W[u] @ p.Z[i]) ** 2 + LAM * (p.W[u] @ p.W[u] + p.Z[i] @ p.Z[i])
        for (u, i), v in r.items()
    )


@pytest.mark.parametrize(
    ("theirs", "scaling", "biases"),
    [
        (surprise_svd, "count", True),
        (cmfrec_plain, "none", True),
        (spark_als, "count", False),
        (libmf, "count", False),
    ],
)
def test_twice_our_objective_is_theirs(theirs, scaling, biases):
    ratings = testing.random_ratings(9, 7, 0.5, seed=2)
    mean = ratings.mean() if biases else 0.0
    objective = SquaredError(mean, Reg(LAM, LAM, LAM), scaling, biases)
    factors = hs.Factors.random(ratings, 3, biases=biases, mean=mean, dtype="float64", seed=1)
    generator = np.random.default_rng(0)
    factors = replace(
        factors,
        item_factors=generator.normal(size=(7, 3)),
        user_bias=generator.normal(size=9) if biases else None,
        item_bias=generator.normal(size=7) if biases else None,
    )

    class P:
        W, Z, b_u, b_i = (
            factors.user_factors,
            factors.item_factors,
            factors.user_bias,
            factors.item_bias,
        )

    P.mean = mean
    cells = ratings.by_user
    r = dict(
        zip(
            zip(ratings.user_index().tolist(), cells.indices.tolist(), strict=True),
            cells.values.astype(float).tolist(),
            strict=True,
        )
    )
    ours = testing.objective_value(ratings, objective, factors)
    assert 2 * ours == pytest.approx(theirs(r, P), rel=1e-12)


def test_scikit_learns_nmf_ends_at_a_minimum_of_ours():
    """Its factors of a whole table obey the conditions of Karush, Kuhn and Tucker of our J."""
    decomposition = pytest.importorskip("sklearn.decomposition")
    X = np.random.default_rng(3).gamma(1.0, size=(30, 20))
    theirs = decomposition.NMF(
        3, alpha_W=0.02, alpha_H=0.03, l1_ratio=0.0, init="random", random_state=0, tol=1e-10
    ).set_params(max_iter=20_000)
    W = theirs.fit_transform(X.astype(np.float32).astype(float))
    ratings = hs.Ratings.from_dense(X)
    start = hs.Factors.random(ratings, 3, biases=False, mean=0.0, dtype="float64", seed=0)
    factors = replace(start, user_factors=W, item_factors=theirs.components_.T.copy())
    slopes = {}
    for share in (1.0, 0.5):  # another λ is not at its minimum
        reg = Reg(share * 0.02 * 20, share * 0.03 * 30, 0.0)
        objective = SquaredError(0.0, reg, "none", biases=False, nonnegative=True)
        g = testing.gradient(ratings, objective, factors)
        slopes[share] = max(
            np.abs(np.where(getattr(factors, name) > 0, g[name], np.minimum(g[name], 0))).max()
            for name in g
        )
    assert slopes[1.0] < 1e-4
    assert slopes[0.5] > 1e-2


# --------------------------------------------------------------------------- implicit feedback

ALPHA, ALPHA0, NU, EPSILON = 2.5, 0.3, 0.7, 0.5


def implicit_als(R, W, Z):
    """benfred's: α |r| is all of the confidence; Σ C (p − x·y)² + λ (‖X‖² + ‖Y‖²)."""
    total = LAM * ((W**2).sum() + (Z**2).sum())
    for u, i in np.ndindex(R.shape):
        confidence, liked = ALPHA * R[u, i], R[u, i] > 0
        total += (abs(confidence) if R[u, i] else 1.0) * (liked - W[u] @ Z[i]) ** 2
    return total


def spark_implicit(R, W, Z):
    """c1 = α |r| above 1; λ times the number of ratings above 0."""
    total = LAM * ((R > 0).sum(axis=1) @ (W**2).sum(1) + (R > 0).sum(axis=0) @ (Z**2).sum(1))
    for u, i in np.ndindex(R.shape):
        total += (1.0 + ALPHA * abs(R[u, i])) * ((R[u, i] > 0) - W[u] @ Z[i]) ** 2
    return total


def lenskit_implicit(R, W, Z):
    """1 + weight where there is an interaction; λ of users and λ of items."""
    total = LAM * (W**2).sum() + 2 * LAM * (Z**2).sum()
    for u, i in np.ndindex(R.shape):
        total += (1.0 + ALPHA * (R[u, i] != 0)) * ((R[u, i] != 0) - W[u] @ Z[i]) ** 2
    return total


def lenskit_ratings(R, W, Z):
    """1 + weight · rating."""
    total = LAM * (W**2).sum() + 2 * LAM * (Z**2).sum()
    for u, i in np.ndindex(R.shape):
        total += (1.0 + ALPHA * R[u, i]) * ((R[u, i] != 0) - W[u] @ Z[i]) ** 2
    return total


def irspack_penalty(R, W, Z):
    m, n = R.shape
    s_u = ((R != 0).sum(axis=1) + ALPHA0 * n) ** NU
    s_i = ((R != 0).sum(axis=0) + ALPHA0 * m) ** NU
    return LAM * (s_u @ (W**2).sum(1) + s_i @ (Z**2).sum(1))


def irspack_ialspp(R, W, Z):
    """Σ_S c (u·v − 1)² + α₀ Σ (u·v)² + λ (n_u + α₀ I)^ν …, c = X."""
    total = irspack_penalty(R, W, Z)
    for u, i in np.ndindex(R.shape):
        score = W[u] @ Z[i]
        total += R[u, i] * (score - 1) ** 2 + ALPHA0 * score**2
    return total


def irspack_original(R, W, Z):
    """c = α₀ + X on S, α₀ elsewhere."""
    total = irspack_penalty(R, W, Z)
    for u, i in np.ndindex(R.shape):
        total += (ALPHA0 + R[u, i]) * ((R[u, i] > 0) - W[u] @ Z[i]) ** 2
    return total


def irspack_log(R, W, Z):
    """c = ln(1 + X / ε)."""
    return irspack_ialspp(np.log(1 + R / EPSILON), W, Z)


WHOLE = {"loss": "wrmf", "alpha0": 1.0, "reg_scaling": "none", "reg": (LAM, 2 * LAM, 0.0)}
IRSPACK = {"alpha": 1.0, "alpha0": ALPHA0, "reg": LAM, "nu": NU}


@pytest.mark.parametrize(
    ("theirs", "params", "given", "negative"),
    [
        (
            implicit_als,
            {**WHOLE, "reg": LAM, "confidence": "binary", "alpha": 1.0},
            lambda r: ALPHA * abs(r) - 1,
            True,
        ),
        (
            spark_implicit,
            {**WHOLE, "reg": LAM, "reg_scaling": "count", "alpha": ALPHA},
            None,
            False,
        ),
        (spark_implicit, {**WHOLE, "reg": LAM, "alpha": ALPHA}, None, True),
        (lenskit_implicit, {**WHOLE, "confidence": "binary", "alpha": ALPHA}, None, False),
        (lenskit_ratings, {**WHOLE, "alpha": ALPHA}, None, False),
        (irspack_ialspp, IRSPACK, None, False),
        (irspack_original, {**IRSPACK, "loss": "wrmf"}, None, False),
        (irspack_log, {**IRSPACK, "confidence": "log", "epsilon": EPSILON}, None, False),
    ],
)
def test_twice_our_implicit_objective_is_theirs(theirs, params, given, negative):
    """At the factors of a fit; of negative counts in Spark, all but its penalty."""
    generator = np.random.default_rng(0)
    R = generator.poisson(0.8, (9, 7)).astype(float)
    R[np.arange(9), np.arange(9) % 7] += 1
    if negative:
        R[generator.random(R.shape) < 0.3] *= -1
    u, i = np.nonzero(R)
    r = R[u, i]
    model = hs.ImplicitMF(rank=3, **params, dtype="float64", max_iter=2, tol=0.0)
    weight = None if given is None else given(r)
    model.fit(np.column_stack([u, i]), r, sample_weight=weight)
    W, Z = model.factors_.user_factors, model.factors_.item_factors
    expected = theirs(R, W, Z)
    if theirs is spark_implicit and negative:
        for side, rows in ((R, W), (R.T, Z)):
            gap = 1 - (side > 0).sum(axis=1)  # ours without scaling, theirs by ratings above 0
            expected += LAM * gap @ (rows**2).sum(axis=1)
    assert 2 * model.trace_[-1].objective == pytest.approx(expected, rel=1e-6)
