"""Bayesian models and features on the command line: the comparison of `fit`, intervals, cold folds."""

from __future__ import annotations

import json

import numpy as np
import pytest

import halfstep as hs
from halfstep.cli.bayes import affordable
from halfstep.cli.contest import Contest, Rival

SMALL = ("--rank", 3, "--samples", 6, "--burn-in", 2)


@pytest.fixture(scope="module")
def bayesian(files):
    """A saved Bayesian model of `files.ratings`."""
    path = files.folder / "bayesian.safetensors"
    model = hs.BayesianMF(3, samples=6, burn_in=2).fit(hs.read_ratings(files.ratings))
    return model.save(path)


@pytest.fixture(scope="module")
def people(files):
    """Features of the users: which third of them rates highest, of all but one who rates nothing."""
    path = files.folder / "people.csv"
    ratings = hs.read_ratings(files.ratings)
    means = np.add.reduceat(ratings.by_user.values, ratings.by_user.indptr[:-1])
    means = means / np.diff(ratings.by_user.indptr)
    third = np.searchsorted(np.quantile(means, (1 / 3, 2 / 3)), means)
    rows = [f"{user},t{k}" for user, k in zip(ratings.users.values.tolist(), third, strict=True)]
    path.write_text("\n".join(["user,kind", *rows, "99999,t2"]) + "\n")
    return path


def _told(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


# ----------------------------------------------------------------------------- fit


def _short(monkeypatch):
    """The defaults of the sampler are for real tables."""
    from halfstep.cli import bayes

    defaults = {**bayes._DEFAULT, "rank": 3}
    monkeypatch.setattr(bayes, "_DEFAULT", defaults)
    monkeypatch.setattr(bayes, "_FEWEST", 4)
    monkeypatch.setattr(bayes, "_SHORT_BURN_IN", 2)
    monkeypatch.setattr(bayes, "_FULL", 1.0)


def test_fit_compares_both_on_the_same_split(run, files, tmp_path, monkeypatch):
    _short(monkeypatch)
    path = tmp_path / "m.safetensors"
    told = _told(run("fit", files.ratings, "-o", path, "--json"))
    ratings = hs.read_ratings(files.ratings)
    train, valid, test = hs.split_random(ratings, valid=0.1, test=0.1, seed=0)
    found = hs.select(train, model=hs.ExplicitMF("auto", reg="auto"))
    both = {
        "als": hs.ExplicitMF(**found.parameters).fit(train),
        "bayesian": hs.BayesianMF(3, samples=4, burn_in=2).fit(train),
    }
    for name, model in both.items():
        assert told["comparison"][name]["validation_rmse"] == model.rmse(valid)
        assert told["comparison"][name]["test_rmse"] == model.rmse(test)
        assert told["comparison"][name]["seconds"] > 0
    errors = [model.rmse(valid) for model in both.values()]
    best = "BayesianMF" if errors[1] <= (1 - 1e-3) * errors[0] else "ExplicitMF"
    assert told["comparison"]["saved"] == told["model"]["class"] == best
    saved = hs.load(path)
    assert type(saved).__name__ == best
    assert told["refit"]["ratings"] == len(ratings) == saved.history_.nnz
    assert told["test"]["rmse"] == both["als" if best == "ExplicitMF" else "bayesian"].rmse(test)
    answer = run("fit", files.ratings, "-o", path)
    lines = " ".join(answer.out.split())
    assert "Bayesian: RMSE " in lines
    assert " of ALS, for " in lines
    assert "; saved: " in lines
    assert all(len(line) <= 80 for line in answer.out.splitlines())


def test_what_is_saved():
    """The Bayesian model where it is better by a thousandth; ALS where it is not, or there is none."""

    class Fitted:
        rank_ = 4

        def __init__(self, error):
            self.error = error

        def rmse(self, ratings):
            return self.error

    als = Fitted(1.0)
    for error, wins in ((0.9, True), (0.9989, True), (0.9995, False), (1.1, False)):
        contest = Contest(als, 6.0, Rival(Fitted(error), 41.0, ""))
        contest.decide(None)
        assert (contest.winner is not als) == wins
        assert "for 41 s against 6 s" in contest.told()
        assert ("the Bayesian model" in contest.told()) == wins
    alone = Contest(als, 6.0, Rival(None, 0.0, "too large"))
    alone.decide(None)
    assert alone.winner is als
    assert alone.told() == "No Bayesian model: too large; saved: ALS."
    assert alone.as_dict()["bayesian"]["validation_rmse"] is None


def test_large_tables_get_fewer_draws(monkeypatch):
    from halfstep.cli import bayes

    ratings = hs.simulate(200, 100, rank=3, seed=0).ratings
    model = hs.BayesianMF(4)
    work = 2 * len(ratings) * 25 + 300 * 125 / 3
    assert affordable(model, ratings, None) is model
    monkeypatch.setattr(bayes, "_FULL", 100 * work)
    fewer = affordable(model, ratings, None)
    assert (fewer.burn_in, fewer.samples, fewer.rank) == (20, 80, 4)
    monkeypatch.setattr(bayes, "_FULL", work)
    assert affordable(model, ratings, None).samples == 60
    monkeypatch.setattr(bayes, "_MOST", 79 * work)
    assert affordable(model, ratings, None) is None
    monkeypatch.setattr(bayes, "sweep_seconds", lambda *_, **__: 0.1)
    assert affordable(model, ratings, 25.1) is model
    assert affordable(model, ratings, 10.05).samples == 80
    assert affordable(model, ratings, 7.9) is None
    chains = hs.BayesianMF(4, chains=4)  # one after another
    assert affordable(chains, ratings, 100.1) is chains
    fewer = affordable(chains, ratings, 23.1)
    assert (fewer.chains, fewer.samples) == (1, 211)


def test_fit_bayes_is_the_library(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    told = _told(run("fit", files.ratings, "-o", path, "--bayes", *SMALL, "--seed", 2, "--json"))
    ratings = hs.read_ratings(files.ratings)
    train, test = hs.split_random(ratings, test=0.1, seed=2)
    model = hs.BayesianMF(3, samples=6, burn_in=2, seed=2)
    assert told["test"]["rmse"] == model.fit(train).rmse(test)
    assert told["split"]["valid"] == 0
    expected = model.fit(ratings).factors_
    assert hs.load(path).factors_.item_factors.tobytes() == expected.item_factors.tobytes()


def test_fit_of_ordered_levels(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    flags = ("--bayes", *SMALL, "--likelihood", "ordinal", "--test", 0, "--no-refit")
    assert run("fit", files.ratings, "-o", path, *flags).code == 0
    saved = hs.load(path)
    assert saved.likelihood == "ordinal"
    (told,) = _told(run("predict", path, "--user", 1, "--item", 3, "--std", "--json"))[
        "predictions"
    ]
    assert (told["prediction"], told["std"]) == tuple(map(float, saved.predict(1, 3, std=True)))


def test_fit_best_draws_more(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    flags = ("--best", "--rank", 2, "--burn-in", 1, "--samples", 7, "--test", 0, "--no-refit")
    assert run("fit", files.ratings, "-o", path, *flags).code == 0
    saved = hs.load(path)
    assert (saved.rank, saved.samples, saved.burn_in) == (2, 7, 1)


def test_fit_best_draws_as_many_as_it_is_told(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    default = hs.BayesianMF().samples
    flags = ("--best", "--rank", 1, "--burn-in", 1, "--samples", default, "--test", 0)
    assert run("fit", files.ratings, "-o", path, *flags).code == 0
    assert hs.load(path).samples == default


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--fast", "--best"), "--fast and --best ask for different models; drop one"),
        (("--samples", 9), "--samples 9: is of the Bayesian model alone; pass --bayes too"),
        (("--bayes", "--reg", 0.1), "--reg 0.1: is of ALS"),
        (("--bayes", "--rank", "grow"), "--rank grow: is of ALS"),
        (("--bayes", "--solver", "sgd"), "--solver sgd: is of ALS"),
        (("--bayes", "--samples", 1), "--samples 1: must be an integer of at least 2"),
        (("--bayes", "--chains", 0), "--chains 0: must be an integer of at least 1"),
        (("--bayes", "--budget", "0.001s"), "--budget 0.001: is too short for eighty sweeps"),
        (("--user-features", "nosuch.csv"), "nosuch.csv"),
    ],
)
def test_what_fit_refuses_of_bayesian_models(run, files, tmp_path, flags, said):
    answer = run("fit", files.ratings, "-o", tmp_path / "m.safetensors", *flags)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_sampler_saves_als(run, files, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hs.BayesianMF, "fit", interrupted)
    path = tmp_path / "m.safetensors"
    answer = run("fit", files.ratings, "-o", path)
    assert answer.code == 130
    assert "interrupted: the model of sweep" in answer.err
    assert isinstance(hs.load(path), hs.ExplicitMF)


# --------------------------------------------------------------------- a saved model


def test_a_saved_bayesian_model_answers(run, files, bayesian):
    model = hs.load(bayesian)
    (best,) = _told(run("recommend", bayesian, "--user", 1, "-n", 3, "--json"))["users"]
    expected = model.recommend([1], 3, min_ratings=5)
    assert [row["item"] for row in best["items"]] == expected.found.tolist()
    told = _told(run("explain", bayesian, "--user", 1, "--item", 3, "--json"))
    assert told["score"] == pytest.approx(model.explain(1, 3).score)
    assert len(_told(run("similar", bayesian, "--item", 3, "-n", 2, "--json"))["similar"]) == 2
    told = _told(run("evaluate", files.ratings, "--model", bayesian, "--metrics", "crps", "--json"))
    found = hs.evaluate(model, hs.read_ratings(files.ratings), "crps", clip=True)
    assert told["metrics"]["crps"]["value"] == found["crps"].value


def test_predict_with_its_doubt(run, files, bayesian, tmp_path):
    model = hs.load(bayesian)
    pair = ("--user", 1, "--item", 3)
    (told,) = _told(run("predict", bayesian, *pair, "--std", "--json"))["predictions"]
    assert (told["prediction"], told["std"]) == tuple(map(float, model.predict(1, 3, std=True)))
    (told,) = _told(run("predict", bayesian, *pair, "--interval", 0.9, "--json"))["predictions"]
    ends = tuple(map(float, model.predict(1, 3, interval=0.9)))
    assert (told["prediction"], told["lower"], told["upper"]) == ends
    out = run("predict", bayesian, *pair, "--interval", 0.9).out
    assert out.splitlines()[0].split() == ["user", "item", "prediction", "lower", "upper"]
    path = tmp_path / "p.csv"
    assert run("predict", bayesian, files.ratings, "--std", "-o", path).code == 0
    assert path.read_text().splitlines()[0] == "user,item,prediction,std"
    both = run("predict", bayesian, *pair, "--std", "--interval", 0.9)
    assert both.code == 2
    assert "--std: cannot be asked together with --interval 0.9" in both.err


def test_intervals_of_als_need_a_calibration(run, files):
    pair = ("--user", 1, "--item", 3)
    assert "std" in run("predict", files.model, *pair, "--std").out
    answer = run("predict", files.model, *pair, "--interval", 0.9)
    assert answer.code == 2
    assert "--interval: the model is not calibrated" in answer.err
    assert "halfstep fit --bayes" in answer.err
    wrong = run("predict", files.model, *pair, "--interval", 2)
    assert wrong.code == 2


# ------------------------------------------------------------------ evaluate, select


def test_evaluate_bayes(run, files):
    told = _told(run("evaluate", files.ratings, "--bayes", *SMALL, "--folds", 2, "--json"))
    model = hs.BayesianMF(3, samples=6, burn_in=2)
    found = hs.cross_validate(model, hs.read_ratings(files.ratings), 2)
    assert told["cross_validation"]["mean"]["rmse"] == found.mean("rmse")
    out = run("evaluate", files.ratings, "--bayes", *SMALL, "--split", "random").out
    assert "Bayesian, rank 3, 6 draws" in out
    given = run("evaluate", files.ratings, "--model", files.model, "--bayes")
    assert given.code == 2
    assert "--bayes has no effect" in given.err


def test_select_of_a_bayesian_model_says_that_it_needs_none(run, files):
    answer = run("select", files.ratings, "--bayes")
    assert answer.code == 2
    assert "needs no selection" in answer.err
    with pytest.raises(hs.errors.ParameterError, match="needs no selection"):
        hs.select(hs.read_ratings(files.ratings), model=hs.BayesianMF())


def test_evaluate_cold(run, files, people):
    flags = ("--cold", "users", "--user-features", people, "--bayes", *SMALL, "--folds", 2)
    told = _told(run("evaluate", files.ratings, *flags, "--json"))
    ratings, known = hs.read_ratings(files.ratings), hs.read_features(people, side="user")
    model = hs.BayesianMF(3, samples=6, burn_in=2)
    found = hs.compare_cold(model, ratings, "user", 2, user_features=known)
    assert told["errors"]["with features"]["rmse"] == found["with features"].rmse
    assert told["units"] == len(ratings.users)
    out = run("evaluate", files.ratings, *flags).out
    for words in (
        "biases only",
        "without features",
        "with features",
        "difference",
        "lower the RMSE",
    ):
        assert words in " ".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--cold", "users"), "--cold users: compares a model with features and without"),
        (("--cold", "items", "--split", "time"), "--split time: has no effect with --cold items"),
        (("--cold", "items", "--test", 0.1), "--test 0.1: has no effect with --cold items"),
        (("--cold", "tables"), "tables"),
    ],
)
def test_what_cold_folds_refuse(run, files, flags, said):
    answer = run("evaluate", files.ratings, *flags)
    assert answer.code == 2
    assert said in answer.err


# -------------------------------------------------------------------------- features


def test_fit_with_features(run, files, people, tmp_path):
    path = tmp_path / "m.safetensors"
    flags = ("--bayes", *SMALL, "--user-features", people, "--implicit-features", "--no-refit")
    told = _told(run("fit", files.ratings, "-o", path, *flags, "--json"))
    train, test = hs.split_random(hs.read_ratings(files.ratings), test=0.1, seed=0)
    model = hs.BayesianMF(3, samples=6, burn_in=2, implicit_features=True)
    model.fit(train, user_features=hs.read_features(people, side="user"))
    assert told["test"]["rmse"] == model.rmse(test)
    assert hs.load(path).implicit_features
    # who has rated nothing is known by features
    (answer,) = _told(run("predict", path, "--user", 99999, "--item", 3, "--json"))["predictions"]
    assert answer["user_known"]
    assert answer["prediction"] == float(model.predict(99999, 3))


def test_features_of_a_model_without_any_are_refused(run, files, people):
    for command in (
        ("predict", files.model, "--user", 1, "--item", 3),
        ("recommend", files.model, "--user", 1),
    ):
        answer = run(*command, "--user-features", people)
        assert answer.code == 2
        assert "the model was fitted without features of users" in answer.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user,age\n1,2\n1,3\n", "id 1 stands in rows 1 and 2 of the features; keep one row"),
        ("user,age\n", "holds no features; pass at least one row"),
        ("", "is empty; pass a file with at least one row"),
        ("user\n1\n2\n", "pass a table of ids and at least one feature of the users"),
        ("who,age\na,2\nb,3\n", "name that column id, or user"),
        ("user,age\nx,2\ny,3\n", "has a row for none of the users of the ratings"),
    ],
)
def test_a_wrong_table_of_features(run, files, tmp_path, text, said):
    path = tmp_path / "people.csv"
    path.write_text(text)
    for command in (("fit", "-o", tmp_path / "m.safetensors"), ("select",), ("evaluate",)):
        answer = run(command[0], files.ratings, *command[1:], "--user-features", path)
        assert answer.code == 2
        assert answer.err.startswith(f"halfstep: error: --user-features {path}: ")
        assert said in answer.err
        assert "kinds=" not in answer.err


def test_features_that_do_not_fit_the_model(run, files, people, tmp_path):
    path, other = tmp_path / "m.safetensors", tmp_path / "other.csv"
    flags = ("--bayes", *SMALL, "--user-features", people, "--test", 0)
    assert run("fit", files.ratings, "-o", path, *flags).code == 0
    other.write_text("user,age\n99999,3\n")
    answer = run("predict", path, "--user", 99999, "--item", 3, "--user-features", other)
    assert answer.code == 2
    assert f"--user-features {other}: lacks 'kind': this column" in answer.err


def test_fit_says_whom_the_features_know(run, files, people, tmp_path):
    flags = ("--bayes", *SMALL, "--user-features", people, "--no-refit")
    answer = run("fit", files.ratings, "-o", tmp_path / "m.safetensors", *flags)
    users = hs.read_ratings(files.ratings).shape[0]
    assert f"{users + 1:,} rows, 3 columns; of {users:,} of the {users:,} users" in answer.out


def test_a_table_of_features_is_not_written_over(run, files, people):
    before = people.read_bytes()
    for command in (("predict", files.model, "--user", 1, "--item", 3), ("recommend", files.model)):
        users = () if command[0] == "predict" else ("--all",)
        answer = run(*command, *users, "--user-features", people, "-o", people)
        assert answer.code == 2
        assert "is the file to read" in answer.err
    assert people.read_bytes() == before


def test_too_few_ratings_say_what_fits_them(run, files, tmp_path):
    table = tmp_path / "few.csv"
    table.write_text("user,item,rating\n1,1,3\n1,2,4\n2,1,5\n")
    path = tmp_path / "m.safetensors"
    answer = run("fit", table, "-o", path)
    assert "--bayes --test 0 fits all of them" in answer.err
    assert run("fit", table, "-o", path, "--bayes", "--test", 0, *SMALL).code == 0


def test_metrics_of_fitted_ratings_are_said_to_be_too_low(run, files, bayesian):
    answer = run("evaluate", files.ratings, "--model", bayesian, "--metrics", "crps")
    assert answer.code == 0
    count = len(hs.read_ratings(files.ratings))
    assert f"{count:,} of the ratings are of pairs that the model was fitted on" in answer.err
    told = _told(run("evaluate", files.ratings, "--model", bayesian, "--metrics", "crps", "--json"))
    assert told["fitted_on"] == count


def test_probabilities_of_a_model_without_levels(run, files, bayesian):
    answer = run("evaluate", files.ratings, "--model", bayesian, "--metrics", "log_loss")
    assert answer.code == 2
    assert "fit it with --likelihood ordinal, or ask for log_score" in answer.err


def test_predict_says_what_it_does_not_know(run, bayesian):
    err = run("predict", bayesian, "--user", "nobody", "--item", "nothing").err
    assert "the user and the item are not known to the model" in err
    assert "the item is not known" in run("predict", bayesian, "--user", 1, "--item", "nothing").err
