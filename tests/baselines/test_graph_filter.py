"""GraphFilter against the same filters of dense tables."""

import baseline_twins as twins
import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import DataError, ParameterError


def table(weighted=False):
    """Ratings, the weights of users, x, X̃ᵀ X̃, n_i."""
    r, _ = twins.table()
    x = (~np.isnan(r)).astype(float)
    c_u = np.ones(len(r))
    if weighted:
        c_u = np.random.default_rng(0).integers(1, 4, len(r)).astype(float)
    c_u[x.sum(1) == 0] = 1.0
    ratings = twins.as_ratings(r, c_u[:, None] * x)
    n_u, n_i = np.maximum(x.sum(1), 1), (c_u[:, None] * x).sum(0)
    normalized = np.sqrt(c_u / n_u)[:, None] * x / np.sqrt(np.maximum(n_i, 1))
    return ratings, c_u, x, normalized, n_i


def scores_of(x, normalized, n_i, rank, low_pass, sharpening=0.0):
    """Formulas of the papers, dense."""
    Z = np.linalg.svd(normalized)[2][:rank].T
    inverse = np.where(n_i > 0, np.maximum(n_i, 1.0) ** -0.5, 0.0)
    low = np.diag(inverse) @ Z @ Z.T @ np.diag(np.sqrt(n_i))
    P = normalized.T @ normalized
    scores = x @ (P + low_pass * low)
    k1 = -scores @ P  # ds/dt; the classical method, as it is written in textbooks
    k2 = -(scores + sharpening / 2 * k1) @ P
    k3 = -(scores + sharpening / 2 * k2) @ P
    k4 = -(scores + sharpening * k3) @ P
    return scores + sharpening / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("rank", "low_pass", "sharpening"), [(4, 0.3, 0.0), (2, 1.5, 0.0), (3, 0.0, 0.0), (4, 0.2, 2.5)]
)
def test_scores_are_those_of_the_dense_table(rank, low_pass, sharpening, weighted):
    ratings, c_u, x, normalized, n_i = table(weighted)
    model = hs.GraphFilter(rank, low_pass=low_pass, sharpening=sharpening).fit(ratings)
    scores = scores_of(x, normalized, n_i, rank, low_pass, sharpening)
    nobody = x.sum(1) == 0
    assert nobody.any()
    assert (n_i == 0).any()
    scores[nobody] = (c_u[:, None] * x).sum(0) / c_u.sum()
    m, n = x.shape
    shuffled = np.random.default_rng(1).permutation(m * n)
    users, items = np.repeat(np.arange(m), n)[shuffled], np.tile(np.arange(n), m)[shuffled]
    np.testing.assert_allclose(model.predict(users, items), scores[users, items], atol=1e-12)
    ranked = model.recommend(n=n, exclude_seen=False)
    for u in range(m):
        np.testing.assert_allclose([dict(ranked[u])[i] for i in range(n)], scores[u], atol=1e-12)
    if low_pass > 0 and not weighted:
        assert model.singular_values_[0] == pytest.approx(1.0)


def test_values_of_ratings_are_not_looked_at():
    ratings, _, _, _, _ = table()
    users, items, r = ratings.to_arrays()
    assert len(np.unique(r)) > 1
    ones = hs.Ratings.from_arrays(users, items)
    one = hs.GraphFilter(3).fit(hs.Ratings.from_arrays(users, items, r)).recommend(n=5)
    two = hs.GraphFilter(3).fit(ones).recommend(n=5)
    assert one.scores.tobytes() == two.scores.tobytes()


def test_a_folded_in_user_is_filtered():
    ratings, _, _, normalized, n_i = table()
    model = hs.GraphFilter(3, low_pass=0.5).fit(ratings)
    told = model.with_users(hs.Ratings.from_arrays(["Zoë"] * 3, [0, 7, 2], [5.0, 1.0, 0.0]))
    x = np.zeros((1, 12))
    x[0, [0, 7, 2]] = 1.0
    expected = scores_of(x, normalized, n_i, 3, 0.5)[0]
    np.testing.assert_allclose(told.predict(["Zoë"] * 12, np.arange(12)), expected, atol=1e-12)
    best = [i for i in np.argsort(-expected, kind="stable").tolist() if i not in (0, 7, 2)]
    assert [i for i, _ in told.recommend("Zoë", 12)["Zoë"]] == best


def test_similar_items_are_those_of_the_gram_matrix():
    ratings, _, _, normalized, _ = table(weighted=True)
    gram = normalized.T @ normalized
    np.fill_diagonal(gram, 0.0)
    found = hs.GraphFilter(3).fit(ratings).similar_items(np.arange(12), 12)
    for i in range(12):
        expected = {j: gram[i, j] for j in np.flatnonzero(gram[i] > 0).tolist()}
        assert dict(found[i]) == pytest.approx(expected)


def test_set_params_after_the_fit_changes_nothing_learned():
    ratings = table()[0]
    model = hs.GraphFilter(3).fit(ratings)
    before = model.recommend(n=5).scores.tobytes()
    model.set_params(low_pass=9.0, sharpening=1.0)
    assert model.recommend(n=5).scores.tobytes() == before


def test_a_gram_matrix_that_is_not_kept(monkeypatch):
    ratings = table()[0]
    kept = hs.GraphFilter(3).fit(ratings).recommend(n=12)
    monkeypatch.setattr("halfstep.baselines.graph_filter._GRAM_CELLS", 1)
    model = hs.GraphFilter(3).fit(ratings)
    assert model._gram is None
    found = model.recommend(n=12)
    np.testing.assert_allclose(found.scores, kept.scores, rtol=1e-12)
    assert found.found.tolist() == kept.found.tolist()


def test_one_cell():
    model = hs.GraphFilter().fit([("a b", "ö")], [0.0])
    assert model.predict("a b", "ö") == pytest.approx(1.3)
    assert model.singular_values_.tolist() == pytest.approx([1.0])


def test_the_same_bits_for_any_number_of_threads(run_code):
    code = """
import hashlib, halfstep as hs
ratings = hs.simulate(1500, 900, rank=5, ratings_per_user=40, seed=1).ratings
model = hs.GraphFilter(30, sharpening=2.5).fit(ratings)
found = model.recommend(n=20)
users, items, _ = ratings.to_arrays()
print(hashlib.sha256(model.item_factors_.tobytes() + model.predict(users, items).tobytes()
                     + found.scores.tobytes() + found.found.tobytes()).hexdigest())
"""
    told = set()
    for threads in "1238":
        environment = {"OPENBLAS_NUM_THREADS": threads, "HALFSTEP_NUM_THREADS": threads}
        done = run_code(code, **environment)
        assert done.returncode == 0, done.stderr
        told.add(done.stdout)
    assert len(told) == 1


@pytest.mark.parametrize(
    "params",
    [{"rank": 0}, {"rank": 2.5}, {"low_pass": -1.0}, {"low_pass": np.nan}, {"sharpening": -2.5}],
    ids=repr,
)
def test_parameters_are_checked(params, simulated):
    with pytest.raises(ParameterError, match=next(iter(params))):
        hs.GraphFilter(**params).fit(simulated)


def test_weights_must_be_those_of_users():
    r, c = twins.table(weighted=True)
    with pytest.raises(DataError, match="must be equal for all ratings of a user"):
        hs.GraphFilter(3).fit(twins.as_ratings(r, c))
