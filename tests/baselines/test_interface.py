"""All baselines answer as the factor models do, and refuse what they refuse."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError as TheirNotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.validation import check_is_fitted

import halfstep as hs
from halfstep.errors import DataError, NotFittedError, ParameterError, UnknownIdError

MODELS = [
    hs.GlobalMean(),
    hs.Biases(2.0),
    hs.MostPopular(),
    hs.MostPopular("mean"),
    hs.ItemKNN(5),
    hs.ItemKNN(5, similarity="cosine"),
    hs.EASE(20.0),
    hs.EASE(20.0, values="centered"),
    hs.GraphFilter(5, sharpening=2.5),
    hs.PureSVD(5),
]
every = pytest.mark.parametrize("model", MODELS, ids=repr)
WITH_NEIGHBORS = MODELS[4:9]


def questions():
    """(name, a call that must be refused)."""
    return {
        "no rating": lambda m, r: m.fit([(1, 2)]),
        "empty": lambda m, r: m.fit(r.select(np.zeros(len(r), dtype=bool))),
        "y twice": lambda m, r: m.fit(r, [1.0]),
        "NaN": lambda m, r: m.fit([(1, 2), (2, 3)], [1.0, np.nan]),
        "three columns": lambda m, r: m.fit(np.zeros((3, 3)), [1.0, 2.0, 3.0]),
        "weights below 0": lambda m, r: m.fit([(1, 2)], [1.0], sample_weight=[-1.0]),
        "weights of 0": lambda m, r: m.fit([(1, 2)], [1.0], sample_weight=[0.0]),
        "lengths": lambda m, r: m.fit(r).predict([1, 2, 3], [1, 2]),
        "no pairs": lambda m, r: m.fit(r).predict(np.zeros(4)),
        "how unknown": lambda m, r: m.fit(r).predict(1, 2, unknown="mean"),
        "unknown user": lambda m, r: m.fit(r).predict(-9, 2, unknown="error"),
        "unknown item": lambda m, r: m.fit(r).predict([1, 1], [2, -9], unknown="error"),
        "nothing to measure": lambda m, r: m.fit(r).rmse(r.select(np.zeros(len(r), dtype=bool))),
        "weights of other pairs": lambda m, r: m.fit(r).score(r, sample_weight=[1.0]),
        "a weight of NaN": lambda m, r: m.fit(r).score([(1, 2)], [3.0], sample_weight=[np.nan]),
        "weights of nothing": lambda m, r: m.fit(r).score([(1, 2)], [3.0], sample_weight=[0.0]),
        "to be compared with NaN": lambda m, r: m.fit(r).rmse([(1, 2)], [np.nan]),
        "to be compared with words": lambda m, r: m.fit(r).mae([(1, 2)], ["high"]),
        "unknown reader": lambda m, r: m.fit(r).recommend(["zoë"]),
        "n": lambda m, r: m.fit(r).recommend(n=0),
        "min_ratings": lambda m, r: m.fit(r).recommend(min_ratings=0),
        "list of exclude": lambda m, r: m.fit(r).recommend(1, exclude=[1]),
        "other ratings": lambda m, r: m.fit(r).recommend(1, ratings=[1]),
    }


@pytest.mark.parametrize("name", questions())
@every
def test_what_is_wrong_is_told_in_the_same_words(model, name, simulated):
    asked = questions()[name]
    with pytest.raises((DataError, ParameterError, UnknownIdError)) as expected:
        asked(hs.ExplicitMF(rank=1, max_iter=1), simulated)
    with pytest.raises(type(expected.value)) as found:
        asked(clone(model), simulated)
    assert str(found.value) == str(expected.value)


@every
def test_unfitted_models_say_so(model):
    fresh = clone(model)
    for name, arguments in (("predict", (1, 1)), ("recommend", (1,)), ("rmse", ([(1, 1)], [2.0]))):
        with pytest.raises(NotFittedError, match=f"{type(model).__name__} is not fitted yet"):
            getattr(fresh, name)(*arguments)
    with pytest.raises(TheirNotFittedError):
        check_is_fitted(fresh)


@every
def test_scikit_learns_contract(model, simulated):
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert eval(repr(fresh), vars(hs)).get_params() == model.get_params()
    assert fresh.fit(simulated) is fresh
    check_is_fitted(fresh)
    assert is_regressor(fresh)
    with pytest.raises(ParameterError, match="is not a parameter"):
        fresh.set_params(nonsense=1)
    before = dict(vars(fresh))
    fresh.predict(1, 2)
    fresh.recommend(n=2)
    assert vars(fresh) == before  # questions change nothing
    back = pickle.loads(pickle.dumps(fresh))
    assert list(back.recommend(n=2)) == list(fresh.recommend(n=2))


@every
def test_searches_of_scikit_learn(model, simulated):
    users, items, r = simulated.to_arrays()
    X = pd.DataFrame({"user": users, "item": [f"№ {i}" for i in items]})
    assert np.isfinite(cross_val_score(model, X, r, cv=3, error_score="raise")).all()
    names = [name for name in ("reg", "k", "by") if name in model.get_params()]
    if names:
        values = {"reg": [5.0, 50.0], "k": [2, 3], "by": ["count", "mean"]}[names[0]]
        search = GridSearchCV(model, {names[0]: values}, cv=2, error_score="raise").fit(X, r)
        assert search.best_params_[names[0]] in values


@every
def test_measures_are_those_of_the_predictions(model, simulated):
    train, test = hs.split_random(simulated, test=0.2, seed=0)
    fitted = clone(model).fit(train)
    users, items, r = test.to_arrays()
    r = r.astype(float)
    difference = r - fitted.predict(users, items)
    assert fitted.rmse(test) == pytest.approx(np.sqrt(np.mean(difference**2)))
    assert fitted.mae(test) == pytest.approx(np.mean(np.abs(difference)))
    pairs = np.column_stack([users, items])
    assert fitted.rmse(pairs, r) == pytest.approx(fitted.rmse(test))
    expected = 1 - np.sum(difference**2) / np.sum((r - r.mean()) ** 2)
    assert fitted.score(pairs, r) == pytest.approx(expected, abs=1e-12)
    clipped = fitted.predict(pairs, clip=True)
    np.testing.assert_array_equal(clipped, np.clip(fitted.predict(pairs), *fitted.scale_))


@every
def test_forms_of_a_question(model, simulated):
    fitted = clone(model).fit(simulated)
    users, items, _ = simulated.to_arrays()
    whole = fitted.predict(users, items)
    assert whole.dtype == np.float64
    np.testing.assert_array_equal(fitted.predict(np.column_stack([users, items])), whole)
    one = fitted.predict(int(users[0]), int(items[0]))
    assert isinstance(one, float)
    assert one == whole[0]
    order = np.random.default_rng(0).permutation(len(users))
    np.testing.assert_array_equal(fitted.predict(users[order], items[order]), whole[order])
    found = fitted.predict([-9, int(users[0])], [3, int(items[0])], unknown="nan")
    assert np.isnan(found[0])
    assert found[1] == whole[0]
    assert fitted.predict([], []).shape == (0,)


@every
def test_recommendations_and_their_filters(model, simulated):
    fitted = clone(model).fit(simulated)
    everything = fitted.recommend([7], 80, exclude_seen=False)[7]
    assert len(everything) == 80
    scores = [score for _, score in everything]
    assert scores == sorted(scores, reverse=True)
    seen = set(simulated.rows_of(np.array([7])).indices.tolist())
    unseen = [item for item, _ in everything if item not in seen]
    best = [item for item, _ in fitted.recommend(7, 6)[7]]
    assert best == unseen[:6]
    assert [i for i, _ in fitted.recommend(7, 500)[7]] == unseen  # fewer, and no placeholders
    assert [i for i, _ in fitted.recommend(7, 5, deny=best[:1])[7]] == best[1:]
    allowed = [best[3], best[1], 10**9]
    assert [i for i, _ in fitted.recommend(7, 5, allow=allowed)[7]] == [best[1], best[3]]
    assert [i for i, _ in fitted.recommend(7, 5, exclude={7: best[1]})[7]][1] == best[2]
    only = fitted.recommend([7, 1], 4, candidates={7: best[:2]})
    assert [i for i, _ in only[7]] == best[:2]
    assert len(only[1]) == 4
    assert fitted.recommend(7, 3, allow=[])[7] == []
    other = hs.Ratings.from_arrays([7], [best[0]], [3.0])
    others = [i for i, _ in fitted.recommend(7, 80, ratings=other)[7]]
    assert others == [i for i, _ in everything if i != best[0]]
    counts = np.diff(simulated.by_item.indptr)
    limit = int(np.median(counts))
    known = fitted.recommend(n=80, min_ratings=limit)
    assert counts[known.found].min() >= limit
    assert len(known) == 120


@every
def test_users_that_nobody_knows(model, simulated):
    fitted = clone(model).fit(simulated)
    found = fitted.recommend(["zoë", "3", "von Neumann"], 80, unknown="bias")
    assert found["zoë"] == found["von Neumann"]
    assert len(found["zoë"]) == 80
    assert found["3"] == fitted.recommend(3, 80)[3]


@every
def test_users_and_items_without_ratings(model, simulated):
    part = simulated.select((simulated.user_index() > 0) & (simulated.by_user.indices != 2))
    fitted = clone(model).fit(part)
    known = fitted.predict([0, 5, 0], [4, 2, 2])
    np.testing.assert_allclose(known, fitted.predict([-1, 5, -1], [4, -1, -1]))
    assert fitted.recommend(0, 80)[0] == fitted.recommend([-1], 80, unknown="bias")[-1]


@every
def test_one_rating(model):
    fitted = clone(model).fit([("ann", "Ōkami 2 ½")], [4.0])
    assert np.isfinite(fitted.predict("ann", "Ōkami 2 ½"))
    assert fitted.recommend("ann")["ann"] == []
    assert len(fitted.recommend("ann", exclude_seen=False)["ann"]) == 1


@every
def test_ratings_of_zero(model):
    zeros = hs.Ratings.from_arrays([1, 1, 2, 2, 3], [1, 2, 1, 3, 2], [0.0] * 5)
    fitted = clone(model).fit(zeros)
    assert np.isfinite(fitted.predict([1, 2, 3], [3, 2, 1])).all()
    assert [i for i, _ in fitted.recommend(1, 5)[1]] == [3]


@every
def test_the_order_of_the_table_does_not_matter(model, simulated):
    users, items, r = simulated.to_arrays()
    order = np.random.default_rng(1).permutation(len(r))
    one = clone(model).fit(np.column_stack([users, items]), r).recommend(n=5)
    two = clone(model).fit(np.column_stack([users, items])[order], r[order]).recommend(n=5)
    assert one.found.tobytes() == two.found.tobytes()
    assert one.scores.tobytes() == two.scores.tobytes()


@pytest.mark.parametrize(
    "model",
    [
        hs.GlobalMean(),
        hs.Biases(0.0),  # a penalty would shrink the bias of a user of double weight less
        hs.MostPopular(),
        hs.ItemKNN(5, reg=0.0),
        hs.ItemKNN(5, similarity="pearson", reg=0.0),
        hs.ItemKNN(5, similarity="cosine", reg=0.0),
        hs.EASE(20.0),
        hs.EASE(20.0, values="ratings"),
        hs.EASE(20.0, values="centered", bias_reg=0.0),
        hs.GraphFilter(5),
        hs.PureSVD(5),
    ],
    ids=repr,
)
def test_a_weight_of_two_is_every_rating_of_a_user_twice(model, simulated):
    """As two users of the same ratings, one of whom is asked."""
    users, items, r = simulated.to_arrays()
    chosen = users < 40
    weight = np.where(chosen, 2.0, 1.0)
    by_weight = clone(model).fit(simulated.with_weights(weight))
    twins = np.concatenate([users, users[chosen] + 1000])
    doubled = hs.Ratings.from_arrays(
        twins, np.concatenate([items, items[chosen]]), np.concatenate([r, r[chosen]])
    )
    by_rows = clone(model).fit(doubled)
    np.testing.assert_allclose(
        by_weight.predict(users, items), by_rows.predict(users, items), rtol=1e-6
    )


@pytest.mark.parametrize("model", WITH_NEIGHBORS, ids=repr)
def test_what_is_similar(model, simulated):
    fitted = clone(model).fit(simulated)
    found = fitted.similar_items([3, 5], 4)
    assert (found.asked_name, found.found_name) == ("item", "item")
    for item in (3, 5):
        scores = [score for _, score in found[item]]
        assert scores == sorted(scores, reverse=True)
        assert min(scores, default=1) > 0
        assert item not in dict(found[item])
        assert fitted.similar_items(item, 999)[item][:4] == found[item]
    with pytest.raises(UnknownIdError):
        fitted.similar_items([3, 4000])
    with pytest.raises(ParameterError):
        fitted.similar_items(3, 0)


@every
def test_users_known_by_given_ratings_alone(model, simulated):
    """Given what they had in training, they get what they got; so do users who only look like them."""
    fitted = clone(model).fit(simulated)
    users, items, r = simulated.to_arrays()
    some = np.isin(users, [3, 50, 7])
    told = fitted.with_users(np.column_stack([users, items])[some], r[some])
    np.testing.assert_allclose(
        told.predict(users[some], items[some]), fitted.predict(users[some], items[some]), atol=1e-6
    )
    before, after = fitted.recommend([3, 50, 7], 9), told.recommend([3, 50, 7], 9)
    assert after.found.tolist() == before.found.tolist()
    new = pd.DataFrame(
        {"user": [f"№ {u}" for u in users[some]], "item": items[some], "rating": r[some]}
    )
    strangers = fitted.with_users(new).recommend([f"№ {u}" for u in (3, 50, 7)], 9)
    assert strangers.found.tolist() == before.found.tolist()
    with pytest.raises(UnknownIdError):
        told.recommend(4)
    with pytest.raises(UnknownIdError):
        fitted.with_users([("zoë", 10**9)], [1.0])
    kept = fitted.with_users([("zoë", 10**9), ("zoë", int(items[0]))], [1.0, 2.0], unknown="ignore")
    assert len(kept.recommend("zoë", 99)["zoë"]) == 79
    assert (
        fitted.recommend(4, 9).found.tolist()
        == clone(model).fit(simulated).recommend(4, 9).found.tolist()
    )


@every
def test_folds(model, simulated):
    told = hs.cross_validate(model, simulated, 3)
    assert np.isfinite(told.mean("rmse"))
    assert not hasattr(model, "history_")


def test_a_refit_leaves_nothing_of_the_last(simulated):
    model = hs.EASE(20.0).fit(simulated)
    model.set_params(values="centered").fit(simulated)
    fresh = hs.EASE(20.0, values="centered").fit(simulated)
    assert set(vars(model)) == set(vars(fresh))
    assert model.predict(1, 2) == fresh.predict(1, 2)
    assert model.scale_ == fresh.scale_
    with pytest.raises(DataError):
        model.fit([(1, 2)], [np.nan])
    assert model.predict(1, 2) == fresh.predict(1, 2)  # a failed fit changes nothing
