"""Rank, α₀ and λ of interactions chosen by held-out lists: the choice, and that it is worth it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import halfstep as hs
from halfstep.backends import get_backend
from halfstep.errors import DataError, ModelFileError, ParameterError
from halfstep.evaluation.rank_validation import RankValidation
from halfstep.objectives import Reg
from halfstep.selection.budget import Clock
from halfstep.selection.implicit import _chosen, _Search, _Wanted
from halfstep.selection.implicit_trials import (
    Done,
    ImplicitSetting,
    ImplicitTrials,
    ListPart,
    OutOfTime,
)
from halfstep.selection.result import Trial


@pytest.fixture(scope="module")
def planted():
    """Eight kinds of users and of items: of the 25 items of their kind users had 12, and 2 others."""
    rng = np.random.default_rng(3)
    users, items = [], []
    for user in range(240):
        own = rng.permutation(25)[:12] + 25 * (user % 8)
        listed = sorted({*own.tolist(), *rng.integers(0, 200, 2).tolist()})
        users += [f"Zoë {user:03}"] * len(listed)
        items += listed
    return hs.Ratings.from_arrays(users, items)


def _auto(**params):
    return hs.ImplicitMF(**{"rank": "auto", "alpha0": "auto", "reg": "auto", **params})


@pytest.fixture(scope="module")
def found(planted):
    return hs.select(planted, model=_auto())


def without_times(selection):
    return {**selection.to_dict(), "seconds": None}


# ------------------------------------------------------------------ is it worth something


def test_no_worse_than_a_grid():
    """On interactions that neither has seen: beyond the defaults, and near the best of a grid."""
    plays = hs.simulate(400, 300, rank=4, seed=3, ratings_per_user=60).ratings
    train, test = hs.split_each_user(plays, test=0.2, seed=1)
    chosen = _auto(confidence="binary").fit(train).score(test)
    grid = [
        hs.ImplicitMF(rank, alpha0=alpha0, reg=reg, confidence="binary").fit(train).score(test)
        for rank in (4, 8, 16)
        for alpha0 in (0.03, 0.1, 0.3, 1.0)
        for reg in (0.01, 0.03, 0.1, 0.3)
    ]
    assert chosen > 0.98 * max(grid)
    assert chosen > 1.2 * hs.ImplicitMF(confidence="binary").fit(train).score(test)


def test_about_as_many_factors_as_there_are_kinds(planted, found):
    assert found.chosen.rank in (8, 16)
    train, test = hs.split_each_user(planted, test=0.2, seed=1)
    model = _auto().fit(train)
    assert model.rank_ in (8, 16)
    popular = hs.evaluate(hs.MostPopular().fit(train), test, "ndcg_binary@10", train=train)
    assert model.score(test) > 2 * popular["ndcg_binary@10"].value


def test_counts_and_their_unit(planted):
    """c, α₀ and λ times one number have the same optimum, but for α₀ in s; the search begins there."""
    plain = hs.select(planted, model=_auto(reg_scaling="none"), max_rank=8)
    large = hs.select(planted, model=_auto(reg_scaling="none", alpha=100.0), max_rank=8)
    assert large.chosen.alpha0 == pytest.approx(100 * plain.chosen.alpha0)
    assert large.chosen.reg.user == pytest.approx(100 * plain.chosen.reg.user)
    assert large.chosen.score == pytest.approx(plain.chosen.score, rel=0.01)


# ------------------------------------------------------------------------- the result


def test_what_is_told_is_what_was_done(planted, found):
    """A trial's score is that of the same fit by hand."""
    chosen = found.chosen
    assert chosen.score == max(t.score for t in found.trials if t.rank <= chosen.rank)
    assert found.best.score <= chosen.score + chosen.standard_error
    assert (found.stopped, found.metric, chosen.metric) == ("done", "ndcg@10", "ndcg@10")
    train, held = hs.split_each_user(planted, test=0.2, seed=0)
    assert (found.folds, found.held_out) == (1, len(held))
    reg = (chosen.reg.user, chosen.reg.item, chosen.reg.bias)
    model = hs.ImplicitMF(chosen.rank, alpha0=chosen.alpha0, reg=reg).fit(train, validation=held)
    assert model.trace_[model.best_iter_ - 1].validation_score == chosen.score
    assert model.best_iter_ == chosen.sweeps == found.sweeps
    by_user = hs.evaluate(model, held, "ndcg_binary@10", train=train)["ndcg_binary@10"].values
    assert chosen.standard_error == pytest.approx(np.std(by_user, ddof=1) / len(by_user) ** 0.5)


def test_its_parameters_make_the_model(planted, found):
    made = hs.ImplicitMF(**found.parameters).fit(planted)
    auto = _auto().fit(planted)
    assert (auto.rank_, auto.n_iter_) == (found.chosen.rank, found.sweeps)
    assert auto.objective_.alpha0 == found.chosen.alpha0
    assert auto.objective_.reg == found.chosen.reg
    assert made.factors_.user_factors.tobytes() == auto.factors_.user_factors.tobytes()
    assert without_times(auto.selection_) == without_times(found)


def test_the_reason_names_the_choice(found):
    assert f"Rank {found.chosen.rank} with α₀ = {found.chosen.alpha0:g} " in found.reason
    assert f"NDCG@10 of {found.chosen.score:.4f}" in str(found)
    assert f"{len(found.trials)} trials" in found.reason


def test_a_trial_of_lists_has_no_rmse(found):
    with pytest.raises(AttributeError, match=r"no RMSE: its score is ndcg@10"):
        _ = found.chosen.rmse
    assert found.chosen.loss == -found.chosen.score
    assert "rmse" not in found.to_dict()
    assert set(found.to_dict()["metric"]) == {"ndcg@10"}


def test_plain_values_and_back(found):
    failed = dataclasses.replace(found.trials[0], score=-math.inf)
    some = dataclasses.replace(found, trials=(failed, *found.trials[1:]))
    for one in (found, some):
        text = json.dumps(one.as_dict(), allow_nan=False)
        assert hs.Selection.from_dict(json.loads(text)) == one


def test_a_saved_model_keeps_it(planted, found, tmp_path):
    model = _auto().fit(planted, selection=found)
    loaded = hs.load(model.save(tmp_path / "m.safetensors"))
    assert loaded.selection_ == found
    assert (loaded.rank, loaded.alpha0, loaded.reg) == ("auto", "auto", "auto")
    assert loaded.objective_ == model.objective_
    alike = loaded.settled()
    assert (alike.rank, alike.alpha0) == (found.chosen.rank, found.chosen.alpha0)
    assert alike.max_iter == found.sweeps
    again = alike.fit(planted)
    assert again.factors_.item_factors.tobytes() == model.factors_.item_factors.tobytes()


@pytest.mark.parametrize(
    "place", ["alpha0", "popularity", "metric", "score", "reg_scaling", "rank", "whole"]
)
def test_damaged_documents(planted, found, tmp_path, place):
    path = _auto().fit(planted, selection=found).save(tmp_path / "m.safetensors")
    with safe_open(path, "np") as file:
        text = file.metadata()["halfstep"]
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for wrong in ("absent", -1, "x", [], math.nan):
        document = json.loads(text)
        inner = document if place == "whole" else document["selection"]["trials"]
        name = "alpha0" if place == "whole" else place
        if wrong == "absent":
            del inner[name]
        else:
            inner[name] = wrong if place == "whole" else [wrong] * len(found.trials)
        save_file(arrays, path, {"halfstep": json.dumps(document)})
        with pytest.raises(ModelFileError, match="path="):
            hs.load(path)


def test_the_same_bits_for_any_number_of_threads(planted, found):
    before = hs.get_num_threads()
    try:
        for threads in (1, 3):
            hs.set_num_threads(threads)
            assert without_times(hs.select(planted, model=_auto())) == without_times(found)
    finally:
        hs.set_num_threads(before)


# -------------------------------------------------------------------------- the options


def test_what_is_given_is_kept(planted):
    by_rank = hs.select(planted, model=_auto(rank=6))
    assert {trial.rank for trial in by_rank.trials} == {6}
    assert len({trial.alpha0 for trial in by_rank.trials}) > 1
    given = hs.ImplicitMF("auto", alpha0=0.2, reg=(0.01, 0.02, 0.03))
    ranks = hs.select(planted, model=given, max_rank=20)
    assert {(trial.alpha0, trial.reg) for trial in ranks.trials} == {(0.2, Reg(0.01, 0.02, 0.03))}
    assert {trial.rank for trial in ranks.trials} <= {4, 8, 16}
    assert len(ranks.trials) > 1
    by_alpha0 = hs.select(planted, model=_auto(alpha0=0.2, rank=5))
    assert {trial.alpha0 for trial in by_alpha0.trials} == {0.2}


@pytest.mark.parametrize(
    "params",
    [
        {"loss": "wrmf"},
        {"biases": True},
        {"reg_scaling": "none"},
        {"reg_scaling": "count"},
        {"nu": 0.5, "dtype": "float64"},
        {"confidence": "log", "metric": "recall@5"},
        {"solver": "als-subspace"},
    ],
    ids=str,
)
def test_any_model(planted, params):
    model = _auto(**params).fit(planted, budget=600)
    assert model.selection_.stopped == "done"
    assert model.selection_.metric == model.metric
    again = hs.ImplicitMF(**{**params, **model.selection_.parameters}).fit(planted)
    assert again.factors_.user_factors.tobytes() == model.factors_.user_factors.tobytes()


def test_a_larger_rank_must_be_better_by_more_than_noise():
    def done(rank, gain, noise):
        rng = np.random.default_rng(rank)
        by_user = 0.3 + gain + noise * rng.normal(size=400)
        score = float(np.mean(by_user))
        trial = Trial(rank, Reg(1, 1, 1), "none", 3, score, 0.02, 1, 1.0, True, "ndcg@10", 0.1)
        return Done(trial, by_user)

    def chosen(*tried):
        return _chosen(list(tried), "best", Clock(None)).rank

    small, large = done(8, 0.0, 0.0), done(16, 0.01, 0.02)  # noise of the mean: 0.001
    assert chosen(large, small) == 16
    assert chosen(done(16, 0.0004, 0.02), small) == 8
    assert chosen(done(4, -0.1, 0.0), small, done(16, 0.003, 0.2), done(32, 0.05, 0.2)) == 32


def test_one_standard_error(planted, found):
    simple = hs.select(planted, model=_auto(), rule="one-standard-error")
    assert without_times(simple)["score"] == without_times(found)["score"]
    assert simple.chosen.rank <= found.chosen.rank
    best = simple.best
    for rank in {trial.rank for trial in simple.trials}:
        highest = max(trial.score for trial in simple.trials if trial.rank == rank)
        near = highest >= best.score - best.standard_error
        assert rank >= simple.chosen.rank or not near
        if rank == simple.chosen.rank:
            assert near
            assert simple.chosen.score == highest
    assert "is the smallest of" in simple.reason


def test_validation_of_the_users_own(planted):
    train, valid = hs.split_each_user(planted, test=0.1, seed=5)
    found = hs.select(train, model=_auto(), validation=valid)
    assert found.held_out == len(valid)
    model = _auto().fit(train, validation=valid)
    assert model.selection_.chosen.score == found.chosen.score
    assert model.trace_[model.best_iter_ - 1].validation_score == found.chosen.score


def test_weights_by_popularity_are_chosen_too(planted):
    found = hs.select(planted, model=_auto(), popularity=(0.0, -0.5, 0), max_rank=8)
    tried = {trial.popularity for trial in found.trials}
    assert tried == {0.0, -0.5}
    best = {p: max(t.score for t in found.trials if t.popularity == p) for p in tried}
    assert best[found.chosen.popularity] >= best[-0.5 - found.chosen.popularity]
    assert "weights" in found.reason
    only = hs.select(planted, model=_auto(), popularity=[-0.5], max_rank=8)
    chosen = only.chosen
    assert chosen.popularity == -0.5
    train, held = hs.split_each_user(planted, test=0.2, seed=0)
    model = hs.ImplicitMF(chosen.rank, alpha0=chosen.alpha0, reg=chosen.reg.user)
    model.fit(train.weighted_by_popularity(-0.5), validation=held)
    assert model.trace_[model.best_iter_ - 1].validation_score == chosen.score


def test_every_trial_is_told(planted, found):
    heard = []
    again = hs.select(planted, model=_auto(), on_trial=heard.append)
    assert tuple(heard) == again.trials
    assert len(heard) == len(found.trials)


@pytest.fixture
def ticking(monkeypatch):
    """A clock on which every look at it takes a millisecond, however fast the machine is."""
    ticks = itertools.count()
    for module in ("halfstep.selection.budget", "halfstep.training"):
        monkeypatch.setattr(f"{module}.perf_counter", lambda: next(ticks) / 1000)


def test_a_budget_ends_it(planted, ticking):
    found = hs.select(planted, model=_auto(), budget=0.5)
    assert found.stopped == "budget"
    assert "the time was up" in found.reason
    assert found.seconds < 0.6
    whole = hs.select(planted, model=_auto())
    assert 1 <= len(found.trials) < len(whole.trials)
    assert found.trials[0].score == whole.trials[0].score
    assert found.chosen in found.trials
    model = _auto().fit(planted, budget="1s")
    assert model.selection_.stopped == "budget"
    assert np.isfinite(model.factors_.user_factors).all()


def test_no_trial_begins_that_would_not_end(planted, monkeypatch):
    """A trial that took so long tells how long one of a higher rank takes at least."""
    now = [0.0]
    for module in ("halfstep.selection.budget", "halfstep.training"):
        monkeypatch.setattr(f"{module}.perf_counter", lambda: now[0])
    train, held = hs.split_each_user(planted, test=0.2)
    part = ListPart(
        train, RankValidation.of(held, (train.users, train.items), train.by_user, "ndcg@10")
    )
    clock, told = Clock(10.0), []
    model = _auto()
    trials = ImplicitTrials(
        model, part, model._check().stopping, get_backend("native"), clock, told.append
    )
    run = trials._run

    def slow(setting):
        done = run(setting)
        now[0] += 4.0
        return dataclasses.replace(done, trial=dataclasses.replace(done.trial, seconds=4.0))

    monkeypatch.setattr(trials, "_run", slow)
    reg = Reg(0.1, 0.1, 0.1)
    trials.at(ImplicitSetting(8, 0.1, reg, 0.0))
    with pytest.raises(OutOfTime):  # eight seconds, of which six are left
        trials.at(ImplicitSetting(16, 0.1, reg, 0.0))
    trials.at(ImplicitSetting(8, 0.3, reg, 0.0))
    assert now == [8.0]
    assert len(told) == 2


def test_a_budget_too_small_for_one_trial(planted):
    rule = "budget=1e-06: was over before one setting was tried, .*; allow more time"
    with pytest.raises(ParameterError, match=rule):
        hs.select(planted, model=_auto(), budget=1e-6)
    with pytest.raises(ParameterError, match=rule):
        _auto().fit(planted, budget=1e-6)


@pytest.mark.parametrize(
    ("named", "match"),
    [
        ({"valid": 0}, "valid=0"),
        ({"valid": 0.9}, "valid=0.9"),
        ({"folds": 3}, "folds=3: are not to be had for lists"),
        ({"max_rank": 0}, "max_rank=0"),
        ({"rule": "simplest"}, "rule="),
        ({"seed": -1}, "seed=-1"),
        ({"popularity": -0.5}, "popularity=-0.5: must hold the powers"),
        ({"popularity": ()}, "popularity="),
        ({"popularity": (0.0, math.inf)}, "popularity="),
        ({"model": hs.ImplicitMF(4)}, "nothing is to be chosen"),
        ({"model": hs.ImplicitMF("grow")}, "rank='grow': is not a rank"),
        ({"model": _auto(alpha0="x")}, "alpha0='x'"),
        ({"model": _auto(reg="x")}, "reg='x'"),
        ({"model": _auto(metric="rmse")}, "metric='rmse'"),
        ({"validation": 3}, "validation="),
        ({"valid": 0.2, "validation": ([("Zoë 001", 3)], [1])}, "valid=0.2: has no effect"),
        ({"user_features": 3}, "user_features='int': are of models of ratings"),
        ({"model": None, "popularity": (-0.5,)}, "popularity=.*is of interactions"),
    ],
    ids=str,
)
def test_wrong_arguments(planted, named, match):
    with pytest.raises(ParameterError, match=match):
        hs.select(planted, **{"model": _auto(), **named})


def test_selections_of_other_models(planted, found):
    with pytest.raises(ParameterError, match=r"selection=.*has no effect"):
        hs.ImplicitMF(4).fit(planted, selection=found)
    with pytest.raises(ParameterError, match=r"selection=.*must be a Selection"):
        _auto().fit(planted, selection={"rank": 3})
    with pytest.raises(ParameterError, match=r'selection=.*chose λ for reg_scaling="frequency"'):
        _auto(reg_scaling="none").fit(planted, selection=found)
    with pytest.raises(ParameterError, match=r"selection=.*is of a model of interactions"):
        hs.ExplicitMF("auto").fit(planted, selection=found)
    users, items, _ = planted.to_arrays()
    stars = hs.Ratings.from_arrays(users, items, 1.0 + np.arange(len(items)) % 5)
    of_ratings = hs.select(stars, max_rank=2, folds=1)
    with pytest.raises(ParameterError, match=r"selection=.*is of a model of ratings"):
        _auto().fit(planted, selection=of_ratings)


def test_too_few_interactions():
    few = hs.Ratings.from_arrays([1, 2, 3], [1, 2, 3])
    rule = r"3 interactions.*are too few to choose rank, alpha0 and reg by.*pass rank=, alpha0="
    with pytest.raises(DataError, match=rule):
        _auto().fit(few)
    with pytest.raises(DataError, match="no interaction with a count above 0"):
        _auto().fit(hs.Ratings.from_arrays([1, 1, 2], [1, 2, 2], [0, 0, 0]))


def test_tables_of_one_user_or_one_item():
    one_user = hs.Ratings.from_arrays(["a"] * 40, np.arange(40))
    with pytest.raises(DataError, match=r"X=|ratings="):  # every item that is left is held out
        hs.select(hs.Ratings.from_arrays(np.arange(40), ["a"] * 40), model=_auto())
    found = hs.select(one_user, model=_auto())
    assert found.chosen.rank == 1
    assert found.chosen.standard_error == 0.0


def test_users_that_are_new_in_the_validation_part(planted):
    valid = hs.Ratings.from_arrays(["nobody", "Zoë 001"], [3, 10_000])
    found = hs.select(planted, model=_auto(), validation=valid, max_rank=4)
    assert found.chosen.score == 0.0  # of what is unknown nothing is listed
    strangers = hs.Ratings.from_arrays(["nobody"], [3])
    with pytest.raises(DataError, match="validation="):
        hs.select(planted, model=_auto(), validation=strangers)


def test_ctrl_c_is_heard(planted):
    def stop(trial):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hs.select(planted, model=_auto(), on_trial=stop)


# --------------------------------------------------------------------------- the search


class _Hill:
    """Trials of a known surface, for 200 users with noise of their own that all settings share."""

    def __init__(self, rank, alpha0, reg):
        self.top, self.done = (rank, alpha0, reg), {}
        self.users = np.random.default_rng(0).normal(0, 0.2, 200)

    def at(self, setting):
        rank, alpha0, reg = self.top
        far = math.log10(setting.alpha0 / alpha0) + math.log10(setting.reg.user / reg)
        trade = math.log10(setting.alpha0 / alpha0) - math.log10(setting.reg.user / reg)
        less = max(math.log2(rank / setting.rank), 0.0)
        score = 0.5 - 0.1 * far**2 - 0.005 * trade**2 - 0.02 * less
        trial = Trial(
            setting.rank,
            setting.reg,
            "frequency",
            5,
            score,
            0.01,
            1,
            1.0,
            True,
            "ndcg@10",
            setting.alpha0,
        )
        return self.done.setdefault(setting, Done(trial, score + self.users))


@pytest.mark.parametrize(
    "top", [(256, 0.03, 0.01), (8, 1.0, 0.001), (64, 0.3, 0.03), (1024, 0.01, 0.3)]
)
def test_a_ridge_is_climbed(top):
    """α₀ and λ trade for one another: either axis alone is steep, the way between them is not."""
    trials = _Hill(*top)
    wanted = _Wanted(tuple(2**k for k in range(2, 11)), None, None, (0.0,), -4, -10)
    _Search(trials, wanted, 64).run()
    best = max(trials.done.values(), key=lambda done: (done.trial.score, -done.trial.rank)).trial
    assert best.rank == top[0]
    assert best.score > 0.5 - 2e-3
    assert len(trials.done) < 60


# ----------------------------------------------------------------------- the pictures


def test_a_report_shows_the_choice(planted, found, tmp_path):
    pytest.importorskip("altair")
    from halfstep.report.sections.choice import choice_section, surface_chart

    section = choice_section(found)
    figure, table = section.parts
    assert section.title == "The choice of rank, α₀ and λ"
    assert f"{len(found.trials)} settings were tried on" in section.lead
    assert "held-out interactions" in section.lead
    assert "held-out NDCG@10" in figure.shown
    assert table.columns == ("K", "λ / λ of biases", "α₀", "sweeps", "held-out NDCG@10")
    scores = [float(row[4].split(" ±")[0]) for row in table.rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(found.best.score, abs=1e-4)
    drawn = json.loads(surface_chart(found).to_json())
    low, high = drawn["hconcat"][0]["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert low < found.chosen.score < high
    text = json.dumps(drawn)
    assert "held-out NDCG@10" in text
    assert "RMSE" not in text
