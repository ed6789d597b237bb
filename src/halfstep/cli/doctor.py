"""`halfstep doctor`: what is installed, what it runs on, and whether it computes rightly."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import halfstep as hs
from halfstep import _native
from halfstep.cli.output import Json, Output, size
from halfstep.solvers.linear import EXACT_UP_TO, linear_for

__all__ = ["doctor"]

_PACKAGES = ("numpy", "scipy", "narwhals", "duckdb", "safetensors", "cyclopts", "rich")
_TOLERANCE = 1e-8  # of the largest factor, between the backends in float64


def doctor(*, as_json: Json = False) -> int:
    """Check the installation: versions, processor, threads, a self-check.

    The self-check fits a tiny problem in the native kernels and in plain numpy, which
    must agree, and (a sampler too) with one thread and with two, which must agree to
    the last bit.
    The exit code is 1 where it fails.

    For example:
        halfstep doctor
    """
    out = Output(as_json)
    document: dict[str, Any] = {
        "command": "doctor",
        "versions": _versions(),
        "platform": platform.platform(),
        "package": str(Path(hs.__file__).parent),
        "instruction_sets": {"chosen": _native.isa(), "available": _native.available_isas()},
        "environment": {
            name: os.environ.get(name) for name in ("HALFSTEP_ISA", "HALFSTEP_NUM_THREADS")
        },
        "threads": hs.get_num_threads(),
        "cores": _cores(),
        "memory_bytes": _memory(),
        "solver_als": _rule(),
    }
    versions = dict(document["versions"])
    sets = document["instruction_sets"]
    memory = document["memory_bytes"]
    out.facts(
        [
            ("halfstep", f"{versions.pop('halfstep')} in {document['package']}"),
            ("python", f"{versions.pop('python')}, {sys.executable}"),
            ("packages", ", ".join(f"{name} {version}" for name, version in versions.items())),
            ("platform", document["platform"]),
            ("instructions", f"{sets['chosen']} (available: {', '.join(sets['available'])})"),
            *((name, value or "not set") for name, value in document["environment"].items()),
            ("threads", f"{document['threads']}, of {document['cores']} cores available"),
            ("memory", "not known" if memory is None else size(memory)),
            (
                "solver als",
                ", ".join(
                    f"{linear} at {ranks}" for ranks, linear in document["solver_als"].items()
                ),
            ),
        ]
    )
    out.say()
    checks = [_run(name, check) for name, check in _CHECKS.items()]
    for check in checks:
        mark = "ok  " if check["passed"] else "FAIL"
        out.say(f"{mark}  {check['check']}: {check['found']}")
    document["self_check"] = checks
    document["passed"] = all(check["passed"] for check in checks)
    if not document["passed"]:
        out.say("The self-check failed: do not trust the results of this installation.")
    out.document(document)
    return 0 if document["passed"] else 1


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"halfstep": hs.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _rule() -> dict[str, str]:
    """What `solver="als"` does at which rank."""
    ranks = {f"rank ≤ {EXACT_UP_TO}": EXACT_UP_TO, f"rank > {EXACT_UP_TO}": EXACT_UP_TO + 1}
    return {name: repr(linear_for(rank)) for name, rank in ranks.items()}


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


# ------------------------------------------------------------------ self-check


def _run(name: str, check: Callable[[], tuple[bool, str]]) -> dict[str, Any]:
    try:
        passed, found = check()
    except Exception as error:  # whatever it is, it is what the check is for
        passed, found = False, f"{type(error).__name__}: {error}"
    return {"check": name, "passed": passed, "found": found}


def _ratings() -> hs.Ratings:
    generator = np.random.default_rng(0)
    users, items = np.nonzero(generator.random((60, 40)) < 0.4)
    return hs.Ratings.from_arrays(users, items, generator.integers(1, 6, len(users)))


def _same_as_numpy() -> tuple[bool, str]:
    ratings = _ratings()
    worst = 0.0
    for kind in (hs.ExplicitMF, hs.ImplicitMF):
        fits = [
            kind(rank=5, max_iter=3, dtype="float64").fit(ratings, backend=backend).factors_
            for backend in ("native", "numpy")
        ]
        one, two = (np.vstack([f.user_factors, f.item_factors]) for f in fits)
        worst = max(worst, float(np.abs(one - two).max() / np.abs(two).max()))
    return worst <= _TOLERANCE, f"largest difference {worst:.1e}, allowed {_TOLERANCE:.0e}"


def _same_for_two_threads() -> tuple[bool, str]:
    ratings = _ratings()
    before = hs.get_num_threads()
    bits = []
    try:
        for threads in (1, 2):
            hs.set_num_threads(threads)
            found = [
                hs.ExplicitMF(rank=5, max_iter=3).fit(ratings).factors_,
                hs.BayesianMF(rank=5, samples=3, burn_in=1).fit(ratings).factors_,
                hs.ImplicitMF(rank=5, max_iter=3).fit(ratings).factors_,
            ]
            bits.append([f.user_factors.tobytes() + f.item_factors.tobytes() for f in found])
    finally:
        hs.set_num_threads(before)
    same = bits[0] == bits[1]
    return same, "the same bits" if same else "different bits"


_CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "native kernels against numpy": _same_as_numpy,
    "one thread against two": _same_for_two_threads,
}
