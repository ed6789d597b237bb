"""`tune`: what it tries, what it keeps, and that nothing of the user's is lost."""

import sys
from typing import ClassVar

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import halfstep as hs
from halfstep.errors import (
    DataError,
    DivergedError,
    HalfstepError,
    ParameterError,
    SingularSystemError,
)
from halfstep.selection.space import settings, suggestions

SPACE = {"rank": (1, 8), "reg.user": (0.01, 1.0, "log"), "reg.bias": (0.01, 1.0, "log")}


class Shrunk:
    """A model of a user's own: the mean of an item's ratings, drawn to the mean of all."""

    def __init__(self, strength=1.0, power=1):
        self.strength, self.power = strength, power

    def fit(self, ratings):
        self.mean_ = ratings.mean()
        cells = ratings.by_item
        sums = np.add.reduceat(np.append(cells.values, 0.0) - self.mean_, cells.indptr[:-1])
        counts = np.diff(cells.indptr)
        sums = np.where(counts > 0, sums, 0.0)
        self.by_item_ = sums / (counts + self.strength)
        self.items_ = ratings.items

    def rmse(self, part):
        _, items, values = part.to_arrays()
        return float(np.sqrt(np.mean((values - self.mean_ - self._of(items)) ** 2)))

    def _of(self, items):
        return self.by_item_[self.items_.lookup(np.asarray(items))]


class Recorded(hs.ExplicitMF):
    """Remembers every fit that was made."""

    fits: ClassVar[list] = []

    def fit(self, X, y=None, *, validation=None, callbacks=(), **rest):
        self.fits.append(self)
        return super().fit(X, y, validation=validation, callbacks=callbacks, **rest)


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(Recorded, "fits", [])
    return Recorded(rank=3, max_iter=20)


def ask(space, model=None, **values):
    """What a space gives for a trial of these values."""
    return suggestions(space, model or hs.ExplicitMF())(optuna.trial.FixedTrial(values))


def test_finds_a_setting_that_is_better_and_refits_it(simulated):
    train, test = hs.split_random(simulated, test=0.2, seed=5)
    begin = hs.ExplicitMF(rank=8, reg=0.01)
    found = hs.tune(begin, train, SPACE, trials=40)
    assert found.stopped == "trials"
    assert found.model.rmse(test) < 0.97 * hs.ExplicitMF(rank=8, reg=0.01).fit(train).rmse(test)
    assert not hasattr(begin, "factors_")
    assert set(found.params) == {"rank", "reg"}
    again = hs.ExplicitMF(**found.params, max_iter=found.sweeps, tol=0.0).fit(train)
    assert np.array_equal(again.factors_.user_factors, found.model.factors_.user_factors)


def test_the_value_is_the_error_of_that_setting_on_the_held_out_part(simulated):
    found = hs.tune(hs.ExplicitMF(), simulated, SPACE, trials=12, valid=0.2, seed=4)
    train, part = hs.split_random(simulated, test=0.2, seed=4)
    fitted = hs.ExplicitMF(**found.params).fit(train, validation=part)
    assert fitted.rmse(part) == found.value
    assert fitted.best_iter_ == found.sweeps
    assert found.held_out == len(part)
    given = hs.tune(hs.ExplicitMF(), train, SPACE, trials=12, valid=part, seed=4)
    assert (given.params, given.value) == (found.params, found.value)
    assert len(given.model.history_.values) == len(train)


def test_same_seed_same_result(simulated):
    first, again, other = (
        hs.tune(hs.ExplicitMF(), simulated, SPACE, trials=25, seed=seed, refit=False).to_dict()
        for seed in (1, 1, 2)
    )
    assert {**first, "seconds": None} == {**again, "seconds": None}
    assert first["reg.user"] != other["reg.user"]


def test_folds_measure_every_rating_once(simulated):
    found = hs.tune(hs.ExplicitMF(max_iter=9), simulated, {"rank": (1, 6)}, trials=8, folds=3)
    errors = []
    for train, part in hs.kfold(simulated, 3):
        fitted = hs.ExplicitMF(max_iter=9, **found.params).fit(train, validation=part)
        errors.append(fitted.rmse(part))
    assert found.value == pytest.approx(np.mean(errors), rel=1e-12)
    assert (found.folds, found.held_out) == (3, len(simulated))
    steps = found.study.trials[0].intermediate_values
    assert steps.keys() == {1, 2, 3}
    assert steps[3] == found.study.trials[0].value


def test_a_model_of_ones_own(simulated):
    model = Shrunk(power=2)
    found = hs.tune(model, simulated, {"strength": (0.01, 100.0, "log")}, trials=20)
    assert isinstance(found.model, Shrunk)
    assert found.model.power == 2
    assert found.model.strength == found.params["strength"]
    assert found.sweeps is None
    assert not hasattr(model, "by_item_")
    assert model.strength == 1.0


def test_a_table_and_ids_of_any_kind():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "user": [f"Зоя {u}" for u in rng.integers(30, size=400)],
            "item": [f"café {i}" for i in rng.integers(20, size=400)],
            "rating": rng.integers(0, 6, size=400).astype(float),
        }
    ).drop_duplicates(["user", "item"])
    found = hs.tune(hs.ExplicitMF(), table, {"rank": (1, 3)}, trials=3)
    assert found.model.factors_.user_factors.shape[0] == table["user"].nunique()


# what is tried


def test_forms_of_a_space():
    model = hs.ExplicitMF()
    solvers = [hs.ALS(), hs.SGD(rate=0.1)]
    space = {
        "rank": (2, 64, "log"),
        "reg": (0.1, 1),
        "reg_scaling": ["count", "none"],
        "solver": solvers,
        "biases": [True, False],
        "tol": FloatDistribution(0.0, 1.0, step=0.25),
        "patience": IntDistribution(1, 9, step=2),
        "dtype": CategoricalDistribution(["float32", "float64"]),
    }
    study = optuna.create_study()
    trial = study.ask()
    chosen = suggestions(space, model)(trial)
    assert trial.distributions["rank"] == IntDistribution(2, 64, log=True)
    assert trial.distributions["reg"] == FloatDistribution(0.1, 1.0)
    assert trial.distributions["tol"] == space["tol"]
    assert trial.distributions["patience"] == space["patience"]
    assert chosen["solver"] is solvers[0] or chosen["solver"] is solvers[1]
    assert isinstance(trial.params["solver"], str)
    assert chosen["biases"] in (True, False)
    assert chosen["dtype"] in ("float32", "float64")


def test_parts_of_parameters():
    model = hs.ExplicitMF(reg=0.1, solver=hs.ALS(linear=hs.CG(steps=3)))
    assert settings(model, {"reg.item": 0.5}) == {"reg": (0.1, 0.5, 0.1)}
    assert settings(model, {"reg.item": 0.5, "reg": (1, 2, 3)}) == {"reg": (1, 0.5, 3)}
    assert settings(model, {"reg.user": 2.0, "reg.bias": 3.0}) == {"reg": (2.0, 0.1, 3.0)}
    (solver,) = settings(model, {"solver.linear.steps": 7}).values()
    assert solver == hs.ALS(linear=hs.CG(steps=7))
    assert model.solver.linear.steps == 3
    other = Shrunk(power=(1, 2))
    assert settings(other, {"power.1": 9}) == {"power": (1, 9)}


def test_ranges_that_depend_on_a_choice(simulated):
    def space(trial):
        scaling = trial.suggest_categorical("reg_scaling", ["count", "none"])
        low, high = (0.01, 1) if scaling == "count" else (1, 30)
        reg = trial.suggest_float(f"reg of {scaling}", low, high, log=True)
        return {"reg_scaling": scaling, "reg.user": reg, "reg.item": reg}

    found = hs.tune(hs.ExplicitMF(rank=3), simulated, space, trials=12)
    reg = found.params["reg"]
    assert reg[0] == reg[1] == found.study.best_params[f"reg of {found.params['reg_scaling']}"]
    assert reg[2] == 0.1
    assert found.model.reg == reg


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "at least one parameter"),
        ([("rank", (1, 2))], "at least one parameter"),
        ({"rang": (1, 2)}, "is not a parameter of ExplicitMF; choose from rank, reg"),
        ({"rang.user": (1, 2)}, "is not a parameter of ExplicitMF"),
        ({7: (1, 2)}, "space=7: is not the name of a parameter"),
        ({"rank": 5}, "says not what to try"),
        ({"rank": "auto"}, "says not what to try"),
        ({"rank": (1,)}, "is not a range"),
        ({"rank": (1, 2, 3)}, "is not a range"),
        ({"rank": (1, 2, "log", 3)}, "is not a range"),
        ({"rank": (1, "two")}, "is not a range"),
        ({"rank": (True, 4)}, "is not a range"),
        ({"reg": (0.1, float("nan"))}, "is not a range"),
        ({"reg": (0.1, float("inf"))}, "is not a range"),
        ({"rank": (9, 2)}, "must begin below its end"),
        ({"rank": (2, 2)}, "must begin below its end"),
        ({"reg": (0, 1, "log")}, "must begin above 0"),
        ({"rank": []}, "different choices, at least one"),
        ({"rank": [4, 4]}, "different choices"),
        ({"biases": [True, 1]}, "different choices"),
        ({"reg.users": (0.1, 1.0)}, "choose from reg.user, reg.item, reg.bias"),
        ({"solver.rate": (0.1, 1.0)}, "search solver itself"),
        ({"reg.user.more": (0.1, 1.0)}, "is not a part of reg.user=0.1"),
        (lambda trial: 4, "must return a dict"),
        (lambda trial: {"rang": 4}, "is not a parameter of ExplicitMF"),
    ],
)
def test_spaces_that_are_none(simulated, space, words):
    with pytest.raises(ParameterError, match=words):
        hs.tune(hs.ExplicitMF(), simulated, space, trials=2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trials": 0}, "trials=0: must be an integer of at least 1"),
        ({"trials": None}, "would never end"),
        ({"timeout": 0}, "must be a positive number of seconds"),
        ({"timeout": "1m"}, "must be a positive number of seconds"),
        ({"timeout": 1e-9}, "was over before the first trial"),
        ({"folds": 1}, "folds=1"),
        ({"valid": 1.0}, "valid=1.0: must be a share between 0 and 1, or Ratings"),
        ({"valid": "some"}, "must be a share"),
        ({"metric": "ndcg"}, "choose one of rmse, mae, score"),
        (
            {"metric": lambda model, part: None},
            "metric=None: is what it returned; it must be a number",
        ),
        ({"callbacks": print}, "must be a list of callables"),
        ({"callbacks": [3]}, "must be a list of callables"),
        ({"sampler": 3}, "sampler=3: must be Optuna's BaseSampler"),
        ({"pruner": "median"}, "must be Optuna's BasePruner"),
        ({"study": "mine"}, "must be Optuna's Study"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_arguments_that_are_none(simulated, given, words):
    with pytest.raises(HalfstepError, match=words):
        hs.tune(hs.ExplicitMF(), simulated, SPACE, **{"trials": 2, **given})


def test_arguments_that_do_not_go_together(simulated):
    _, part = hs.split_random(simulated)
    with pytest.raises(ParameterError, match="cannot be had with folds"):
        hs.tune(hs.ExplicitMF(), simulated, SPACE, folds=3, valid=part)
    with pytest.raises(DataError, match="holds no ratings"):
        hs.tune(hs.ExplicitMF(), simulated, SPACE, valid=part.select(np.array([], dtype=int)))
    with pytest.raises(ParameterError, match="metric='mae': is not a method of Shrunk"):
        hs.tune(Shrunk(), simulated, {"strength": (1, 9)}, metric="mae")


def test_models_that_are_none(simulated):
    class Closed:
        def __init__(self, depth):
            pass

        def fit(self, ratings):
            pass

    for model, words in (
        (hs.ExplicitMF, "must be a model with fit"),
        ("ExplicitMF", "must be a model with fit"),
        (Closed(3), "must have get_params, or its constructor's parameters as attributes"),
    ):
        with pytest.raises(ParameterError, match=words):
            hs.tune(model, simulated, {"depth": (1, 9)}, metric=lambda model, part: 0.0)


# metrics


def test_metrics(simulated):
    space = {"rank": (1, 6)}
    values = {
        metric: hs.tune(hs.ExplicitMF(), simulated, space, metric=metric, trials=6, refit=False)
        for metric in ("rmse", "mae", "score")
    }
    assert values["mae"].value < values["rmse"].value
    table = values["score"].to_dict()
    assert values["score"].value == max(table["value"])
    assert values["mae"].value == min(values["mae"].to_dict()["value"])

    def worst(model, part):
        return float(np.max(np.abs(part.to_arrays()[2] - model.predict(*part.to_arrays()[:2]))))

    found = hs.tune(hs.ExplicitMF(), simulated, space, metric=worst, trials=6)
    assert found.metric == "worst"
    assert found.value == min(found.to_dict()["value"])
    assert str(found).count("worst") == 1


# pruning and failures


class Second(optuna.pruners.BasePruner):
    """Stops every trial but the first at the second sweep."""

    def prune(self, study, trial):
        return trial.number > 0 and trial.last_step == 2


def test_a_pruned_trial_stops_at_once(simulated, recorded):
    found = hs.tune(
        recorded, simulated, {"reg": (0.01, 1.0, "log")}, trials=4, pruner=Second(), refit=False
    )
    assert found.to_dict()["state"] == ["complete", "pruned", "pruned", "pruned"]
    assert [fit.n_iter_ for fit in Recorded.fits][1:] == [2, 2, 2]
    first, second = found.study.trials[:2]
    rows = Recorded.fits[0].trace_
    assert first.intermediate_values == {row.sweep: row.validation_rmse for row in rows}
    assert second.value == second.intermediate_values[2]
    assert found.count("pruned") == 3


def test_with_folds_a_trial_is_pruned_between_them(simulated, recorded):
    found = hs.tune(
        recorded, simulated, {"rank": (1, 4)}, trials=3, folds=4, pruner=Second(), refit=False
    )
    assert found.to_dict()["state"] == ["complete", "pruned", "pruned"]
    assert len(Recorded.fits) == 4 + 2 + 2


def test_the_pruner_is_not_told_of_another_metric(simulated):
    found = hs.tune(
        hs.ExplicitMF(), simulated, {"rank": (1, 4)}, metric="mae", trials=3, pruner=Second()
    )
    assert found.count("complete") == 3


def test_the_median_pruner_is_the_default(simulated):
    space = {"reg": (1e-4, 10.0, "log"), "rank": (1, 16)}
    found = hs.tune(hs.ExplicitMF(), simulated, space, trials=40)
    table = found.to_dict()
    assert found.count("pruned") > 0
    assert "pruned" not in table["state"][:10]
    assert found.value == min(
        v for v, s in zip(table["value"], table["state"], strict=True) if s == "complete"
    )


def test_a_failed_trial_does_not_end_the_search(simulated):
    class Fragile(hs.ExplicitMF):
        def fit(self, X, y=None, **rest):
            if self.rank == 2:
                raise DivergedError("J is inf")
            if self.rank == 3:
                raise SingularSystemError("user row 1")
            return super().fit(X, y, **rest)

    found = hs.tune(Fragile(), simulated, {"rank": [1, 2, 3, 4]}, trials=25)
    table = found.to_dict()
    assert found.count("fail") == sum(rank in (2, 3) for rank in table["rank"]) > 0
    assert {e for r, e in zip(table["rank"], table["error"], strict=True) if r == 2} <= {"J is inf"}
    assert found.params["rank"] in (1, 4)
    assert f"{found.count('fail')} failed" in str(found)


def test_a_fit_that_diverges_indeed(simulated):
    model = hs.ExplicitMF(rank=4, solver=hs.SGD(), max_iter=5)
    space = {"solver": [hs.SGD(), hs.GD(step=1e6)]}
    found = hs.tune(model, simulated, space, trials=8)
    assert found.params == {"solver": hs.SGD()}
    assert found.count("fail") > 0
    assert any("lower the solver's step" in (error or "") for error in found.to_dict()["error"])


def test_a_metric_that_is_no_number_fails_the_trial(simulated):
    def metric(model, part):
        return float("nan") if model.rank == 2 else model.rmse(part)

    found = hs.tune(hs.ExplicitMF(), simulated, {"rank": [1, 2]}, metric=metric, trials=8)
    assert found.count("fail") > 0
    assert "the metric is not a number" in found.to_dict()["error"]
    with pytest.raises(ParameterError, match="no setting that a trial ended with, of 3; the last"):
        hs.tune(hs.ExplicitMF(), simulated, {"rank": [2]}, metric=metric, trials=3)


def test_what_the_model_refuses_ends_the_search(simulated):
    with pytest.raises(ParameterError, match="rank=-1") as caught:
        hs.tune(hs.ExplicitMF(), simulated, {"rank": [4, -1]}, trials=30)
    assert "'rank': -1" in caught.value.__notes__[0]

    class Broken(Shrunk):
        def fit(self, ratings):
            raise ValueError("a bug of the user's")

    with pytest.raises(ValueError, match="a bug of the user's") as caught:
        hs.tune(Broken(), simulated, {"strength": (1, 9)})
    assert caught.value.__notes__[0].startswith("in trial 0: {'strength': ")


# how it ends


def test_ctrl_c_keeps_the_best_so_far(simulated):
    class Interrupted(hs.ExplicitMF):
        fits = 0

        def fit(self, X, y=None, **rest):
            type(self).fits += 1
            if self.fits == 5:
                raise KeyboardInterrupt
            return super().fit(X, y, **rest)

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = hs.tune(Interrupted(), simulated, SPACE, trials=10, study=study)
    assert found.stopped == "interrupted"
    assert found.model is None
    assert found.to_dict()["state"] == ["complete"] * 4 + ["fail"]
    assert found.value == min(found.to_dict()["value"][:4])
    Interrupted.fits = 4  # before the first trial is complete
    with pytest.raises(KeyboardInterrupt):
        hs.tune(Interrupted(), simulated, SPACE, trials=10)
    Interrupted.fits = 2  # in the refit
    found = hs.tune(Interrupted(), simulated, SPACE, trials=2)
    assert (found.stopped, found.model) == ("interrupted", None)


def test_callbacks_stop_the_search(simulated):
    heard = []

    def third(study, trial):
        heard.append(trial.number)
        return trial.number == 2

    found = hs.tune(hs.ExplicitMF(), simulated, SPACE, callbacks=[third], refit=False)
    assert (found.stopped, heard, found.model) == ("callback", [0, 1, 2], None)
    optunas = optuna.study.MaxTrialsCallback(4)
    found = hs.tune(hs.ExplicitMF(), simulated, SPACE, callbacks=[optunas], refit=False)
    assert (found.stopped, found.count("complete")) == ("callback", 4)


def test_a_timeout_ends_an_endless_search(simulated):
    found = hs.tune(hs.ExplicitMF(), simulated, SPACE, trials=None, timeout=0.2, refit=False)
    assert found.stopped == "timeout"
    assert found.count("complete") >= 1


def test_goes_on_with_a_study(simulated):
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=3))
    study.enqueue_trial({"rank": 7, "reg.user": 0.5, "reg.bias": 0.5})
    first = hs.tune(hs.ExplicitMF(), simulated, SPACE, trials=5, study=study, refit=False)
    assert first.study is study
    assert study.trials[0].params == {"rank": 7, "reg.user": 0.5, "reg.bias": 0.5}
    then = hs.tune(hs.ExplicitMF(), simulated, SPACE, trials=4, study=study, refit=False)
    assert len(then.to_dict()["trial"]) == 9
    assert then.value <= first.value
    with pytest.raises(ParameterError, match="must maximize one value"):
        hs.tune(hs.ExplicitMF(), simulated, SPACE, study=study, metric="score")
    with pytest.raises(ParameterError, match="is not that of the study"):
        hs.tune(hs.ExplicitMF(), simulated, SPACE, study=study, pruner=Second())


# what it tells


def test_the_table_and_the_sentence(simulated):
    space = {"rank": (1, 4), "solver": [hs.ALS(), "als-cg"]}
    found = hs.tune(hs.ExplicitMF(), simulated, space, trials=6, pruner=optuna.pruners.NopPruner())
    frame = pd.DataFrame(found.to_dict())
    assert list(frame.columns) == [
        *("trial", "state", "value", "sweeps", "seconds", "error"),
        *("rank", "solver"),
    ]
    assert len(frame) == 6
    assert frame["value"].min() == found.value
    sentence = str(found)
    assert sentence.startswith(f"rank={found.params['rank']}, solver=")
    assert f"rmse {found.value:.4f} on {found.held_out:,} held-out ratings" in sentence
    assert "the best of 6 trials (6 complete)" in sentence
    assert "\n" not in sentence


def test_nothing_is_logged_and_the_level_is_as_before(simulated, capfd, monkeypatch):
    before = optuna.logging.get_verbosity()
    hs.tune(hs.ExplicitMF(), simulated, SPACE, trials=2)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    found = hs.tune(hs.ExplicitMF(), simulated, SPACE, trials=2, progress=True)
    drawn = capfd.readouterr().err
    assert "trial 2/2" in drawn
    assert f"best {found.value:.4f}" in drawn


def test_without_optuna_one_clear_error(simulated, monkeypatch, run_code):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(HalfstepError, match=r"pip install 'halfstep\[tune\]'"):
        hs.tune(hs.ExplicitMF(), simulated, SPACE)
    done = run_code("import halfstep as hs, sys; hs.tune; print('optuna' in sys.modules)")
    assert done.stdout == "False\n", done.stderr
