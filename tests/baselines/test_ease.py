"""EASE against its closed form, its optimality conditions and a solver of least squares."""

import tracemalloc

import baseline_twins as twins
import numpy as np
import pytest

import halfstep as hs
from halfstep.baselines import ease, itemwise
from halfstep.errors import DataError, ParameterError, SingularSystemError

VALUES = ["binary", "ratings", "centered"]


def rows(r, c, values, reg=5.0):
    """(base, X) of the model, dense."""
    there = ~np.isnan(r)
    if values == "centered":
        mu, b_u, b_i = twins.biases(r, c, (reg, reg))
        base = mu + b_u[:, None] + b_i
        return base, np.where(there, np.nan_to_num(r) - base, 0.0)
    X = np.where(there, 1.0 if values == "binary" else np.nan_to_num(r), 0.0)
    return np.zeros(r.shape), X


def user_weights(r, seed=0):
    c_u = np.random.default_rng(seed).integers(1, 4, len(r)).astype(float)
    return c_u, np.where(np.isnan(r), 0.0, c_u[:, None])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("values", VALUES)
def test_the_closed_form(values, weighted):
    r, c = twins.table()
    c_u = np.ones(len(r))
    if weighted:
        c_u, c = user_weights(r)
    model = hs.EASE(7.0, values=values).fit(twins.as_ratings(r, c))
    base, X = rows(r, c, values)
    P = np.linalg.inv(X.T @ (c_u[:, None] * X) + 7.0 * np.eye(12))
    B = P / -np.diag(P)
    np.fill_diagonal(B, 0)
    np.testing.assert_allclose(model.item_weights_, B, atol=1e-6)
    m, n = r.shape
    scores = base + X @ B
    if values != "centered":
        c_u[np.isnan(r).all(1)] = 1.0
        scores[np.isnan(r).all(1)] = (c_u[:, None] * X).sum(0) / c_u.sum()
    predicted = model.predict(np.repeat(np.arange(m), n), np.tile(np.arange(n), m)).reshape(m, n)
    np.testing.assert_allclose(predicted, scores, atol=1e-5)
    ranked = model.recommend(n=n, exclude_seen=False)
    for u in range(m):
        np.testing.assert_allclose([dict(ranked[u])[i] for i in range(n)], scores[u], atol=1e-5)


@pytest.mark.parametrize("values", VALUES)
def test_every_column_is_the_ridge_regression_on_the_others(values):
    r, c = twins.table(seed=4)
    B = hs.EASE(3.0, values=values).fit(twins.as_ratings(r, c)).item_weights_
    _, X = rows(r, c, values)
    assert not np.diag(B).any()
    gradient = X.T @ (X @ B - X) + 3.0 * B
    np.fill_diagonal(gradient, 0)  # the constraint's own multiplier
    assert np.abs(gradient).max() < 1e-5
    for i in range(X.shape[1]):
        others = np.delete(np.arange(X.shape[1]), i)
        stacked = np.vstack([X[:, others], np.sqrt(3.0) * np.eye(len(others))])
        target = np.concatenate([X[:, i], np.zeros(len(others))])
        solution = np.linalg.lstsq(stacked, target, rcond=None)[0]
        np.testing.assert_allclose(B[others, i], solution, atol=1e-6)


def test_unknown_ids():
    r, c = twins.table()
    scores = hs.EASE(5.0).fit(twins.as_ratings(r, c))
    assert scores.predict(-1, 2) == pytest.approx((~np.isnan(r[:, 2])).mean())
    assert scores.predict(0, -1) == scores.predict(-1, -1) == 0
    ratings = hs.EASE(5.0, values="centered").fit(twins.as_ratings(r, c))
    mu, b_u, b_i = twins.biases(r, c, (5, 5))
    assert ratings.predict(-1, 2) == pytest.approx(mu + b_i[2], abs=1e-5)
    assert ratings.predict(0, -1) == pytest.approx(mu + b_u[0], abs=1e-5)
    popular = scores.recommend([-1, 3], 12, unknown="bias")  # 3 has no ratings
    assert popular[-1] == popular[3]
    shares = (~np.isnan(r)).mean(0)
    assert [i for i, _ in popular[3]] == np.argsort(-shares, kind="stable").tolist()


def test_scores_are_clipped_to_what_a_cell_may_hold():
    r, c = twins.table()
    ratings = twins.as_ratings(r, c)
    assert hs.EASE().fit(ratings).scale_ == (0, 1)
    assert hs.EASE(values="ratings").fit(ratings).scale_ == (0, ratings.scale()[1])
    assert hs.EASE(values="centered").fit(ratings).scale_ == ratings.scale()
    users, items, _ = ratings.to_arrays()
    clipped = hs.EASE(0.01).fit(ratings).predict(users, items, clip=True)
    assert clipped.min() >= 0
    assert clipped.max() <= 1


def test_similar_items_have_the_largest_partial_correlation():
    r, c = twins.table(seed=5)
    model = hs.EASE(4.0, values="centered").fit(twins.as_ratings(r, c))
    _, X = rows(r, c, "centered")
    P = np.linalg.inv(X.T @ X + 4.0 * np.eye(12))
    partial = -P / np.sqrt(np.outer(np.diag(P), np.diag(P)))
    np.fill_diagonal(partial, 0)
    found = model.similar_items([0, 4], 5)
    best = np.sort(partial[0])[::-1][:5]
    np.testing.assert_allclose([s for _, s in found[0]], best[best > 0], atol=1e-6)
    assert found[4] == []  # without ratings


def test_weights_must_be_those_of_users():
    r, c = twins.table(weighted=True)
    model = hs.EASE()
    with pytest.raises(DataError, match="must be equal for all ratings of a user"):
        model.fit(twins.as_ratings(r, c))
    assert not hasattr(model, "history_")


@pytest.mark.parametrize("values", VALUES)
def test_float32_is_float64_rounded(values, simulated):
    one = hs.EASE(20.0, values=values).fit(simulated)
    two = hs.EASE(20.0, values=values, dtype="float32").fit(simulated)
    assert two.item_weights_.dtype == np.float32
    np.testing.assert_allclose(two.item_weights_, one.item_weights_, atol=1e-5)
    users, items, _ = simulated.to_arrays()
    np.testing.assert_allclose(two.predict(users, items), one.predict(users, items), atol=1e-4)
    ours, theirs = two.recommend(n=5), one.recommend(n=5)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_takes_little_more_than_the_item_weights(dtype, monkeypatch):
    n = 2500
    for module in (itemwise, ease):
        monkeypatch.setattr(module, "CELLS", 1 << 16)
    ratings = hs.Ratings.from_arrays(np.arange(3 * n) % 400, np.arange(3 * n) % n)
    hs.EASE(dtype=dtype).fit(hs.Ratings.from_arrays([1, 1], [2, 3]))  # imports
    tracemalloc.start()
    try:
        model = hs.EASE(dtype=dtype).fit(ratings)
        fitting = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        model.recommend([0, 1, 2], 5)
        asking = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert fitting < 1.2 * model.item_weights_.nbytes
    assert asking < 0.2 * model.item_weights_.nbytes


def test_a_table_too_wide_says_what_it_takes():
    ratings = hs.Ratings.from_arrays([1] * 200, range(200))
    with pytest.raises(ParameterError, match=r"0\.0 GiB that 200 × 200 .*memory_limit=1"):
        hs.EASE(memory_limit=1e-4).fit(ratings)
    hs.EASE(memory_limit=4e-4).fit(ratings)
    wide = hs.Ratings.from_arrays([1] * 30_000, range(30_000))
    with pytest.raises(ParameterError, match=r'6\.7 GiB that 30,000 × .*"float32".*memory_limit=7'):
        hs.EASE().fit(wide)
    wider = hs.Ratings.from_arrays([1] * 40_981, range(40_981))
    with pytest.raises(ParameterError, match=r"6\.3 GiB .* few ratings, or pass memory_limit=7"):
        hs.EASE(dtype="float32").fit(wider)


def test_a_penalty_too_small_is_refused():
    ratings = hs.Ratings.from_arrays(np.repeat([1, 2], 40), np.tile(np.arange(40), 2))
    with pytest.raises(SingularSystemError, match="raise reg"):
        hs.EASE(1e-300).fit(ratings)


def test_the_size_of_blocks_does_not_matter(simulated, monkeypatch):
    def answers():
        model = hs.EASE(20.0, values="centered").fit(simulated)
        users, items, _ = simulated.to_arrays()
        ranked, similar = model.recommend(n=7), model.similar_items(None, 5)
        arrays = [
            model.item_weights_,
            model.predict(users, items),
            *(ranked.found, ranked.scores, similar.found, similar.scores),
        ]
        return [array.tobytes() for array in arrays]

    whole = answers()
    for module in (itemwise, ease):
        monkeypatch.setattr(module, "CELLS", 700)
    assert answers() == whole


def test_the_same_bits_for_any_number_of_threads(run_code):
    code = """
import hashlib, numpy as np, halfstep as hs
ratings = hs.simulate(900, 600, rank=5, ratings_per_user=40, seed=1).ratings
users, items, _ = ratings.to_arrays()
for model in (hs.Biases(), hs.ItemKNN(), hs.EASE(values="centered"), hs.EASE(dtype="float32")):
    model.fit(ratings)
    found = model.recommend(n=20)
    print(hashlib.sha256(model.predict(users, items).tobytes() + found.scores.tobytes()
                         + found.found.tobytes()).hexdigest())
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
    [
        {"reg": 0},
        {"reg": -1},
        {"reg": "x"},
        {"values": "signs"},
        {"dtype": "float16"},
        {"bias_reg": -1},
        {"memory_limit": 0},
    ],
    ids=repr,
)
def test_parameters_are_checked(params, simulated):
    with pytest.raises(ParameterError, match=next(iter(params))):
        hs.EASE(**params).fit(simulated)
