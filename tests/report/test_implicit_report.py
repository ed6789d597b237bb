"""Reports of models of interactions: rankings in place of errors, what is recommended, words."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import halfstep as hs
from halfstep.baselines import fit_ranking_baselines, preferences
from halfstep.report.parts import Figure, Missing, Table
from halfstep.wording import percent


@pytest.fixture(autouse=True)
def _the_extra():
    for needed in ("altair", "vl_convert", "jinja2"):
        pytest.importorskip(needed)


def _parts(report):
    return {part.id: part for section in report.sections for part in section.parts}


@pytest.fixture(scope="module")
def clicks():
    """Four kinds of users and of items, with counts."""
    rng = np.random.default_rng(3)
    pairs = [
        (f"user <{user}>", f"item & {item}", int(rng.geometric(0.4)))
        for user in range(160)
        for item in {
            *(rng.permutation(20)[: 4 + user % 9] + 20 * (user % 4)),
            *rng.integers(0, 80, 2),
        }
    ]
    users, items, counts = zip(*pairs, strict=True)
    return hs.Ratings.from_arrays(users, items, counts)


@pytest.fixture(scope="module")
def written(clicks, tmp_path_factory):
    from halfstep.report import write_report

    train, valid = hs.split_each_user(clicks, test=0.1)
    model = hs.ImplicitMF(4, confidence="log").fit(train, validation=valid)
    path = tmp_path_factory.mktemp("implicit") / "r.html"
    report = write_report(model, train, path)
    return model, train, path.read_text(encoding="utf-8"), report


def test_the_sections_are_those_of_rankings(written):
    _, _, text, report = written
    assert [section.id for section in report.sections] == [
        "ratings",
        "training",
        "rankings",
        "catalogue",
        "axes",
        "examples",
    ]
    parts = _parts(report)
    drawn = ("long-tail", "counts", "scale", "objective", "scores-by-sweep", "ndcg-10", "recall-20")
    for name in (*drawn, "ranking-by-user", "coverage", "popularity", "spectrum", "map"):
        assert isinstance(parts[name], Figure), name
    assert isinstance(parts["similar"], Table)
    ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    body = re.sub(r"<style>.*?</style>|<[^>]*>", "", text, flags=re.S)
    assert not re.search(r"\brat(ing|ed)|RMSE|\bMAE", body)


def test_what_is_measured(written):
    model, train, _, report = written
    part, test = hs.split_each_user(train, test=0.1, seed=0)
    copy = model.settled().fit(part)
    named = {**fit_ranking_baselines(part).models, "this model": copy}
    assert set(report.rankings) == set(named)
    for name, one in named.items():
        found = hs.evaluate(
            one, preferences(test), ["ndcg@10", "recall@20"], train=part, n_resamples=0
        )
        assert report.rankings[name] == {m: figure.value for m, figure in found.items()}
    mine = report.rankings["this model"]["ndcg@10"]
    assert dict(report.facts)["held-out NDCG@10"] == f"{mine:.4f}"
    assert f"The model's NDCG@10 is {mine:.4f} (95% interval " in _parts(report)["ndcg-10"].sentence
    assert report.as_dict()["errors"] is None
    best = model.trace_[model.best_iter_ - 1].validation_score
    assert f"highest, {best:.4f}, after sweep {model.best_iter_}" in (
        _parts(report)["scores-by-sweep"].sentence
    )


def test_what_is_recommended(written):
    model, train, _, report = written
    listed = model.recommend(n=10).found
    covered = len(np.unique(listed)) / train.shape[1]
    assert f"The lists name {percent(covered)} of the items" in _parts(report)["coverage"].sentence
    had = np.bincount(train.by_user.indices, minlength=train.shape[1])
    tenth = np.argsort(-had, kind="stable")[: train.shape[1] // 10]
    share = np.isin(model.factors_.item_ids.lookup(listed), tenth).mean()
    assert f"and {percent(share)} of the places" in _parts(report)["popularity"].sentence


@pytest.mark.parametrize("scaling", ["frequency", "count", "none"])
@pytest.mark.parametrize("ending", [".html", ".png", ".pdf"])
def test_other_models_and_endings(clicks, tmp_path, scaling, ending):
    from halfstep.report import write_report

    biased = {"biases": True} if scaling == "count" else {}
    model = hs.ImplicitMF(2, reg_scaling=scaling, max_iter=2, **biased).fit(clicks)
    path = tmp_path / f"r{ending}"
    report = write_report(model, clicks, path)
    assert path.stat().st_size > 5000
    assert "α₀ = 0.1" in report.told
    assert isinstance(_parts(report)["scores-by-sweep"], Missing)


def test_small_and_exhausted_tables(tmp_path):
    from halfstep.report import write_report

    one = hs.Ratings.from_arrays(["ann"], ["b"])
    report = write_report(hs.ImplicitMF(1).fit(one), one, tmp_path / "one.html")
    parts = _parts(report)
    assert "too few to hold 10% of them out" in parts["ranking-baselines"].why
    assert isinstance(parts["coverage"], Missing)
    assert report.rankings is None
    assert "scale" not in parts
    pairs = [(u, i) for u in range(6) for i in range(5)]
    full = hs.Ratings.from_arrays(*zip(*pairs, strict=True))
    report = write_report(hs.ImplicitMF(2).fit(full), full, tmp_path / "full.html")
    assert isinstance(_parts(report)["coverage"], Missing)
    hated = hs.Ratings.from_arrays([0, 0, 1, 1, 1], [0, 1, 0, 1, 2], [1, -1, -1, -1, 1])
    write_report(hs.ImplicitMF(1).fit(hated), hated, tmp_path / "hated.html")


def test_fit_writes_a_report(clicks, tmp_path, capsys):
    from halfstep.cli import main

    table, page = tmp_path / "clicks.csv", tmp_path / "r.html"
    users, items, _ = (column.tolist() for column in clicks.to_arrays())
    rows = "\n".join(f"{u},{i}" for u, i in zip(users, items, strict=True))
    table.write_text(f"user,item\n{rows}\n")
    command = ["fit", table, "-o", tmp_path / "m.safetensors", "--implicit", "--rank", "4"]
    assert main([str(word) for word in (*command, "--report", page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "Validation by sweep" in text
    assert "which the fit" not in text
    model = str(tmp_path / "m.safetensors")
    again = tmp_path / "again.html"
    assert main(["report", model, "--ratings", str(table), "-o", str(again), "--json"]) == 0
    assert '"rankings": {"most popular"' in capsys.readouterr().out


@pytest.mark.parametrize("metric", ["ndcg@10", "auc"])
def test_a_model_that_ranks_positives_is_reported(clicks, tmp_path, metric):
    from halfstep.report import write_report

    train, valid = hs.split_each_user(clicks, test=0.1)
    model = hs.RankingMF(4, reg=0.01, max_iter=2, metric=metric).fit(train, validation=valid)
    report = write_report(model, train, tmp_path / "r.html")
    assert "λ = 0.01 for users, 0.01 for items" in (tmp_path / "r.html").read_text(encoding="utf-8")
    parts = _parts(report)
    assert isinstance(parts["scores-by-sweep"], Figure)
    assert isinstance(parts["ndcg-10"], Figure)
