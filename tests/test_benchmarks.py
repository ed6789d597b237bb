"""Every benchmark runs in its test mode: it checks its answers on small data, not its speed.

Peers take part where their environments are installed.
"""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PARTS = [
    "accuracy",
    "bayes",
    "conversions",
    "coverage",
    "features",
    "foldin",
    "growth",
    "implicit",
    "kernels",
    "memory",
    "objective",
    "ordinal",
    "peak",
    "ranking",
    "reading",
    "selection",
    "sgd",
    "solvers",
    "sweep",
    "topn",
]


def run(program, *options):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{program}.py"), *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture
def record(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import record

    return record


@pytest.fixture
def figure(record):
    return record.Figure.of(
        [2.0, 1.0, 4.0],
        part="sweep",
        case="3 ratings",
        engine="halfstep",
        version="1",
        K=8,
        threads=2,
        measure="sweep",
        unit="s",
    )


@pytest.mark.parametrize("part", PARTS)
def test_mode(part):
    if part == "peak" and shutil.which("cargo") is None:
        pytest.skip("cargo is not installed")
    done = run(part, "--test", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert figures
    assert {figure["part"] for figure in figures} == {part}
    assert part == "peak" or any(figure["engine"].startswith("halfstep") for figure in figures)
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in figures)


def test_quality_on_published_splits():
    done = run("quality/run", "--test", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert {figure["part"] for figure in figures} == {"quality"}
    ours = {figure["measure"] for figure in figures if "PureSVD" in figure["engine"]}
    assert ours == {"Recall@20", "NDCG@20", "fit"}
    table = run("quality/run", "--test", "--only", "PureSVD")
    assert "halfstep, PureSVD" in table.stdout
    assert "MostPopular" not in table.stdout
    chosen = run("quality/run", "--test", "--choose", "PureSVD").stdout.splitlines()
    assert [json.loads(line)["rank"] for line in chosen] == [2, 4]


def test_quality_says_what_it_does_not_know(tmp_path, monkeypatch):
    assert "choose from ncf, gowalla" in run("quality/run", "netflix").stderr
    assert "--choose nothing" in run("quality/run", "--test", "--choose", "nothing").stderr
    monkeypatch.setenv("HALFSTEP_DATA", str(tmp_path))
    done = run("quality/run", "ncf")
    assert done.returncode == 1
    assert "ml-1m-ncf" in done.stderr
    assert "Traceback" not in done.stderr


def test_netflix_shape():
    done = run("growth", "--test", "--netflix", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert all(figure["case"].startswith("480 × 18, ") for figure in figures)
    assert {figure["part"] for figure in figures} == {"netflix"}


def test_a_budget():
    done = run("selection", "--test", "--simulated", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert {figure["part"] for figure in figures} == {"budget"}
    assert {"RMSE", "chosen", "K chosen"} <= {figure["measure"] for figure in figures}


def test_the_error_of_a_difference_is_that_between_users(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from selection import bootstrap

    rng = np.random.default_rng(0)
    counts = rng.integers(1, 30, size=2000)
    errors = rng.chisquare(counts)
    found = bootstrap(errors, errors, counts)
    assert found == 0.0
    others = rng.chisquare(counts)
    # by the delta method: the difference of the RMSEs is Σ (e − e') / (2 RMSE Σ n)
    gaps = errors - others - (errors.sum() - others.sum()) / counts.sum() * counts
    expected = np.sqrt(np.sum(gaps**2)) / (2 * np.sqrt(errors.sum() / counts.sum()) * counts.sum())
    assert bootstrap(errors, others, counts) == pytest.approx(expected, rel=0.1)


def test_table_of_a_part():
    done = run("memory", "--test")
    assert done.returncode == 0, done.stderr
    assert "halfstep" in done.stdout
    assert "bound" in done.stdout


def test_a_wrong_answer_has_no_figures(monkeypatch, record):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import sweep
    from driver import Failed

    right = {"residual": 1e-6, "objective": [3.0, 2.0], "objective_again": 2.0}
    sweep.check_answer("halfstep, Cholesky", right)
    for wrong in ({"residual": 0.1}, {"objective": [2.0, 3.0]}, {"objective_again": 2.1}):
        with pytest.raises(Failed, match="halfstep, Cholesky"):
            sweep.check_answer("halfstep, Cholesky", right | wrong)


def test_a_record_keeps_the_other_parts(record, figure, tmp_path):
    where = record.machine(2)
    peer = replace(figure, engine="peer", value=4.0)
    record.merge(tmp_path, [figure, peer], where)
    record.merge(tmp_path, [replace(figure, part="topn")], where)
    record.merge(tmp_path, [replace(figure, value=1.0), peer], where)
    with (tmp_path / "figures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [(row["part"], row["engine"], row["value"], row["ratio_to_ours"]) for row in rows]
    assert found == [
        ("topn", "halfstep", "2.0", "1.0"),
        ("sweep", "halfstep", "1.0", "1.0"),
        ("sweep", "peer", "4.0", "4.0"),
    ]
    assert record.Figure.from_row(rows[2]) == peer
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.csv", "machine.json"]


def test_bench_writes_a_record(tmp_path):
    done = run("bench", "memory", "--quick", "--record", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of the bound" in " ".join(done.stdout.split())
    assert (tmp_path / "figures.csv").read_text().count("\nmemory,") == 6
    assert json.loads((tmp_path / "machine.json").read_text())["threads"] >= 1


def test_a_part_that_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HALFSTEP_DATA", str(tmp_path / "nothing"))
    done = run("bench", "accuracy", "memory", "--quick", "--record", tmp_path / "record")
    assert done.returncode == 1
    assert "failed: accuracy" in done.stderr
    assert "\nmemory," in (tmp_path / "record" / "figures.csv").read_text()


def test_picture(record, figure, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the group bench is not installed")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from picture import draw

    figure = replace(figure, engine="halfstep, Cholesky")
    kernel = {"part": "kernels", "engine": "halfstep, Cholesky"}
    figures = [
        figure,
        replace(figure, engine="peer, Cholesky", value=4.0),
        replace(figure, part="peak", measure="float32 multiply-adds", unit="GFLOP/s", value=99.0),
        replace(figure, part="peak", measure="memory, read", unit="GB/s", value=9.0),
        replace(figure, **kernel, measure="useful operations", unit="GFLOP/s", value=50.0),
        replace(figure, **kernel, measure="operations a byte", unit="FLOP/B", value=20.0),
    ]
    draw(figures, tmp_path)
    picture = (tmp_path / "bench.svg").read_text()
    assert "</svg>" in picture
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_a_peer_that_is_missing_or_fails_is_left_out(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from driver import Engine, Failed, available, rounds

    peer = Engine("peer", "none.py", "nowhere", "nothing")
    ours = Engine("halfstep", "none.py")
    assert available([ours, peer]) == [ours]
    assert "setup_peers.sh nowhere" in capsys.readouterr().err

    def only_ours(engine):
        if engine.peer:
            raise Failed(f"{engine.name}: exit status 9")
        return {"value": 1}

    assert rounds([peer, ours], 2, only_ours) == {"halfstep": [{"value": 1}] * 2}
    assert "peer: exit status 9" in capsys.readouterr().err
    with pytest.raises(Failed, match="exit status 2"):  # there is no such program
        rounds([ours], 1, lambda engine: engine.run(BENCHMARKS, 1))
