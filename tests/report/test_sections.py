"""What the sections say is what the data and the model are; what makes no sense is left out."""

import re
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from samples import decided, selection, with_time

import halfstep as hs
from halfstep.errors import DataError, NotFittedError, ParameterError, UnknownIdError
from halfstep.objectives import Reg
from halfstep.report import write_report
from halfstep.report.sections.certainty import tenths
from halfstep.report.sections.choice import choice_section, surface_chart
from halfstep.report.sections.ratings import _as_seconds, _spans
from halfstep.report.theme import COLOURS
from halfstep.wording import error_text, percent


@pytest.fixture
def write(tmp_path):
    """`write(model, ratings, …)`: the parts of the report by id."""
    for needed in ("altair", "vl_convert", "jinja2"):
        pytest.importorskip(needed)

    def written(*arguments, **named):
        report = write_report(*arguments, tmp_path / "report.html", **named)
        return {part.id: part for section in report.sections for part in section.parts}, report

    return written


def parts_of(made):
    return {part.id: part for section in made.report.sections for part in section.parts}


# -------------------------------------------------------------------------------- the ratings


def test_the_long_tail_is_counted(made):
    sentence = parts_of(made)["long-tail"].sentence
    for name, cells in (("items", made.ratings.by_item), ("users", made.ratings.by_user)):
        counts = sorted(np.diff(cells.indptr).tolist(), reverse=True)
        needed = next(k for k in range(len(counts) + 1) if 2 * sum(counts[:k]) >= sum(counts))
        assert f"{percent(needed / len(counts))} of the {name}" in sentence


def test_the_scale_is_counted(made, write):
    values = made.ratings.by_user.values.astype(np.float64)
    sentence = parts_of(made)["scale"].sentence
    levels, counts = np.unique(values, return_counts=True)
    most = f"{levels[np.argmax(counts)]:g} ({percent(counts.max() / len(values))})"
    assert f"is {most}; the mean is {values.mean():.3g}" in sentence
    rng = np.random.default_rng(0)
    fine = hs.Ratings.from_arrays(
        np.repeat(np.arange(20), 10), np.tile(np.arange(10), 20), rng.normal(size=200)
    )
    parts, _ = write(hs.ExplicitMF(rank=2).fit(fine), fine)
    low, middle, high = np.quantile(fine.by_user.values.astype(np.float64), (0.25, 0.5, 0.75))
    said = f"between {low:.4g} and {high:.4g}, the median is {middle:.4g}"
    assert said in parts["scale"].sentence


def test_the_busiest_month(made):
    sentence = parts_of(made)["activity"].sentence
    months = made.ratings.time.astype("datetime64[s]").astype("datetime64[M]")
    found, counts = np.unique(months, return_counts=True)
    assert found[np.argmax(counts)] == np.datetime64("2021-06")
    assert f"the busiest month (June 2021) has {percent(counts.max() / len(months))}" in sentence
    first, last = (months.dtype.type(t) for t in (months.min(), months.max()))
    assert str(first)[:4] in sentence
    assert str(last)[:4] in sentence


@pytest.mark.parametrize("unit", [1, 1e3, 1e6, 1e9])
def test_times_in_any_unit(unit):
    seconds = np.array([1_000_000_000, 1_100_000_000])
    assert _as_seconds(seconds * int(unit)).tolist() == seconds.tolist()


@pytest.mark.parametrize("times", [[1, 2, 3], [-5, 0, 7], [1e300, 1e301], [0, 2_000_000_000]])
def test_times_that_are_no_dates(times):
    assert _as_seconds(np.array(times)) is None


@pytest.mark.parametrize(
    ("days", "name"), [(2, "hour"), (50, "day"), (300, "week"), (1500, "month"), (40_000, "year")]
)
def test_spans_are_neither_too_many_nor_too_few(days, name):
    seconds = 86_400 * np.array([200, 200 + days // 3, 200 + days - 1])
    found, _, place, starts = _spans(seconds)
    assert found == name
    assert place[0] == 0
    assert (starts[place] <= seconds.astype("datetime64[s]")).all()
    assert (seconds.astype("datetime64[s]") < starts[place + 1]).all()
    if name == "week":
        assert {start.astype(object).weekday() for start in starts} == {0}


# --------------------------------------------------------------------------------- the error


def test_the_error_is_that_of_a_copy_that_has_not_seen_it(made):
    train, test = hs.split_random(made.ratings, test=0.1, seed=0)
    copy = hs.ExplicitMF(**made.model.selection_.parameters, seed=1).fit(train)
    assert made.report.errors["this model"] == (copy.rmse(test), copy.mae(test))
    for name, rmse in hs.baseline_rmse(train, test).items():
        assert made.report.errors[name][0] == pytest.approx(rmse, rel=1e-3)
    assert made.report.errors["this model"][0] > made.model.rmse(test)  # that would be too good
    facts = dict(made.report.facts)
    assert facts["held-out RMSE"] == error_text(copy.rmse(test))
    lead = next(s.lead for s in made.report.sections if s.id == "error")
    assert f"{len(test):,} ratings (10%, drawn at random with seed 0)" in lead


def test_a_test_part_of_ones_own(made, write):
    train, test = hs.split_random(made.ratings, test=0.2, seed=7)
    fitted = hs.ExplicitMF(rank=3, reg=0.06).fit(train)
    _, report = write(fitted, made.ratings, test=test)
    assert report.errors["this model"] == (fitted.rmse(test), fitted.mae(test))
    parts, report = write(made.model, made.ratings, test=test, measured=fitted)
    assert report.errors["this model"] == (fitted.rmse(test), fitted.mae(test))
    assert f"rank {made.model.rank_}" in report.title
    assert f"{error_text(fitted.rmse(test))}" in parts["baselines"].sentence
    lead = next(s.lead for s in report.sections if s.id == "error")
    assert f"{len(test):,} held-out ratings" in lead
    assert "fitted again" in lead


def test_a_validated_fit_is_the_trace_that_is_shown(made, write):
    train, valid, test = hs.split_random(made.ratings, test=0.1, valid=0.2, seed=7)
    first = hs.ExplicitMF(rank=4, reg=0.02).fit(train, validation=valid)
    parts, _ = write(made.model, made.ratings, test=test, measured=first)
    best = first.trace_[first.best_iter_ - 1].validation_rmse
    said = f"lowest, {error_text(best)}, after sweep {first.best_iter_}"
    assert said in parts["errors-by-sweep"].sentence
    assert "no validation part" in parts_of(made)["errors-by-sweep"].sentence


def test_errors_on_ratings_that_were_seen_are_refused(made, tmp_path):
    _, test = hs.split_random(made.ratings, test=0.2, seed=7)
    with pytest.raises(DataError, match="are among those that the model was fitted to"):
        write_report(made.model, made.ratings, tmp_path / "r.html", test=test)
    assert list(tmp_path.iterdir()) == []


def test_the_groups_are_those_of_the_evaluation(made):
    from halfstep.evaluation import error_by_activity

    train, test = hs.split_random(made.ratings, test=0.1, seed=0)
    copy = hs.ExplicitMF(**made.model.selection_.parameters, seed=1).fit(train)
    table = error_by_activity(copy, test, bins=8)
    sentence = parts_of(made)["error-by-user"].sentence
    assert f"{table.highest[-1]:,} have {table.rmse[-1]:.3g}" in sentence


def test_a_model_that_is_worse_than_a_baseline_says_so(write):
    rng = np.random.default_rng(0)
    noise = hs.Ratings.from_arrays(
        np.repeat(np.arange(30), 20), np.tile(np.arange(20), 30), rng.integers(1, 6, 600) * 1.0
    )
    parts, report = write(hs.ExplicitMF(rank=10, reg=0.001).fit(noise), noise)
    best = min(
        (name for name in report.errors if name != "this model"), key=lambda n: report.errors[n][0]
    )
    assert f"the baseline «{best}»" in parts["baselines"].sentence
    assert "below" not in parts["baselines"].sentence


# ------------------------------------------------------------------------- rank and λ


def test_the_choice_is_ringed_and_told(made):
    pytest.importorskip("altair")
    selected = selection()
    section = choice_section(selected)
    assert [part.id for part in section.parts] == ["surface-count", "surface-none", "trials"]
    chosen = selected.chosen
    assert section.parts[0].sentence.startswith(f"{selected.reason}. ")
    ringed = section.parts[0].chart.to_dict()["layer"][-1]
    datasets = section.parts[0].chart.to_dict()
    values = ringed["data"].get("values") or datasets["datasets"][ringed["data"]["name"]]
    assert values == [{"x": chosen.reg.user, "y": chosen.rmse}]
    assert section.parts[2].rows[0][0] == f"{chosen.rank} (chosen)"
    sampled = sum(trial.ratings < 3000 for trial in selected.trials)
    assert f"{sampled} of the trials were fitted to a sample" in section.lead


def test_final_fits_are_told_apart(tmp_path):
    """They are measured otherwise than the trials before: no line and no word mixes the two."""
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    from halfstep.report.picture import write_picture

    selected = decided()
    section = choice_section(selected)
    count, none, table = section.parts
    described = count.chart.to_dict()

    def rows(layer):
        data = layer["data"]
        return data["values"] if "values" in data else described["datasets"][data["name"]]

    finals = [trial for trial in selected.trials if trial.final]
    lines = [layer for layer in described["layer"] if layer["mark"]["type"] == "line"]
    drawn = {row["y"] for layer in lines for row in rows(layer)}
    assert drawn
    assert not drawn & {trial.rmse for trial in finals}
    (diamonds,) = [r for r in described["layer"] if r["mark"].get("shape") == "diamond"]
    assert [row["y"] for row in rows(diamonds)] == [trial.rmse for trial in finals]
    assert "Diamonds" in count.shown
    assert "Both final fits" in count.sentence
    assert "2 final fits, which decide" in section.lead
    # the other scaling has no final fit: its trials are compared with trials
    best = min(t.rmse for t in selected.trials if t.reg_scaling == "count" and not t.final)
    assert "Diamonds" not in none.shown
    assert f"against {best:.4f} with the other" in none.sentence
    assert table.rows[0][-1] == f"{selected.chosen.rmse:.4f} ± 0.0020"
    marks = [row[0].partition(" ")[2] for row in table.rows]
    assert marks[0] == "(chosen)"
    assert marks[1] == "(final)"
    assert not any(marks[2:])
    # one rank has one colour in both figures
    scales = [
        part.chart.to_dict()["layer"][1]["encoding"]["color"]["scale"] for part in (count, none)
    ]
    both = [dict(zip(scale["domain"], scale["range"], strict=True)) for scale in scales]
    assert all(both[0][name] == both[1][name] for name in both[0].keys() & both[1].keys())
    assert (
        write_picture(surface_chart(selected), tmp_path / "surface.svg").read_text().count("NaN")
        == 0
    )
    failed = [t for t in selected.trials if t.reg_scaling == "count"]
    failed += [replace(t, reg_scaling="none", score=float("inf")) for t in selected.trials[:2]]
    (_, none, _) = choice_section(replace(selected, trials=tuple(failed))).parts
    assert none.sentence == "No fit with this scaling succeeded."
    assert "Infinity" not in none.chart.to_json()


def test_a_choice_of_the_rank_without_lambda(tmp_path):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    from halfstep.report.picture import write_picture

    whole = selection()
    trials = tuple(replace(t, reg=Reg(0.0, 0.0, 0.0)) for t in whole.trials if t.ratings == 3000)
    chosen = min(trials, key=lambda trial: trial.rmse)
    drawn = surface_chart(replace(whole, trials=trials, chosen=chosen))
    text = write_picture(drawn, tmp_path / "surface.svg").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert COLOURS[0] in text  # the ring


def test_a_long_search_is_thinned():
    """More λ than ticks, more ranks than colours, one of them without λ, and its time was up."""
    altair = pytest.importorskip("altair")
    rng = np.random.default_rng(0)
    regs = [0.0, *np.geomspace(0.01, 3, 20).tolist()]
    trials = tuple(
        replace(
            selection().trials[1], rank=K, reg=Reg(reg, reg, reg), score=1 + rng.random() * K / 9
        )
        for K in (1, 2, 3, 5, 8, 13, 21, 34, 55)
        for reg in regs
    )
    worst = max(trials, key=lambda trial: trial.rmse)
    long = replace(selection(), trials=trials, chosen=worst, stopped="budget")
    surface, table = choice_section(long).parts
    described = surface.chart.to_dict()
    ranks = described["layer"][1]["encoding"]["color"]["scale"]["domain"]
    assert len(ranks) == 8
    assert f"K = {worst.rank}" in ranks
    assert len(described["layer"][1]["encoding"]["x"]["axis"]["values"]) < len(regs)
    low, high = described["layer"][1]["encoding"]["y"]["scale"]["domain"]
    assert low < min(trial.rmse for trial in trials) < worst.rmse < high
    assert "its time was up" in table.sentence
    assert [row[0] for row in table.rows].count(f"{worst.rank} (chosen)") == 1
    assert int(re.search(r"(\d+) of its (\d+) trials are not drawn", surface.shown)[1]) > 0
    assert isinstance(surface.chart, altair.LayerChart)


def test_without_a_selection_there_is_no_such_section(write, made):
    model = hs.ExplicitMF(rank=2).fit(made.ratings)
    _, report = write(model, made.ratings)
    assert "choice" not in [section.id for section in report.sections]


# ----------------------------------------------------------------------- axes and examples


def test_the_ends_of_the_axes(made):
    table = parts_of(made)["ends"]
    Z = made.model.canonical().factors_.item_factors
    counts = np.diff(made.ratings.by_item.indptr)
    known = np.flatnonzero(counts >= np.median(counts))
    ids = made.model.factors_.item_ids
    for axis, row in enumerate(table.rows):
        order = known[np.argsort(Z[known, axis], kind="stable")]
        for item, said in ((order[0], row[1][0]), (order[-1], row[2][0])):
            title = made.titles[ids.id_at(int(item))]
            assert said == "".join(c if c.isprintable() else "�" for c in title)
    shares = made.model.singular_values() ** 2
    assert table.rows[0][0] == f"1 ({percent(shares[0] / shares.sum())})"


def test_recommendations_are_the_models(made):
    parts = parts_of(made)
    counts = np.diff(made.ratings.by_item.indptr)
    for number in (1, 2, 3):
        part = parts[f"recommended-{number}"]
        user = int(re.search(r"user (\d+)$", part.title)[1])
        told = made.model.recommend([user], n=5, min_ratings=int(np.median(counts)))[user]
        assert [row[1] for row in part.rows] == [f"{score:.3g}" for _, score in told]
        best = next(iter(made.model.explain(user, told[0][0])))
        assert part.rows[0][2][0].startswith(f"{best[2]:+.2f} ")


# ------------------------------------------------------------------- what makes no sense


def left_out(parts):
    return {part.id for part in parts.values() if hasattr(part, "why")}


@pytest.mark.parametrize("rating", [0.0, 3.0])
def test_ratings_that_are_all_equal(write, made, rating):
    users, items, _ = made.ratings.to_arrays()
    equal = hs.Ratings.from_arrays(users, items, np.full(len(users), rating))
    parts, _ = write(hs.ExplicitMF(rank=2, max_iter=3).fit(equal), equal)
    assert parts["baselines"].sentence.endswith("is as good.")


def test_long_titles_are_cut(write, made):
    titles = {item: f"{item} {'x' * 300}" for item in made.ratings.items.values.tolist()}
    parts, _ = write(
        hs.ExplicitMF(rank=2, max_iter=3).fit(made.ratings), made.ratings, titles=titles
    )
    assert "xxx…»" in parts["ends"].sentence
    assert "x" * 80 not in parts["ends"].sentence


def test_three_users(write):
    ratings = hs.Ratings.from_arrays(
        ["ann", "ann", "bob", "cy <b>"], ["a b", "ü&", "a b", "z"], [5.0, 0.0, 3.0, 2.0]
    )
    parts, report = write(hs.ExplicitMF(rank=1).fit(ratings), ratings)
    assert left_out(parts) == {"activity", "baselines", "spread", "map"}
    assert report.errors is None
    assert "too few to hold 10% of them out" in parts["baselines"].why
    assert "cy <b>" in " ".join(part.title for part in parts.values())


@pytest.mark.parametrize("rank", [1, 3])
def test_one_rating(write, rank):
    one = hs.Ratings.from_arrays([1], [1], [3.0], time=[1_000_000_000])
    parts, _ = write(hs.ExplicitMF(rank=rank).fit(one), one)
    assert {"activity", "baselines", "spread", "map", "similar"} <= left_out(parts)


def test_one_user_who_has_rated_everything(write):
    values = np.random.default_rng(0).integers(1, 6, 300) * 1.0
    ratings = hs.Ratings.from_arrays(np.zeros(300, int), np.arange(300), values)
    parts, _ = write(hs.ExplicitMF(rank=3).fit(ratings), ratings)
    assert {"activity", "map", "recommended-1"} <= left_out(parts)


def test_nonnegative_factors_have_no_map(write, simulated):
    parts, _ = write(hs.ExplicitMF(rank=3, nonnegative=True, max_iter=5).fit(simulated), simulated)
    assert left_out(parts) == {"coverage", "map"}


def test_a_copy_that_cannot_be_fitted(write):
    """Four unknowns of a user, and four ratings: whatever is held out leaves too few."""
    rng = np.random.default_rng(3)
    items = np.concatenate([rng.choice(8, 4, replace=False) for _ in range(40)])
    ratings = hs.Ratings.from_arrays(np.repeat(np.arange(40), 4), items, rng.normal(size=160))
    params = {"reg": 0.0, "reg_scaling": "none", "dtype": "float64", "max_iter": 2}
    model = hs.ExplicitMF(rank=3, solver="als-cholesky", **params).fit(ratings)
    parts, report = write(model, ratings)
    assert report.errors is None
    assert parts["baselines"].why.startswith("A copy of the model could not be fitted")
    assert "held-out RMSE" not in dict(report.facts)


def test_weights_and_text_ids(write, simulated):
    users, items, values = simulated.to_arrays()
    rng = np.random.default_rng(0)
    text = hs.Ratings.from_arrays(
        [f"Zoë {u}" for u in users],
        [f"«{i}»" for i in items],
        values,
        weight=rng.random(len(values)),
    )
    parts, report = write(hs.ExplicitMF(rank=3).fit(text), text)
    assert "item" not in parts["recommended-1"].rows[0][0]
    train, test = hs.split_random(text, test=0.1, seed=0)
    assert report.errors["global mean"][0] == pytest.approx(
        hs.baseline_rmse(train, test)["global mean"]
    )


def test_a_grown_rank_is_settled(write, simulated):
    model = hs.ExplicitMF(rank="grow", reg=0.2, max_iter=200, tol=1e-3).fit(simulated)
    _, report = write(model, simulated)
    assert report.title == f"ExplicitMF of rank {model.rank_}"
    assert report.errors is not None


def test_a_model_without_its_history(write, simulated, tmp_path):
    model = hs.ExplicitMF(rank=3).fit(simulated)
    whole, _ = write(model, simulated)
    path = tmp_path / "model.safetensors"
    model.save(path, history=False)
    parts, _ = write(hs.load(path), simulated)
    assert {k: p.rows for k, p in parts.items() if hasattr(p, "rows")} == {
        k: p.rows for k, p in whole.items() if hasattr(p, "rows")
    }
    other = hs.Ratings.from_arrays([1, 2], ["new", "x"], [1.0, 2.0])
    with pytest.raises(UnknownIdError):
        write(hs.load(path), other)


def test_a_calibrated_model_is_tested_with_its_own_calibration(write, made):
    train, rest = hs.split_random(made.ratings, test=0.4, seed=0)
    test, calibration = hs.split_random(rest, test=0.5, seed=0)
    model = hs.ExplicitMF(rank=3, reg=0.06).fit(train)
    model.calibrate(calibration)
    parts, _ = write(model, made.ratings, test=test)
    assert "Intervals that were asked to hold 90%" in parts["coverage"].sentence


# --------------------------------------------------------------------------- how sure it is


def test_what_is_believed_and_what_is_observed(write, made):
    train, test = hs.split_random(made.ratings, test=0.3, seed=0)
    model = hs.ExplicitMF(rank=3, reg=0.06).fit(train)
    parts, _ = write(model, made.ratings, test=test)
    users, items, r = test.to_arrays()
    mean, std = (a.astype(float) for a in model.predict(users, items, std=True))
    for side, rows, ids in (
        ("user", train.by_user, train.users.lookup(users)),
        ("item", train.by_item, train.items.lookup(items)),
    ):
        known = np.diff(rows.indptr)[ids]
        sentence = parts[f"certainty-by-{side}"].sentence
        said = re.findall(r"with ([\d,]+)(?: to ([\d,]+))?", sentence)
        figures = re.findall(r"(?:off by|believes|it is) (\d[\d.]*\d)", sentence)
        assert len(said) == 2
        for group, (low, high) in enumerate(said):
            own = (int(low) <= known) & (known <= int(high or low))
            believed = np.sqrt(np.mean(std[own] ** 2))
            observed = np.sqrt(np.mean((r[own] - mean[own]) ** 2))
            assert figures[2 * group : 2 * group + 2] == [f"{believed:.3g}", f"{observed:.3g}"]


def test_honest_forecasts_fill_every_tenth_alike():
    rng = np.random.default_rng(0)
    mean, std = rng.normal(3, 0.8, 100_000), rng.uniform(0.5, 1.5, 100_000)
    real = mean + std * rng.normal(size=len(mean))
    c = rng.uniform(0.5, 2, len(mean))
    stars = np.clip(np.round(real), 1, 5)
    for r, levels in ((real, np.unique(real)), (stars, np.arange(1.0, 6.0))):
        shares = tenths(r, mean, std, c, levels)
        assert shares.sum() == pytest.approx(1.0)
        assert np.abs(shares - 0.1).max() < 0.006
        bold = tenths(r, mean, std / 2, c, levels)
        assert bold[0] + bold[-1] > 0.3
        timid = tenths(r, mean, 2 * std, c, levels)
        assert timid[4] + timid[5] > 0.25
        high = tenths(r, mean + std, std, c, levels)
        assert high[:5].sum() > 0.75


def test_tenths_by_hand():
    # the middle star is the normal distribution's middle third, and a bit
    found = tenths(
        np.array([2.0]), np.array([2.0]), np.array([0.5]), np.array([3.0]), np.array([1.0, 2, 3])
    )
    low = NormalDist().cdf(-1)
    edges = np.clip((np.arange(11) / 10 - low) / (1 - 2 * low), 0, 1)
    assert found == pytest.approx(np.diff(edges))
    last = tenths(np.array([9.0]), np.array([0.0]), np.array([1.0]), np.ones(1), np.arange(99.0))
    assert last.tolist() == [0] * 9 + [1]


def test_a_row_without_a_variance_has_no_certainty(write):
    users, items = np.repeat(np.arange(30), 8), np.tile(np.arange(8), 30)
    rng = np.random.default_rng(0)
    ratings = hs.Ratings.from_arrays(users, items, rng.normal(size=240))
    test = hs.Ratings.from_arrays(
        np.full(40, 99), np.arange(40) % 8 + 100 * (np.arange(40) // 8), np.ones(40)
    )
    model = hs.ExplicitMF(rank=2, reg=0.0, dtype="float64", max_iter=3).fit(ratings)
    parts, _ = write(model, ratings, test=test)
    assert "coverage" in left_out(parts)
    assert "the variance of a row of few ratings is infinite" in parts["coverage"].why
    assert "pit" not in parts


def test_a_model_without_doubt_has_no_forecast(write):
    users, items = np.repeat(np.arange(30), 8), np.tile(np.arange(8), 30)
    ratings = hs.Ratings.from_arrays(users, items, np.full(240, 3.0))
    parts, _ = write(hs.ExplicitMF(rank=1, dtype="float64").fit(ratings), ratings)
    assert {"coverage", "pit"} <= left_out(parts)
    assert "cannot be other than predicted" in parts["pit"].why


# ------------------------------------------------------------------------------ bad input


def test_bad_input(made, tmp_path):
    path = tmp_path / "report.html"
    model, ratings = made.model, made.ratings
    unfitted = {"test": hs.Ratings.from_arrays([1], [1], [1.0]), "measured": hs.ExplicitMF()}
    for error, words, arguments, named in (
        (ParameterError, "model=", ("model", ratings, path), {}),
        (NotFittedError, "not fitted", (hs.ExplicitMF(), ratings, path), {}),
        (DataError, "ratings=", (model, [1, 2], path), {}),
        (DataError, "test=", (model, ratings, path), {"test": "test.csv"}),
        (ParameterError, "titles=", (model, ratings, path), {"titles": ["Heat"]}),
        (ParameterError, "seed=-1", (model, ratings, path), {"seed": -1}),
        (ParameterError, "measured=", (model, ratings, path), {"measured": model}),
        (NotFittedError, "not fitted", (model, ratings, path), unfitted),
    ):
        with pytest.raises(error, match=words):
            write_report(*arguments, **named)
    assert list(tmp_path.iterdir()) == []


def test_times_do_not_change_what_was_learned(made, write):
    users, items, values = made.ratings.to_arrays()
    parts, _ = write(made.model, hs.Ratings.from_arrays(users, items, values), titles=made.titles)
    assert left_out(parts) == {"activity"}
    assert parts["ends"] == parts_of(made)["ends"]
    assert len(with_time(made.ratings)) == len(made.ratings)
