"""PureSVD against numpy's singular value decomposition."""

import baseline_twins as twins
import numpy as np
import pytest
import scipy.sparse as sps

import halfstep as hs
from halfstep.baselines.truncated_svd import right_singular_vectors
from halfstep.errors import DataError, ParameterError


def table(values):
    r, c = twins.table()
    X = np.where(np.isnan(r), 0.0, 1.0 if values == "binary" else np.nan_to_num(r))
    return r, c, X


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("values", ["binary", "ratings"])
def test_scores_are_those_of_the_truncated_table(values, weighted):
    r, c, X = table(values)
    c_u = np.ones(len(r))
    if weighted:
        c_u = np.random.default_rng(0).integers(1, 4, len(r)).astype(float)
        c = np.where(np.isnan(r), 0.0, c_u[:, None])
    model = hs.PureSVD(4, values=values).fit(twins.as_ratings(r, c))
    _, sigma, Vt = np.linalg.svd(np.sqrt(c_u)[:, None] * X)
    scores = X @ Vt[:4].T @ Vt[:4]
    nobody = np.isnan(r).all(1)
    c_u[nobody] = 1.0
    scores[nobody] = (c_u[:, None] * X).sum(0) / c_u.sum()
    np.testing.assert_allclose(model.singular_values_, sigma[:4])
    np.testing.assert_allclose(model.item_factors_.T @ model.item_factors_, np.eye(4), atol=1e-12)
    m, n = r.shape
    predicted = model.predict(np.repeat(np.arange(m), n), np.tile(np.arange(n), m)).reshape(m, n)
    np.testing.assert_allclose(predicted, scores, atol=1e-10)
    ranked = model.recommend(n=n, exclude_seen=False)
    for u in range(m):
        np.testing.assert_allclose([dict(ranked[u])[i] for i in range(n)], scores[u], atol=1e-10)


def test_a_folded_in_user_is_projected():
    r, c, X = table("ratings")
    model = hs.PureSVD(3).fit(twins.as_ratings(r, c))
    told = model.with_users(hs.Ratings.from_arrays(["eve"] * 3, [0, 7, 2], [5.0, 1.0, 0.0]))
    x = np.zeros(12)
    x[[0, 7]] = 5.0, 1.0
    expected = x @ model.item_factors_ @ model.item_factors_.T
    found = told.predict(["eve"] * 12, np.arange(12))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    best = [i for i in np.argsort(-expected).tolist() if i not in (0, 7, 2)]
    assert [i for i, _ in told.recommend("eve", 12)["eve"]] == best
    assert model.predict(0, 1) == pytest.approx(
        (X @ model.item_factors_)[0] @ model.item_factors_[1]
    )


def test_more_factors_than_there_are():
    r, c, X = table("binary")
    model = hs.PureSVD(50, values="binary").fit(twins.as_ratings(r, c))
    assert len(model.singular_values_) == np.linalg.matrix_rank(X)
    np.testing.assert_allclose(model.user_factors_ @ model.item_factors_.T, X, atol=1e-10)


MATRICES = {
    "power law": lambda rng: rng.random((400, 700)) ** 9 / np.arange(1, 701),
    "sparse": lambda rng: rng.random((500, 900)) * (rng.random((500, 900)) < 0.02),
    "of rank 3": lambda rng: rng.random((500, 3)) @ rng.random((3, 600)),
    "all alike": lambda rng: np.eye(700)[rng.permutation(700)],
    "many alike": lambda rng: sps.block_diag(
        [np.ones((8, 20))] * 30 + [np.ones((5, 9))] * 20
    ).toarray(),
    "five users": lambda rng: rng.random((5, 900)),
    "one cell": lambda rng: np.ones((1, 1)),
}


@pytest.mark.parametrize("rank", [1, 10, 40])
@pytest.mark.parametrize("name", MATRICES)
def test_singular_vectors_are_numpys(name, rank):
    X = MATRICES[name](np.random.default_rng(0))
    Z, sigma = right_singular_vectors(sps.csr_array(X), rank)
    reference = np.linalg.svd(X, compute_uv=False)[:rank]
    k = len(sigma)
    np.testing.assert_allclose(sigma, reference[:k], rtol=1e-9)
    assert (reference[k:] < 1e-6 * reference[0]).all()
    np.testing.assert_allclose(Z.T @ Z, np.eye(k), atol=1e-10)
    np.testing.assert_allclose(X.T @ (X @ Z), Z * sigma**2, atol=2e-8 * sigma[0] ** 2)
    assert (Z[np.argmax(np.abs(Z), axis=0), np.arange(k)] > 0).all()


def test_the_same_bits_for_any_number_of_threads(run_code):
    code = """
import hashlib, halfstep as hs
ratings = hs.simulate(1500, 900, rank=5, ratings_per_user=40, seed=1).ratings
model = hs.PureSVD(30).fit(ratings)
found = model.recommend(n=20)
print(hashlib.sha256(model.item_factors_.tobytes() + model.user_factors_.tobytes()
                     + found.scores.tobytes() + found.found.tobytes()).hexdigest())
"""
    told = set()
    for threads in "1238":
        environment = {"OPENBLAS_NUM_THREADS": threads, "HALFSTEP_NUM_THREADS": threads}
        done = run_code(code, **environment)
        assert done.returncode == 0, done.stderr
        told.add(done.stdout)
    assert len(told) == 1


@pytest.mark.parametrize("params", [{"rank": 0}, {"rank": 2.5}, {"values": "centered"}], ids=repr)
def test_parameters_are_checked(params, simulated):
    with pytest.raises(ParameterError, match=next(iter(params))):
        hs.PureSVD(**params).fit(simulated)


def test_weights_must_be_those_of_users():
    r, c = twins.table(weighted=True)
    with pytest.raises(DataError, match="must be equal for all ratings of a user"):
        hs.PureSVD(3).fit(twins.as_ratings(r, c))
