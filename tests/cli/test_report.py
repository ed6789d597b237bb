"""`halfstep report`: the file it writes, its document, and what may go wrong."""

import json

import pytest

import halfstep as hs
from halfstep.report import picture


@pytest.fixture(autouse=True)
def _the_extra():
    for needed in ("altair", "vl_convert", "jinja2"):
        pytest.importorskip(needed)


def test_the_page_and_its_document(run, files, tmp_path):
    from halfstep.report import write_report

    path = tmp_path / "report.html"
    flags = ("--ratings", files.ratings, "--items", files.titles, "-o", path, "--seed", 3)
    answer = run("report", files.model, *flags, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert (told["command"], told["report"]) == ("report", str(path))
    assert told["bytes"] == path.stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    # the same as in Python
    twin = tmp_path / "twin.html"
    report = write_report(
        hs.load(files.model),
        hs.read_ratings(files.ratings),
        twin,
        titles=hs.read_titles(files.titles),
        seed=3,
    )
    assert path.read_bytes() == twin.read_bytes()
    assert told["errors"]["this model"]["rmse"] == report.errors["this model"][0]
    assert {"global mean", "biases only", "this model"} <= set(told["errors"])
    said = {part["id"]: part for section in told["sections"] for part in section["parts"]}
    assert said["long-tail"]["kind"] == "figure"
    assert said["ends"]["kind"] == "table"
    assert said["activity"] == {
        "id": "activity",
        "kind": "missing",
        "title": "Activity over time",
        "sentence": "The ratings have no times.",
    }


def test_for_a_person(run, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = run("report", files.model, "--ratings", files.ratings)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    assert all(len(line) <= 80 for line in answer.out.splitlines()), answer.out
    assert "held-out RMSE" in answer.out
    assert "report.html (" in answer.out
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--ratings", "RATINGS", "-o", "report.svg"), "report.svg: is neither HTML, PNG nor PDF;"),
        (("--ratings", "RATINGS", "-o", "absent/r.html"), "absent/r.html: the folder absent does"),
        (("--ratings", "nosuch.csv"), "nosuch.csv"),
        (("--ratings", "RATINGS", "--items", "nosuch.dat"), "nosuch.dat"),
        (("--ratings", "RATINGS", "--seed", "-1"), "--seed -1: must be an integer of at least 0"),
        ((), "--ratings"),
    ],
)
def test_bad_input(run, files, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    answer = run("report", files.model, *(files.ratings if f == "RATINGS" else f for f in flags))
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert said in answer.err
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_so_at_once(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    answer = run(
        "report", "nosuch.safetensors", "--ratings", files.ratings, "-o", tmp_path / "r.pdf"
    )
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "pip install 'halfstep[report]'" in answer.err


def test_ctrl_c_leaves_no_half_file(run, files, tmp_path, monkeypatch):
    import vl_convert

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(vl_convert, "vegalite_to_svg", interrupted)
    answer = run("report", files.model, "--ratings", files.ratings, "-o", tmp_path / "r.html")
    assert answer.code == 130
    assert list(tmp_path.iterdir()) == []
