"""Write `docs/errors.md`: bad inputs, and the one line and the exception that each gives.

.venv/bin/python docs/make_errors.py
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import halfstep as hs
from halfstep.cli import main
from halfstep.cli.implicit import hint_at_interactions
from halfstep.errors import HalfstepError
from halfstep.report.picture import check_picture
from halfstep.report.write import check_report

PAGE = Path(__file__).with_name("errors.md")
HEAD = """# Errors

Bad input gets one line: the argument, the value, the rule, the remedy. On the command line it goes to
the error stream and the exit code is 2; in Python it is an exception of `halfstep.errors`, always a
`HalfstepError`. This page is written by `docs/make_errors.py`, which runs every line of it.
"""
GOOD = "user,item,rating\n" + "".join(
    f"{u},{i},{(u + i) % 5 + 1}\n" for u in range(8) for i in range(6)
)


def make_files() -> None:
    """The files that the cases speak of, in the current folder."""
    write = {
        "ratings.csv": GOOD,
        "empty.csv": "",
        "header-only.csv": "user,item,rating\n",
        "ragged.csv": "user,item,rating\n1,2,3\n1,3,4,9\n2,2,5\n",
        "word.csv": GOOD + "9,9,good\n",
        "nan.csv": GOOD + "9,9,NaN\n",
        "infinite.csv": GOOD + "9,9,inf\n",
        "no-user.csv": GOOD + ",9,4\n",
        "repeats.csv": GOOD + "1,1,2\n",
        "three.csv": "user,item,rating\n1,1,3\n1,2,4\n2,1,5\n",
        "one-column.txt": "12\n13\n14\n",
        "names.csv": "who,what,how\n" + GOOD.split("\n", 1)[1],
        "clicks.csv": "user,item\n"
        + "".join(f"{u},{u * i % 9}\n" for u in range(8) for i in range(6)),
        "zeros.csv": "user,item,count\n1,1,0\n1,2,0\n",
        "not-json.jsonl": '{"user": 1, "item": 2, "rating": 3}\n{"user": 1,\n',
    }
    for name, text in write.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("binary.csv").write_bytes(bytes(range(256)) * 8)
    Path("cut.csv.gz").write_bytes(gzip.compress(GOOD.encode() * 200)[:-40])
    with contextlib.closing(sqlite3.connect("ratings.db")) as database:
        database.execute("create table r (user, item, rating)")
        database.commit()
    os.mkdir("folder")
    model = hs.ExplicitMF(rank=2).fit(hs.read_ratings("ratings.csv"))
    whole = model.save("model.safetensors").read_bytes()
    model.save("no-history.safetensors", history=False)
    hs.ImplicitMF(rank=2).fit(hs.read_ratings("clicks.csv")).save("clicks.safetensors")
    Path("cut.safetensors").write_bytes(whole[:-10])
    Path("tampered.safetensors").write_bytes(whole.replace(b'\\"rank\\": 2', b'\\"rank\\": 3'))
    Path("future.safetensors").write_bytes(whole.replace(b'\\"format\\": 1', b'\\"format\\": 9'))


def fit(**parameters: Any) -> Callable[[], Any]:
    return lambda: hs.ExplicitMF(**parameters).fit(hs.read_ratings("ratings.csv"))


def interactions(name: str, **parameters: Any) -> Callable[[], Any]:
    return lambda: hs.ImplicitMF(**parameters).fit(hs.read_ratings(name))


def read(*arguments: Any, **options: Any) -> Callable[[], Any]:
    return lambda: hs.read_ratings(*arguments, **options)


def load(name: str) -> Callable[[], Any]:
    return lambda: hs.load(name)


def asked(name: str, *arguments: Any, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(hs.load("model.safetensors"), name)(*arguments, **options)


CASES: list[tuple[str, list[str], Callable[[], Any]]] = [
    ("a file that is not there", ["fit", "absent.csv"], read("absent.csv")),
    ("a folder", ["fit", "folder"], read("folder")),
    ("a pattern that matches nothing", ["fit", "part-*.csv"], read("part-*.csv")),
    ("an empty file", ["fit", "empty.csv"], read("empty.csv")),
    ("only a header", ["fit", "header-only.csv"], read("header-only.csv")),
    ("not text", ["fit", "binary.csv"], read("binary.csv")),
    ("a truncated gzip file", ["fit", "cut.csv.gz"], read("cut.csv.gz")),
    ("a line with too many fields", ["fit", "ragged.csv"], read("ragged.csv")),
    ("a rating that is a word", ["fit", "word.csv"], read("word.csv")),
    ("a rating that is NaN", ["fit", "nan.csv"], read("nan.csv")),
    ("an infinite rating", ["fit", "infinite.csv"], read("infinite.csv")),
    ("a row without a user", ["fit", "no-user.csv"], read("no-user.csv")),
    ("a pair that stands twice", ["fit", "repeats.csv"], read("repeats.csv")),
    ("one column", ["fit", "one-column.txt"], read("one-column.txt")),
    ("columns of unknown names", ["fit", "names.csv"], read("names.csv")),
    (
        "a column that is not there",
        ["fit", "ratings.csv", "--rating", "stars"],
        read("ratings.csv", rating="stars"),
    ),
    ("a broken JSON line", ["fit", "not-json.jsonl"], read("not-json.jsonl")),
    ("a database without a query", ["fit", "ratings.db"], read("ratings.db")),
    (
        "a query on a table that is not there",
        ["fit", "ratings.db", "--query", "select * from scores"],
        read("ratings.db", query="select * from scores"),
    ),
    (
        "an unknown policy",
        ["fit", "repeats.csv", "--duplicates", "best"],
        read("repeats.csv", duplicates="best"),
    ),
    (
        "too few ratings to split",
        ["fit", "three.csv"],
        lambda: hs.split_random(hs.read_ratings("three.csv"), test=0.1, valid=0.1),
    ),
    (
        "a split by time without times",
        ["evaluate", "ratings.csv", "--split", "time"],
        lambda: hs.split_by_time(hs.read_ratings("ratings.csv")),
    ),
    (
        "cold folds without features",
        ["evaluate", "ratings.csv", "--cold", "users"],
        lambda: hs.compare_cold(hs.ExplicitMF(rank=2), hs.read_ratings("ratings.csv")),
    ),
    (
        "a selection for a Bayesian model",
        ["select", "ratings.csv", "--bayes"],
        lambda: hs.select(hs.read_ratings("ratings.csv"), model=hs.BayesianMF()),
    ),
    (
        "one draw",
        ["fit", "ratings.csv", "--bayes", "--samples", "1"],
        lambda: hs.BayesianMF(samples=1).fit(hs.read_ratings("ratings.csv")),
    ),
    (
        "an interval of a model that is not calibrated",
        ["predict", "model.safetensors", "--user", "1", "--item", "1", "--interval", "0.9"],
        asked("predict", 1, 1, interval=0.9),
    ),
    (
        "interactions in place of ratings",
        ["fit", "clicks.csv"],
        lambda: hint_at_interactions(hs.read_ratings("clicks.csv")),
    ),
    (
        "counts that are all 0",
        ["fit", "zeros.csv", "--implicit"],
        interactions("zeros.csv"),
    ),
    (
        "α₀ = 0",
        ["fit", "clicks.csv", "--implicit", "--alpha0", "0"],
        interactions("clicks.csv", alpha0=0.0),
    ),
    (
        "a solver that has no such objective",
        ["fit", "clicks.csv", "--implicit", "--solver", "sgd"],
        interactions("clicks.csv", solver="sgd"),
    ),
    (
        "an error of ratings where there are none",
        ["evaluate", "clicks.csv", "--implicit", "--metrics", "rmse"],
        lambda: hs.load("clicks.safetensors").rmse(hs.read_ratings("clicks.csv")),
    ),
    (
        "an interval of a score",
        ["predict", "clicks.safetensors", "--user", "1", "--item", "1", "--interval", "0.9"],
        lambda: hs.load("clicks.safetensors").predict(1, 1, interval=0.9),
    ),
    ("rank 0", ["fit", "ratings.csv", "--rank", "0"], fit(rank=0)),
    ("a negative λ", ["fit", "ratings.csv", "--reg", "-1"], fit(reg=-1)),
    ("two λ", ["fit", "ratings.csv", "--reg", "1,2"], fit(reg=(1, 2))),
    ("a tolerance of 2", ["fit", "ratings.csv", "--tol", "2"], fit(tol=2)),
    ("an unknown solver", ["fit", "ratings.csv", "--solver", "magic"], fit(solver="magic")),
    (
        "an unknown solver among others",
        ["compare-solvers", "ratings.csv", "--solvers", "als,magic"],
        fit(solver="magic"),
    ),
    (
        "a picture that is neither PNG nor SVG",
        ["compare-solvers", "ratings.csv", "-o", "curves.pdf"],
        lambda: check_picture(Path("curves.pdf")),
    ),
    (
        "a report that is neither HTML, PNG nor PDF",
        ["report", "model.safetensors", "--ratings", "ratings.csv", "-o", "report.svg"],
        lambda: check_report(Path("report.svg")),
    ),
    (
        "a system without a unique solution",
        ["fit", "ratings.csv", "--rank", "20", "--reg", "0"],
        fit(rank=20, reg=0),
    ),
    (
        "a folder for the model that is not there",
        ["fit", "ratings.csv", "-o", "absent/m.safetensors"],
        asked("save", "absent/m.safetensors"),
    ),
    (
        "an unknown user",
        ["recommend", "model.safetensors", "--user", "zoë"],
        asked("recommend", ["zoë"]),
    ),
    (
        "an unknown item",
        ["explain", "model.safetensors", "--user", "1", "--item", "99"],
        asked("explain", 1, 99),
    ),
    (
        "no recommendations wanted",
        ["recommend", "model.safetensors", "--user", "1", "-n", "0"],
        asked("recommend", 1, 0),
    ),
    (
        "a model saved without history",
        ["explain", "no-history.safetensors", "--user", "1", "--item", "2"],
        lambda: hs.load("no-history.safetensors").explain(1, 2),
    ),
    ("a truncated model", ["recommend", "cut.safetensors", "--user", "1"], load("cut.safetensors")),
    (
        "a tampered model",
        ["recommend", "tampered.safetensors", "--user", "1"],
        load("tampered.safetensors"),
    ),
    (
        "a model of a later version",
        ["recommend", "future.safetensors", "--user", "1"],
        load("future.safetensors"),
    ),
    (
        "a table in place of a model",
        ["recommend", "ratings.csv", "--user", "1"],
        load("ratings.csv"),
    ),
]


def answers() -> Iterator[tuple[str, list[str], int, str, str]]:
    """(what is wrong, arguments, exit code, error stream, class of the exception) for each case."""
    for title, arguments, call in CASES:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
        try:
            call()
        except HalfstepError as error:
            name = type(error).__name__
        else:
            name = "(none)"
        yield title, arguments, code, err.getvalue(), name


def page() -> str:
    """The page, made in an empty folder."""
    before = os.getcwd()
    lines = [HEAD, "| what is wrong | the line | in Python |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            make_files()
            for title, arguments, code, error, name in answers():
                if code != 2 or error.count("\n") != 1 or name == "(none)":
                    raise SystemExit(f"{arguments}: exit code {code}, {name}, {error!r}")
                text = error.strip().removeprefix("halfstep: error: ").replace("|", "\\|")
                lines.append(f"| {title}: `{' '.join(arguments)}` | {text} | `{name}` |")
        finally:
            os.chdir(before)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: {len(CASES)} errors")
