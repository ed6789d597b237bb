"""Interactions on the command line: fit, evaluate, the questions to a saved model, hints, bad input."""

from __future__ import annotations

import csv
import json
import shlex

import numpy as np
import pytest

import halfstep as hs
from halfstep.baselines import preferences
from halfstep.evaluation.splits.leaks import cells_of

GIVEN = ("--alpha0", 0.1, "--reg", 0.003, "--rank")
SMALL = (*GIVEN, 4, "--confidence", "binary")


def _told(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def _write(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    """Four kinds of users and of items: 160 users with 8 of the 20 items of their kind and 2 others."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(160):
        own = rng.permutation(20)[:8] + 20 * (user % 4)
        rows += [(f"Zoë {user:03}", f"пьеса {item:02}") for item in {*own, *rng.integers(0, 80, 2)}]
    return _write(tmp_path_factory.mktemp("clicks") / "clicks.csv", ["user", "item"], rows)


@pytest.fixture(scope="module")
def counts(clicks):
    """The same with how often."""
    with open(clicks, encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    often = np.random.default_rng(1).geometric(0.3, len(rows)).tolist()
    path = clicks.with_name("counts.csv")
    return _write(
        path, ["user", "item", "plays"], [(*r, c) for r, c in zip(rows, often, strict=True)]
    )


@pytest.fixture(scope="module")
def model(clicks):
    return hs.ImplicitMF(4).fit(hs.read_ratings(clicks)).save(clicks.with_name("m.safetensors"))


# ----------------------------------------------------------------------------- fit


def test_fit_is_the_library(run, clicks, tmp_path):
    path = tmp_path / "m.safetensors"
    told = _told(run("fit", clicks, "-o", path, "--implicit", *GIVEN, 4, "--seed", 2, "--json"))
    ratings = hs.read_ratings(clicks)
    train, valid, test = hs.split_each_user(ratings, valid=0.1, test=0.1, seed=2)
    assert told["split"] == {
        "train": len(train),
        "valid": len(valid),
        "test": len(test),
        "seed": 2,
    }
    model = hs.ImplicitMF(4, seed=2).fit(train, validation=valid)
    best = model.trace_[model.best_iter_ - 1]
    assert told["fit"]["validation_score"] == best.validation_score
    assert told["fit"]["metric"] == "ndcg@10"
    known = ratings.select(~cells_of(ratings, test))  # lists leave the validation part out too
    assert len(known) == len(train) + len(valid)
    found = hs.evaluate(model, test, ["ndcg@10", "recall@20"], train=known, n_resamples=500)
    for name, figure in found.items():
        shown = told["test"]["metrics"][name]
        assert (shown["value"], shown["lower"]) == (figure.value, figure.lower)
    popular = hs.evaluate(hs.MostPopular().fit(train), test, "ndcg@10", train=known)
    popular = popular["ndcg@10"].value
    assert told["test"]["baselines"]["most popular"]["ndcg@10"] == popular
    assert found["ndcg@10"].value > 1.5 * popular
    assert set(told["test"]["baselines"]) == {"most popular", "item-kNN", "EASE"}
    saved = hs.load(path)
    again = model.settled().fit(ratings)
    assert np.array_equal(saved.factors_.item_factors, again.factors_.item_factors)
    (listed,) = told["recommend"]["users"]
    ranked = saved.recommend([listed["user"]], 5, min_ratings=5)[listed["user"]]
    assert [(entry["item"], entry["score"]) for entry in listed["items"]] == ranked


def test_fit_says_what_it_does(run, clicks, tmp_path):
    answer = run("fit", clicks, "-o", tmp_path / "m.safetensors", "--implicit", *GIVEN, 4)
    assert answer.code == 0
    assert "RMSE" not in answer.out
    assert "most popular" in answer.out
    assert "interactions" in answer.out
    assert "rating" not in answer.out.replace("no rating (every row counts 1)", "")
    assert all(len(line) <= 80 or line.startswith("$ ") for line in answer.out.splitlines())
    assert answer.err == ""


def test_options_reach_the_model(run, counts, tmp_path):
    given = {
        "alpha": 2.0,
        "alpha0": 0.3,
        "reg": 0.01,
        "reg_scaling": "count",
        "nu": 0.5,
        "loss": "wrmf",
        "confidence": "log",
        "epsilon": 0.5,
        "solver": "als-cholesky",
        "max_iter": 50,
        "metric": "recall@5",
        "patience": 2,
        "rank": 64,
        "seed": 1,
        "dtype": "float64",
    }
    flags = [
        word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)
    ]
    path = tmp_path / "m.safetensors"
    told = _told(
        run("fit", counts, "-o", path, "--implicit", "--biases", *flags, "--no-refit", "--json")
    )
    params = {**hs.ImplicitMF().get_params(), **given, "biases": True}
    assert told["parameters"] == params
    assert hs.load(path).get_params() == params
    assert "recall@5" in told["test"]["metrics"]


def test_fit_chooses_what_is_not_given(run, clicks, tmp_path):
    path = tmp_path / "m.safetensors"
    told = _told(run("fit", clicks, "-o", path, "--implicit", "--alpha0", 0.2, "--json"))
    ratings = hs.read_ratings(clicks)
    train, test = hs.split_each_user(ratings, test=0.1, seed=0)
    assert told["split"] == {"train": len(train), "valid": 0, "test": len(test), "seed": 0}
    model = hs.ImplicitMF("auto", alpha0=0.2, reg="auto")
    found = hs.select(train, model=model)
    assert told["selection"]["trials"] | {"seconds": 0} == found.to_dict() | {"seconds": 0}
    assert told["parameters"]["rank"] == told["parameters"]["reg"] == "auto"
    model.fit(train, selection=found)
    measured = hs.evaluate(model, test, "ndcg@10", train=train)["ndcg@10"].value
    assert told["test"]["metrics"]["ndcg@10"]["value"] == measured
    saved = hs.load(path)
    again = hs.ImplicitMF("auto", alpha0=0.2, reg="auto").fit(ratings, selection=found)
    assert np.array_equal(saved.factors_.item_factors, again.factors_.item_factors)
    assert saved.selection_.chosen.rank == saved.rank_ == found.chosen.rank
    answer = run("fit", clicks, "-o", path, "--implicit", "--rank", 4, "--reg", "auto")
    assert answer.code == 0
    assert "held-out NDCG@10" in " ".join(answer.out.split())
    assert "as many as were best on held-out interactions" in " ".join(answer.out.split())
    assert "RMSE" not in answer.out
    assert all(len(line) <= 80 or line.startswith("$ ") for line in answer.out.splitlines())


def test_select(run, clicks, tmp_path):
    command = ("select", clicks, "--implicit", "--metric", "recall@5", "--max-rank", 8)
    told = _told(run(*command, "--json"))
    model = hs.ImplicitMF("auto", alpha0="auto", reg="auto", metric="recall@5")
    found = hs.select(hs.read_ratings(clicks), model=model, max_rank=8)
    assert told["selection"]["trials"] | {"seconds": 0} == found.to_dict() | {"seconds": 0}
    answer = run(*command)
    assert answer.code == 0
    assert "held-out recall@5" in answer.out
    (again,) = (line for line in answer.out.splitlines() if line.startswith("$ "))
    words = shlex.split(again)
    assert words[1:3] == ["halfstep", "fit"]
    path = tmp_path / "m.safetensors"
    _told(run(*words[2:], "--test", 0, "-o", path, "--json"))
    made = hs.ImplicitMF(**found.parameters).fit(hs.read_ratings(clicks))
    assert np.array_equal(hs.load(path).factors_.item_factors, made.factors_.item_factors)


def test_selections_that_cannot_be(run, clicks, tmp_path):
    path = tmp_path / "m.safetensors"
    for arguments, words in (
        (("select", clicks, "--implicit", *GIVEN, 4), "nothing is to be chosen"),
        (("select", clicks, "--alpha0", 0.2), "pass --implicit too"),
        (("select", clicks), "pass --implicit"),
        (("select", clicks, "--implicit", "--folds", 3), "--folds 3"),
        (("select", clicks, "--implicit", "--implicit-features"), "models of ratings"),
        (("select", clicks, "--implicit", "--budget", "1e-9s"), "budget"),
        (("fit", clicks, "-o", path, "--implicit", "--valid", 0.7), "--valid 0, which chooses"),
        (("fit", clicks, "-o", path, "--implicit", "--alpha0", "much"), "alpha0"),
        (("compare-solvers", clicks, "--implicit", "--alpha0", "auto"), "--alpha0 auto"),
    ):
        answer = run(*arguments)
        assert answer.code == 2, arguments
        assert words in answer.err
    assert not path.exists()


def test_parts_may_be_left_out(run, clicks, tmp_path):
    path = tmp_path / "m.safetensors"
    fit = ("fit", clicks, "-o", path, "--implicit", *GIVEN, 4, "--json")
    told = _told(run(*fit, "--valid", 0, "--test", 0, "--max-iter", 3))
    assert "test" not in told
    assert "refit" not in told
    assert told["fit"]["validation_score"] is None
    expected = hs.ImplicitMF(4, max_iter=3).fit(hs.read_ratings(clicks))
    saved = hs.load(path)
    assert np.array_equal(saved.factors_.user_factors, expected.factors_.user_factors)
    assert "test" not in _told(run(*fit, "--test", 0))
    told = _told(run(*fit, "--valid", 0))
    assert told["split"]["valid"] == 0
    assert told["test"]["metrics"]["ndcg@10"]["value"] > 0


def test_repeated_rows_are_added(run, tmp_path, clicks):
    text = clicks.read_text(encoding="utf-8")
    path = tmp_path / "twice.csv"
    path.write_text(text + text.split("\n", 1)[1], encoding="utf-8")
    told = _told(run("fit", path, "-o", tmp_path / "m.safetensors", "--implicit", *SMALL, "--json"))
    assert (told["data"]["lowest"], told["data"]["highest"]) == (2.0, 2.0)


def test_a_better_baseline_is_told(run, tmp_path):
    rng = np.random.default_rng(0)  # nothing but popularity
    rows = {(u, int(i)) for u in range(120) for i in rng.geometric(0.1, 12) if i < 60}
    path = _write(tmp_path / "flat.csv", ["user", "item"], sorted(rows))
    answer = run("fit", path, "-o", tmp_path / "m.safetensors", "--implicit", *GIVEN, 40)
    assert answer.code == 0
    assert "ranks better: try another --rank" in " ".join(answer.out.split())


# ---------------------------------------------------------------------------- hints


def test_a_table_without_ratings_is_pointed_to_implicit(run, clicks):
    for command in ("fit", "evaluate", "compare-solvers"):
        answer = run(command, clicks)
        assert answer.code == 2
        assert answer.err.count("\n") == 1
        assert "has no column of ratings; pass --implicit" in answer.err


def test_equal_ratings_are_pointed_to_implicit(run, tmp_path):
    rows = [(u, i, 1) for u in range(20) for i in range(10) if (u * i) % 3]
    path = _write(tmp_path / "ones.csv", ["user", "item", "rating"], rows)
    answer = run("fit", path, "--fast", "--rank", 2, "--reg", 0.1, "-o", tmp_path / "m.safetensors")
    assert answer.code == 0
    assert "all ratings are 1" in answer.err
    assert "--implicit" in answer.err


def test_ratings_that_are_taken_as_counts_are_told(run, counts, tmp_path):
    fit = ("-o", tmp_path / "m.safetensors", "--implicit", *GIVEN, 3)
    rows = [
        (u, i, (1, 3, 4, 4, 5)[(7 * u + i) % 5])
        for u in range(30)
        for i in range(12)
        if (u + i) % 4
    ]
    stars = _write(tmp_path / "stars.csv", ["user", "item", "stars"], rows)
    answer = run("fit", stars, *fit)
    assert answer.code == 0
    assert "look like ratings on a scale from 1 to 5" in answer.err
    assert "--confidence binary" in answer.err
    assert run("fit", stars, *fit, "--confidence", "binary").err == ""
    assert run("fit", counts, *fit).err == ""


# ------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--implicit", "--bayes"), ("--bayes", "drop one")),
        (("--implicit", "--fast"), ("--fast", "drop one")),
        (("--implicit", "--nonnegative"), ("--nonnegative", "models of ratings")),
        (("--implicit", "--no-center"), ("--no-center", "models of ratings")),
        (("--implicit", "--rank", "grow"), ("--rank grow", "try --rank")),
        (("--implicit", "--rank", 0), ("--rank 0", "at least 1")),
        (("--implicit", "--alpha0", 0), ("--alpha0 0", "> 0")),
        (("--implicit", "--alpha", -1), ("--alpha -1", "> 0")),
        (("--implicit", "--reg", "1,2"), ("--reg 1,2", "one number, or three")),
        (("--implicit", "--reg-scaling", "sqrt"), ("--reg-scaling sqrt", "frequency")),
        (("--implicit", "--solver", "sgd"), ("--solver sgd", "--solver als")),
        (("--implicit", "--metric", "rmse"), ("--metric rmse", "ranked lists")),
        (("--implicit", "--metric", "ndgc@10"), ("ndcg",)),
        (("--implicit", "--valid", 0.6, "--test", 0.5), ("--valid 0.6", "nothing to train on")),
        (("--alpha0", 0.3), ("--alpha0 0.3", "pass --implicit too")),
        (("--reg-scaling", "frequency"), ("--reg-scaling frequency",)),
    ],
)
def test_bad_options(run, clicks, tmp_path, arguments, words):
    path = tmp_path / "m.safetensors"
    answer = run("fit", clicks, "-o", path, *arguments)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    for word in words:
        assert word in answer.err
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user,item\n", "no rows"),
        ("user,item\na,b\n", "--valid 0 --test 0 fits all of them"),
        ("user,item,count\na,b,0\na,c,0\n", "no count above 0"),
        ("user,item,count\na,b,-1\na,c,-2\n", "no count above 0"),
        ("user,item,count\na,b,nan\n", "nan"),
        ("user,item,count\na,b,often\n", "often"),
    ],
)
def test_bad_tables(run, tmp_path, text, words):
    table, path = tmp_path / "t.csv", tmp_path / "m.safetensors"
    table.write_text(text)
    answer = run("fit", table, "-o", path, "--implicit")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    if words != "no rows":
        assert words in answer.err.lower()
    assert not path.exists()


def test_one_interaction_can_be_fitted(run, tmp_path):
    table = tmp_path / "one.csv"
    table.write_text("user,item\nann,b\n")
    path = tmp_path / "m.safetensors"
    told = _told(run("fit", table, "-o", path, "--implicit", "--valid", 0, "--test", 0, "--json"))
    assert told["recommend"]["users"] == [{"user": "ann", "items": []}]
    assert hs.load(path).predict("ann", "b") > 0.5


def test_negative_counts_are_no_hits(run, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (u, i, int(rng.choice([-1, 1, 3]))) for u in range(40) for i in range(25) if (u + i) % 3
    ]
    table = _write(tmp_path / "mixed.csv", ["user", "item", "count"], rows)
    path = tmp_path / "m.safetensors"
    told = _told(run("fit", table, "-o", path, "--implicit", *GIVEN, 2, "--no-refit", "--json"))
    ratings = hs.read_ratings(table)
    _, _, test = hs.split_each_user(ratings, valid=0.1, test=0.1, seed=0)
    liked = preferences(test)
    assert 0 < len(liked) < len(test)
    assert told["test"]["ratings"] == len(liked)
    known = ratings.select(~cells_of(ratings, test))
    found = hs.evaluate(hs.load(path), liked, "recall@20", train=known)
    assert told["test"]["metrics"]["recall@20"]["value"] == found["recall@20"].value


def test_a_part_without_hits_is_refused_before_the_fit(run, tmp_path):
    rows = [(u, i, 1 if i == u else -1) for u in range(4) for i in range(10)]
    table = _write(tmp_path / "no.csv", ["user", "item", "count"], rows)
    words = ("fit", table, "-o", tmp_path / "m.safetensors", "--implicit", "--rank", 2)
    told = [run(*words, "--valid", 0, "--seed", seed) for seed in range(8)]
    refused = [answer for answer in told if answer.code]
    assert refused
    for answer in refused:
        assert answer.code == 2
        assert "none above 0" in answer.err
        assert "--valid 0 --test 0" in answer.err
        assert "sweeps in" not in answer.out
    for answer in told:
        assert "nan" not in answer.out
        assert "1 interactions" not in answer.out
        assert "1 users" not in answer.out


# ------------------------------------------------------------------- a saved model


def test_questions_to_a_saved_model(run, model):
    saved = hs.load(model)
    user = "Zoë 003"
    answer = run("recommend", model, "--user", user, "-n", 3)
    assert "interactions)" in answer.out
    assert "score" in answer.out
    told = _told(run("recommend", model, "--user", user, "-n", 3, "--json"))
    ranked = saved.recommend([user], 3, min_ratings=5)[user]
    assert [(e["item"], e["score"]) for e in told["users"][0]["items"]] == ranked
    best = ranked[0][0]
    answer = run("explain", model, "--user", user, "--item", best)
    assert f"item {best}: score " in answer.out
    assert "had item" in answer.out
    assert "rated" not in answer.out
    told = _told(run("predict", model, "--user", user, "--item", best, "--json"))
    assert told["predictions"][0]["score"] == pytest.approx(saved.predict(user, best))
    answer = run("predict", model, "--user", user, "--item", "unknown")
    assert answer.err.endswith("is not known to the model: the score is 0\n")
    assert run("similar", model, "--item", best).code == 0


@pytest.mark.parametrize("flag", [("--std",), ("--interval", 0.9)])
def test_scores_have_no_intervals(run, model, flag):
    answer = run("predict", model, "--user", "Zoë 003", "--item", "пьеса 01", *flag)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "scores of interactions" in answer.err


def test_lists_of_a_model_without_history_name_a_way_that_is_there(run, clicks, tmp_path):
    path = hs.ImplicitMF(2).fit(hs.read_ratings(clicks)).save(tmp_path / "m", history=False)
    answer = run("evaluate", clicks, "--model", path)
    assert answer.code == 2
    assert "fit again without --no-history" in answer.err
    assert "--include-seen" not in answer.err


def test_a_report_adds_repeated_counts(run, tmp_path):
    pytest.importorskip("altair")
    rows = [(u, i, 2) for u in range(8) for i in range(8) if (u + i) % 3] + [(0, 1, 5)]
    table = _write(tmp_path / "twice.csv", ["user", "item", "count"], rows)
    path = tmp_path / "m.safetensors"
    fit = ("fit", table, "-o", path, "--implicit", "--rank", 2, "--valid", 0, "--test", 0)
    assert run(*fit).code == 0
    answer = run("report", path, "--ratings", table, "-o", tmp_path / "r.html")
    assert answer.code == 0, answer.err


def test_a_table_without_ratings_has_nothing_to_select(run, clicks):
    answer = run("select", clicks)
    assert answer.code == 2
    assert "pass --implicit to learn from interactions" in answer.err


def test_models_of_interactions_have_no_rmse(model, clicks):
    saved, ratings = hs.load(model), hs.read_ratings(clicks)
    asked = (
        lambda: saved.rmse(ratings),
        lambda: saved.mae(ratings),
        lambda: hs.evaluate(saved, ratings, "rmse"),
        lambda: saved.effective_parameters(),
    )
    for ask in asked:
        with pytest.raises(hs.HalfstepError, match="scores to rank by"):
            ask()
    with pytest.raises(hs.HalfstepError, match="no noise"):
        saved.predict("Zoë 003", "пьеса 01", interval=0.9)


# ------------------------------------------------------------------------ evaluate


def test_evaluate_by_folds_and_splits(run, clicks):
    ratings = hs.read_ratings(clicks)
    told = _told(run("evaluate", clicks, "--implicit", "--rank", 4, "--folds", 3, "--json"))
    expected = [
        hs.evaluate(hs.ImplicitMF(4).fit(train), test, "ndcg@10", n_resamples=0)["ndcg@10"].value
        for train, test in hs.kfold(ratings, 3)
    ]
    assert [part["ndcg@10"] for part in told["parts"]] == expected
    assert told["mean"]["ndcg@10"] == pytest.approx(np.mean(expected))
    assert told["standard_error"]["ndcg@10"] == pytest.approx(np.std(expected, ddof=1) / 3**0.5)
    assert told["mean"]["ndcg@10"] > told["baselines"]["most popular"]["ndcg@10"]
    for split in ("random", "each-user", "leave-one-out", "users", "cold-user"):
        answer = run("evaluate", clicks, "--implicit", "--rank", 4, "--split", split)
        assert answer.code == 0, answer.err
        assert "most popular" in answer.out
    told = _told(run("evaluate", clicks, "--implicit", "--rank", 4, "--split", "users", "--json"))
    parts = hs.split_users(ratings, test=0.1, seed=0)
    asked = hs.ImplicitMF(4).fit(parts.train)
    asked = asked.with_rows(asked.fold_in(parts.given))
    found = hs.evaluate(asked, parts.test, "ndcg@10", n_resamples=0)
    assert told["parts"][0]["ndcg@10"] == found["ndcg@10"].value


def test_evaluate_a_saved_model(run, clicks, tmp_path):
    ratings = hs.read_ratings(clicks)
    train, test = hs.split_each_user(ratings, test=0.2)
    path = hs.ImplicitMF(4).fit(train).save(tmp_path / "m.safetensors")
    users, items, _ = (column.tolist() for column in test.to_arrays())
    table = _write(tmp_path / "test.csv", ["user", "item"], zip(users, items, strict=True))
    told = _told(run("evaluate", table, "--model", path, "--metrics", "map@5,auc", "--json"))
    found = hs.evaluate(hs.load(path), test, ["map@5", "auc"])
    for name in ("map@5", "auc"):
        assert told["metrics"][name]["value"] == pytest.approx(found[name].value)
    assert "NDCG" in run("evaluate", table, "--implicit", "--split", "random").out
    answer = run("evaluate", clicks, "--model", path)
    assert "known to the model" in answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--implicit", "--metrics", "rmse"), "--metrics rmse: is of ratings"),
        (("--implicit", "--cold", "users"), "--cold users"),
        (("--implicit", "--bayes"), "--bayes"),
        (("--implicit", "--relevant", 3), "--relevant 3"),
        (("--implicit", "--no-clip"), "--no-clip: has no effect with --implicit"),
        (("--implicit", "--metric", "foo"), "--metric foo: is not a metric"),
        (("--implicit", "--split", "time"), "time"),
        (("--implicit", "--folds", 1), "--folds 1"),
        (("--implicit", "--split", "each-user", "--test", 2), "--test 2"),
    ],
)
def test_bad_evaluations(run, clicks, arguments, words):
    answer = run("evaluate", clicks, *arguments)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert words in answer.err


def test_compare_solvers(run, clicks, tmp_path):
    command = ("compare-solvers", clicks, "--implicit", "--rank", 4, "--max-iter", 30)
    told = _told(run(*command, "--json"))
    assert [one["solver"] for one in told["solvers"]] == ["als-cholesky", "als-cg", "als-subspace"]
    assert told["parameters"]["rank"] == 4
    J = [one["objective"] for one in told["solvers"]]
    assert max(J) / min(J) < 1.05
    assert all(0 < one["heldout_score"] < 1 for one in told["solvers"])
    answer = run(*command, "--metric", "recall@5")
    assert "recall@5" in answer.out.replace("held out", "")
    answer = run(*command, "--solvers", "als,sgd")
    assert answer.code == 2
    assert "sgd" in answer.err


def test_demo(run, tmp_path):
    folder = tmp_path / "demo"
    told = _told(run("demo", "--implicit", "--folder", folder, "--json"))
    assert {path.name for path in folder.iterdir()} == {
        "seen.csv",
        "films.csv",
        "films.safetensors",
    }
    assert told["simulated"]["interactions"] == len(hs.read_ratings(folder / "seen.csv"))
    mine = told["fit"]["test"]["metrics"]["ndcg@10"]["value"]
    assert all(one["ndcg@10"] < mine for one in told["fit"]["test"]["baselines"].values())
    user = told["explain"]["user"]
    assert told["recommend"]["users"][0]["user"] == user
    shares = sum(one["contribution"] for one in told["explain"]["contributions"])
    assert told["explain"]["score"] == pytest.approx(told["explain"]["baseline"] + shares)
    answer = run("demo", "--implicit", "--folder", folder)
    assert answer.code == 2
    assert "seen.csv is there already" in answer.err
