"""Other processes, other threads, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import halfstep as hs
from halfstep import _native

DIGEST = """
import hashlib
import halfstep as hs

made = hs.simulate(400, 150, rank=3, ratings_per_user=40, min_per_user=5, seed=0).ratings

def digest(rank=17, dtype="float32"):
    model = hs.ExplicitMF(rank=rank, max_iter=3, dtype=dtype).fit(made)
    f = model.factors_
    whole = [f.user_factors, f.item_factors, f.user_bias, f.item_bias, model.recommend(n=5).scores]
    whole = b"".join(a.tobytes() for a in whole) + repr([r.objective for r in model.trace_]).encode()
    return hashlib.sha256(whole).hexdigest()
"""


def run(code, *arguments, timeout=60, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def expected():
    space = {}
    exec(DIGEST, space)
    return space["digest"]()


# ------------------------------------------------------------- processes and threads


@pytest.mark.parametrize("threads", ["1", "2", "3", "8"])
def test_same_bits_for_any_number_of_threads(expected, threads):
    code = DIGEST + "print(hs.get_num_threads(), digest())"
    done = run(code, HALFSTEP_NUM_THREADS=threads)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [threads, expected]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("warm", [True, False], ids=["after work", "before any work"])
def test_same_bits_in_a_forked_child(expected, warm):
    """Also where the parent has used its threads before, and in a child of the child."""
    code = DIGEST + (
        f"""
import os, warnings
warnings.simplefilter("ignore")  # newer Pythons warn of any fork beside threads
if {warm}:
    print(digest(), flush=True)
for depth in range(2):
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 127)
    print(digest(), flush=True)
"""
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [expected] * (3 if warm else 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_beside_a_running_fit(expected):
    """The child's first fit does not wait for threads that only the parent has."""
    code = (
        DIGEST
        + """
import os, threading, warnings
warnings.simplefilter("ignore")
stop = False
def busy():
    while not stop:
        digest()
thread = threading.Thread(target=busy)
digest()
thread.start()
children = []
for _ in range(5):
    child = os.fork()
    if not child:
        os.write(1, (digest() + "\\n").encode())  # one write: five children share the pipe
        os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop = True
thread.join()
raise SystemExit(any(codes))
"""
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [expected] * 5


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_same_bits_in_a_pool_of_processes(expected, method, tmp_path):
    script = tmp_path / "pool_of_processes.py"
    script.write_text(
        DIGEST
        + f"""
if __name__ == "__main__":
    import multiprocessing, warnings
    warnings.simplefilter("ignore")
    if {method!r} in multiprocessing.get_all_start_methods():
        digest()
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            print(*[task.get() for task in [pool.apply_async(digest) for _ in range(4)]])
    else:
        print("none")
"""
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in ([expected] * 4, ["none"])


def test_a_model_goes_to_another_process_and_back(tmp_path):
    """Pickled by multiprocessing (never by us): fitted there, asked here."""
    script = tmp_path / "sends_models.py"
    script.write_text(
        """
import halfstep as hs

def fitted(seed):
    ratings = hs.simulate(100, 50, rank=2, ratings_per_user=20, min_per_user=5, seed=0).ratings
    return hs.ExplicitMF(rank=3, max_iter=2, seed=seed).fit(ratings)

if __name__ == "__main__":
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        models = pool.map(fitted, [0, 1])
    for seed, model in enumerate(models):
        assert model.predict([1, 2], [3, 4]).tobytes() == fitted(seed).predict([1, 2], [3, 4]).tobytes()
        assert list(model.recommend()) == list(fitted(seed).recommend())
"""
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_same_bits_from_several_threads_at_once(expected):
    space = {}
    exec(DIGEST, space)
    with ThreadPoolExecutor(4) as pool:
        found = [task.result() for task in [pool.submit(space["digest"]) for _ in range(8)]]
    assert found == [expected] * 8


def test_the_number_of_threads_may_change_at_any_time(expected):
    space = {}
    exec(DIGEST, space)
    before = hs.get_num_threads()
    try:
        with ThreadPoolExecutor(2) as pool:
            tasks = [pool.submit(space["digest"]) for _ in range(4)]
            for n in (1, 5, 2, 7, 3) * 20:
                hs.set_num_threads(n)
                time.sleep(0.001)
            assert [task.result() for task in tasks] == [expected] * 4
    finally:
        hs.set_num_threads(before)


@pytest.mark.parametrize("bad", ["0", "-1", "two", "1.5", " ", "2 cores", "4097", "9" * 30, "٣"])
def test_a_bad_number_of_threads_is_one_clear_error(bad):
    code = """
import halfstep as hs
try:
    ratings = hs.Ratings.from_arrays([1, 1, 2], [1, 2, 2], [1.0, 2.0, 3.0])
    hs.ExplicitMF(rank=2).fit(ratings)
except ValueError as error:
    print(error)
    raise SystemExit(7)
"""
    done = run(code, HALFSTEP_NUM_THREADS=bad)
    assert done.returncode == 7, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert "HALFSTEP_NUM_THREADS" in lines[0]
    assert bad in lines[0]
    assert "1 to 4096" in lines[0]


def test_a_number_of_threads_that_is_not_text():
    done = subprocess.run(
        [sys.executable, "-c", "import halfstep as hs\nhs.get_num_threads()"],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environb, b"HALFSTEP_NUM_THREADS": b"\xff"},
    )
    assert done.returncode == 1
    assert b"HALFSTEP_NUM_THREADS" in done.stderr


def test_an_empty_number_of_threads_is_the_default():
    done = run("import halfstep as hs\nprint(hs.get_num_threads())", HALFSTEP_NUM_THREADS="")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1


@pytest.mark.parametrize("bad", [0, -1, 4097, 1.5, "2", True, None])
def test_set_num_threads_refuses(bad):
    before = hs.get_num_threads()
    with pytest.raises(hs.HalfstepError, match="must be an integer from 1 to 4096"):
        hs.set_num_threads(bad)
    assert hs.get_num_threads() == before == _native.get_num_threads()


# --------------------------------------------------------------------------- imports

HEAVY = [
    *("scipy", "sklearn", "pandas", "polars", "pyarrow", "duckdb", "narwhals"),
    *("rich", "cyclopts", "safetensors"),
]


def test_import_is_light():
    code = f"import sys, halfstep\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_fit_needs_none_of_them():
    code = DIGEST + f"import sys\ndigest()\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


# ---------------------------------------------------------------------------- Ctrl-C

LONG_FIT = """
import json, sys, threading, time
import numpy as np
import halfstep as hs

users, items, each, rank = 30_000, 3_000, 50, 128
generator = np.random.default_rng(0)
ratings = hs.Ratings.from_arrays(
    np.repeat(np.arange(users), each),
    generator.integers(0, items, users * each),
    generator.integers(1, 11, users * each) / 2,
    duplicates="first",
)
model = hs.ExplicitMF(rank=rank, max_iter=10_000, tol=0.0, dtype="float64", solver=sys.argv[2])
keep = {}

def told(row):
    print("sweep", row.sweep, flush=True)

def report(error, answered):
    out = {"answered": answered, "fitted": hasattr(model, "factors_"), "error": type(error).__name__}
    out["keyboard"] = isinstance(error, KeyboardInterrupt)
    if out["fitted"]:
        f, t = model.factors_, model.trace_
        out |= {"stopped": model.stopped_, "sweeps": len(t), "n_iter": model.n_iter_}
        out["best"] = model.best_iter_
        native = model.objective_.value(ratings.by_user, ratings.by_item, f, hs.get_backend("native"))
        out["traced"], out["found"] = t[-1].objective, native.objective
        out["rmse"], out["traced_rmse"] = model.rmse(ratings), t[-1].train_rmse
        model.save(sys.argv[1])
        back = hs.load(sys.argv[1])
        one, two = model.predict([1, 2], [3, 4]), back.predict([1, 2], [3, 4])
        out["same"] = one.tobytes() == two.tobytes() and back.stopped_ == "interrupted"
        few = ratings.select(ratings.user_index() < 50)
        folded = model.fold_in(few).factors[:50]
        out["exact"] = folded.tobytes() == f.user_factors[:50].tobytes()
    print(json.dumps(out), flush=True)
"""

FIT_AND_REPORT = (
    LONG_FIT
    + """
print("start", flush=True)
try:
    model.fit(ratings, callbacks=[told])
except BaseException as error:
    report(error, time.time())
"""
)


def interrupted(code, path, *, after, wait=0.0, threads="2", solver="als-cholesky"):
    """Run, send SIGINT `wait` seconds after the line `after`, and give (report, seconds)."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path), solver],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HALFSTEP_NUM_THREADS": threads},
    )
    try:
        for line in child.stdout:
            if line.strip() == after:
                break
        else:
            pytest.fail(child.stderr.read())
        time.sleep(wait)
        sent = time.time()
        child.send_signal(signal.SIGINT)
        rest, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    lines = [line for line in rest.splitlines() if line.startswith("{")]
    assert lines, (rest, errors)
    report = json.loads(lines[-1])
    assert "panicked" not in errors
    return report, report["answered"] - sent


posix = pytest.mark.skipif(os.name != "posix", reason="no SIGINT to another process")


@posix
@pytest.mark.parametrize(
    ("wait", "threads", "solver"),
    [
        (0.0, "1", "als-cholesky"),
        (0.4, "3", "als-cholesky"),
        (0.1, "2", "als-cg"),
        (0.1, "2", "als-subspace"),
    ],
)
def test_ctrl_c_in_a_long_fit(tmp_path, wait, threads, solver):
    found, seconds = interrupted(
        FIT_AND_REPORT, tmp_path / "m", after="sweep 1", wait=wait, threads=threads, solver=solver
    )
    assert found["keyboard"]
    assert seconds < 2.0
    assert found["fitted"]
    assert found["stopped"] == "interrupted"
    assert found["sweeps"] == found["n_iter"] == found["best"] >= 1
    assert found["found"] == found["traced"]
    assert found["rmse"] == pytest.approx(found["traced_rmse"], rel=1e-9)
    assert found["exact"] is (solver == "als-cholesky")
    assert found["same"]


@posix
@pytest.mark.parametrize("wait", [0.05, 0.25])
def test_ctrl_c_before_the_first_sweep(tmp_path, wait):
    found, seconds = interrupted(FIT_AND_REPORT, tmp_path / "m", after="start", wait=wait)
    assert found["keyboard"]
    assert seconds < 2.0
    assert not found["fitted"]


@posix
def test_ctrl_c_again_and_again_is_still_one_interrupt(tmp_path):
    code = LONG_FIT + (
        """
import os, signal
def press():
    for _ in range(3):
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
print("start", flush=True)
try:
    try:
        model.fit(ratings, callbacks=[told])
    except KeyboardInterrupt as error:
        report(error, time.time())
except KeyboardInterrupt:
    print("{}")
"""
    )
    found, _ = interrupted(code, tmp_path / "m", after="sweep 1")
    assert found["keyboard"]
    assert found["same"]


@posix
def test_ctrl_c_while_another_thread_fits(tmp_path):
    """Signals go to the main thread; the fit of the other one goes on."""
    code = LONG_FIT + (
        """
model.set_params(rank=32, max_iter=4)
thread = threading.Thread(target=model.fit, args=(ratings,), kwargs={"callbacks": [told]})
thread.start()
print("start", flush=True)
try:
    while thread.is_alive():
        time.sleep(0.01)
    answered = None
except KeyboardInterrupt:
    answered = time.time()
thread.join()
print(json.dumps({"answered": answered, "stopped": model.stopped_, "sweeps": len(model.trace_)}))
"""
    )
    found, seconds = interrupted(code, tmp_path / "m", after="sweep 1")
    assert seconds < 2.0
    assert found["stopped"] == "max_iter"
    assert found["sweeps"] == 4


@posix
def test_another_signal_handler_may_raise_what_it_likes(tmp_path):
    """An alarm that raises `TimeoutError` ends the fit, with that error."""
    code = LONG_FIT + (
        """
import signal
def ring(number, frame):
    raise TimeoutError("rung")
signal.signal(signal.SIGINT, ring)
print("start", flush=True)
try:
    model.fit(ratings, callbacks=[told])
except BaseException as error:
    print(json.dumps({"answered": time.time(), "error": type(error).__name__}), flush=True)
"""
    )
    found, seconds = interrupted(code, tmp_path / "m", after="sweep 1", wait=0.2)
    assert found["error"] == "TimeoutError"
    assert seconds < 2.0


@posix
def test_a_signal_that_is_handled_does_not_stop_the_fit(tmp_path):
    code = LONG_FIT + (
        """
import signal
heard = []
signal.signal(signal.SIGINT, lambda number, frame: heard.append(time.time()))
model.set_params(max_iter=3, rank=64)
model.fit(ratings, callbacks=[told])
print(json.dumps({"answered": heard[0], "stopped": model.stopped_, "sweeps": len(model.trace_)}))
"""
    )
    found, seconds = interrupted(code, tmp_path / "m", after="sweep 1", wait=0.1)
    assert (found["stopped"], found["sweeps"]) == ("max_iter", 3)
    assert seconds < 2.0


@posix
def test_ctrl_c_in_a_long_recommend(tmp_path):
    code = """
import json, time
import numpy as np
from halfstep.backends import get_backend
generator = np.random.default_rng(0)
q = generator.standard_normal((200_000, 64), dtype=np.float32)
z = generator.standard_normal((20_000, 64), dtype=np.float32)
print("start", flush=True)
try:
    get_backend("native").topk(q, z, None, 10)
except KeyboardInterrupt:
    print(json.dumps({"answered": time.time()}))
"""
    _, seconds = interrupted(code, tmp_path / "m", after="start", wait=0.3)
    assert seconds < 2.0


# ------------------------------------------------------- interrupts at chosen moments


def fits(simulated, **given):
    return hs.ExplicitMF(rank=3, tol=0.0, max_iter=6).fit(simulated, **given)


def test_a_callback_that_raises_leaves_no_half_a_model(simulated):
    def fail(row):
        if row.sweep == 2:
            raise RuntimeError("stop that")

    model = hs.ExplicitMF(rank=3)
    with pytest.raises(RuntimeError, match="stop that"):
        model.fit(simulated, callbacks=[fail])
    assert not hasattr(model, "factors_")
    assert not [name for name in vars(model) if name.endswith("_")]

    fitted = fits(simulated)
    before = dict(vars(fitted))
    with pytest.raises(RuntimeError, match="stop that"):
        fitted.fit(simulated.select(range(500)), callbacks=[fail])
    assert vars(fitted) == before


def test_ctrl_c_in_a_callback(simulated):
    def press(row):
        if row.sweep == 3:
            raise KeyboardInterrupt

    model = hs.ExplicitMF(rank=3, tol=0.0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(simulated, callbacks=[press])
    whole = hs.ExplicitMF(rank=3, tol=0.0, max_iter=3).fit(simulated)
    assert model.stopped_ == "interrupted"
    assert len(model.trace_) == 3
    assert model.factors_.user_factors.tobytes() == whole.factors_.user_factors.tobytes()


class Pressing:
    """The native backend, with Ctrl-C in the call of that number to that function."""

    name = "native"

    def __init__(self, function, at):
        self.function, self.at, self.calls = function, at, 0
        self.real = hs.get_backend("native")

    def __getattr__(self, name):
        method = getattr(self.real, name)
        if name != self.function:
            return method

        def called(*arguments, **given):
            self.calls += 1
            found = method(*arguments, **given)
            if self.calls == self.at:
                raise KeyboardInterrupt
            return found

        return called


@pytest.mark.parametrize("function", ["solve_rows", "squared_error", "predict"])
@pytest.mark.parametrize("at", range(1, 8))
def test_ctrl_c_between_any_two_steps(simulated, function, at):
    """The model is that of the last traced sweep, bit for bit (the best one with validation)."""
    train, valid = hs.split_random(simulated, test=0.2)
    given = {"validation": valid} if function == "predict" else {}
    model = hs.ExplicitMF(rank=3, tol=0.0, patience=100)
    with pytest.raises(KeyboardInterrupt):
        model.fit(train, backend=Pressing(function, at), **given)
    done = (at - 1) // 2 if function == "solve_rows" else at - 1
    if done == 0:
        assert not hasattr(model, "factors_")
        return
    whole = hs.ExplicitMF(rank=3, tol=0.0, patience=100, max_iter=done).fit(train, **given)
    assert model.stopped_ == "interrupted"
    assert [r.objective for r in model.trace_] == [r.objective for r in whole.trace_]
    assert model.best_iter_ == whole.best_iter_
    assert model.factors_.user_factors.tobytes() == whole.factors_.user_factors.tobytes()
    assert model.factors_.item_factors.tobytes() == whole.factors_.item_factors.tobytes()


@pytest.mark.parametrize("at", [1, 2])
def test_ctrl_c_while_there_is_room_to_be_made_beside_the_best_factors(simulated, monkeypatch, at):
    """`best_iter_` names the sweep whose factors the model holds, whenever Ctrl-C comes."""
    train, valid = hs.split_random(simulated, test=0.2)
    calls = []
    real = hs.Factors.empty_like

    def empty_like(self):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(self)

    model = hs.ExplicitMF(rank=8, reg=0.001, tol=0.0, patience=100)  # soon worse than its best
    with monkeypatch.context() as patched:
        patched.setattr(hs.Factors, "empty_like", empty_like)
        with pytest.raises(KeyboardInterrupt):
            model.fit(train, validation=valid)
    if at == 1:
        assert not hasattr(model, "factors_")
        return
    assert model.best_iter_ < len(model.trace_)
    best = model.trace_[model.best_iter_ - 1].validation_rmse
    assert best == min(row.validation_rmse for row in model.trace_)
    assert model.rmse(valid) == pytest.approx(best, rel=1e-6)


def test_an_interrupted_refit_keeps_a_model_that_can_be_saved(simulated, tmp_path):
    """Ctrl-C in the first sweep of a refit: the old model stands, whole."""
    model = fits(simulated)
    before = model.predict([1, 2], [3, 4])
    model.set_params(rank=5)
    with pytest.raises(KeyboardInterrupt):
        model.fit(simulated, backend=Pressing("solve_rows", 1))
    assert model.predict([1, 2], [3, 4]).tobytes() == before.tobytes()
    back = hs.load(model.save(tmp_path / "m"))
    assert back.predict([1, 2], [3, 4]).tobytes() == before.tobytes()


def test_the_interrupt_of_a_warm_start_leaves_the_first_model_alone(simulated):
    first = fits(simulated)
    before = first.factors_.user_factors.tobytes()
    with pytest.raises(KeyboardInterrupt):
        hs.ExplicitMF(rank=3).fit(simulated, init=first, backend=Pressing("solve_rows", 2))
    assert first.factors_.user_factors.tobytes() == before
