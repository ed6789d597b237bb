"""Item-kNN against loops in Python."""

import baseline_twins as twins
import numpy as np
import pytest

import halfstep as hs
from halfstep.baselines import itemwise, knn, neighbors
from halfstep.errors import ParameterError

KINDS = ["adjusted", "pearson", "cosine"]


def compared(r, c, kind, reg):
    mu, b_u, b_i = twins.biases(r, c, (reg, reg))
    base = mu + b_u[:, None] + b_i
    residual = np.nan_to_num(r - base)
    return base, residual, np.nan_to_num(r) if kind == "cosine" else residual


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shrink", [0.0, 7.0])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_and_rankings_are_the_loops(kind, shrink, weighted, ties):
    r, c = twins.table(weighted=weighted, ties=ties)
    m, n = r.shape
    model = hs.ItemKNN(3, similarity=kind, shrink=shrink, reg=2.0).fit(twins.as_ratings(r, c))
    base, residual, x = compared(r, c, kind, 2.0)
    lists = [twins.nearest(x, c, kind, shrink, i) for i in range(n)]
    predicted = model.predict(np.repeat(np.arange(m), n), np.tile(np.arange(n), m)).reshape(m, n)
    ranked = model.recommend(n=n, exclude_seen=False)
    for u in range(m):
        scores = dict(ranked[u])
        rated = c[u] > 0
        for i in range(n):
            used = [(j, s * c[u, j]) for j, s in lists[i] if rated[j]][:3]
            expected = base[u, i]
            if used:
                expected += sum(s * residual[u, j] for j, s in used) / sum(s for _, s in used)
            assert predicted[u, i] == pytest.approx(expected, abs=1e-5)
            score = sum(s * c[u, j] * x[u, j] for j, s in lists[i][:3] if rated[j])
            if kind != "cosine":
                score += base[u, i]
            elif not rated.any():
                score = (c[:, i] * x[:, i]).sum() / m
            assert scores[i] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_similar_items_are_the_loops(kind):
    r, c = twins.table(seed=2)
    model = hs.ItemKNN(similarity=kind, shrink=5.0, reg=2.0).fit(twins.as_ratings(r, c))
    x = compared(r, c, kind, 2.0)[2]
    for i in range(12):
        expected = twins.nearest(x, c, kind, 5.0, i)[:4]
        found = model.similar_items(i, 4)[i]
        assert [j for j, _ in found] == [j for j, _ in expected]
        np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], atol=1e-6)
    assert model.similar_items(4)[4] == []  # without ratings


def test_few_stored_neighbors_are_the_nearest():
    r, c = twins.table(seed=1)
    ratings = twins.as_ratings(r, c)
    many, few = hs.ItemKNN(2).fit(ratings), hs.ItemKNN(2, stored=4).fit(ratings)
    np.testing.assert_array_equal(few.neighbors_, many.neighbors_[:, :4])
    np.testing.assert_array_equal(few.similarities_, many.similarities_[:, :4])
    assert few.recommend(n=5).scores.tobytes() == many.recommend(n=5).scores.tobytes()


def test_the_size_of_blocks_does_not_matter(simulated, monkeypatch):
    def answers():
        model = hs.ItemKNN(5).fit(simulated)
        users, items, _ = simulated.to_arrays()
        ranked = model.recommend(n=7, deny=[3])
        return [
            model.neighbors_.tobytes(),
            model.similarities_.tobytes(),
            model.predict(users[::-1], items[::-1])[::-1].tobytes(),
            ranked.found.tobytes(),
            ranked.scores.tobytes(),
        ]

    whole = answers()
    for module in (itemwise, knn, neighbors):
        monkeypatch.setattr(module, "CELLS", 700)
    assert answers() == whole


def test_interactions_are_for_the_cosine():
    """Of ratings that are all 1 no residuals are left, not even rounding; the cosine has answers."""
    r, c = twins.table(seed=3)
    r[~np.isnan(r)] = 1.0
    ratings = twins.as_ratings(r, c)
    for kind in ("adjusted", "pearson"):
        assert not hs.ItemKNN(similarity=kind).fit(ratings).similarities_.any()
    model = hs.ItemKNN(similarity="cosine", shrink=0).fit(ratings)
    together, alone = c.T @ c, c.sum(0)
    for j, s in model.similar_items(0, 12)[0]:
        assert s == pytest.approx(together[0, j] / np.sqrt(alone[0] * alone[j]))


def test_ratings_fitted_exactly_leave_no_similarities_of_rounding():
    rng = np.random.default_rng(0)
    r = rng.integers(0, 99, (9, 1)) / 64 + rng.integers(0, 99, (1, 7)) / 64  # exact in float32
    model = hs.ItemKNN(reg=0.0).fit(twins.as_ratings(r, np.ones(r.shape)))
    assert not model.similarities_.any()
    assert model.predict(2, 3) == pytest.approx(r[2, 3])


def test_one_user_of_many_ratings():
    n = 3000
    one = [1] * n + [2, 2]
    ratings = hs.Ratings.from_arrays(one, [*range(n), 0, 1], [*np.tile([1.0, 5.0], n // 2), 2, 4])
    model = hs.ItemKNN(10, stored=20).fit(ratings)
    assert np.isfinite(model.predict(one, [*range(n), 0, 1])).all()
    assert len(model.recommend(2, 5)[2]) == 5


@pytest.mark.parametrize(
    "params",
    [
        {"k": 0},
        {"k": 1.5},
        {"stored": 0},
        {"shrink": -1},
        {"shrink": np.nan},
        {"similarity": "jaccard"},
        {"reg": -1},
    ],
    ids=repr,
)
def test_parameters_are_checked(params, simulated):
    with pytest.raises(ParameterError, match=next(iter(params))):
        hs.ItemKNN(**params).fit(simulated)
