"""Every command answers, as text that fits the terminal and as one JSON document."""

from __future__ import annotations

import csv
import functools
import itertools
import json
import re
import shlex

import numpy as np
import pytest

import halfstep as hs
from halfstep.cli import COMMANDS
from halfstep.wording import error_text


def _json(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def _fits(answer, width=80):
    assert answer.code == 0, answer.err
    assert all(len(line) <= width for line in answer.out.splitlines()), answer.out
    return answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help(run, command):
    out = _fits(run(command, "--help"))
    assert COMMANDS[command] in out
    assert f"For example:\n    halfstep {command}" in out


def test_help_of_all(run):
    out = _fits(run("--help"))
    assert all(command in out for command in COMMANDS)
    assert run().out == out


def test_version(run):
    assert run("--version").out.strip() == hs.__version__


def test_help_shows_the_models_own_defaults(run):
    model = hs.ExplicitMF()
    out = " ".join(run("fit", "--help").out.replace("│", " ").split())
    for flag, value in (
        ("rank", "auto"),
        ("reg", "auto"),
        ("max-iter", model.max_iter),
        ("tol", model.tol),
    ):
        assert (
            f"[default: {value}]"
            in re.split(rf"--{flag} (?=INT|FLOAT|TEXT|STR)", out)[1].split("--")[0]
        )


# --------------------------------------------------------------------------- fit


def test_fit(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    out = _fits(run("fit", files.ratings, "-o", path, "--rank", 3))
    for words in ("users × items", "global mean", "biases only", "this model", "refit", "saved"):
        assert words in out
    assert hs.load(path).rank == 3


def test_fit_document(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    reg = ("--rank", 4, "--reg", "0.1,0.2,0.05")
    told = _json(run("fit", files.ratings, "-o", path, *reg, "--json"))
    model = hs.load(path)
    assert told["refit"]["sweeps"] <= told["fit"]["best_sweep"] == model.max_iter
    assert (
        told["refit"]["ratings"]
        == told["data"]["ratings"]
        == sum(told["split"][part] for part in ("train", "valid", "test"))
    )
    assert set(told["test"]["baselines"]) == {"global mean", "biases only", "item-kNN"}
    assert model.reg == (0.1, 0.2, 0.05)
    assert model.history_ is not None


def test_fit_is_the_library(run, files, tmp_path):
    """The figures are those of the same steps in Python, and the bits of the model too."""
    path = tmp_path / "m.safetensors"
    told = _json(run("fit", files.ratings, "-o", path, "--rank", 4, "--reg", 0.1, "--json"))
    ratings = hs.read_ratings(files.ratings)
    train, valid, test = hs.split_random(ratings, valid=0.1, test=0.1, seed=0)
    model = hs.ExplicitMF(rank=4).fit(train, validation=valid)
    assert told["test"]["rmse"] == model.rmse(test)
    measured = told["test"]["baselines"]
    expected = hs.baseline_rmse(train, test)
    assert {name: measured[name]["rmse"] for name in expected} == expected
    assert measured["item-kNN"]["mae"] == hs.ItemKNN().fit(train).mae(test)
    again = hs.ExplicitMF(rank=4, max_iter=model.best_iter_, tol=0).fit(ratings)
    saved = hs.load(path)
    assert saved.factors_.user_factors.tobytes() == again.factors_.user_factors.tobytes()


def test_fit_fast_is_the_library(run, files, tmp_path):
    """Chosen on the training part, measured on the test part, fitted again on everything."""
    path = tmp_path / "m.safetensors"
    told = _json(run("fit", files.ratings, "-o", path, "--fast", "--json"))
    ratings = hs.read_ratings(files.ratings)
    train, test = hs.split_random(ratings, test=0.1, seed=0)
    model = hs.ExplicitMF(rank="auto", reg="auto")
    found = hs.select(train, model=model)
    assert told["selection"]["trials"] | {"seconds": 0} == found.to_dict() | {"seconds": 0}
    assert told["test"]["rmse"] == model.fit(train, selection=found).rmse(test)
    again = hs.ExplicitMF(**found.parameters).fit(ratings)
    saved = hs.load(path)
    assert saved.factors_.user_factors.tobytes() == again.factors_.user_factors.tobytes()
    assert saved.selection_.chosen.rank == saved.rank_ == found.chosen.rank
    assert saved.objective_.reg == found.chosen.reg
    out = _fits(run("fit", files.ratings, "-o", path, "--fast"))
    assert "lowest of" in out
    assert "chosen" in out


def test_fit_chooses_what_is_not_given(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    told = _json(run("fit", files.ratings, "-o", path, "--rank", 3, "--json"))
    assert set(told["selection"]["trials"]["rank"]) == {3}
    told = _json(run("fit", files.ratings, "-o", path, "--reg", 0.1, "--json"))
    assert set(told["selection"]["trials"]["reg_user"]) == {0.1}
    assert set(told["selection"]["trials"]["reg_scaling"]) == {"count"}


def test_fit_in_a_budget(run, files, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    hurried = functools.partial(run, "fit", files.ratings, "-o", path, "--budget")
    answer = hurried("0.000001")
    assert answer.code == 2
    assert "halfstep: error: --budget 1e-06: was over before one setting was tried" in answer.err
    ticks = itertools.count()
    for module in ("halfstep.selection.budget", "halfstep.training"):  # a clock of looks at it
        monkeypatch.setattr(f"{module}.perf_counter", lambda: next(ticks) / 1000)
    told = _json(hurried("3s", "--json"))
    assert told["selection"]["stopped"] == "budget"
    assert hs.load(path).selection_.stopped == "budget"
    answer = run("fit", files.ratings, "-o", path, "--budget", "soon")
    assert answer.code == 2
    assert "--budget soon" in answer.err


def test_select(run, files):
    told = _json(run("select", files.ratings, "--max-rank", 8, "--json"))
    found = hs.select(hs.read_ratings(files.ratings), max_rank=8)
    assert told["selection"]["trials"] | {"seconds": 0} == found.to_dict() | {"seconds": 0}
    assert told["parameters"]["rank"] == found.chosen.rank <= 8
    rule = ("--rule", "one-standard-error", "--folds", 2)
    answer = run("select", files.ratings, *rule)
    lines = answer.out.splitlines()
    assert all(len(line) <= 80 for line in lines if not line.startswith("$ ")), answer.out
    assert "simplest" in answer.out
    answer = run("select", files.ratings, "--rank", 3, "--reg", 0.1)
    assert answer.code == 2
    assert "nothing is to be chosen" in answer.err
    for command, flag in (("select", "--max-rank"), ("select", "--folds"), ("evaluate", "--folds")):
        answer = run(command, files.ratings, flag, 2.5)
        assert answer.code == 2
        assert f"{flag} 2.5: must be an integer" in answer.err


def test_what_select_prints_can_be_run(run, files, tmp_path):
    out = run("select", files.ratings, "--max-rank", 4).out
    command = out[out.index("$ halfstep") :].split()[2:]
    told = _json(run(*command, "-o", tmp_path / "m.safetensors", "--json"))
    assert told["fit"]["sweeps"] == int(command[command.index("--max-iter") + 1])


def test_what_select_prints_says_all(run, files, tmp_path):
    """Quoted for the shell, with whatever was given, so that it fits the model that was chosen."""
    table = tmp_path / "my ratings.csv"
    lines = files.ratings.read_text().splitlines()
    table.write_text("\n".join(["who;what;how much", *(x.replace(",", ";") for x in lines[1:])]))
    given = ("--rating", "how much", "--user", "who", "--item", "what", "--sep", ";", "--seed", 4)
    model = ("--no-biases", "--dtype", "float64", "--reg", "0.12345678")
    out = run("select", table, *given, *model, "--max-rank", 4).out
    command = shlex.split(out[out.index("$ halfstep") :])[2:]
    told = _json(run(*command, "--test", 0, "-o", tmp_path / "m.safetensors", "--json"))
    kept = {"biases": False, "dtype": "float64", "seed": 4, "reg": [0.12345678] * 3}
    assert told["parameters"] | kept == told["parameters"]
    ratings = hs.read_ratings(table, user="who", item="what", rating="how much")
    unfitted = hs.ExplicitMF("auto", reg=0.12345678, biases=False, dtype="float64", seed=4)
    found = hs.select(ratings, model=unfitted, max_rank=4, seed=4)
    expected = hs.ExplicitMF(**unfitted.get_params() | found.parameters).fit(ratings)
    saved = hs.load(tmp_path / "m.safetensors")
    assert saved.factors_.item_factors.tobytes() == expected.factors_.item_factors.tobytes()


def test_what_select_prints_is_the_same_model_of_the_same_table(run, files, tmp_path):
    odd = tmp_path / "my ratings.txt"
    odd.write_text(files.ratings.read_text().replace(",", ";"))
    given = ("--max-rank", 4, "--no-biases", "--seed", 3, "--solver", "als-cg", "--sep", ";")
    told = _json(run("select", odd, *given, "--json"))
    out = run("select", odd, *given).out
    (printed,) = (line for line in out.splitlines() if line.startswith("$ halfstep"))
    command = shlex.split(printed)[2:]
    saved = tmp_path / "m.safetensors"
    assert run(*command, "-o", saved, "--json").code == 0
    model = hs.load(saved)
    assert (model.biases, model.seed, model.solver) == (False, 3, "als-cg")
    assert model.rank_ == told["parameters"]["rank"]


def test_fit_nonnegative(run, files, tmp_path):
    saved = tmp_path / "m.safetensors"
    answer = run("fit", files.ratings, "-o", saved, "--rank", 3, "--nonnegative", "--max-iter", 3)
    assert answer.code == 0, answer.err
    model = hs.load(saved)
    assert model.nonnegative
    assert model.factors_.user_factors.min() == 0
    wrong = run("fit", files.ratings, "-o", saved, "--nonnegative", "--solver", "als-cg")
    assert wrong.code == 2
    assert "linear=" in wrong.err


@pytest.mark.parametrize(
    ("valid", "test", "parts"), [(0, 0.1, {"test"}), (0.1, 0, {"valid"}), (0, 0, set())]
)
def test_fit_without_parts(run, files, tmp_path, valid, test, parts):
    arguments = ("--valid", valid, "--test", test, "--rank", 2, "--reg", 0.1)
    path = tmp_path / "m.safetensors"
    told = _json(run("fit", files.ratings, "-o", path, *arguments, "--json"))
    assert {part for part in ("valid", "test") if told["split"][part]} == parts
    assert ("test" in told) == bool(test)
    assert ("refit" in told) == bool(parts)
    _fits(run("fit", files.ratings, "-o", path, *arguments))


def test_fit_no_refit_no_history(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    told = _json(run("fit", files.ratings, "-o", path, "--no-refit", "--no-history", "--json"))
    assert "refit" not in told
    assert hs.load(path).history_ is None
    answer = run("recommend", path, "--user", 1)
    assert answer.code == 2
    assert "--include-seen" in answer.err
    assert run("recommend", path, "--user", 1, "--include-seen").code == 0
    assert "--no-history" in run("explain", path, "--user", 1, "--item", 3).err


# ---------------------------------------------------------------------- evaluate


def test_evaluate(run, files):
    out = _fits(run("evaluate", files.ratings, "--folds", 3, "--rank", 2))
    assert "mean" in out
    assert "over 3 folds" in out


@pytest.mark.parametrize("flags", [[], ["--file-order", "--no-clip", "--seed", "5"]])
def test_evaluate_document(run, files, flags):
    given = ("--rank", 2, "--reg", 0.1)
    told = _json(run("evaluate", files.ratings, "--folds", 3, *given, *flags, "--json"))
    ratings = hs.read_ratings(files.ratings, keep_order=True)
    seed = 5 if flags else 0
    expected = hs.cross_validate(
        hs.ExplicitMF(rank=2, seed=seed),
        ratings,
        3,
        seed=seed,
        order="file" if flags else "sorted",
        clip=not flags,
    )
    assert told["cross_validation"]["mean"]["rmse"] == expected.mean("rmse")
    assert len(told["cross_validation"]["folds"]) == 3


def test_evaluate_metrics_of_a_saved_model(run, files, tmp_path):
    others = tmp_path / "others.csv"  # the same people and items, mostly other pairs of them
    rows = zip(*hs.simulate(120, 80, rank=3, seed=4).ratings.to_arrays(), strict=True)
    others.write_text("user,item,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
    flags = ("--model", files.model, "--metrics", "rmse,precision@5", "--relevant", 3)
    told = _json(run("evaluate", others, *flags, "--json"))["metrics"]
    model, ratings = hs.load(files.model), hs.read_ratings(others)
    expected = hs.evaluate(model, ratings, ["rmse", "precision@5"], relevant=3, clip=True)
    assert told["precision@5"]["value"] == expected["precision@5"].value > 0
    assert told["rmse"]["value"] == expected["rmse"].value
    assert "precision@5" in _fits(run("evaluate", others, *flags))
    for flags in (("--metrics", "rmse"), ("--model", files.model, "--relevant", 3)):
        answer = run("evaluate", others, *flags)
        assert answer.code == 2
        assert "has no effect" in answer.err


def test_fit_with_a_report(run, files, tmp_path):
    page, model = tmp_path / "report.html", tmp_path / "m.safetensors"
    flags = ("--report", page, "--items", files.titles, "--rank", 3, "--reg", 0.1)
    told = _json(run("fit", files.ratings, "-o", model, *flags, "--json"))
    assert told["report"] == str(page)
    text = page.read_text(encoding="utf-8")
    assert error_text(told["test"]["rmse"]) in text
    assert "Café :star: (1950)" in text
    wrong = run("fit", files.ratings, "-o", model, "--report", tmp_path / "report.doc")
    assert wrong.code == 2
    assert ".doc" in wrong.err


def test_evaluate_a_saved_model(run, files):
    told = _json(run("evaluate", files.ratings, "--model", files.model, "--json"))
    ratings = hs.read_ratings(files.ratings)
    assert told["rmse"] == hs.load(files.model).rmse(ratings, clip=True)
    assert told["fitted_on"] == told["ratings"] == len(ratings)
    answer = run("evaluate", files.ratings, "--model", files.model)
    assert "the error is too low" in answer.err
    _fits(answer)


# ------------------------------------------------------------------ model's answers


def test_predict_one(run, files):
    told = _json(run("predict", files.model, "--user", 1, "--item", 3, "--json"))
    expected = hs.load(files.model).predict(1, 3)
    assert told["predictions"] == [
        {"user": 1, "item": 3, "prediction": expected, "user_known": True, "item_known": True}
    ]
    assert f"{expected:.3f}" in _fits(run("predict", files.model, "--user", 1, "--item", 3))


def test_predict_a_table_in_its_order(run, files, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user,item\n7,3\n1,5\n99999,5\n1,5\n1,2\n")
    told = _json(run("predict", files.model, pairs, "--json"))["predictions"]
    asked = [(7, 3), (1, 5), (99999, 5), (1, 5), (1, 2)]
    assert [(row["user"], row["item"]) for row in told] == asked
    assert [row["user_known"] for row in told] == [True, True, False, True, True]
    model = hs.load(files.model)
    expected = model.predict(asked)
    np.testing.assert_allclose([row["prediction"] for row in told], expected, rtol=1e-6)

    told = _json(run("predict", files.model, pairs, "--unknown", "nan", "--json"))["predictions"]
    assert told[2]["prediction"] is None
    answer = run("predict", files.model, pairs, "--unknown", "error")
    assert answer.code == 2
    assert "99999" in answer.err


def test_predict_rows_without_an_id(run, files, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user,item\n7,3\n,5\n1,2\n")
    answer = run("predict", files.model, pairs)
    assert answer.code == 2
    assert "missing id in row 2" in answer.err
    told = _json(run("predict", files.model, pairs, "--invalid", "drop", "--json"))["predictions"]
    assert [(row["user"], row["item"]) for row in told] == [(7, 3), (1, 2)]


def test_predict_other_columns(run, files, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("what,who\n3,7\n5,1\n")
    flags = ("--user-column", "who", "--item-column", "what", "--clip")
    told = _json(run("predict", files.model, pairs, *flags, "--json"))["predictions"]
    assert [(row["user"], row["item"]) for row in told] == [(7, 3), (1, 5)]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_predictions_and_recommendations_as_files(run, files, tmp_path, kind):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user,item\n7,3\n1,5\n")
    made = tmp_path / f"predictions.{kind}"
    _fits(run("predict", files.model, pairs, "-o", made), 200)
    assert [row[:2] for row in _rows(made)] == [(7, 3), (1, 5)]
    made = tmp_path / f"recommended.{kind}"
    told = _json(
        run(
            "recommend",
            files.model,
            "--all",
            "-n",
            2,
            "--items",
            files.titles,
            "-o",
            made,
            "--json",
        )
    )
    ranked = hs.load(files.model).recommend(n=2)
    rows = _rows(made)
    assert told["rows"] == len(rows) == len(ranked.found)
    assert [(user, item) for user, _, item, _, _ in rows] == [(u, i) for u, i, _ in ranked]
    np.testing.assert_allclose([row[-1] for row in rows], ranked.scores, rtol=1e-6)


def _rows(path):
    if path.suffix == ".jsonl":
        return [tuple(json.loads(line).values()) for line in path.read_text("utf-8").splitlines()]
    if path.suffix == ".parquet":
        import duckdb

        return duckdb.sql(f"FROM '{path}'").fetchall()
    with open(path, encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))[1:]
    return [tuple(_number(cell) for cell in row) for row in found]


def _number(text):
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def test_recommend(run, files):
    model = hs.load(files.model)
    told = _json(run("recommend", files.model, "--user", 1, "--user", 7, "-n", 4, "--json"))
    assert [entry["user"] for entry in told["users"]] == [1, 7]
    for entry in told["users"]:
        found = [(row["item"], row["score"]) for row in entry["items"]]
        assert found == model.recommend([entry["user"]], 4)[entry["user"]]
    out = _fits(run("recommend", files.model, "--user", 1, "--items", files.titles))
    assert "[bold]A film with a title" in out
    assert "…" in out


def test_titles_are_text(run, files):
    """Neither markup nor an emoji's name in a title is anything but text."""
    out = run(
        "recommend",
        files.model,
        "--user",
        1,
        "--items",
        files.titles,
        "--allow",
        3,
        "--include-seen",
    ).out
    assert "Café :star: (1950)" in out


def test_recommend_users_and_items_from_files(run, files, tmp_path):
    users, items = tmp_path / "users.txt", tmp_path / "items.txt"
    users.write_text("7\n\n1\n")
    items.write_text("3\n4\n5\n")
    flags = ("--users", users, "--allow", f"@{items}", "--deny", "4", "--include-seen", "--json")
    told = _json(run("recommend", files.model, *flags))
    assert [entry["user"] for entry in told["users"]] == [7, 1]
    assert all({row["item"] for row in entry["items"]} == {3, 5} for entry in told["users"])
    answer = run("recommend", files.model, "--user", 1, "--allow", "3,nosuch")
    assert "nosuch" in answer.err
    assert answer.code == 0


def test_recommend_nothing_left(run, files):
    answer = run("recommend", files.model, "--user", 1, "--allow", 3, "--deny", 3)
    assert "no item is left" in answer.out


def test_similar(run, files):
    model = hs.load(files.model)
    told = _json(run("similar", files.model, "--item", 3, "-n", 4, "--json"))
    assert [(r["item"], r["likeness"]) for r in told["similar"]] == model.similar_items(3, 4)[3]
    told = _json(run("similar", files.model, "--user", 1, "-n", 4, "--json"))
    assert [(r["user"], r["likeness"]) for r in told["similar"]] == model.similar_users(1, 4)[1]
    _fits(run("similar", files.model, "--item", 3, "--items", files.titles))


def test_similar_by_title(run, files):
    told = _json(run("similar", files.model, "--item", "CAFÉ", "--items", files.titles, "--json"))
    assert told["item"] == 3
    answer = run("similar", files.model, "--item", "far too long", "--items", files.titles)
    assert answer.code == 2
    assert "pass the id of one" in answer.err
    assert answer.err.count("\n") == 1


def test_explain(run, files):
    model = hs.load(files.model)
    told = _json(run("explain", files.model, "--user", 1, "--item", 3, "--json"))
    total = told["baseline"] + sum(row["contribution"] for row in told["contributions"])
    assert total == pytest.approx(told["score"])
    assert told["score"] == pytest.approx(model.predict(1, 3), abs=1e-4)
    out = _fits(
        run("explain", files.model, "--user", 1, "--item", "café", "--items", files.titles, "-n", 3)
    )
    assert "other ratings" in out


# ----------------------------------------------------------------- demo and doctor


def test_demo(run, tmp_path):
    folder = tmp_path / "demo"
    out = _fits(run("demo", "--folder", folder))
    for words in ("$ halfstep fit", "this model", "$ halfstep recommend", "$ halfstep explain"):
        assert words in out
    assert {p.name for p in folder.iterdir()} == {
        "ratings.csv",
        "films.csv",
        "films.safetensors",
    }
    answer = run("demo", "--folder", folder)
    assert answer.code == 2
    assert "is there already" in answer.err


def test_demo_document(run):
    told = _json(run("demo", "--json"))
    error = told["fit"]["test"]
    assert error["rmse"] < error["baselines"]["biases only"]["rmse"]
    assert told["explain"]["item"] == told["recommend"]["users"][0]["items"][0]["item"]


def test_doctor(run):
    assert "FAIL" not in _fits(run("doctor"), 10**6)
    told = _json(run("doctor", "--json"))
    assert told["passed"]
    assert told["versions"]["halfstep"] == hs.__version__


def test_doctor_fails_with_exit_code_1(run, monkeypatch):
    from halfstep.cli import doctor

    def broken():
        raise RuntimeError("broken")

    monkeypatch.setattr(doctor, "_CHECKS", {"a check": broken})
    answer = run("doctor")
    assert answer.code == 1
    assert "FAIL  a check: RuntimeError: broken" in answer.out
    assert json.loads(run("doctor", "--json").out)["passed"] is False


# --------------------------------------------------------------------- real data


def test_ml_100k(run, data_folder, tmp_path):
    path = tmp_path / "m.safetensors"
    told = _json(run("fit", data_folder / "ml-100k" / "u.data", "-o", path, "--json"))
    assert (told["data"]["users"], told["data"]["items"]) == (943, 1682)
    assert told["test"]["rmse"] < told["test"]["baselines"]["biases only"]["rmse"]


def test_ml_1m_titles(run, data_folder, tmp_path):
    path = tmp_path / "m.safetensors"
    ratings = data_folder / "ml-1m" / "ratings.parquet"
    _json(run("fit", ratings, "-o", path, "--rank", 8, "--max-iter", 5, "--json"))
    titles = data_folder / "ml-1m" / "movies.dat"
    out = _fits(run("similar", path, "--item", "toy story (", "--items", titles))
    assert "Toy Story (1995)" in out


# ----------------------------------------------------------------------------- solvers


@pytest.mark.parametrize(
    ("solver", "exact"), [("als", True), ("als-cholesky", True), ("als-cg", False)]
)
def test_a_solver_by_name(run, files, tmp_path, solver, exact):
    path = tmp_path / "m.safetensors"
    told = _json(run("fit", files.ratings, "-o", path, "--solver", solver, "--rank", 4, "--json"))
    assert told["parameters"]["solver"] == solver
    answer = _json(run("explain", path, "--user", 1, "--item", 3, "--json"))
    assert answer["exact"] is exact
    assert ("folded in" in run("explain", path, "--user", 1, "--item", 3).out) is not exact
    for name in ("als-cholesky", "als-cg", "als-subspace"):
        assert name in run("fit", "--help").out


def test_doctor_prints_the_rule(run):
    rule = _json(run("doctor", "--json"))["solver_als"]
    assert rule == {"rank ≤ 64": "Cholesky()", "rank > 64": "CG(steps=3, tol=0.0)"}
    assert all(part in _fits(run("doctor"), 10**6) for part in [*rule, *rule.values()])


def test_the_rank_may_grow(run, files, tmp_path):
    path = tmp_path / "m.safetensors"
    arguments = [
        "fit",
        files.ratings,
        "-o",
        path,
        "--rank",
        "grow",
        "--reg",
        0.3,
        "--max-iter",
        300,
    ]
    told = _json(run(*arguments, "--valid", 0, "--test", 0, "--json"))
    model = hs.load(path)
    assert model.rank == "grow"
    assert told["model"]["rank"] == model.rank_
    assert model.certificate().gap <= 1e-4
    split = _json(run(*arguments, "--json"))  # validation, test and refit
    assert split["refit"]["sweeps"] <= split["fit"]["best_sweep"]
