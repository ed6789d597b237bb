"""What a fitted model answers."""

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import DataError, NotFittedError, ParameterError, UnknownIdError


def dense(model):
    f = model.factors_
    return (
        f.mean
        + f.user_bias[:, None]
        + f.item_bias[None, :]
        + f.user_factors.astype(float) @ f.item_factors.astype(float).T
    )


# -------------------------------------------------------------------------- predict


def test_predict_is_the_formula(fitted, simulated):
    users, items, _ = simulated.to_arrays()
    expected = dense(fitted)[simulated.user_index(), simulated.by_user.indices]
    np.testing.assert_allclose(fitted.predict(users, items), expected, atol=1e-4)
    pairs = np.column_stack([users, items])
    np.testing.assert_array_equal(fitted.predict(pairs), fitted.predict(users, items))
    one = fitted.predict(int(users[0]), int(items[0]))
    assert isinstance(one, float)
    assert one == pytest.approx(expected[0], abs=1e-4)


def test_unknown_ids_fall_back_to_what_is_known(fitted):
    f = fitted.factors_
    user, item = f.user_ids.id_at(3), f.item_ids.id_at(5)
    assert fitted.predict(user, -99) == pytest.approx(f.mean + f.user_bias[3], abs=1e-5)
    assert fitted.predict(-99, item) == pytest.approx(f.mean + f.item_bias[5], abs=1e-5)
    assert fitted.predict(-99, -99) == pytest.approx(f.mean, abs=1e-5)
    found = fitted.predict([user, -99], [item, item], unknown="nan")
    assert np.isnan(found).tolist() == [False, True]
    with pytest.raises(UnknownIdError, match="user=-99: is not known"):
        fitted.predict([user, -99], [item, item], unknown="error")
    with pytest.raises(UnknownIdError, match="item='no such'"):
        fitted.predict(user, "no such", unknown="error")


def test_predictions_are_clipped_on_request(fitted, simulated):
    low, high = simulated.scale()
    everything = [(u, i) for u in range(120) for i in range(80)]
    assert np.max(fitted.predict(everything)) > high
    clipped = fitted.predict(everything, clip=True)
    assert clipped.min() >= low
    assert clipped.max() <= high


@pytest.mark.parametrize("X", [np.zeros((3, 3)), [1, 2, 3], np.zeros(4), [(1, 2, 3)]])
def test_what_is_not_pairs_is_refused(fitted, X):
    with pytest.raises(DataError, match="X="):
        fitted.predict(X)


def test_lengths_must_agree(fitted):
    with pytest.raises(DataError, match="items=2"):
        fitted.predict([1, 2, 3], [1, 2])


@pytest.mark.parametrize("name", ["predict", "recommend", "similar_items", "explain", "save"])
def test_an_unfitted_model_says_so(name, tmp_path):
    arguments = {"similar_items": ([1],), "save": (tmp_path / "m",)}.get(name, ([1], [1]))
    with pytest.raises(NotFittedError, match="call fit first"):
        getattr(hs.ExplicitMF(), name)(*arguments)


# -------------------------------------------------------------------------- metrics


def test_errors_agree_with_their_formulas(fitted, simulated):
    users, items, r = simulated.to_arrays()
    residual = r - np.asarray(fitted.predict(users, items), dtype=float)
    assert fitted.rmse(simulated) == pytest.approx(np.sqrt(np.mean(residual**2)))
    assert fitted.mae(simulated) == pytest.approx(np.mean(np.abs(residual)))
    pairs = np.column_stack([users, items])
    assert fitted.rmse(pairs, r) == pytest.approx(fitted.rmse(simulated))
    r2 = 1 - np.sum(residual**2) / np.sum((r - r.mean()) ** 2)
    assert fitted.score(pairs, r) == pytest.approx(r2)
    assert fitted.rmse(simulated) == pytest.approx(fitted.trace_[-1].train_rmse, rel=1e-5)


def test_metrics_against_scikit_learn(fitted, simulated):
    metrics = pytest.importorskip("sklearn.metrics")
    users, items, r = simulated.to_arrays()
    weights = np.random.default_rng(0).random(len(r))
    fitted_r = fitted.predict(users, items)
    pairs = np.column_stack([users, items])
    expected = metrics.r2_score(r, fitted_r, sample_weight=weights)
    assert fitted.score(pairs, r, weights) == pytest.approx(expected)


# ------------------------------------------------------------------------ recommend


def test_recommendations_are_the_best_unseen(fitted, simulated):
    scores = dense(fitted)
    scores[simulated.user_index(), simulated.by_user.indices] = -np.inf
    found = fitted.recommend(n=7)
    assert len(found) == 120
    for u, user in enumerate(simulated.users.values.tolist()):
        items = [item for item, _ in found[user]]
        best = np.argsort(-scores[u], kind="stable")[:7]
        np.testing.assert_allclose(
            scores[u, fitted.factors_.item_ids.lookup(items)], scores[u, best], atol=1e-4
        )
        got = [score for _, score in found[user]]
        assert got == sorted(got, reverse=True)
        assert np.asarray(got, dtype=np.float32).tolist() == (
            fitted.predict([user] * 7, items).tolist()
        )


def test_filters(fitted, simulated):
    user = simulated.users.id_at(0)
    seen = set(fitted.factors_.item_ids.take(simulated.rows_of(np.array([0])).indices).tolist())
    best = [item for item, _ in fitted.recommend(user, 5)[user]]
    assert not seen & set(best)
    everything = [i for i, _ in fitted.recommend(user, 80, exclude_seen=False)[user]]
    assert set(everything) >= seen
    assert len(fitted.recommend(user, 500)[user]) == 80 - len(seen)  # fewer, and no placeholders
    assert best[0] not in dict(fitted.recommend(user, 5, deny=[best[0]])[user])
    allowed = [*best[2:4], 10**9]
    assert [i for i, _ in fitted.recommend(user, 5, allow=allowed)[user]] == best[2:4]
    assert best[1] not in dict(fitted.recommend(user, 5, exclude={user: best[1]})[user])
    only = fitted.recommend([user, 1], 9, candidates={user: best[:2]})
    assert [i for i, _ in only[user]] == best[:2]
    assert len(only[1]) == 9
    assert fitted.recommend(user, 3, allow=[])[user] == []
    other = hs.Ratings.from_arrays([user], [best[0]], [3.0])
    assert best[0] not in dict(fitted.recommend(user, 5, ratings=other)[user])


def test_items_with_few_ratings_can_be_left_out(fitted, simulated):
    counts = np.diff(simulated.by_item.indptr)
    limit = int(np.median(counts))
    found = fitted.recommend(n=80, min_ratings=limit)
    assert counts[fitted.factors_.item_ids.lookup(found.found)].min() >= limit
    everything = fitted.recommend(n=80, min_ratings=1)
    assert counts[fitted.factors_.item_ids.lookup(everything.found)].min() < limit
    with pytest.raises(ParameterError, match="min_ratings=0"):
        fitted.recommend(min_ratings=0)


def test_ties_go_to_the_smaller_id():
    model = hs.ExplicitMF(rank=1, reg=1e6).fit(
        [(u, i) for u in (1, 2) for i in (5, 3, 9)], [3.0] * 6
    )
    items = [i for i, _ in model.recommend(1, 3, exclude_seen=False)[1]]
    assert items == [3, 5, 9]


def test_unknown_users(fitted):
    with pytest.raises(UnknownIdError, match="user='zoë'"):
        fitted.recommend(["0", "zoë"])
    by_bias = fitted.recommend(["zoë"], 3, unknown="bias")
    f = fitted.factors_
    best = np.argsort(-f.item_bias, kind="stable")[:3]
    assert [i for i, _ in by_bias["zoë"]] == f.item_ids.take(best).tolist()


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "ten"])
def test_n_is_checked(fitted, n):
    with pytest.raises(ParameterError, match="n="):
        fitted.recommend(n=n)


def test_the_table_of_recommendations(fitted):
    found = fitted.recommend([3, 1], 2)
    table = found.to_dict()
    assert list(table) == ["user", "rank", "item", "score"]
    assert table["user"].tolist() == [3, 3, 1, 1]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert next(iter(found))[0] == 3
    with pytest.raises(KeyError):
        found[77]


# -------------------------------------------------------------------------- similar


def test_similar_rows_have_the_largest_cosine(fitted):
    for side in ("item", "user"):
        factors = getattr(fitted.factors_, f"{side}_factors").astype(float)
        unit = factors / np.linalg.norm(factors, axis=1)[:, None]
        cosines = unit @ unit[4]
        cosines[4] = -np.inf
        found = getattr(fitted, f"similar_{side}s")(4, 5)[4]
        np.testing.assert_allclose(
            [score for _, score in found], np.sort(cosines)[::-1][:5], atol=1e-5
        )
        assert 4 not in dict(found)
    with pytest.raises(UnknownIdError):
        fitted.similar_items([4, 4000])


# -------------------------------------------------------------------------- fold in


def test_new_users_are_folded_in(fitted, simulated):
    row = simulated.select(simulated.user_index() == 7)
    _, items, r = row.to_arrays()
    new = hs.Ratings.from_arrays(["new"] * 0 + [5000] * len(r), items, r)
    folded = fitted.fold_in(new)
    np.testing.assert_array_equal(folded.factors[0], fitted.factors_.user_factors[7])
    model = fitted.with_rows(folded)
    assert model.predict(5000, int(items[0])) == fitted.predict(7, int(items[0]))
    assert model.recommend(5000, 5)[5000] == fitted.recommend(7, 5)[7]
    assert fitted.factors_.user_ids.lookup([5000])[0] == -1  # the old model is as it was
    assert model.explain(5000, 3).score == pytest.approx(fitted.explain(7, 3).score)


def test_changed_users_are_replaced(fitted, simulated):
    row = simulated.select((simulated.user_index() == 7) & (simulated.by_user.values > 3))
    _, items, r = row.to_arrays()
    model = fitted.with_rows(fitted.fold_in(hs.Ratings.from_arrays([7] * len(r), items, r)))
    assert model.factors_.user_factors.shape == fitted.factors_.user_factors.shape
    assert not np.array_equal(model.factors_.user_factors[7], fitted.factors_.user_factors[7])
    np.testing.assert_array_equal(model.factors_.user_factors[8], fitted.factors_.user_factors[8])
    start, stop = model.history_.indptr[7:9]
    assert stop - start == len(r)


def test_new_items_are_folded_in(fitted):
    new = hs.Ratings.from_arrays([0, 1, 2], [-5] * 3, [5.0, 4.0, 5.0])
    folded = fitted.fold_in(new, side="item")
    model = fitted.with_rows(folded)
    assert model.factors_.item_ids.id_at(0) == -5
    assert model.predict(3, 10) == fitted.predict(3, 10)
    assert np.isfinite(model.predict(3, -5))
    np.testing.assert_array_equal(model.history_.values, fitted.history_.values)
    assert set(dict(model.recommend(0, 100)[0])) & {-5}
    assert fitted.recommend(0, 3)[0][0] in model.recommend(0, 4)[0]


def test_unknown_items_of_a_new_user(fitted):
    new = hs.Ratings.from_arrays([5000, 5000], [3, 9999], [4.0, 2.0])
    with pytest.raises(UnknownIdError, match=r"item=9999.*unknown=\"ignore\""):
        fitted.fold_in(new)
    alone = hs.Ratings.from_arrays([5000], [3], [4.0])
    np.testing.assert_array_equal(
        fitted.fold_in(new, unknown="ignore").factors, fitted.fold_in(alone).factors
    )


def test_folding_in_from_text_ids(fitted):
    """A table read as text has «10» before «9»; the model's integers have not."""
    numbers = hs.Ratings.from_arrays([5000] * 3, [9, 10, 3], [4.0, 2.0, 5.0])
    text = hs.Ratings.from_arrays(["u"] * 3, ["9", "10", "3"], [4.0, 2.0, 5.0])
    np.testing.assert_array_equal(fitted.fold_in(numbers).factors, fitted.fold_in(text).factors)


# -------------------------------------------------------------------------- explain


def test_an_explanation_sums_to_the_score(fitted, simulated):
    told = fitted.explain(7, 11)
    assert told.score == pytest.approx(fitted.predict(7, 11), abs=1e-4)
    assert told.baseline + told.contributions.sum() == pytest.approx(told.score)
    assert told.exact
    assert (np.diff(told.contributions) <= 0).all()
    assert len(told.items) == np.diff(simulated.by_user.indptr)[7]
    lines = str(told).splitlines()
    assert len(lines) <= 13
    assert "rated" in lines[2]


def test_leaving_a_rating_out_moves_the_score_as_explained(fitted, simulated):
    """The contribution of a rating is what the score loses when its target alone becomes 0."""
    told = fitted.explain(7, 11)
    f = fitted.factors_
    row = simulated.rows_of(np.array([7]))
    values = row.values.copy()
    item = told.items[0]
    column = f.item_ids.lookup([item])[0]
    place = int(np.flatnonzero(row.indices == column)[0])
    values[place] = f.mean + f.item_bias[column]  # its target r − μ − b_i is 0 now
    changed = hs.Ratings.from_arrays([7] * len(values), f.item_ids.take(row.indices), values)
    folded = fitted.fold_in(changed)
    score = f.mean + f.item_bias[11] + folded.bias[0] + folded.factors[0] @ f.item_factors[11]
    assert told.score - score == pytest.approx(told.contributions[0], abs=1e-4)


# --------------------------------------------------------------------- real ratings


def test_movielens_100k(data_folder):
    """The published protocol: five folds of the file's own order, shuffled by RandomState(0)."""
    columns = np.loadtxt(data_folder / "ml-100k" / "u.data", dtype=np.int64)
    ratings = hs.Ratings.from_arrays(*columns[:, :3].T, keep_order=True)
    model = hs.ExplicitMF(rank=10, reg=(15, 15, 3), reg_scaling="none", max_iter=30, tol=0)
    found = hs.cross_validate(model, ratings, 5, order="file")
    assert found.mean("rmse") <= 0.910
    assert found.standard_error("rmse") < 0.005
