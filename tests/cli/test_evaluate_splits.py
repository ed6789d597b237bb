"""`halfstep evaluate --split …`: the figures of the same split in Python; what is odd is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import halfstep as hs

SPLITS = {
    "random": lambda r: hs.split_random(r, test=0.2, seed=3),
    "time": lambda r: hs.split_by_time(r, test=0.2),
    "last": lambda r: hs.split_last(r, seed=3),
    "leave-one-out": lambda r: hs.split_leave_k_out(r, seed=3),
    "cold-user": lambda r: hs.split_cold(r, "user", test=0.2, seed=3),
    "cold-item": lambda r: hs.split_cold(r, "item", test=0.2, seed=3),
    "users": lambda r: hs.split_users(r, test=0.2, seed=3),
}


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    path = tmp_path_factory.mktemp("timed") / "ratings.csv"
    ratings = hs.simulate(80, 40, rank=3, ratings_per_user=15, min_per_user=5, seed=2).ratings
    rows = zip(*(column.tolist() for column in ratings.to_arrays()), strict=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["user", "item", "rating", "timestamp"])
        writer.writerows((*row, 900_000_000 + place * 37 % 1009) for place, row in enumerate(rows))
    return path


def options(split):
    share = () if split in ("last", "leave-one-out") else ("--test", 0.2)
    return "--split", split, *share, "--rank", 2, "--seed", 3


@pytest.mark.parametrize("split", SPLITS)
def test_one_split(run, timed, split):
    answer = run("evaluate", timed, *options(split), "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    ratings = hs.read_ratings(timed)
    parts = SPLITS[split](ratings)
    assert told["split"] == split
    assert told["parts"]["train"] == len(parts[0])
    assert told["parts"]["test"] == len(parts[-1])
    assert sum(told["parts"].values()) == len(ratings)
    model = hs.ExplicitMF(rank=2, reg="auto", seed=3).fit(parts[0])
    if split == "users":
        model = model.with_rows(model.fold_in(parts.given))
    assert told["rmse"] == model.rmse(parts[-1], clip=True)
    assert told["mae"] == model.mae(parts[-1], clip=True)
    if split != "users":
        assert told["baseline_rmse"] == hs.baseline_rmse(parts[0], parts[-1], clip=True)
    counts = told["unknown"]
    assert (counts["users"] == len(parts[-1])) == (split == "cold-user")
    assert (counts["items"] == len(parts[-1])) == (split == "cold-item")


@pytest.mark.parametrize("split", SPLITS)
def test_one_split_for_a_person(run, timed, split):
    answer = run("evaluate", timed, *options(split))
    assert answer.code == 0, answer.err
    assert "held out" in answer.out
    assert "of one split" in " ".join(answer.out.split())
    assert all(len(line) <= 80 for line in answer.out.splitlines())


def test_the_baselines_are_clipped_as_the_model_is(run, tmp_path):
    """Not to be clipped would be their handicap: a lone user who loves loved items is beyond 5."""
    users, items, r = hs.simulate(60, 30, rank=2, ratings_per_user=10, seed=1).ratings.to_arrays()
    path = tmp_path / "r.csv"
    r = np.where(r > 3.5, 5, 1)
    path.write_text(
        "user,item,rating\n" + "\n".join(map("{},{},{}".format, users, items, r.tolist()))
    )
    train, test = hs.split_random(hs.read_ratings(path), test=0.1, seed=0)
    clipped, not_clipped = (hs.baseline_rmse(train, test, clip=clip) for clip in (True, False))
    assert clipped["biases only"] < not_clipped["biases only"]
    assert clipped["biases only"] == hs.Biases().fit(train).rmse(test, clip=True)
    asked = ("evaluate", path, "--split", "random", "--rank", 1, "--json")
    assert json.loads(run(*asked).out)["baseline_rmse"] == clipped
    assert json.loads(run(*asked, "--no-clip").out)["baseline_rmse"] == not_clipped


def test_the_baselines_know_the_given_ratings(run, timed):
    """The mean of a held-out user is known from what is folded in, to biases as to factors."""
    told = json.loads(run("evaluate", timed, *options("users"), "--json").out)
    split = SPLITS["users"](hs.read_ratings(timed))
    without = hs.baseline_rmse(split.train, split.test)
    assert told["baseline_rmse"]["biases only"] < without["biases only"]


def test_the_default_is_cross_validation(run, timed):
    plain = json.loads(
        run("evaluate", timed, "--rank", 2, "--reg", 0.1, "--folds", 2, "--json").out
    )
    named = run(
        "evaluate", timed, "--rank", 2, "--reg", 0.1, "--folds", 2, "--split", "kfold", "--json"
    )
    figures = json.loads(named.out)["cross_validation"]
    assert figures["mean"]["rmse"] == plain["cross_validation"]["mean"]["rmse"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--split", "time", "--folds", 3), "--folds 3: has no effect with --split time"),
        (("--split", "users", "--file-order"), "--file-order: has no effect with --split users"),
        (("--split", "last", "--test", 0.2), "--test 0.2: has no effect with --split last"),
        (("--test", 0.2), "--test 0.2: has no effect with --split kfold"),
        (("--split", "random", "--test", 2), "--test 2.0: must be a share between 0 and 1"),
        (("--split", "best"), "best"),
    ],
)
def test_odd_combinations(run, timed, flags, named):
    answer = run("evaluate", timed, *flags)
    assert answer.code == 2
    assert named in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("flag", [("--split", "time"), ("--test", 0.2)])
def test_a_saved_model_is_not_split(run, files, flag):
    answer = run("evaluate", files.ratings, "--model", files.model, *flag)
    assert answer.code == 2
    assert f"{flag[0]} has no effect" in answer.err


def test_a_table_without_times(run, files):
    answer = run("evaluate", files.ratings, "--split", "time")
    assert answer.code == 2
    assert "needs the time of every rating; read it with --time" in answer.err
