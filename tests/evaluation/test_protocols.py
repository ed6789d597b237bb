"""Protocols of published splits against loops that follow the authors' code."""

import heapq
import math

import numpy as np
import pytest

import halfstep as hs
from halfstep.baselines import Scored
from halfstep.errors import DataError, LeakError, ParameterError

N = 40


def tables(seed=0, users=30):
    """(train, test, scores): dense masks, and scores with many ties."""
    rng = np.random.default_rng(seed)
    draw = rng.random((users, N))
    train, test = draw < 0.25, draw > 0.8
    train[:, 0] |= ~train.any(1)
    test[:, 0] = False
    scores = rng.integers(0, 12, (users, N)) / 4.0
    return train, test, scores


def ratings(mask):
    from scipy.sparse import coo_array

    return hs.Ratings.from_scipy(coo_array(mask.astype(float)))


def ncf(seed=0):
    train, test, scores = tables(seed)
    rng = np.random.default_rng(seed)
    one = np.zeros_like(test)
    wanted = [int(rng.choice(np.flatnonzero(~row))) for row in train]
    one[np.arange(len(one)), wanted] = True
    lists = [rng.choice(N, size=20, replace=False) for _ in range(len(one))]
    for u in range(0, len(one), 3):  # the item itself is among its negatives
        lists[u][7] = wanted[u]
        lists[u] = np.array(list(dict.fromkeys(lists[u].tolist())))
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in lists])])
    split = hs.LeaveOneOut(ratings(train), ratings(one), (indptr, np.concatenate(lists)))
    return split, wanted, lists, scores


def test_leave_one_out_is_that_of_its_authors():
    """`map_item_score`, filled in the order of the list with the item last, and `heapq.nlargest`."""
    split, wanted, lists, scores = ncf()
    hits, gains = [], []
    for u, gold in enumerate(wanted):
        others = [i for i in lists[u].tolist() if i != gold]
        by_item = {i: scores[u, i] for i in [*others, gold]}
        best = heapq.nlargest(10, by_item, key=by_item.get)
        hits.append(gold in best)
        gains.append(math.log(2) / math.log(best.index(gold) + 2) if gold in best else 0)
    found = split.evaluate(lambda users: scores[users])
    assert list(found) == ["HR@10", "NDCG@10"]
    assert found["HR@10"].value == np.mean(hits)
    assert found["NDCG@10"].value == pytest.approx(np.mean(gains), abs=1e-14)
    assert found["HR@10"].lower < found["HR@10"].value < found["HR@10"].upper
    np.testing.assert_array_equal(found["HR@10"].values, hits)
    # ties decide something here
    assert hs.evaluate(
        Scored(lambda users: scores[users]).fit(split.train),
        split.test,
        "sampled_hit_rate@10",
        exclude_seen=False,
        candidates=dict(enumerate(lists)),
    )["sampled_hit_rate@10"].value > np.mean(hits)


def test_scores_that_say_nothing_find_nothing():
    split = ncf()[0]
    assert split.evaluate(lambda users: np.zeros((len(users), N)))["HR@10"].value == 0


def test_full_ranking_is_that_of_its_authors():
    """`getLabel`, `RecallPrecision_ATk` and `NDCGatK_r` of LightGCN."""
    train, test, scores = tables(1)
    test[4], test[5] = False, ~train[5]  # nobody's items; more than 20 of them
    masked = np.where(train, -np.inf, scores)
    recalls, gains = [], []
    for u in np.flatnonzero(test.any(1)):
        best = np.lexsort((np.arange(N), -masked[u]))[:20]
        best = best[np.isfinite(masked[u, best])]
        r = np.zeros(20)
        r[: len(best)] = test[u, best]
        ideal = np.zeros(20)
        ideal[: min(20, test[u].sum())] = 1
        weights = 1.0 / np.log2(np.arange(2, 22))
        recalls.append(r.sum() / test[u].sum())
        gains.append((r * weights).sum() / (ideal * weights).sum())
    found = hs.FullRanking(ratings(train), ratings(test)).evaluate(lambda users: scores[users])
    assert list(found) == ["Recall@20", "NDCG@20"]
    assert found["Recall@20"].value == pytest.approx(np.mean(recalls), abs=1e-14)
    assert found["NDCG@20"].value == pytest.approx(np.mean(gains), abs=1e-14)


def liang(seed=2):
    train, held, scores = tables(seed)
    given = train.copy()
    train[20:], given[:20], held[:20] = False, False, False
    parts = []
    for rows in (slice(20, 25), slice(25, 30)):
        of = np.zeros_like(train, dtype=bool)
        of[rows] = True
        parts.append(hs.UserSplit(ratings(train), ratings(given & of), ratings(held & of)))
    return hs.StrongGeneralization(ratings(train), *parts), given, held, scores


@pytest.mark.parametrize(("part", "rows"), [("validation", (20, 25)), ("test", (25, 30))])
def test_strong_generalization_is_that_of_its_authors(part, rows):
    """`Recall_at_k_batch` and `NDCG_binary_at_k_batch` of Mult-VAE."""
    split, given, held, scores = liang()
    masked = np.where(given, -np.inf, scores)
    expected = {"Recall@20": [], "Recall@50": [], "NDCG@100": []}
    for u in range(*rows):
        order = np.lexsort((np.arange(N), -masked[u]))
        for k in (20, 50):
            hit = held[u, order[:k]].sum()
            expected[f"Recall@{k}"].append(hit / min(k, held[u].sum()))
        discount = 1.0 / np.log2(np.arange(2, 2 + N))
        ideal = discount[: held[u].sum()].sum()
        expected["NDCG@100"].append((held[u, order] * discount).sum() / ideal)
    found = split.evaluate(lambda users: scores[users], part)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].value == pytest.approx(np.mean(values), abs=1e-14)


MODELS = [
    hs.GlobalMean(),
    hs.Biases(2.0),
    hs.MostPopular(),
    hs.ItemKNN(5, similarity="cosine"),
    hs.ItemKNN(5),
    hs.EASE(20.0),
    hs.EASE(20.0, dtype="float32"),
    hs.GraphFilter(4),
    hs.PureSVD(4),
    hs.ExplicitMF(rank=3, reg=0.1, max_iter=5),
    hs.ImplicitMF(rank=3, max_iter=3),
    hs.BayesianMF(rank=2, samples=5, burn_in=2),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_every_model_is_measured(model):
    one, full, strong = ncf()[0], hs.FullRanking(*map(ratings, tables(1)[:2])), liang()[0]
    for split in (one, full, strong):
        found = split.evaluate(model.fit(split.train), n_resamples=0)
        for figure in found.values():
            assert 0 <= figure.value <= 1
            assert len(figure.values) == found.ranked - found.without


def test_a_folded_in_user_is_ranked_by_what_is_given():
    """EASE in Liang's protocol: x B of the given items, nothing of the others."""
    split, given, _, _ = liang()
    model = hs.EASE(5.0).fit(split.train)
    by_function = split.evaluate(lambda users: given[users].astype(float) @ model.item_weights_)
    by_model = split.evaluate(model)
    for name in by_model:
        np.testing.assert_allclose(by_model[name].values, by_function[name].values, atol=1e-12)


def test_users_that_training_does_not_know():
    train = hs.Ratings.from_arrays(["ann", "ann", "Zoë"], [1, 2, 2])
    test = hs.Ratings.from_arrays(["ann", "new one"], [3, 2])
    users, items = train.with_ids(test.users, test.items).users, test.items
    split = hs.FullRanking(train.with_ids(users, items), test.with_ids(users, train.items))
    for model in (hs.MostPopular(), hs.ExplicitMF(rank=2), hs.GraphFilter(2), hs.PureSVD(2)):
        found = split.evaluate(model.fit(split.train))
        assert found.ranked == 2
        assert found["Recall@20"].value == 1  # there are three items
    alone = hs.MostPopular().fit(train)  # on other ids than those of the split
    assert split.evaluate(alone)["Recall@20"].values.tolist() == [0, 1]  # it has no item 3


def test_bad_splits_and_models():
    split, _, _, _ = ncf()
    train, test, scores = tables(1)
    with pytest.raises(LeakError):
        hs.FullRanking(ratings(train), ratings(train))
    with pytest.raises(DataError, match="has several held-out items"):
        hs.LeaveOneOut(ratings(train), ratings(test), split.negatives)
    indptr, items = split.negatives
    with pytest.raises(DataError, match="must be the lists of 30 users"):
        hs.LeaveOneOut(split.train, split.test, (indptr[:-1], items))
    with pytest.raises(DataError, match="negatives=40: must be rows"):
        hs.LeaveOneOut(split.train, split.test, (indptr, np.full_like(items, N)))
    with pytest.raises(DataError, match="negatives=0: is a user without any"):
        hs.LeaveOneOut(split.train, split.test, (np.r_[0, indptr[:1], indptr[2:]], items))
    for wrong in (
        lambda users: scores[:3],
        lambda users: scores[users] * np.nan,
        lambda users: "no",
    ):
        with pytest.raises(DataError, match="scores="):
            split.evaluate(wrong)
    with pytest.raises(ParameterError, match="model="):
        hs.FullRanking(ratings(train), ratings(test)).evaluate("popular")
    with pytest.raises(ParameterError, match="part="):
        liang()[0].evaluate(hs.MostPopular(), "training")
    with pytest.raises(DataError, match="cannot fold in"):
        liang()[0].evaluate("popular")
    with pytest.raises(ParameterError, match="scores="):
        Scored(7).fit(split.train)


@pytest.mark.parametrize(
    ("model", "hits", "ndcg", "within"),
    [(hs.MostPopular(), 0.4531, 0.2542, 5e-4), (hs.PureSVD(60), 0.6896, 0.4294, 4e-3)],
    ids=repr,
)
def test_published_figures_of_the_ncf_split(data_folder, model, hits, ndcg, within):
    split = hs.read_ncf(data_folder / "ml-1m-ncf")
    found = split.evaluate(model.fit(split.train), n_resamples=0)
    assert found["HR@10"].value == pytest.approx(hits, abs=within)
    assert found["NDCG@10"].value == pytest.approx(ndcg, abs=within)


def test_the_most_popular_of_gowalla(data_folder):
    split = hs.read_lightgcn(data_folder / "gowalla")
    assert split.train.shape == (29_858, 40_981)
    assert (len(split.train), len(split.test)) == (810_128, 217_242)
    found = split.evaluate(hs.MostPopular().fit(split.train), n_resamples=0)
    assert found["Recall@20"].value == pytest.approx(0.0416, abs=5e-5)
