"""Bad input gets one line on the error stream and exit code 2; nothing ever gets a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import halfstep as hs

MODULE = [sys.executable, "-m", "halfstep"]

BAD = {
    "no such command": ("fti",),
    "no table": ("fit",),
    "unknown flag": ("fit", "RATINGS", "--rnak", "3"),
    "missing file": ("fit", "nosuch.csv", "-o", "OUT"),
    "rank 0": ("fit", "RATINGS", "--rank", "0", "-o", "OUT"),
    "rank of text": ("fit", "RATINGS", "--rank", "ten", "-o", "OUT"),
    "reg of text": ("fit", "RATINGS", "--reg", "abc", "-o", "OUT"),
    "two regs": ("fit", "RATINGS", "--reg", "1,2", "-o", "OUT"),
    "negative reg": ("fit", "RATINGS", "--reg", "-1", "-o", "OUT"),
    "reg nan": ("fit", "RATINGS", "--reg", "nan", "-o", "OUT"),
    "scaling": ("fit", "RATINGS", "--reg-scaling", "some", "-o", "OUT"),
    "solver": ("fit", "RATINGS", "--solver", "magic", "-o", "OUT"),
    "unknown column": ("fit", "RATINGS", "--user", "nosuch", "-o", "OUT"),
    "share": ("fit", "RATINGS", "--test", "1.5", "-o", "OUT"),
    "shares": ("fit", "RATINGS", "--test", "0.5", "--valid", "0.5", "-o", "OUT"),
    "no folder": ("fit", "RATINGS", "-o", "nosuch/m.safetensors"),
    "output is a folder": ("fit", "RATINGS", "-o", "FOLDER"),
    "output is the input": ("fit", "RATINGS", "-o", "RATINGS"),
    "duplicates": ("fit", "RATINGS", "--duplicates", "maybe", "-o", "OUT"),
    "one fold": ("evaluate", "RATINGS", "--folds", "1"),
    "model and rank": ("evaluate", "RATINGS", "--model", "MODEL", "--rank", "3"),
    "not a model": ("recommend", "RATINGS", "--user", "1"),
    "no model": ("recommend", "nosuch.safetensors", "--user", "1"),
    "no user": ("recommend", "MODEL"),
    "two ways": ("recommend", "MODEL", "--user", "1", "--all"),
    "unknown user": ("recommend", "MODEL", "--user", "nosuch"),
    "n 0": ("recommend", "MODEL", "--user", "1", "-n", "0"),
    "ending": ("recommend", "MODEL", "--user", "1", "-o", "recommended.xls"),
    "no users file": ("recommend", "MODEL", "--users", "nosuch.txt"),
    "no allow file": ("recommend", "MODEL", "--user", "1", "--allow", "@nosuch.txt"),
    "no titles": ("recommend", "MODEL", "--user", "1", "--items", "nosuch.dat"),
    "pair and table": ("predict", "MODEL", "RATINGS", "--user", "1", "--item", "1"),
    "half a pair": ("predict", "MODEL", "--user", "1"),
    "unknown item": ("predict", "MODEL", "--user", "1", "--item", "x", "--unknown", "error"),
    "nothing asked": ("similar", "MODEL"),
    "similar to what": ("similar", "MODEL", "--item", "nosuch"),
    "no such title": ("similar", "MODEL", "--item", "nosuch", "--items", "TITLES"),
    "explain what": ("explain", "MODEL", "--user", "1"),
    "explain to whom": ("explain", "MODEL", "--user", "nosuch", "--item", "3"),
    "explain 0": ("explain", "MODEL", "--user", "1", "--item", "3", "-n", "0"),
    "seed": ("demo", "--seed", "-1"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_input(run, files, tmp_path, monkeypatch, name, as_json):
    monkeypatch.chdir(tmp_path)
    named = {
        "RATINGS": files.ratings,
        "MODEL": files.model,
        "TITLES": files.titles,
        "OUT": tmp_path / "out.safetensors",
        "FOLDER": tmp_path,
    }
    answer = run(*(named.get(word, word) for word in BAD[name]), *(["--json"] * as_json))
    assert answer.code == 2, answer
    assert answer.out == ""
    assert answer.err.startswith("halfstep: error: ")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--rank", "0"), "--rank 0: must be an integer of at least 1; try --rank 10"),
        (
            ("--rank", "gro"),
            "--rank gro: is not a rank; pass an integer, --rank auto or --rank grow",
        ),
        (
            ("--rank", "2.5"),
            "--rank 2.5: is not a rank; pass an integer, --rank auto or --rank grow",
        ),
        (
            ("--max-iter", "2.5"),
            "--max-iter 2.5: must be an integer of at least 1; try --max-iter 10",
        ),
        (("--seed", "0.5"), "--seed 0.5: must be an integer of at least 0; try --seed 10"),
        (
            ("--rank", "grow", "--nonnegative"),
            "--nonnegative: cannot be had with --rank grow, which needs a certificate; "
            "pass an integer rank",
        ),
        (("--max-iter", "0"), "--max-iter 0: must be an integer of at least 1; try --max-iter 10"),
        (("--tol", "7"), "--tol 7.0: must be a number in [0, 1); try --tol 1e-4"),
        (
            ("--test", "-0.1"),
            "--test -0.1: must be a share of the ratings, in [0, 1); try --test 0.1",
        ),
    ],
)
def test_messages_speak_in_flags(run, files, tmp_path, arguments, expected):
    answer = run("fit", files.ratings, "-o", tmp_path / "m", *arguments)
    assert answer.err == f"halfstep: error: {expected}\n"


def test_remedies_speak_in_flags(run, files, tmp_path):
    table = tmp_path / "ratings.csv"
    table.write_text("user,item,rating\n1,1,3\n1,1,4\n1,2,5\n2,1,\n2,2,4\n")
    answer = run("fit", table, "-o", tmp_path / "m")
    assert answer.code == 2
    assert "--invalid drop" in answer.err
    answer = run("fit", table, "-o", tmp_path / "m", "--invalid", "drop")
    assert answer.code == 2
    assert "--duplicates" in answer.err


def test_a_bug_is_called_a_bug(run, monkeypatch):
    from halfstep.cli import doctor

    def broken():
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(doctor, "_versions", broken)
    answer = run("doctor")
    assert answer.code == 1
    assert answer.err == (
        "halfstep: error: this is a bug in halfstep (RuntimeError: two lines); "
        "HALFSTEP_DEBUG=1 shows where\n"
    )
    monkeypatch.setenv("HALFSTEP_DEBUG", "1")
    assert "Traceback" in run("doctor").err


def test_bad_environment():
    found = subprocess.run(
        [*MODULE, "doctor"],
        env={**os.environ, "HALFSTEP_NUM_THREADS": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "HALFSTEP_NUM_THREADS" in found.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from halfstep.cli import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'duckdb', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_exit_codes_of_the_process(files):
    good = subprocess.run([*MODULE, "--version"], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.strip()) == (0, hs.__version__)
    bad = subprocess.run(
        [*MODULE, "recommend", str(files.model), "--user", "nosuch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1


def test_ascii_terminal(files):
    arguments = ["recommend", str(files.model), "--user", "1", "--items", str(files.titles)]
    found = subprocess.run(
        [*MODULE, *arguments],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_a_reader_who_leaves(files):
    with subprocess.Popen(
        [*MODULE, "recommend", str(files.model), "--all", "-n", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 141)


# ------------------------------------------------------------------------ Ctrl-C


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_saves_the_last_finished_sweep(files, tmp_path):
    path = tmp_path / "m.safetensors"
    flags = ["--rank", "40", "--reg", "1e-6", "--dtype", "float64", "--tol", "0", "--valid", "0"]
    with subprocess.Popen(
        [*MODULE, "fit", str(files.ratings), "-o", str(path), *flags, "--max-iter", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:  # the summary of the data stands before the fit
            if not line.strip():
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert errors.count("\n") == 1
    assert "interrupted" in errors
    assert hs.load(path).stopped_ == "interrupted"


def test_ctrl_c_before_the_first_sweep_writes_nothing(run, files, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hs.ExplicitMF, "fit", interrupted)
    monkeypatch.setattr("halfstep.cli.fit.select", interrupted)
    answer = run("fit", files.ratings, "-o", tmp_path / "m.safetensors")
    assert answer.code == 130
    assert answer.err == ("halfstep: interrupted before a sweep was finished: nothing is saved\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_refit_keeps_the_first_fit(run, files, tmp_path, monkeypatch):
    fit = hs.ExplicitMF.fit
    fits = []

    def second_is_interrupted(self, *arguments, **named):
        fits.append(self)
        if len(fits) > 1:
            raise KeyboardInterrupt
        return fit(self, *arguments, **named)

    monkeypatch.setattr(hs.ExplicitMF, "fit", second_is_interrupted)
    path = tmp_path / "m.safetensors"
    answer = run("fit", files.ratings, "-o", path, "--fast")
    assert answer.code == 130
    assert answer.err.count("\n") == 1
    monkeypatch.undo()
    assert hs.load(path).stopped_ in ("validation", "converged", "max_iter")
