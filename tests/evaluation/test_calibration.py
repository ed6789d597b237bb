"""Proper scores and coverage: against integrals, simulation, and sums taken by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from scripted import Scripted, ratings_of

import halfstep as hs
from halfstep.errors import DataError, HistoryRequiredError, NotCalibratedError, ParameterError
from halfstep.evaluation.scores import (
    gaussian_crps,
    gaussian_log_score,
    interval_score,
    wilson_interval,
)


class Believing(Scripted):
    """Believes N(score, std²) of every rating, std of the shape of the scores."""

    def __init__(self, train, scores, std):
        super().__init__(train, scores)
        self.deviations = np.broadcast_to(std, self.scores.shape)

    def _at(self, table, users, items):
        return table[self.users_.lookup(users), self.items_.lookup(items)]

    def predict(self, users, items, std=False, interval=None, clip=False):
        mean = self._at(self.scores, users, items)
        if clip:
            mean = np.clip(mean, 2, 4)
        sd = self._at(self.deviations, users, items)
        if interval is not None:
            half = stats.norm.ppf(0.5 + interval / 2) * sd
            return mean, mean - half, mean + half
        return (mean, sd) if std else mean


class Ordinal(Scripted):
    """Gives every rating of 1 to 5 a probability: `chances` of shape (users, items, 5)."""

    def __init__(self, train, chances, values=(1, 2, 3, 4, 5)):
        super().__init__(train, np.zeros(chances.shape[:2]))
        self.chances, self.values = chances, np.array(values)

    def predict_proba(self, users, items):
        return self.values, self.chances[self.users_.lookup(users), self.items_.lookup(items)]


def table_of(m, n, seed=0, share=0.6):
    """(test, model that believes the truth, its mean, its std), ratings real numbers around 3."""
    rng = np.random.default_rng(seed)
    mean, std = rng.normal(3, 0.7, (m, n)), rng.uniform(0.3, 1.5, (m, n))
    table = mean + std * rng.normal(size=(m, n))
    held = rng.random((m, n)) < share
    held[0, 0] = True
    test = ratings_of(np.where(held, table, np.nan))
    train = ratings_of(np.where(held, np.nan, 3.0) if not held.all() else table)
    return test, Believing(train, mean, std), mean, std


# --------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("mean", [-2.0, 0.0, 3.3])
@pytest.mark.parametrize("std", [0.05, 1.0, 4.0])
@pytest.mark.parametrize("r", [-3.0, 3.0, 5.0])
def test_the_scores_of_a_gaussian_are_those_of_its_integrals(mean, std, r):
    normal = stats.norm(mean, std)
    assert gaussian_log_score(r, mean, std) == pytest.approx(-normal.logpdf(r), rel=1e-12)
    below, _ = integrate.quad(lambda x: normal.cdf(x) ** 2, -np.inf, min(r, mean), epsabs=1e-11)
    above, _ = integrate.quad(lambda x: normal.sf(x) ** 2, max(r, mean), np.inf, epsabs=1e-11)
    low, high = sorted((r, mean))
    between, _ = integrate.quad(
        lambda x: (normal.cdf(x) - (r <= x)) ** 2,
        low,
        high,
        points=[p for p in mean + std * np.array([-8, -2, 2, 8]) if low < p < high],
        epsabs=1e-11,
    )
    assert gaussian_crps(r, mean, std) == pytest.approx(below + between + above, rel=1e-6)


def test_crps_of_a_sure_forecast_is_the_absolute_error():
    assert gaussian_crps(3.0, 4.5, 1e-9) == pytest.approx(1.5)


def test_nothing_scores_better_than_the_truth():
    rng = np.random.default_rng(0)
    r = rng.normal(3.0, 0.8, 200_000)
    for score in (gaussian_log_score, gaussian_crps):
        true = score(r, 3.0, 0.8).mean()
        for mean, std in ((3.1, 0.8), (2.9, 0.8), (3.0, 0.7), (3.0, 0.9)):
            assert score(r, mean, std).mean() > true
    half = stats.norm.ppf(0.95) * 0.8
    true = interval_score(r, 3 - half, 3 + half, 0.9).mean()
    for left, right in ((0.8, 0.8), (1.2, 1.2), (1.2, 0.8)):
        assert interval_score(r, 3 - left * half, 3 + right * half, 0.9).mean() > true


def test_the_interval_score_by_hand():
    r = np.array([2.0, 1.5, 4.25, 4.0])
    found = interval_score(r, np.full(4, 2.0), np.full(4, 4.0), 0.8)
    assert found == pytest.approx([2.0, 2.0 + 10 * 0.5, 2.0 + 10 * 0.25, 2.0])


@pytest.mark.parametrize("k", [0, 1, 37, 99, 100])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_wilson_against_scipy(k, confidence):
    expected = stats.binomtest(k, 100).proportion_ci(confidence, method="wilson")
    found = wilson_interval(np.array(k / 100), np.array(100.0), confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


# ----------------------------------------------------------------------------- metrics

NAMES = [
    *("log_score", "crps", "interval_coverage@50", "interval_coverage@90"),
    *("interval_width@90", "interval_score@90"),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clip", [False, True])
def test_metrics_are_weighted_means_of_the_scores(weighted, clip):
    test, model, mean, std = table_of(12, 15)
    if weighted:
        test = test.with_weights(np.random.default_rng(1).uniform(0.1, 3, len(test)))
    c = test.by_user.weights
    c = np.ones(len(test)) if c is None else c.astype(float)
    u, i = test.user_index(), test.by_user.indices
    r = test.by_user.values.astype(float)
    mean, std = mean[u, i], std[u, i]
    if clip:
        mean = np.clip(mean, 2, 4)
    half = stats.norm.ppf(0.95) * std
    quarter = stats.norm.ppf(0.75) * std
    miss = np.maximum(np.abs(r - mean) - half, 0)
    expected = {
        "log_score": -stats.norm(mean, std).logpdf(r),
        "crps": gaussian_crps(r, mean, std),
        "interval_coverage@50": np.abs(r - mean) <= quarter,
        "interval_coverage@90": np.abs(r - mean) <= half,
        "interval_width@90": 2 * half,
        "interval_score@90": 2 * half + 20 * miss,
    }
    found = hs.evaluate(model, test, [*reversed(NAMES), "rmse"], clip=clip)
    assert list(found) == [*reversed(NAMES), "rmse"]
    for name, values in expected.items():
        assert found[name].value == pytest.approx(np.average(values, weights=c)), name
        assert found[name].lower < found[name].value < found[name].upper
        own = u == 3
        by_user = dict(zip(found[name].ids.tolist(), found[name].values, strict=True))
        assert by_user["user 03"] == pytest.approx(np.average(values[own], weights=c[own]))
    assert [found[name].better for name in ("crps", "log_score", "interval_score@90")] == [
        "lower"
    ] * 3
    assert [found[name].better for name in NAMES if "coverage" in name or "width" in name] == [
        ""
    ] * 3
    assert found["rmse"].value == pytest.approx(math.sqrt(np.average((r - mean) ** 2, weights=c)))


def test_the_coverage_of_intervals_is_not_that_of_the_catalogue():
    test, model, _, _ = table_of(12, 15)
    found = hs.evaluate(model, test, ["coverage@10", "interval_coverage@10"], exclude_seen=False)
    assert found["coverage@10"].unit == ""
    assert found["interval_coverage@10"].unit == "user"
    assert found["interval_coverage@10"].value < 0.5 < found["coverage@10"].value


def test_log_loss_is_that_of_scikit_learn():
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(5), size=(10, 12))
    chances[2, 3] = [0, 0, 0, 0, 1]
    stars = rng.integers(1, 6, size=(10, 12)).astype(float)
    stars[2, 3] = 2  # held to be impossible
    model = Ordinal(ratings_of(np.full((10, 12), 3.0)), chances)
    test = ratings_of(stars)
    test = test.with_weights(rng.uniform(0.1, 2, len(test)))
    expected = log_loss(
        stars.ravel(), chances.reshape(-1, 5), sample_weight=test.by_user.weights.astype(float)
    )
    assert hs.evaluate(model, test, "log_loss")["log_loss"].value == pytest.approx(expected)


def test_log_loss_knows_ratings_of_float32_and_those_that_are_no_value():
    values = (0.1, 0.7, 1.3)
    chances = np.tile([0.2, 0.3, 0.5], (1, 3, 1))
    model = Ordinal(ratings_of([[0.1, 0.7, 1.3]]), chances, values)
    found = hs.evaluate(model, ratings_of([[1.3, 0.1, 0.7]]), "log_loss")["log_loss"]
    assert found.value == pytest.approx(-np.log([0.5, 0.2, 0.3]).mean())
    for outside in (0.0, 0.5, 9.0):
        found = hs.evaluate(model, ratings_of([[outside, np.nan, np.nan]]), "log_loss")["log_loss"]
        assert found.value == pytest.approx(-np.log(np.finfo(float).eps))


def test_compare_names_the_better_forecast():
    test, honest, mean, std = table_of(60, 30, seed=3)
    bold = Believing(ratings_of(np.full(mean.shape, 3.0)), mean, std / 3)
    models = {"honest": honest, "bold": bold}
    found = hs.compare(models, test, ["rmse", *NAMES], n_resamples=500)
    better = {d.metric: d.better for d in found.differences}
    assert better == {
        "rmse": "",
        "log_score": "honest",
        "crps": "honest",
        "interval_score@90": "honest",
        "interval_coverage@50": "",
        "interval_coverage@90": "",
        "interval_width@90": "",
    }
    assert next(d.p for d in found.differences if d.metric == "interval_coverage@90") < 0.01


def test_unknown_ids_are_scored_too(calibrated):
    train, _, model = calibrated
    users, items, _ = train.to_arrays()
    test = hs.Ratings.from_arrays([10**6, users[0]], [items[0], 10**6], [1.0, 5.0])
    mean, std = model.predict([10**6, users[0]], [items[0], 10**6], std=True)
    found = hs.evaluate(model, test, ["log_score", "interval_coverage@90"], n_resamples=0)
    expected = -stats.norm(mean, std).logpdf([1.0, 5.0]).mean()
    assert found["log_score"].value == pytest.approx(expected, rel=1e-5)


def test_the_same_bits_for_any_number_of_threads(calibrated):
    _, test, model = calibrated
    before = hs.get_num_threads()
    found = set()
    try:
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            told = hs.evaluate(model, test, NAMES, n_resamples=20)
            table = hs.calibration_table(model, test, by="item ratings")
            found.add((str(told.to_dict()), table.score.tobytes(), table.lower.tobytes()))
    finally:
        hs.set_num_threads(before)
    assert len(found) == 1


def test_what_the_names_refuse():
    test, model, _, _ = table_of(3, 4)
    for wrong in ("interval_coverage", "interval_width@0", "interval_score@100"):
        with pytest.raises(ParameterError, match="needs a level from 1 to 99"):
            hs.evaluate(model, test, wrong)
    with pytest.raises(ParameterError, match="did you mean interval_width@90"):
        hs.evaluate(model, test, "interval_wdth@90")
    with pytest.raises(ParameterError, match="has no number of recommendations"):
        hs.evaluate(model, test, "crps@10")


def test_what_a_model_must_answer(calibrated):
    train, test, model = calibrated
    biases = hs.Biases().fit(train)
    for name in ("log_score", "crps"):
        with pytest.raises(ParameterError, match="a Biases has no standard deviations"):
            hs.evaluate(biases, test, name)
    with pytest.raises(ParameterError, match="a Biases has no intervals"):
        hs.evaluate(biases, test, "interval_score@90")
    with pytest.raises(ParameterError, match="has no probabilities of ratings"):
        hs.evaluate(model, test, "log_loss")
    with pytest.raises(ParameterError, match="has no standard deviations"):
        hs.evaluate(object(), test, "crps")
    with pytest.raises(NotCalibratedError):
        hs.evaluate(hs.ExplicitMF(rank=1).fit(train), test, "interval_width@90")


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_a_standard_deviation_that_is_none_is_refused(wrong):
    test, model, _, _ = table_of(4, 5)
    model.deviations = np.full((4, 5), 1.0)
    model.deviations[test.user_index()[2], test.by_user.indices[2]] = wrong
    with pytest.raises(DataError, match=r"a standard deviation of .* \(1 such predictions\)"):
        hs.evaluate(model, test, "crps")


def test_answers_that_are_none_are_refused():
    test, model, _, _ = table_of(4, 5)

    def answers(answer):
        model.predict = lambda users, items, std=False, interval=None: answer(len(users))

    answers(lambda n: np.ones(n))
    with pytest.raises(DataError, match="does not return 2 arrays with std"):
        hs.evaluate(model, test, "crps")
    answers(lambda n: (np.ones(n), np.ones(n + 1)))
    with pytest.raises(DataError, match="not one number for each"):
        hs.evaluate(model, test, "crps")
    answers(lambda n: (np.full(n, np.nan), np.ones(n)))
    with pytest.raises(DataError, match="predicts nan"):
        hs.evaluate(model, test, "crps")
    answers(lambda n: (np.ones(n), np.ones(n), np.zeros(n)))
    with pytest.raises(DataError, match=r"an interval of width -1\.0"):
        hs.evaluate(model, test, "interval_width@90")
    for chances in (np.full((4, 5, 5), 0.3), np.full((4, 5, 5), [-1, 0.5, 0.5, 0.5, 0.5])):
        with pytest.raises(DataError, match="predicts no probabilities"):
            hs.evaluate(Ordinal(test, chances), test, "log_loss")
    with pytest.raises(DataError, match="not one probability of each value"):
        hs.evaluate(Ordinal(test, np.full((4, 5, 4), 0.25)), test, "log_loss")
    fifths = np.full((4, 5, 5), 0.2)
    with pytest.raises(DataError, match="do not ascend"):
        hs.evaluate(Ordinal(test, fifths, values=(5, 4, 3, 2, 1)), test, "log_loss")
    bare = Ordinal(test, fifths)
    bare.predict_proba = lambda users, items: np.full((len(users), 5), 0.2)
    with pytest.raises(DataError, match=r"does not return \(values, probabilities\)"):
        hs.evaluate(bare, test, "log_loss")


# ------------------------------------------------------------------------------- tables


@pytest.fixture(scope="module")
def calibrated():
    ratings = hs.simulate(400, 80, rank=2, ratings_per_user=25, seed=4).ratings
    train, calibration, test = hs.split_random(ratings, valid=0.2, test=0.2, seed=1)
    model = hs.ExplicitMF(rank=2).fit(train).calibrate(calibration)
    test = test.with_weights(np.random.default_rng(0).uniform(0.5, 2, len(test)))
    return train, test, model


@pytest.mark.parametrize("side", ["user", "item"])
def test_coverage_is_the_share_inside(calibrated, side):
    train, test, model = calibrated
    found = hs.calibration_table(model, test, (0.5, 0.9), by=f"{side} ratings", bins=3)
    users, items, r = test.to_arrays()
    c = test.by_user.weights.astype(float)
    rows = train.by_user if side == "user" else train.by_item
    ids = train.users.lookup(users) if side == "user" else train.items.lookup(items)
    known = np.diff(rows.indptr)[ids]
    assert (found.by, found.ratings[0]) == (side, len(test))
    assert found.ratings[1:].sum() == len(test)
    for place, level in enumerate((0.5, 0.9)):
        _, lower, upper = (a.astype(float) for a in model.predict(users, items, interval=level))
        inside, width = (lower <= r) & (r <= upper), upper - lower
        score = width + 2 / (1 - level) * (np.maximum(lower - r, 0) + np.maximum(r - upper, 0))
        for g in range(len(found.ratings)):
            own = (found.lowest[g] <= known) & (known <= found.highest[g]) | (g == 0)
            assert found.ratings[g] == own.sum()
            for name, values in (("coverage", inside), ("width", width), ("score", score)):
                expected = np.average(values[own], weights=c[own])
                assert getattr(found, name)[g, place] == pytest.approx(expected, rel=1e-6)
            n = c[own].sum() ** 2 / (c[own] ** 2).sum()
            ends = wilson_interval(found.coverage[g, place], n, 0.95)
            assert (found.lower[g, place], found.upper[g, place]) == pytest.approx(ends)
    assert abs(found.coverage[0, 1] - 0.9) < 4 * math.sqrt(0.09 / len(test))
    columns = pd.DataFrame(found.to_dict())
    assert columns.level.tolist() == [0.5, 0.9] * len(found.ratings)
    assert columns.lowest.tolist() == np.repeat(found.lowest, 2).tolist()
    assert columns.coverage.tolist() == found.coverage.ravel().tolist()
    lines = str(found).splitlines()
    assert len(lines) == 1 + len(columns)
    assert f"ratings of the {side}" in lines[0]
    assert max(map(len, lines)) <= 100


def test_the_table_says_who_is_too_sure():
    test, honest, mean, std = table_of(80, 40, seed=5)
    found = hs.calibration_table(honest, test)
    assert not found.broken.any()
    assert (found.lower < found.levels).all()
    assert (found.levels < found.upper).all()
    train = ratings_of(np.full(mean.shape, 3.0))
    bold = hs.calibration_table(Believing(train, mean, std / 2), test)
    timid = hs.calibration_table(Believing(train, mean, 2 * std), test)
    assert bold.broken.all()
    assert timid.broken.all()
    assert str(bold).count("too few") == str(timid).count("too many") == 4
    assert "too" not in str(found)
    assert (found.score < np.minimum(bold.score, timid.score)).all()


def test_shares_of_all_and_of_none():
    test, _, mean, _ = table_of(5, 6)
    train = ratings_of(np.full(mean.shape, 3.0))
    everything = hs.calibration_table(Believing(train, mean, 1e6), test, 0.9)
    nothing = hs.calibration_table(Believing(train, mean + 1e3, 1e-3), test, 0.9)
    assert (everything.coverage[0, 0], nothing.coverage[0, 0]) == (1.0, 0.0)
    assert 0 < everything.lower[0, 0] < everything.upper[0, 0] == 1
    assert 0 == nothing.lower[0, 0] < nothing.upper[0, 0] < 1


def test_one_rating_is_a_table():
    test = ratings_of([[3.0]])
    found = hs.calibration_table(Believing(test, [[3.0]], 1.0), test, by="user ratings")
    assert found.ratings.tolist() == [1, 1]
    assert len(str(found).splitlines()) == 9


def test_what_the_table_refuses(calibrated, tmp_path):
    train, test, model = calibrated
    for wrong in ((), (0.5, 1.0), ("half",), 95, None):
        with pytest.raises(ParameterError, match="levels="):
            hs.calibration_table(model, test, wrong)
    with pytest.raises(ParameterError, match="by='users'"):
        hs.calibration_table(model, test, by="users")
    with pytest.raises(ParameterError, match="confidence=1"):
        hs.calibration_table(model, test, confidence=1)
    with pytest.raises(ParameterError, match="bins=0"):
        hs.calibration_table(model, test, by="item ratings", bins=0)
    with pytest.raises(DataError, match="holds no ratings"):
        hs.calibration_table(model, test.select(np.zeros(len(test), dtype=bool)))
    with pytest.raises(NotCalibratedError):
        hs.calibration_table(hs.ExplicitMF(rank=1).fit(train), test)
    with pytest.raises(ParameterError, match="a Biases has no intervals"):
        hs.calibration_table(hs.Biases().fit(train), test)
    model.save(tmp_path / "m.safetensors", history=False)
    bare = hs.load(tmp_path / "m.safetensors")
    with pytest.raises(HistoryRequiredError):
        hs.calibration_table(bare, test)
