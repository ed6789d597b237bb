"""Reports of Bayesian models: the chains, intervals without calibration, features, small tables."""

from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
from halfstep.report.parts import Figure, Missing, Table


@pytest.fixture(autouse=True)
def _the_extra():
    for needed in ("altair", "vl_convert", "jinja2"):
        pytest.importorskip(needed)


def _parts(report):
    return {part.id: part for section in report.sections for part in section.parts}


def _written(model, ratings, tmp_path, **named):
    from halfstep.report import write_report

    path = tmp_path / "r.html"
    report = write_report(model, ratings, path, **named)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    return report


@pytest.fixture(scope="module")
def chains(made):
    return hs.BayesianMF(3, samples=20, burn_in=10, chains=2, seed=4).fit(made.ratings)


def test_the_chains_are_shown(chains, made, tmp_path):
    report = _written(chains, made.ratings, tmp_path, titles=made.titles)
    parts = _parts(report)
    assert "2 chains of 20 draws after 10 sweeps of burn-in" in parts["objective"].sentence
    assert "20 draws after 10 sweeps of burn-in in each of 2 chains" in report.told
    assert f"{float(np.mean(chains.record_.sigma)):.4g}" in parts["noise"].sentence
    table = parts["convergence"]
    assert isinstance(table, Table)
    summary = chains.chain_summary()
    told = {row[0]: row for row in table.rows}
    assert {"σ", "J", summary.worst().names[0]} <= set(told)
    assert told["σ"][6] == f"{summary.rhat[0]:.3f}"
    assert summary.verdict[1:] in table.sentence
    for name in ("coverage", "pit", "certainty-by-user", "width", "map", "similar"):
        assert isinstance(parts[name], (Figure, Table)), parts[name]
    # the copy that is measured is a sampler too
    train, test = hs.split_random(made.ratings, test=0.1, seed=0)
    copy = hs.BayesianMF(3, samples=20, burn_in=10, chains=2, seed=4).fit(train)
    assert report.errors["this model"][0] == copy.rmse(test)


def test_intervals_need_no_calibration(chains, made, tmp_path):
    parts = _parts(_written(chains, made.ratings, tmp_path))
    train, test = hs.split_random(made.ratings, test=0.1, seed=0)
    copy = chains.settled().fit(train)
    users, items, ratings = test.to_arrays()
    _, lower, upper = copy.predict(users, items, interval=0.9)
    share = np.mean((ratings >= lower) & (ratings <= upper))
    assert f"hold 90% of the ratings hold {share:.1%}" in parts["coverage"].sentence


def test_a_validated_sampler_shows_the_mean_of_its_draws(made, tmp_path):
    train, test = hs.split_random(made.ratings, test=0.2, seed=0)
    model = hs.BayesianMF(2, samples=8, burn_in=0).fit(train, validation=test)
    parts = _parts(_written(model, made.ratings, tmp_path, test=test))
    assert f"{model.trace_[-1].validation_rmse:.4f}" in parts["errors-by-sweep"].sentence
    assert "8 draws after 0 sweeps of burn-in" in parts["objective"].sentence


def test_j_that_moves_is_told():
    from halfstep.report.sections.sampling import _drift

    still = np.random.default_rng(0).normal(size=(2, 90))
    assert _drift(still) == "J stands still over them"
    assert "still falls over them, by 59" in _drift(still - np.arange(90))
    assert "still rises" in _drift(still + np.arange(90))
    assert _drift(np.ones((1, 2))) == "J stands still over them"


@pytest.mark.parametrize("ratings", [1, 2, 12])
def test_few_ratings_of_a_sampler(ratings, tmp_path):
    users = np.arange(ratings) // 3
    table = hs.Ratings.from_arrays(users, np.arange(ratings) % 3, np.arange(ratings) % 5 + 1)
    model = hs.BayesianMF(2, samples=4, burn_in=1).fit(table)
    parts = _parts(_written(model, table, tmp_path))
    assert isinstance(parts["objective"], Figure)
    if ratings == 1:
        assert isinstance(parts["baselines"], Missing)


@pytest.mark.parametrize("kind", [hs.BayesianMF, hs.ExplicitMF])
def test_features_of_a_model(kind, made, tmp_path):
    users = made.ratings.users.values
    table = {"user": users, "kind": (users % 3).astype(str)}
    sizes = {"samples": 6, "burn_in": 2} if kind is hs.BayesianMF else {"max_iter": 3, "tol": 0.0}
    model = kind(2, implicit_features=True, **sizes).fit(made.ratings, user_features=table)
    loaded = hs.load(model.save(tmp_path / "m.safetensors"))
    report = _written(loaded, made.ratings, tmp_path)
    train, test = hs.split_random(made.ratings, test=0.1, seed=0)
    copy = model.settled().fit(train, user_features=table)
    assert report.errors["this model"][0] == copy.rmse(test)
    parts = _parts(report)
    effects = model.feature_effects("user")
    weight = np.abs(effects.bias[:3])
    if effects.bias_std is not None:  # the clearest comes first
        weight = weight / effects.bias_std[:3]
    first = int(np.argmax(weight))
    assert f"«{effects.names[first]}», {effects.bias[first]:+.2g}" in parts["effects-user"].sentence
    assert ("two standard deviations" in parts["effects-user"].shown) == (kind is hs.BayesianMF)
    assert "implicit features alone" in parts["effects-item"].why


def test_features_that_were_not_saved_are_asked_for(made, tmp_path):
    users = made.ratings.users.values
    table = {"user": users, "kind": (users % 3).astype(str)}
    model = hs.BayesianMF(2, samples=6, burn_in=2).fit(made.ratings, user_features=table)
    bare = hs.load(model.save(tmp_path / "m.safetensors", history=False))
    assert "pass user_features=" in _parts(_written(bare, made.ratings, tmp_path))["baselines"].why
    report = _written(bare, made.ratings, tmp_path, user_features=table)
    assert report.errors == _written(model, made.ratings, tmp_path).errors


def test_the_command_reports_a_sampler(tmp_path, made, capsys):
    from halfstep.cli import main

    table = tmp_path / "ratings.csv"
    rows = zip(*(column.tolist() for column in made.ratings.to_arrays()), strict=True)
    table.write_text("user,item,rating\n" + "\n".join(",".join(map(str, row)) for row in rows))
    model = tmp_path / "m.safetensors"
    flags = ["--bayes", "--rank", "2", "--samples", "4", "--burn-in", "1"]
    page = tmp_path / "r.html"
    assert main(["fit", str(table), "-o", str(model), *flags, "--report", str(page)]) == 0
    assert "Have the chains converged?" in page.read_text(encoding="utf-8")
    assert main(["report", str(model), "--ratings", str(table), "-o", str(page)]) == 0
    assert "Have the chains converged?" in page.read_text(encoding="utf-8")
