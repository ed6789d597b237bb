"""`halfstep compare-solvers`: its table, its document, its picture, and what may go wrong in it."""

import json
import math
from functools import partial
from itertools import pairwise

import pytest

import halfstep as hs
from halfstep import solvers
from halfstep.report import picture
from halfstep.report.traces import _HEIGHT, _LINE, Curve, _labels, traces_chart

FLAGS = ("--rank", "3", "--max-iter", "6")


def compared(run, files, *flags):
    short = [] if "--max-iter" in flags else FLAGS
    answer = run("compare-solvers", files.ratings, *short, *flags, "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_the_table(run, files):
    answer = run("compare-solvers", files.ratings, *FLAGS)
    assert answer.code == 0, answer.err
    assert all(len(line) <= 80 for line in answer.out.splitlines()), answer.out
    lines = answer.out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("solver "))
    rows = [line.split() for line in lines[head + 1 :]]
    assert [row[0] for row in rows] == [
        name for name in ("als", "sgd", "gd", "lbfgs") if name in solvers.available_solvers()
    ]
    assert sum(row[2] == "best" for row in rows) == 1
    assert "held-out RMSE" in lines[head]


def test_the_document_is_the_library(run, files):
    """The same split, the same start and the same objective as in Python."""
    told = compared(run, files, "--solvers", "als, gd,lbfgs", "--valid", "0.2")
    train, valid = hs.split_random(hs.read_ratings(files.ratings), test=0.2, seed=0)
    assert told["split"] == {"train": len(train), "valid": len(valid)}
    assert [entry["solver"] for entry in told["solvers"]] == ["als", "gd", "lbfgs"]
    assert min(entry["above_best"] for entry in told["solvers"]) == 0
    for entry in told["solvers"]:
        model = hs.ExplicitMF(rank=3, max_iter=6, solver=entry["solver"], patience=7)
        model.fit(train, validation=valid)
        assert entry["trace"]["objective"] == [row.objective for row in model.trace_]
        assert entry["trace"]["heldout_rmse"] == [row.validation_rmse for row in model.trace_]
        assert entry["objective"] == model.trace_[-1].objective
        assert entry["heldout_rmse"] == model.trace_[-1].validation_rmse
        assert entry["sweeps"] == len(entry["trace"]["seconds"]) == model.n_iter_
        assert entry["stopped"] == model.stopped_
        assert entry["seconds"] == entry["trace"]["seconds"][-1] > 0
        assert entry["trace"]["seconds"] == sorted(entry["trace"]["seconds"])


def test_the_held_out_part_stops_nothing(run, files):
    flags = ("--rank", 20, "--reg", 0.02, "--tol", 0, "--max-iter", 30)
    told = compared(run, files, "--solvers", "als", *flags)
    train, valid = hs.split_random(hs.read_ratings(files.ratings), test=0.1, seed=0)
    model = hs.ExplicitMF(rank=20, reg=0.02, tol=0, max_iter=30).fit(train, validation=valid)
    assert model.stopped_ == "validation"
    assert told["solvers"][0]["stopped"] == "max_iter"
    assert told["solvers"][0]["sweeps"] == 30 > model.n_iter_


def test_nothing_held_out(run, files):
    told = compared(run, files, "--solvers", "als,gd", "--valid", 0)
    assert told["split"]["valid"] == 0
    assert all(entry["heldout_rmse"] is None for entry in told["solvers"])
    assert "held-out" not in run("compare-solvers", files.ratings, *FLAGS, "--valid", 0).out


def test_a_solver_that_diverges_is_a_row(run, files, tmp_path, monkeypatch):
    monkeypatch.setitem(solvers._BY_NAME, "too-long", partial(hs.GD, step=100.0))
    flags = ("--solvers", "too-long,als", "--max-iter", 200)
    told = compared(run, files, *flags)
    bad, good = told["solvers"]
    assert (bad["stopped"], bad["objective"], bad["above_best"]) == ("diverged", None, None)
    assert good["above_best"] == 0
    out = run("compare-solvers", files.ratings, *flags).out
    assert "  diverged\n" in out
    path = tmp_path / "only.svg"
    pytest.importorskip("vl_convert")
    alone = run("compare-solvers", files.ratings, "--solvers", "too-long", "-o", path)
    assert alone.code == 1  # none came to an end
    assert not path.exists()  # nothing to draw


def test_a_singular_system_is_a_row(run, files):
    flags = ("--solvers", "als-cholesky,gd", "--reg", 0, "--rank", 60, "--max-iter", 3)
    told = compared(run, files, *flags)
    assert told["solvers"][0]["stopped"] == "singular"
    assert told["solvers"][1]["above_best"] == 0


# ------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(("ending", "valid"), [("png", 0.1), ("svg", 0.1), ("SVG", 0)])
def test_the_picture(run, files, tmp_path, ending, valid):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    path = tmp_path / f"curves.{ending}"
    told = compared(run, files, "--solvers", "als,gd", "-o", path, "--valid", valid)
    assert told["picture"] == str(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    drawn = path.read_bytes()
    if ending == "png":
        assert drawn.startswith(b"\x89PNG\r\n")
        return
    text = drawn.decode()
    assert "<svg" in text
    assert all(f">{name}</text>" in text for name in ("als", "gd"))
    assert ("held-out RMSE" in text) == bool(valid)
    assert "drawn" in run("compare-solvers", files.ratings, *FLAGS, "-o", path).out


def test_without_the_extra_it_says_so_before_the_fits(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    monkeypatch.setattr(hs.ExplicitMF, "fit", lambda *_, **__: pytest.fail("a fit was started"))
    answer = run("compare-solvers", files.ratings, "-o", tmp_path / "curves.png")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert (
        "altair and vl-convert-python; install it by pip install 'halfstep[report]'" in answer.err
    )
    monkeypatch.undo()
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    assert run("compare-solvers", files.ratings, *FLAGS).code == 0  # the table needs neither


def test_names_do_not_touch():
    points = {f"solver {i}": [(1.0, 2.0), (2.0, 1.0 + 0.001 * i)] for i in range(9)}
    for low, high in ((0.99, 2.0), (0.5, 1.01)):  # at the bottom, at the top
        places = sorted(label["place"] for label in _labels(points, low, high, log=False))
        assert all(b - a >= _LINE - 1e-9 for a, b in pairwise(places))
        assert places[-1] <= _HEIGHT


def test_the_best_is_not_drawn_at_minus_infinity():
    pytest.importorskip("altair")
    curves = [
        Curve("a", [1.0, 2.0, 3.0], [9.0, 6.0, 5.0]),
        Curve("b", [1.0, 2.0], [8.0, math.inf]),
        Curve("one sweep", [4.0], [5.0]),
    ]
    described = traces_chart(curves, "title").to_dict()
    shown = described["hconcat"][0]["layer"][0]["data"]["values"]
    assert [(row["solver"], row["y"]) for row in shown] == [("a", 0.8), ("a", 0.2), ("b", 0.6)]
    traces_chart(curves[2:], "one point").to_dict()


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--solvers", "als,magic"), "--solvers magic: is not known; choose one of als, "),
        (("--solvers", "als,als"), "--solvers als,als: must name each solver once"),
        (("--solvers", ","), "--solvers ,: must name each solver once"),
        (("--solver", "gd"), "--solver gd: has no effect here; try --solvers gd"),
        (("--rank", "auto"), "--rank auto: would give every solver a rank of its own"),
        (("--reg", "auto"), "--reg auto: would give every solver an objective of its own"),
        (("--valid", "1"), "--valid 1.0: must be a share of the ratings"),
        (("-o", "curves.pdf"), "curves.pdf: is neither PNG nor SVG; end the name in .png or .svg"),
        (("-o", "absent/curves.png"), "absent/curves.png: the folder absent does not exist"),
    ],
)
def test_bad_input(run, files, tmp_path, monkeypatch, flags, said):
    if "absent/curves.png" in flags:
        pytest.importorskip("vl_convert")
    monkeypatch.chdir(tmp_path)
    answer = run("compare-solvers", files.ratings, *flags)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.startswith(f"halfstep: error: {said}"), answer.err
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_shows_what_is_finished(run, files, monkeypatch, as_json):
    fit = hs.ExplicitMF.fit

    def second_is_interrupted(self, *arguments, callbacks=(), **named):
        def then_stop(row):
            for callback in callbacks:
                callback(row)
            if self.solver == "gd" and row.sweep == 2:
                raise KeyboardInterrupt

        return fit(self, *arguments, callbacks=[then_stop], **named)

    monkeypatch.setattr(hs.ExplicitMF, "fit", second_is_interrupted)
    flags = ("--solvers", "als,gd,lbfgs", *(["--json"] * as_json))
    answer = run("compare-solvers", files.ratings, *FLAGS, *flags)
    assert answer.code == 130
    assert answer.err == "halfstep: interrupted: the solvers after the last line were not run\n"
    if as_json:
        told = json.loads(answer.out)
        assert told["interrupted"]
        stopped = [(e["solver"], e["sweeps"], e["stopped"]) for e in told["solvers"]]
        assert stopped == [("als", 6, "max_iter"), ("gd", 2, "interrupted")]
    else:
        assert "als " in answer.out
        assert "interrupted" in answer.out.splitlines()[-1]
        assert "lbfgs" not in answer.out


def test_ctrl_c_before_the_first_sweep(run, files, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hs.ExplicitMF, "fit", interrupted)
    answer = run("compare-solvers", files.ratings)
    assert answer.code == 130
    assert answer.err == ""
