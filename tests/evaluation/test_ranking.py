"""Metrics of rankings: against ir-measures, scikit-learn and plain loops."""

import itertools
import math

import hypothesis.strategies as st
import ir_measures
import numpy as np
import pytest
from hypothesis import given
from scripted import Scripted, ratings_of
from sklearn.metrics import ndcg_score, roc_auc_score

import halfstep as hs
from halfstep.errors import DataError, HistoryRequiredError, NotFittedError, ParameterError
from halfstep.evaluation import catalogue, lists, ranking, sampled
from halfstep.evaluation.sampled import draw_free

KS = (1, 3, 50)  # the last is more than any catalogue here
PER_LIST = (
    *("precision", "recall", "recall_capped", "hit_rate", "mrr", "map", "map_capped"),
    *("ndcg", "ndcg_exp", "ndcg_binary"),
)
EVERYTHING = [*(f"{name}@{k}" for name in PER_LIST for k in KS), "mrr", "auc"]


@st.composite
def worlds(draw):
    """(train, test, model, threshold): few distinct scores, rows and parts of any size, even none."""
    m, n = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    which = rng.random((m, n))
    ratings = rng.integers(0, 6, size=(m, n)).astype(float)
    seen = draw(st.sampled_from([0.0, 0.3, 0.9]))
    held = draw(st.sampled_from([0.3, 0.95, 1.0]))
    train = np.where(which < seen, ratings, np.nan)
    test = np.where((which >= seen) & (rng.random((m, n)) < held), ratings, np.nan)
    if np.isnan(test).all():
        test[rng.integers(m), rng.integers(n)] = 4.0
        train[~np.isnan(test)] = np.nan
    if np.isnan(train).all():
        place = np.argwhere(np.isnan(test))
        if not len(place):
            test[0, 0], place = np.nan, [(0, 0)]
        train[tuple(place[0])] = 2.0
    if np.isnan(test).all():
        test = np.vstack([test, np.full(n, 3.0)])
        train = np.vstack([train, np.full(n, np.nan)])
        m += 1
    distinct = draw(st.sampled_from([1, 3, 10**6]))
    scores = rng.integers(0, distinct, size=(m, n))
    train, test = ratings_of(train), ratings_of(test)
    return train, test, Scripted(train, scores), draw(st.sampled_from([None, 1.0, 4.0, 6.0]))


def relevant_items(test, threshold):
    """{user: {item: rating}} of the relevant held-out items."""
    users, items, r = test.to_arrays()
    found = {user: {} for user in users}
    for user, item, rating in zip(users, items, r, strict=True):
        if threshold is None or rating >= threshold:
            found[user][item] = float(rating)
    return found


def by_oracle(measure, lists_of, grades):
    """{user: value} by ir-measures; ranks stand for scores, so that it has no ties to break."""
    qrels = [ir_measures.Qrel(u, i, g) for u, own in grades.items() for i, g in own.items()]
    run = [
        ir_measures.ScoredDoc(u, i, -float(place))
        for u, own in lists_of.items()
        for place, i in enumerate(own)
    ]
    return {found.query_id: found.value for found in measure.iter_calc(qrels, run)}


def values(evaluation, name):
    figure = evaluation[name]
    return dict(zip(figure.ids.tolist(), figure.values.tolist(), strict=True))


@given(worlds())
def test_against_ir_measures(world):
    train, test, model, threshold = world
    found = hs.evaluate(model, test, EVERYTHING, relevant=threshold, n_resamples=0)
    wanted = {u: own for u, own in relevant_items(test, threshold).items() if own}
    n = len(train.items)
    everything = model.recommend(list(wanted), n) if wanted else {}
    lists_of = {u: [item for item, _ in everything[u]] for u in wanted}
    binary = {u: dict.fromkeys(own, 1) for u, own in wanted.items()}
    graded = {u: {i: int(r) for i, r in own.items()} for u, own in wanted.items()}
    gains = {grade: 2**grade - 1 for grade in range(6)}
    for k in KS:
        cut = {u: own[:k] for u, own in lists_of.items()}
        for name, measure, grades in (
            (f"precision@{k}", ir_measures.P @ k, binary),
            (f"recall@{k}", ir_measures.R @ k, binary),
            (f"hit_rate@{k}", ir_measures.Success @ k, binary),
            (f"map@{k}", ir_measures.AP @ k, binary),
            (f"mrr@{k}", ir_measures.RR, binary),
            (f"ndcg_binary@{k}", ir_measures.nDCG @ k, binary),
            (f"ndcg@{k}", ir_measures.nDCG @ k, graded),
            (f"ndcg_exp@{k}", ir_measures.nDCG(gains=gains) @ k, graded),
        ):
            ours = values(found, name)
            oracle = by_oracle(measure, cut, grades) if wanted else {}
            if grades is graded:  # pinned: no gain at all is NaN here and 0 there
                flat = {u for u, own in graded.items() if not any(own.values())}
                assert all(oracle.pop(u) == 0 for u in flat)
            assert ours == pytest.approx(oracle, abs=1e-12)
            if oracle:
                assert found[name].value == pytest.approx(np.mean(list(oracle.values())))
            else:
                assert math.isnan(found[name].value)
        for capped, plain in (("recall_capped", "recall"), ("map_capped", "map")):
            expected = {
                u: value * len(wanted[u]) / min(k, len(wanted[u]))
                for u, value in values(found, f"{plain}@{k}").items()
            }
            assert values(found, f"{capped}@{k}") == pytest.approx(expected, abs=1e-12)
    oracle = by_oracle(ir_measures.RR, lists_of, binary) if wanted else {}
    assert values(found, "mrr") == pytest.approx(oracle, abs=1e-12)
    assert found.without == len(relevant_items(test, threshold)) - len(wanted)
    assert found.ranked == found.users == len(relevant_items(test, threshold))


@given(worlds())
def test_against_scikit_learn(world):
    train, test, model, threshold = world
    found = hs.evaluate(model, test, ["auc", "ndcg@3"], relevant=threshold, n_resamples=0)
    auc, ndcg = values(found, "auc"), values(found, "ndcg@3")
    for user, own in relevant_items(test, threshold).items():
        row = int(train.users.lookup([user])[0])
        seen = train.by_user.indices[train.by_user.indptr[row] : train.by_user.indptr[row + 1]]
        free = np.setdiff1d(np.arange(len(train.items)), seen)
        names, scores = train.items.take(free).tolist(), model.scores[row, free]
        truth = np.array([name in own for name in names])
        if truth.all() or not truth.any():
            assert user not in auc
        else:
            assert auc[user] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
        grades = np.array([own.get(name, 0.0) for name in names])
        if len(free) > 1 and grades.any() and len(set(scores)) == len(scores):
            assert ndcg[user] == pytest.approx(ndcg_score([grades], [scores], k=3), abs=1e-12)


def test_equal_scores_stand_in_the_order_of_ids_where_trec_eval_reverses_them():
    """Pinned: trec_eval orders equal scores by falling id, ndcg_score of scikit-learn averages them."""
    train = ratings_of([[np.nan, np.nan, 1.0]], items=["a", "b", "c"])
    test = ratings_of([[4.0, np.nan, np.nan]], items=["a", "b", "c"])
    found = hs.evaluate(Scripted(train, [[0.0, 0.0, 0.0]]), test, ["ndcg@2", "mrr", "auc"])
    assert (found["ndcg@2"].value, found["mrr"].value, found["auc"].value) == (1.0, 1.0, 0.5)
    run = [ir_measures.ScoredDoc("user 00", item, 0.0) for item in "ab"]
    [oracle] = (ir_measures.nDCG @ 2).iter_calc([ir_measures.Qrel("user 00", "a", 4)], run)
    assert oracle.value == pytest.approx(1 / math.log2(3))
    assert ndcg_score([[4.0, 0.0]], [[0.0, 0.0]]) == pytest.approx((1 + 1 / math.log2(3)) / 2)


def test_the_exponential_gain_is_that_of_gdeval_and_does_not_overflow():
    grade = np.array([3.0, 1.0, 0.5, -2.0])
    hits = ranking.Hits(1, np.zeros(4, dtype=int), np.array([2, 1, 4, 3]), grade)
    dcg = 7 / math.log2(3) + 1 + (2**0.5 - 1) / math.log2(5)
    ideal = 7 + 1 / math.log2(3) + (2**0.5 - 1) / math.log2(4)
    assert ranking.ndcg(hits, 5, "exponential")[0] == pytest.approx(dcg / ideal)
    counts = ranking.Hits(1, np.zeros(3, dtype=int), np.array([1, 0, 2]), np.array([4e3, 5e3, 9e3]))
    value = ranking.ndcg(counts, 2, "exponential")[0]
    assert value == pytest.approx(1 / math.log2(3))  # the one count of 9000 outweighs all


@pytest.mark.parametrize("kind", ["integers", "text"])
def test_a_fitted_model_over_ids_of_any_kind(kind):
    """The fast path of a factor model and a scripted copy of its predictions rank alike."""
    ratings = hs.simulate(60, 40, rank=3, ratings_per_user=15, seed=5).ratings
    users, items, r = ratings.to_arrays()
    if kind == "text":
        users = [f"Zoë № {u}" for u in users]
        items = [f"un film à {i}" for i in items]
    ratings = hs.Ratings.from_arrays(users, items, r)
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    model = hs.ExplicitMF(rank=3, dtype="float64").fit(train)
    m, n = train.shape
    pairs = np.indices((m, n)).reshape(2, -1)
    scores = model.predict(train.users.take(pairs[0]), train.items.take(pairs[1])).reshape(m, n)
    beyond = ["coverage@5", "gini@5", "popularity@5", "novelty@5"]
    names = ["rmse", *EVERYTHING, *beyond, "sampled_hit_rate@5", "sampled_ndcg@5", "sampled_mrr"]
    one = hs.evaluate(model, test, names, n_resamples=0)
    two = hs.evaluate(Scripted(train, scores), test, names, n_resamples=0)
    three = hs.evaluate(model, test, names, train=train, n_resamples=0)
    for name in names:
        assert one[name].value == pytest.approx(two[name].value, rel=1e-9), name
        assert one[name].value == three[name].value, name


def test_text_ids_ask_an_integer_model():
    ratings = hs.simulate(30, 25, rank=2, ratings_per_user=10, seed=5).ratings
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    model = hs.ExplicitMF(rank=2).fit(train)
    users, items, r = test.to_arrays()
    text = hs.Ratings.from_arrays([str(u) for u in users], [str(i) for i in items], r)
    names = ["rmse", "ndcg@5", "auc", "map@3", "sampled_mrr"]
    one = hs.evaluate(model, test, names, n_resamples=0)
    two = hs.evaluate(model, text, names, n_resamples=0)
    for name in names[:-1]:
        assert one[name].value == pytest.approx(two[name].value, rel=1e-12)
    assert 0 < two["sampled_mrr"].value <= 1  # the users come in another order: other draws
    past = hs.Ratings.from_arrays(*(list(map(str, ids)) for ids in train.to_arrays()[:2]))
    assert hs.evaluate(model, text, "auc", train=past)["auc"].value == pytest.approx(
        one["auc"].value, rel=1e-12
    )
    known = train.select(np.arange(0, len(train), 2))
    assert hs.evaluate(model, known, "auc", train=past).repeated == len(known)


# --------------------------------------------------------------- who and what counts


def small():
    train = ratings_of([[5.0, np.nan, np.nan, np.nan], [np.nan, 4.0, np.nan, 1.0]])
    test = ratings_of([[np.nan, 2.0, 5.0, np.nan], [np.nan, np.nan, 3.0, np.nan]])
    return train, test, Scripted(train, [[9.0, 3.0, 2.0, 1.0], [9.0, 3.0, 2.0, 1.0]])


def test_relevant_is_a_threshold_and_by_default_everything_held_out():
    _, test, model = small()
    assert hs.evaluate(model, test, "recall@1")["recall@1"].values.tolist() == [0.5, 0.0]
    high = hs.evaluate(model, test, ["recall@1", "rmse"], relevant=4.0)
    assert high["recall@1"].ids.tolist() == ["user 00"]
    assert (high.without, high.ranked, len(high["rmse"].ids)) == (1, 2, 2)
    assert "1 of 2 users have no relevant item" in str(high)
    nobody = hs.evaluate(model, test, ["recall@1", "auc", "coverage@1"], relevant=6)
    assert math.isnan(nobody["recall@1"].value)
    assert math.isnan(nobody["recall@1"].lower)
    assert nobody.without == 2
    assert nobody["coverage@1"].value == 0.5  # lists there are


def test_users_that_the_model_does_not_know():
    ratings = hs.simulate(30, 20, rank=2, ratings_per_user=8, seed=2).ratings
    model = hs.ExplicitMF(rank=2).fit(ratings)
    _, items, _ = ratings.to_arrays()
    new = [10**6, 10**6, 10**6 + 1]
    test = hs.Ratings.from_arrays(
        [*new, 0], [items[0], 10**7, items[1], 10**7], [4.0, 5.0, 3.0, 1.0]
    )
    names = ["hit_rate@20", "auc", "rmse", "sampled_mrr"]
    skipped = hs.evaluate(model, test, names, n_resamples=0)
    assert (skipped.unknown, skipped.ranked, skipped.users) == (2, 1, 3)
    assert skipped["hit_rate@20"].ids.tolist() == [0]
    assert skipped["hit_rate@20"].value == 0.0  # its one item is not known, and cannot be hit
    assert not len(skipped["auc"].ids)
    free = 20 - np.count_nonzero(ratings.to_arrays()[0] == 0)
    assert skipped["sampled_mrr"].value == pytest.approx(1 / (1 + free))  # behind all
    assert len(skipped["rmse"].ids) == 3
    empty = hs.evaluate(model, test, names, unknown="empty", n_resamples=0)
    assert empty["hit_rate@20"].values.tolist() == [0.0, 0.0, 0.0]
    assert empty["auc"].values.tolist() == [0.5, 0.5]  # no order at all
    assert empty["sampled_mrr"].values[1:] == pytest.approx([1 / 20, 1 / 20])
    by_bias = hs.evaluate(model, test, names, unknown="bias", n_resamples=0)
    assert by_bias["hit_rate@20"].values.tolist() == [0.0, 1.0, 1.0]
    assert "2 users with held-out ratings are not known" in str(by_bias)
    with pytest.raises(ParameterError, match="unknown='drop'"):
        hs.evaluate(model, test, unknown="drop")


def test_pairs_of_training_are_no_hits_and_are_counted():
    _, _, model = small()
    again = ratings_of([[5.0, 2.0, np.nan, np.nan], [np.nan, np.nan, np.nan, 1.0]])
    found = hs.evaluate(model, again, "recall@2")
    assert (found.repeated, found.without) == (2, 1)
    assert found["recall@2"].values.tolist() == [1.0]
    assert "2 held-out pairs were in training too" in str(found)
    with_seen = hs.evaluate(model, again, "recall@1", exclude_seen=False)
    assert with_seen.repeated == 0
    assert with_seen["recall@1"].values.tolist() == [0.5, 0.0]
    other = ratings_of([[np.nan, 1.0, np.nan, np.nan], [np.nan] * 4])
    assert hs.evaluate(model, again, "recall@1", train=other)["recall@1"].ids.tolist() == [
        "user 00",
        "user 01",
    ]


def test_users_without_recommendations_and_one_item():
    train = ratings_of([[1.0], [np.nan]])
    test = ratings_of([[np.nan], [2.0]])
    found = hs.evaluate(Scripted(train, [[1.0], [1.0]]), test, EVERYTHING)
    assert found["ndcg@3"].value == found["mrr"].value == found["recall@1"].value == 1.0
    assert found["precision@3"].value == pytest.approx(1 / 3)  # of the k asked for
    assert math.isnan(found["auc"].value)  # nothing else could be recommended
    full = ratings_of([[1.0, 2.0], [3.0, np.nan]])
    held = hs.Ratings.from_arrays(["user 00", "user 01"], ["new", "the film № 01"], [5.0, 5.0])
    names = ["recall@2", "mrr", "diversity@2", "popularity@2"]
    vectors = np.eye(2)
    found = hs.evaluate(Scripted(full, np.zeros((2, 2))), held, names, item_vectors=vectors)
    assert values(found, "recall@2") == {"user 00": 0.0, "user 01": 1.0}  # nothing is left for 00
    assert values(found, "popularity@2") == {"user 01": 1.0}
    assert not len(found["diversity@2"].ids)


def test_many_blocks_are_one(monkeypatch):
    ratings = hs.simulate(80, 30, rank=2, ratings_per_user=12, seed=2).ratings
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    model = hs.ExplicitMF(rank=2).fit(train)
    names = [*EVERYTHING, "coverage@3", "gini@3", "novelty@3", "diversity@3", "popularity@3"]
    whole = hs.evaluate(model, test, names, n_resamples=0)
    monkeypatch.setattr(lists, "_ENTRIES", 64)
    parts = hs.evaluate(model, test, names, n_resamples=0)
    for name in names:
        np.testing.assert_array_equal(whole[name].values, parts[name].values, err_msg=name)
        assert whole[name].value == parts[name].value


def test_same_bits_for_any_number_of_threads():
    ratings = hs.simulate(80, 30, rank=2, ratings_per_user=12, seed=2).ratings
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    before = hs.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            model = hs.ExplicitMF(rank=2).fit(train)
            names = [*EVERYTHING, "rmse", "diversity@3", "sampled_ndcg@3"]
            found.append(hs.evaluate(model, test, names, n_resamples=50).to_dict())
    finally:
        hs.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_equal(other, found[0])


# -------------------------------------------------------------------- beyond hits


@given(worlds(), st.sampled_from(KS))
def test_beyond_hits_against_plain_loops(world, k):
    train, test, model, _ = world
    m, n = train.shape
    vectors = np.random.default_rng(m).normal(size=(n, 3))
    vectors[0] = 0
    names = [f"{name}@{k}" for name in ("coverage", "gini", "popularity", "novelty", "diversity")]
    found = hs.evaluate(model, test, names, item_vectors=vectors, n_resamples=0)
    counts, popularity, novelty, diversity = np.zeros(n), {}, {}, {}
    ratings = np.diff(train.by_item.indptr)
    raters = np.count_nonzero(np.diff(train.by_user.indptr))
    for user in sorted(set(test.to_arrays()[0])):
        own = [item for item, _ in model.recommend([user], min(k, n))[user]]
        rows = train.items.lookup(own) if own else np.empty(0, dtype=int)
        counts[rows] += 1
        if own:
            popularity[user] = np.mean(ratings[rows])
            novelty[user] = np.mean([-math.log2(max(c, 1) / raters) for c in ratings[rows]])
        if len(own) > 1:
            cosines = []
            for a, b in itertools.combinations(vectors[rows], 2):
                length = np.linalg.norm(a) * np.linalg.norm(b)
                cosines.append(float(a @ b) / length if length else 0.0)
            diversity[user] = 1 - np.mean(cosines)
    assert values(found, names[2]) == pytest.approx(popularity)
    assert values(found, names[3]) == pytest.approx(novelty)
    assert values(found, names[4]) == pytest.approx(diversity)
    assert found[names[0]].value == np.mean(counts > 0)
    if counts.any():
        spread = np.abs(counts[:, None] - counts[None, :]).sum()
        assert found[names[1]].value == pytest.approx(spread / (2 * n * counts.sum()))
    else:
        assert math.isnan(found[names[1]].value)


@pytest.mark.parametrize("length", [1e-200, 1e-9, 1.0, 1e200])
def test_the_length_of_vectors_does_not_matter(length):
    """Squares of 1e200 overflow, those of 1e-200 are 0: the direction is there all the same."""
    _, test, model = small()
    same, across = np.full((4, 2), length), length * np.eye(4)
    for vectors, expected in ((same, 0.0), (across, 1.0)):
        found = hs.evaluate(model, test, "diversity@2", item_vectors=vectors)["diversity@2"]
        assert found.value == pytest.approx(expected, abs=1e-12)


def test_gini_at_its_ends():
    assert catalogue.gini(np.full(7, 3)) == pytest.approx(0)
    assert catalogue.gini(np.array([0, 0, 0, 9])) == pytest.approx(1 - 1 / 4)


# ------------------------------------------------------------------------ sampled


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 12))
def test_drawn_items_are_free_and_differ(seed, size, n):
    rng = np.random.default_rng(seed)
    touched = rng.random((5, n)) < rng.random((5, 1))
    touched[0], touched[1] = True, False
    indptr = np.concatenate([[0], np.cumsum(touched.sum(axis=1))])
    drawn = draw_free(indptr, np.nonzero(touched)[1], n, size, rng)
    assert drawn.shape == (5, size)
    for row, own in zip(touched, drawn, strict=True):
        there = own[own >= 0]
        assert len(set(there)) == len(there) == min(size, n - row.sum())
        assert not row[there].any()


def test_every_set_is_drawn_equally_often():
    users = 20_000
    indptr = np.arange(users + 1)  # each has touched item 2 of 0 … 4
    drawn = draw_free(indptr, np.full(users, 2), 5, 2, np.random.default_rng(0))
    found = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    assert found[0].tolist() == [[0, 1], [0, 3], [0, 4], [1, 3], [1, 4], [3, 4]]
    expected = users / 6
    assert np.sum((found[1] - expected) ** 2) / expected < 20.5  # χ² with 5: 0.999


@given(worlds())
def test_sampling_everything_ranks_each_item_among_all_untouched(world):
    train, test, model, threshold = world
    names = ["sampled_hit_rate@2", "sampled_ndcg@2", "sampled_mrr"]
    found = hs.evaluate(model, test, names, relevant=threshold, negatives=500, n_resamples=0)
    expected = [{}, {}, {}]
    listed = {}
    for user, own in relevant_items(test, threshold).items():
        row = int(train.users.lookup([user])[0])
        rated = [
            set(part.by_user.indices[part.by_user.indptr[row] : part.by_user.indptr[row + 1]])
            for part in (train, test)
        ]
        rivals = [i for i in range(len(train.items)) if i not in rated[0] | rated[1]]
        listed[user] = train.items.take(rivals).tolist()
        ranks = []
        for item in train.items.lookup(list(own)) if own else []:
            key = (-model.scores[row, item], item)
            ranks.append(1 + sum((-model.scores[row, i], i) < key for i in rivals))
        if ranks:
            expected[0][user] = np.mean([rank <= 2 for rank in ranks])
            expected[1][user] = np.mean([(r <= 2) / math.log2(1 + r) for r in ranks])
            expected[2][user] = np.mean([1 / rank for rank in ranks])
    for name, own in zip(names, expected, strict=True):
        assert values(found, name) == pytest.approx(own)
    if all(listed.values()):
        again = hs.evaluate(
            model, test, names, relevant=threshold, candidates=listed, n_resamples=0
        )
        for name, own in zip(names, expected, strict=True):
            assert values(again, name) == pytest.approx(own)


def test_more_negatives_than_items_are_all_items(monkeypatch):
    """And take no more memory."""
    ratings = hs.simulate(80, 60, rank=2, ratings_per_user=12, seed=2).ratings
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    model, sizes, draw = hs.Biases().fit(train), [], sampled.draw_free

    def counted(*arguments):
        sizes.append(arguments[3])
        return draw(*arguments)

    monkeypatch.setattr(sampled, "draw_free", counted)
    found = [
        hs.evaluate(model, test, "sampled_mrr", negatives=count)["sampled_mrr"].value
        for count in (60, 10_000)
    ]
    assert found[0] == found[1]
    assert max(sizes) <= 60


def test_sampled_items_by_seed_and_by_lists():
    ratings = hs.simulate(80, 60, rank=2, ratings_per_user=12, seed=2).ratings
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    model = hs.ExplicitMF(rank=2).fit(train)
    figures = [
        hs.evaluate(model, test, "sampled_mrr", negatives=5, seed=seed)["sampled_mrr"].value
        for seed in (0, 0, 1)
    ]
    assert figures[0] == figures[1] != figures[2]
    popular = train.items.take(np.argsort(-np.diff(train.by_item.indptr))[:9]).tolist()
    lists_of = dict.fromkeys(test.users.values.tolist(), popular)
    found = hs.evaluate(model, test, "sampled_hit_rate@3", candidates=lists_of)
    own = []
    for user, items in relevant_items(test, None).items():
        rivals = {item: [i for i in popular if i != item] for item in items}  # itself left out
        scores = {
            item: model.predict([user] * (1 + len(rivals[item])), [item, *rivals[item]])
            for item in items
        }
        ranks = [1 + np.count_nonzero(scores[item][1:] > scores[item][0]) for item in items]
        own.append(np.mean([rank <= 3 for rank in ranks]))
    assert found["sampled_hit_rate@3"].values == pytest.approx(own)
    with pytest.raises(DataError, match="candidates=1: is a held-out user without a list"):
        hs.evaluate(model, test, "sampled_mrr", candidates={0: [1, 2]})
    with pytest.raises(ParameterError, match="negatives=0"):
        hs.evaluate(model, test, "sampled_mrr", negatives=0)


def test_popularity_on_the_protocol_of_ncf(data_folder):
    """Rendle, Krichene, Zhang and Anderson 2020: HR@10 0.4535, NDCG@10 0.2543 (ties aside)."""
    folder = data_folder / "ml-1m-ncf"
    if not folder.is_dir():
        pytest.skip("no ml-1m-ncf")
    train = hs.read_ratings(folder / "train.parquet")
    users, items = np.loadtxt(folder / "ml-1m.test.rating", dtype=int, usecols=(0, 1)).T
    test = hs.Ratings.from_arrays(users, items)
    sampled = {}
    for line in (folder / "ml-1m.test.negative").read_text().splitlines():
        pair, *others = line.split("\t")
        sampled[int(pair.strip("()").split(",")[0])] = [int(item) for item in others]
    popular = np.diff(train.by_item.indptr).astype(float)
    model = Scripted(train, np.broadcast_to(popular, train.shape))
    names = ["sampled_hit_rate@10", "sampled_ndcg@10"]
    found = hs.evaluate(model, test, names, candidates=sampled, n_resamples=0)
    assert len(found[names[0]].ids) == 6040
    assert found[names[0]].value == pytest.approx(0.4535, abs=5e-4)
    assert found[names[1]].value == pytest.approx(0.2543, abs=5e-4)


# ------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ndgc@10", "did you mean ndcg@10"),
        ("rsme", "did you mean rmse"),
        ("hit@10", "did you mean hit_rate@10"),
        ("ndcg", "needs a number of recommendations"),
        ("ndcg@0", "needs a number of recommendations"),
        ("precision@00", "needs a number of recommendations"),
        ("rmse@10", "has no number of recommendations; try rmse"),
        ("ndcg@ten", "needs a number"),
        ("quux!", "choose from rmse, mae"),
        (3, "is not a metric"),
    ],
)
def test_names_that_are_none(name, told):
    _, test, model = small()
    with pytest.raises(ParameterError, match="metrics=") as caught:
        hs.evaluate(model, test, ["rmse", name])
    assert told in str(caught.value)


def test_what_a_model_must_have():
    train, test, _ = small()

    class Silent:
        pass

    with pytest.raises(DataError, match="does not tell what it was fitted on"):
        hs.evaluate(Silent(), test, "ndcg@3")
    with pytest.raises(ParameterError, match="has no recommend"):
        hs.evaluate(Silent(), test, "ndcg@3", train=train)
    with pytest.raises(ParameterError, match="has no predict"):
        hs.evaluate(Silent(), test, "rmse")
    with pytest.raises(NotFittedError):
        hs.evaluate(hs.ExplicitMF(), test, "ndcg@3")
    with pytest.raises(NotFittedError):
        hs.evaluate(hs.ExplicitMF(), test, "rmse")


def test_lists_that_are_wrong():
    train, test, model = small()

    class Wrong(Scripted):
        def recommend(self, users, n, exclude_seen=True, ratings=None):
            found = super().recommend(users, n, exclude_seen=exclude_seen)
            return self.change(found)

    wrong = Wrong(train, model.scores)

    def change(**fields):
        import dataclasses

        wrong.change = lambda found: dataclasses.replace(
            found, **{name: make(found) for name, make in fields.items()}
        )

    change(found=lambda f: np.repeat(f.found[1:2], len(f.found)))
    with pytest.raises(DataError, match="is recommended twice to one user"):
        hs.evaluate(wrong, test, "ndcg@3")
    change(found=lambda f: np.array(["elsewhere"] * len(f.found), dtype=object))
    with pytest.raises(DataError, match="train='elsewhere': is recommended"):
        hs.evaluate(wrong, test, "ndcg@3")
    change(offsets=lambda f: f.offsets[:-1])
    with pytest.raises(DataError, match="1 lists': were recommended to 2 users"):
        hs.evaluate(wrong, test, "ndcg@3")


def test_a_model_saved_without_its_ratings(tmp_path):
    ratings = hs.simulate(30, 20, rank=2, ratings_per_user=8, seed=2).ratings
    train, test = hs.split_random(ratings, test=0.3, seed=1)
    whole = hs.ExplicitMF(rank=2).fit(train)
    whole.save(tmp_path / "m.safetensors", history=False)
    model = hs.load(tmp_path / "m.safetensors")
    with pytest.raises(HistoryRequiredError, match="pass train="):
        hs.evaluate(model, test, "ndcg@3")
    with pytest.raises(HistoryRequiredError, match="popularity of items needs them"):
        hs.evaluate(model, test, "novelty@3", exclude_seen=False)
    assert hs.evaluate(model, test, "ndcg@3", exclude_seen=False)["ndcg@3"].value >= 0
    one = hs.evaluate(model, test, "ndcg@3", train=train)["ndcg@3"].value
    assert one == hs.evaluate(whole, test, "ndcg@3")["ndcg@3"].value


@pytest.mark.parametrize("wrong", [np.ones(4), np.ones((3, 2)), np.full((4, 2), np.nan)])
def test_item_vectors_that_are_wrong(wrong):
    _, test, model = small()
    with pytest.raises(DataError, match=r"must be finite numbers of shape \(4, d\)"):
        hs.evaluate(model, test, "diversity@2", item_vectors=wrong)
    for words in ("x", [["x", "y"]] * 4, [[1], [1, 2], [1], [1]]):
        with pytest.raises(DataError, match=r"item_vectors=.* must be finite numbers of shape"):
            hs.evaluate(model, test, "diversity@2", item_vectors=words)
    with pytest.raises(DataError, match="has no factors"):
        hs.evaluate(model, test, "diversity@2")


def test_what_evaluate_is_given():
    _, test, model = small()
    for name, value in (("relevant", "high"), ("relevant", float("nan")), ("exclude_seen", 1)):
        with pytest.raises(ParameterError, match=f"{name}="):
            hs.evaluate(model, test, "ndcg@3", **{name: value})
    wrong = (("confidence", 95), ("n_resamples", -1), ("seed", -1), ("metrics", ()))
    for name, value in (*wrong, ("metrics", None), ("metrics", 10)):
        with pytest.raises(ParameterError, match=f"{name}="):
            hs.evaluate(model, test, **{name: value})
    with pytest.raises(DataError, match="test="):
        hs.evaluate(model, [1, 2])
    with pytest.raises(DataError, match="train="):
        hs.evaluate(model, test, "ndcg@3", train=[1, 2])
    with pytest.raises(DataError, match="holds no ratings"):
        hs.evaluate(model, test.select(np.zeros(len(test), dtype=bool)))
