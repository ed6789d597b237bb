"""scikit-learn's contract: search, cross-validation, cloning, pipelines, its own estimator checks."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_regressor
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_is_fitted

import halfstep as hs
from halfstep import testing
from halfstep.errors import NotFittedError, ParameterError


@pytest.fixture(scope="module")
def columns(simulated):
    return simulated.to_arrays()


def as_integers(users, items):
    return np.column_stack([users, items])


def as_objects(users, items):
    X = np.empty((len(users), 2), dtype=object)
    X[:, 0] = [f"user {u:04d}" for u in users]
    X[:, 1] = [f"film № {i:04d}" for i in items]
    return X


def as_text(users, items):
    return as_objects(users, items).astype(str)


def as_frame(users, items):
    return pd.DataFrame({"user": users, "item": items})


def as_text_frame(users, items):
    return pd.DataFrame(as_objects(users, items), columns=["who", "what"])


def as_mixed_frame(users, items):
    return pd.DataFrame({"user": users, "item": [f"film № {i:04d}" for i in items]})


def as_categories(users, items):
    return as_text_frame(users, items).astype("category")


FORMS = [
    as_integers,
    as_objects,
    as_text,
    as_frame,
    as_text_frame,
    as_mixed_frame,
    as_categories,
]
forms = pytest.mark.parametrize("form", FORMS)


def model(**params):
    return hs.ExplicitMF(**{"rank": 2, "reg": 0.05, "max_iter": 4, **params})


# ------------------------------------------------------------------------------- search


@forms
def test_grid_search(columns, form):
    users, items, r = columns
    X = form(users, items)
    search = GridSearchCV(
        model(),
        {"rank": [1, 3], "reg": [0.02, (0.1, 0.2, 0.3)], "solver": ["als", hs.ALS()]},
        cv=KFold(3, shuffle=True, random_state=0),
        error_score="raise",
    ).fit(X, r)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.predict(X)) == len(r)
    assert search.score(X, r) > max(0, search.best_score_)
    assert search.best_estimator_.recommend(n=2)


@forms
def test_cross_val_score_does_not_depend_on_the_form(columns, form):
    users, items, r = columns
    folds = KFold(3, shuffle=True, random_state=0)
    scores = cross_val_score(model(), form(users, items), r, cv=folds, error_score="raise")
    expected = cross_val_score(model(), as_integers(users, items), r, cv=folds)
    np.testing.assert_array_equal(scores, expected)  # the ids sort in the same order
    errors = cross_val_score(
        model(),
        form(users, items),
        r,
        cv=folds,
        scoring="neg_root_mean_squared_error",
        error_score="raise",
    )
    assert (errors < 0).all()


def test_scores_agree_with_scikit_learn(columns):
    users, items, r = columns
    X = as_integers(users, items)
    train, test, r_train, r_test = train_test_split(X, r, test_size=0.2, random_state=0)
    fitted = model().fit(train, r_train)
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    predicted = fitted.predict(test)
    assert predicted.shape == r_test.shape
    weight = np.random.default_rng(0).uniform(0, 2, len(r_test))
    for given in ({}, {"sample_weight": weight}):
        assert fitted.score(test, r_test, **given) == pytest.approx(
            r2_score(r_test, predicted, **given), rel=1e-5
        )
    assert fitted.rmse(test, r_test) == pytest.approx(root_mean_squared_error(r_test, predicted))
    assert fitted.mae(test, r_test) == pytest.approx(mean_absolute_error(r_test, predicted))


def test_other_tools(columns):
    users, items, r = columns
    X = as_integers(users, items)
    assert cross_val_predict(model(), X, r, cv=3).shape == r.shape
    sizes, _, scores = learning_curve(model(), X, r, cv=3, train_sizes=[0.3, 1.0])
    assert len(sizes) == len(scores) == 2
    search = RandomizedSearchCV(
        model(), {"rank": [1, 2, 3]}, n_iter=2, cv=2, random_state=0, error_score="raise"
    )
    assert search.fit(X, r).best_params_["rank"] in (1, 2, 3)


def test_search_in_other_processes(columns):
    users, items, r = columns
    search = GridSearchCV(model(), {"rank": [1, 2]}, cv=2, n_jobs=2, error_score="raise")
    parallel = search.fit(as_integers(users, items), r).cv_results_["mean_test_score"]
    alone = GridSearchCV(model(), {"rank": [1, 2]}, cv=2).fit(as_integers(users, items), r)
    np.testing.assert_array_equal(parallel, alone.cv_results_["mean_test_score"])


def test_fit_parameters_pass_through_a_search(columns):
    users, items, r = columns
    search = GridSearchCV(model(), {"rank": [1, 2]}, cv=2, error_score="raise")
    search.fit(as_integers(users, items), r, sample_weight=np.full(len(r), 2.0))
    search.fit(as_integers(users, items), r, backend="numpy")


# ---------------------------------------------------------------------- the constructor


def test_clone(simulated):
    reg, solver = [0.1, 0.2, 0.3], hs.ALS()
    fitted = model(reg=reg, solver=solver).fit(simulated)
    fresh = clone(fitted)
    assert not hasattr(fresh, "factors_")
    assert fresh.get_params() == fitted.get_params()
    assert type(fresh) is type(fitted)
    testing.assert_same_bits(fresh.fit(simulated).factors_, fitted.factors_)


def test_get_and_set_params():
    made = model()
    defaults = hs.ExplicitMF().get_params()
    assert set(made.get_params()) == set(made.get_params(deep=False)) == set(defaults)
    assert made.set_params(rank=7, reg=(1, 2, 3)) is made
    assert (made.rank, made.reg) == (7, (1, 2, 3))
    assert made.set_params() is made
    with pytest.raises(ParameterError, match="rnk=3: is not a parameter"):
        made.set_params(rnk=3)
    with pytest.raises(ValueError):
        made.set_params(solver__tol=3)
    rebuilt = eval(repr(model(reg=(1, 2, 3))), {"ExplicitMF": hs.ExplicitMF})
    assert rebuilt.get_params() == model(reg=(1, 2, 3)).get_params()
    assert repr(hs.ExplicitMF()) == "ExplicitMF()"


def test_set_params_changes_all_or_nothing():
    made = model(rank=2)
    with pytest.raises(ParameterError):
        made.set_params(rank=9, nonsense=1)
    assert made.rank == 2


def test_is_fitted(simulated):
    made = model()
    with pytest.raises(NotFittedError):
        check_is_fitted_of_ours(made)
    from sklearn.exceptions import NotFittedError as Theirs

    with pytest.raises(Theirs):
        check_is_fitted(made)
    check_is_fitted(made.fit(simulated))
    check_is_fitted_of_ours(made)
    assert is_regressor(made)


def check_is_fitted_of_ours(made):
    made.predict([1], [1])


@pytest.mark.parametrize(
    "question",
    [
        lambda m: m.predict([1], [1]),
        lambda m: m.score([[1, 1]], [1.0]),
        lambda m: m.rmse([[1, 1]], [1.0]),
        lambda m: m.mae([[1, 1]], [1.0]),
        lambda m: m.recommend(),
        lambda m: m.similar_items([1]),
        lambda m: m.similar_users([1]),
        lambda m: m.fold_in([[1, 1]], [1.0]),
        lambda m: m.explain(1, 1),
    ],
)
def test_an_unfitted_model_says_so(question):
    with pytest.raises(NotFittedError, match="ExplicitMF is not fitted yet; call fit first"):
        question(model())
    with pytest.raises(AttributeError):
        question(model())


# ---------------------------------------------------------------------------- pipelines


@forms
def test_in_a_pipeline(columns, form):
    users, items, r = columns
    X = form(users, items)
    pipeline = Pipeline([("same", FunctionTransformer()), ("mf", model())])
    predicted = pipeline.fit(X, r).predict(X)
    assert predicted.tobytes() == model().fit(X, r).predict(X).tobytes()
    assert pipeline.score(X, r) > 0
    assert pipeline.set_params(mf__rank=1).fit(X, r)["mf"].factors_.rank == 1
    search = GridSearchCV(pipeline, {"mf__rank": [1, 2]}, cv=2, error_score="raise").fit(X, r)
    assert search.best_score_ > -1
    check_is_fitted(pipeline)


def test_a_frame_swapped_by_a_transformer(columns):
    users, items, r = columns
    frame = pd.DataFrame({"item": items, "user": users})
    swap = FunctionTransformer(lambda X: X[["user", "item"]])
    found = make_pipeline(swap, model()).fit(frame, r).predict(frame)
    assert found.tobytes() == model().fit(as_frame(users, items), r).predict(users, items).tobytes()


def test_shapes_of_y(columns):
    users, items, r = columns
    X = as_integers(users, items)
    expected = model().fit(X, r).predict(X).tobytes()
    for y in (r[:, None], r.tolist(), pd.Series(r, index=np.arange(len(r))[::-1]), pd.DataFrame(r)):
        assert model().fit(X, y).predict(X).tobytes() == expected
    assert model().fit(X.tolist(), r).predict(X.tolist()).tobytes() == expected
    assert model().fit(np.asfortranarray(X), r).predict(X[::1]).tobytes() == expected
    whole = model().fit(X.astype(float), r)  # whole numbers may come as floats
    assert whole.predict(X).tobytes() == expected
    for y in (r[:-1], np.column_stack([r, r]), None, np.full(len(r), np.nan), ["a"] * len(r)):
        with pytest.raises(ValueError):
            model().fit(X, y)


# ------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("dtype", testing.DTYPES)
@forms
def test_weights_are_repetitions(columns, form, dtype):
    users, items, r = columns
    weight = np.random.default_rng(0).integers(0, 4, len(r))
    X = form(users, items)
    by_weight = model(dtype=dtype).fit(X, r, sample_weight=weight)
    again = np.repeat(np.arange(len(r)), weight)
    repeated = form(users[again], items[again])
    by_rows = model(dtype=dtype).fit(repeated, r[again])
    assert len(by_weight.factors_.user_ids) == len(by_rows.factors_.user_ids)
    testing.assert_near(by_weight.factors_, by_rows.factors_, testing.TOLERANCE[dtype])
    assert by_weight.trace_[-1].objective == pytest.approx(by_rows.trace_[-1].objective, rel=1e-5)
    assert by_weight.trace_[-1].train_rmse == pytest.approx(by_rows.trace_[-1].train_rmse, rel=1e-5)


def test_weight_two_is_twice_and_zero_is_not_there(columns):
    users, items, r = columns
    X = as_integers(users, items)
    twice = model(dtype="float64").fit(np.concatenate([X, X]), np.concatenate([r, r]))
    double = model(dtype="float64").fit(X, r, sample_weight=np.full(len(r), 2))
    testing.assert_near(twice.factors_, double.factors_, 1e-10)
    keep = np.arange(len(r)) % 3 > 0
    without = model(dtype="float64").fit(X[keep], r[keep])
    zero = model(dtype="float64").fit(X, r, sample_weight=keep.astype(float))
    testing.assert_near(without.factors_, zero.factors_, 1e-10)
    ones = model(dtype="float64").fit(X, r, sample_weight=np.ones(len(r)))
    testing.assert_near(ones.factors_, model(dtype="float64").fit(X, r).factors_, 1e-10)


def test_contradicting_repetitions_are_two_observations(columns):
    """The same pair with ratings 1 and 5: the optimum of their mean with weight 2."""
    users, items, r = columns
    X = as_integers(users, items)
    other = 6.0 - r
    both = model(dtype="float64", max_iter=1).fit(
        np.concatenate([X, X]), np.concatenate([r, other])
    )
    mean = model(dtype="float64", max_iter=1).fit(
        X, (r + other) / 2, sample_weight=np.full(len(r), 2)
    )
    testing.assert_near(both.factors_, mean.factors_, 1e-6)


@pytest.mark.parametrize(
    "weight", [-1.0, np.nan, np.inf, "heavy", None], ids=["negative", "NaN", "inf", "text", "short"]
)
def test_bad_weights_are_refused(columns, weight):
    users, items, r = columns
    given = [1.0] * (len(r) - 1) + ([] if weight is None else [weight])
    made = model()
    with pytest.raises(ValueError, match="weight"):
        made.fit(as_integers(users, items), r, sample_weight=given)
    assert not hasattr(made, "factors_")
    with pytest.raises(ValueError, match=r"weight|usable"):
        made.fit(as_integers(users, items), r, sample_weight=np.zeros(len(r)))


def test_weights_of_ratings_are_in_their_sorted_order(simulated):
    weight = np.random.default_rng(0).uniform(0.5, 2, len(simulated))
    one = model().fit(simulated, sample_weight=weight)
    two = model().fit(simulated.with_weights(weight))
    testing.assert_same_bits(one.factors_, two.factors_)


# ------------------------------------------------------------ their checks, with pairs


def test_predictions_of_a_part_are_parts_of_the_predictions(columns):
    users, items, r = columns
    X = as_integers(users, items)
    fitted = model().fit(X, r)
    whole = fitted.predict(X)
    order = np.random.default_rng(0).permutation(len(X))
    assert fitted.predict(X[order]).tobytes() == whole[order].tobytes()
    assert (
        b"".join(fitted.predict(X[k : k + 1]).tobytes() for k in range(50)) == whole[:50].tobytes()
    )
    assert (
        b"".join(fitted.predict(part).tobytes() for part in np.array_split(X, 7)) == whole.tobytes()
    )


def test_the_order_of_the_rows_does_not_matter(columns):
    users, items, r = columns
    X = as_integers(users, items)
    order = np.random.default_rng(0).permutation(len(X))
    testing.assert_same_bits(model().fit(X, r).factors_, model().fit(X[order], r[order]).factors_)


def test_questions_change_nothing_in_the_model(columns):
    users, items, r = columns
    X = as_integers(users, items)
    fitted = model().fit(X, r)
    before, bits = dict(vars(fitted)), fitted.factors_.copy()
    fitted.predict(X)
    fitted.score(X, r)
    fitted.recommend(n=3)
    fitted.explain(users[0], items[0])
    assert vars(fitted) == before
    testing.assert_same_bits(fitted.factors_, bits)


@forms
def test_pickled_by_others(columns, form):
    """joblib and multiprocessing pickle models; we never read a pickle ourselves."""
    users, items, r = columns
    X = form(users, items)
    fitted = model().fit(X, r)
    back = pickle.loads(pickle.dumps(fitted))
    assert back.predict(X).tobytes() == fitted.predict(X).tobytes()
    assert list(back.recommend(n=2)) == list(fitted.recommend(n=2))


def test_mapped_and_read_only_input(columns, tmp_path):
    users, items, r = columns
    X = as_integers(users, items)
    expected = model().fit(X, r).predict(X).tobytes()
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "r.npy", r)
    X, r = np.load(tmp_path / "X.npy", mmap_mode="r"), np.load(tmp_path / "r.npy", mmap_mode="r")
    assert model().fit(X, r, sample_weight=np.broadcast_to(1.0, r.shape)) is not None
    assert model().fit(X, r).predict(X).tobytes() == expected


@pytest.mark.parametrize("index", ["other", "repeated"])
def test_the_index_of_a_frame_does_not_matter(columns, index):
    users, items, r = columns
    order = np.arange(len(r))[::-1] if index == "other" else np.zeros(len(r), dtype=int)
    frame, y = as_frame(users, items).set_index(order), pd.Series(r)
    weight = pd.Series(np.linspace(1, 2, len(r)), index=order)
    one = model().fit(frame, y, sample_weight=weight)
    two = model().fit(as_integers(users, items), r, sample_weight=weight.to_numpy())
    testing.assert_same_bits(one.factors_, two.factors_)


@pytest.mark.parametrize(
    "names", [[0, 1], ["item", "user"], [("a", 1), ("a", 2)], ["u", 1]], ids=repr
)
def test_the_names_of_two_columns_do_not_matter(columns, names):
    """What scikit-learn passes is a user and an item, in this order, whatever they are called."""
    users, items, r = columns
    frame = as_frame(users, items)
    frame.columns = names
    expected = model().fit(as_integers(users, items), r).predict(users, items).tobytes()
    fitted = model().fit(frame, r)
    assert fitted.predict(users, items).tobytes() == expected
    assert fitted.predict(frame).tobytes() == expected


# ------------------------------------------------------------------- their own checks

FEATURES = "X is pairs of ids, not features: the check passes a matrix of another width"
WORDING = f"{FEATURES}, and expects the words for features in the error"
EXPECTED_TO_FAIL = {
    "check_all_zero_sample_weights_error": WORDING,
    "check_complex_data": WORDING,
    "check_dict_unchanged": FEATURES,
    "check_dont_overwrite_parameters": FEATURES,
    "check_dtype_object": FEATURES,
    "check_estimators_dtypes": FEATURES,
    "check_estimators_empty_data_messages": WORDING,
    "check_estimators_nan_inf": WORDING,
    "check_estimators_pickle": FEATURES,
    "check_f_contiguous_array_estimator": FEATURES,
    "check_fit2d_1feature": WORDING,
    "check_fit2d_1sample": WORDING,
    "check_fit2d_predict1d": FEATURES,
    "check_fit_score_takes_y": FEATURES,
    "check_methods_sample_order_invariance": FEATURES,
    "check_methods_subset_invariance": FEATURES,
    "check_n_features_in_after_fitting": FEATURES,
    "check_non_transformer_estimators_n_iter": FEATURES,
    "check_pipeline_consistency": FEATURES,
    "check_positive_only_tag_during_fit": "X is pairs of ids: the check passes fractions",
    "check_regressor_data_not_an_array": FEATURES,
    "check_regressors_int": FEATURES,
    "check_regressors_no_decision_function": FEATURES,
    "check_regressors_train": FEATURES,
    "check_sample_weight_equivalence_on_dense_data": FEATURES,
    "check_sample_weights_list": FEATURES,
    "check_supervised_y_2d": FEATURES,
}


def collected():
    """Their checks; the warning is that we do not inherit from a class of theirs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not inherit from `sklearn.base")
        return [
            found
            for made in (hs.ExplicitMF(rank=2, max_iter=3), hs.ImplicitMF(rank=2, max_iter=3))
            for found in estimator_checks_generator(
                made, expected_failed_checks=EXPECTED_TO_FAIL, mark="xfail"
            )
        ]


def name_of(check):
    return getattr(getattr(check, "func", check), "__name__", None)


@pytest.mark.filterwarnings("ignore:.*does not inherit from `sklearn.base")
@pytest.mark.parametrize(("estimator", "check"), collected(), ids=name_of)
def test_estimator_checks(estimator, check):
    check(estimator)


def test_no_check_is_expected_to_fail_that_is_not_there():
    names = {name_of(getattr(found, "values", found)[1]) for found in collected()}
    assert set(EXPECTED_TO_FAIL) <= names
