"""scikit-learn's contract for implicit feedback: pairs without y, a metric of rankings as the score."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as Theirs
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

import halfstep as hs
from halfstep import testing
from halfstep.errors import DataError, NotFittedError, ParameterError


@pytest.fixture(scope="module")
def columns(simulated):
    users, items, r = simulated.to_arrays()
    return np.column_stack([users, items]), r


def as_objects(X):
    named = np.empty(X.shape, dtype=object)
    named[:, 0] = [f"user {u:04d}" for u in X[:, 0]]
    named[:, 1] = [f"film № {i:04d}" for i in X[:, 1]]
    return named


FORMS = [
    lambda X: X,
    as_objects,
    lambda X: pd.DataFrame(as_objects(X), columns=["who", "what"]),
    lambda X: pd.DataFrame(as_objects(X), columns=["who", "what"]).astype("category"),
]
forms = pytest.mark.parametrize("form", FORMS)


def model(**params):
    return hs.ImplicitMF(**{"rank": 3, "reg": 0.05, "max_iter": 4, **params})


@forms
@pytest.mark.parametrize("with_counts", [False, True])
def test_grid_search(columns, form, with_counts):
    X, r = columns
    y = r if with_counts else None
    search = GridSearchCV(
        model(),
        {"rank": [2, 4], "reg": [0.01, (0.1, 0.2, 0.3)], "loss": ["ials", "wrmf"]},
        cv=KFold(3, shuffle=True, random_state=0),
        error_score="raise",
    ).fit(form(X), y)
    found = search.cv_results_["mean_test_score"]
    assert ((found > 0) & (found < 1)).all()
    assert search.best_score_ == found.max()
    assert len(search.predict(form(X))) == len(X)


@forms
def test_scores_do_not_depend_on_the_form_of_ids(columns, form):
    X, _ = columns
    folds = KFold(3, shuffle=True, random_state=0)
    scores = cross_val_score(model(), form(X), cv=folds, error_score="raise")
    np.testing.assert_array_equal(scores, cross_val_score(model(), X, cv=folds))


def test_a_score_is_the_metric(columns):
    X, r = columns
    train, test, r_train, r_test = train_test_split(X, r, test_size=0.2, random_state=0)
    for metric in ("ndcg@10", "recall@5"):
        fitted = model(metric=metric).fit(train, r_train)
        held = hs.Ratings.from_arrays(test[:, 0], test[:, 1], r_test)
        name = metric.replace("ndcg", "ndcg_binary")
        found = hs.evaluate(fitted, held, metrics=[name])[name].value
        assert fitted.score(test, r_test) == pytest.approx(found, rel=1e-6)
        assert fitted.score(test) == fitted.score(test, r_test)  # what counts is that it happened
    with pytest.raises(DataError, match="no new interaction"):
        fitted.score(train, r_train)


def test_search_in_other_processes_and_fit_parameters(columns):
    X, r = columns
    made = GridSearchCV(model(), {"rank": [1, 2]}, cv=2, n_jobs=2, error_score="raise")
    alone = GridSearchCV(model(), {"rank": [1, 2]}, cv=2, error_score="raise")
    np.testing.assert_array_equal(
        made.fit(X, r).cv_results_["mean_test_score"],
        alone.fit(X, r).cv_results_["mean_test_score"],
    )
    alone.fit(X, r, sample_weight=np.full(len(r), 2.0))
    alone.fit(X, r, backend="numpy")


def test_clone_get_and_set_params(simulated):
    reg, solver = [0.1, 0.2, 0.3], hs.ALS()
    fitted = model(reg=reg, solver=solver, metric="recall@5").fit(simulated)
    fresh = clone(fitted)
    assert not hasattr(fresh, "factors_")
    assert fresh.get_params() == fitted.get_params()
    testing.assert_same_bits(fresh.fit(simulated).factors_, fitted.factors_)
    made = model()
    assert made.set_params(alpha=7.0, reg=(1, 2, 3)) is made
    assert (made.alpha, made.reg) == (7.0, (1, 2, 3))
    with pytest.raises(ParameterError, match="alpa=3: is not a parameter of ImplicitMF"):
        made.set_params(alpa=3)
    rebuilt = eval(repr(model(reg=(1, 2, 3))), {"ImplicitMF": hs.ImplicitMF})
    assert rebuilt.get_params() == model(reg=(1, 2, 3)).get_params()
    assert repr(hs.ImplicitMF()) == "ImplicitMF()"


@pytest.mark.parametrize(
    "question",
    [
        lambda m: m.predict([1], [1]),
        lambda m: m.score([[1, 1]]),
        lambda m: m.recommend(),
        lambda m: m.similar_items([1]),
        lambda m: m.fold_in([[1, 1]]),
        lambda m: m.updated([[1, 1]]),
        lambda m: m.without_users(1),
        lambda m: m.explain(1, 1),
        lambda m: m.influence(1),
    ],
)
def test_an_unfitted_model_says_so(question):
    with pytest.raises(NotFittedError, match="ImplicitMF is not fitted yet; call fit first"):
        question(model())


def test_is_fitted(simulated):
    made = model()
    with pytest.raises(Theirs):
        check_is_fitted(made)
    check_is_fitted(made.fit(simulated))


@forms
def test_in_a_pipeline(columns, form):
    X, r = columns
    pipeline = Pipeline([("same", FunctionTransformer()), ("mf", model())])
    predicted = pipeline.fit(form(X), r).predict(form(X))
    assert predicted.tobytes() == model().fit(form(X), r).predict(form(X)).tobytes()
    search = GridSearchCV(pipeline, {"mf__rank": [1, 2]}, cv=2, error_score="raise")
    assert search.fit(form(X), r).best_score_ > 0


def test_weights_multiply_the_confidence(columns):
    X, r = columns
    weight = np.random.default_rng(0).uniform(0.5, 2, len(r))
    one = model(dtype="float64").fit(X, r, sample_weight=weight)
    two = model(dtype="float64", alpha=1.0).fit(X, r * weight)
    testing.assert_near(one.factors_, two.factors_, 1e-5)
    keep = np.arange(len(r)) % 3 > 0
    without = model(dtype="float64").fit(X[keep], r[keep])
    zero = model(dtype="float64").fit(X, r, sample_weight=keep.astype(float))
    testing.assert_near(without.factors_, zero.factors_, 1e-10)


def test_counts_of_a_repeated_pair_are_added(columns):
    X, r = columns
    once = model(dtype="float64").fit(X, 2 * r)
    twice = model(dtype="float64").fit(np.concatenate([X, X]), np.concatenate([r, r]))
    testing.assert_near(once.factors_, twice.factors_, 1e-10)
    order = np.random.default_rng(0).permutation(len(X))
    testing.assert_same_bits(model().fit(X, r).factors_, model().fit(X[order], r[order]).factors_)


def test_pickled_by_others(columns):
    X, r = columns
    fitted = model().fit(as_objects(X), r)
    back = pickle.loads(pickle.dumps(fitted))
    assert back.predict(as_objects(X)).tobytes() == fitted.predict(as_objects(X)).tobytes()
    assert list(back.recommend(n=2)) == list(fitted.recommend(n=2))


def test_questions_change_nothing_in_the_model(columns):
    X, r = columns
    fitted = model().fit(X[::2], r[::2])
    before, bits = dict(vars(fitted)), fitted.factors_.copy()
    fitted.predict(X)
    fitted.score(X, r)
    fitted.recommend(n=3)
    fitted.explain(*X[0])
    fitted.influence(X[0, 0])
    fitted.updated(X[1::2], r[1::2])
    fitted.without_users(X[0, 0])
    assert vars(fitted) == before
    testing.assert_same_bits(fitted.factors_, bits)
