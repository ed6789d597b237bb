"""The same parameters, converted: whether the peers' implicit ALS and ours end at the same scores.

    python benchmarks/conversions.py            implicit, irspack and LensKit, those that are installed
    python benchmarks/conversions.py --test     the same on a smaller table

Every line of the table of docs/objectives.md that a library can be asked about: both begin with the
same factors, make as many exact sweeps, and their scores of all pairs are compared. A peer's sweep is
users, then items, and ours items, then users; so ours is given the table with its sides swapped.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from driver import Engine, available, check, main, parser
from record import Figure

import halfstep as hs

SWEEPS, RANK = 5, 6
NEAR = 1e-4  # of the largest score; irspack and LensKit compute in float32


@dataclass(frozen=True)
class Case:
    """A peer's parameters and ours; `alpha` is that of c = α |r| − 1, `negative`: counts below 0."""

    name: str
    peer: str
    library: str
    own: dict[str, Any]
    ours: dict[str, Any]
    alpha: float | None = None
    negative: bool = False


WRMF = {"loss": "wrmf", "alpha0": 1.0, "reg_scaling": "none"}
CASES = [
    Case(
        f"implicit{', negative feedback' if negative else ''}",
        "peers",
        "implicit",
        {"alpha": 3.0, "regularization": 2.0},
        {**WRMF, "confidence": "binary", "alpha": 1.0, "reg": 2.0},
        alpha=3.0,
        negative=negative,
    )
    for negative in (False, True)
]
CASES += [
    Case(
        f"irspack, {loss}, {scaling}",
        "peers",
        "irspack",
        {
            "alpha0": 0.3,
            "reg": 0.02,
            "nu": 0.8,
            "loss_type": loss,
            "confidence_scaling": scaling,
            "epsilon": 0.5,
        },
        {
            "loss": ours,
            "alpha0": 0.3,
            "reg": 0.02,
            "nu": 0.8,
            "confidence": confidence,
            "epsilon": 0.5,
        },
    )
    for loss, ours in (("IALSPP", "ials"), ("ORIGINAL", "wrmf"))
    for scaling, confidence in (("none", "linear"), ("log", "log"))
]
CASES += [
    Case(
        f"LensKit, use_ratings={use}",
        "lenskit",
        "lenskit",
        {"weight": 8.0, "use_ratings": use, "regularization": {"user": 0.5, "item": 2.0}},
        # the sides are swapped: their users are our items
        {**WRMF, "confidence": confidence, "alpha": 8.0, "reg": (2.0, 0.5, 0.0)},
    )
    for use, confidence in ((False, "binary"), (True, "linear"))
]


def interactions(users: int, items: int, negative: bool) -> tuple[np.ndarray, ...]:
    """(users, items, counts) in which everybody has some."""
    generator = np.random.default_rng(0)
    taste = generator.normal(size=(users, 3)) @ generator.normal(size=(3, items))
    there = taste + generator.normal(size=taste.shape) > 1.5
    there[np.arange(users), np.arange(users) % items] = True
    there[np.arange(items) % users, np.arange(items)] = True
    user, item = np.nonzero(there)
    counts = 1.0 + generator.poisson(1.5, len(user))
    if negative:
        counts[generator.random(len(user)) < 0.2] *= -1
    return user, item, counts.astype(np.float32)


def fitted(case: Case, columns: tuple[np.ndarray, ...], sweeps: int) -> hs.ImplicitMF:
    """Ours, its users the peer's items."""
    user, item, counts = columns
    weight = None if case.alpha is None else case.alpha * np.abs(counts) - 1.0
    made = hs.ImplicitMF(
        RANK, **case.ours, solver="als-cholesky", dtype="float64", max_iter=sweeps, tol=0.0, seed=1
    )
    return made.fit(np.column_stack([item, user]), counts, sample_weight=weight)


def residual(model: hs.ImplicitMF) -> float:
    """Of the systems of our users, written out densely: the largest ‖A x − b‖ / ‖b‖."""
    f, history = model.factors_, model.history_
    shape = len(f.user_ids), len(f.item_ids)
    r, c = np.zeros(shape), np.zeros(shape)
    cells = np.repeat(np.arange(shape[0]), np.diff(history.indptr)), history.indices
    r[cells], size = history.values, np.abs(history.values.astype(float))
    scaled = {"linear": size, "log": np.log(1 + size / model.epsilon), "binary": 1.0}
    c[cells] = model.alpha * scaled[model.confidence]
    if history.weights is not None:
        c[cells] *= history.weights
    W, Z = f.user_factors, f.item_factors
    reg = model.reg[0] if isinstance(model.reg, tuple) else model.reg
    worst = 0.0
    for u in range(shape[0]):
        s = 1.0
        if model.reg_scaling == "frequency":
            s = (np.count_nonzero(r[u]) + model.alpha0 * shape[1]) ** model.nu
        A = model.alpha0 * Z.T @ Z + (Z.T * c[u]) @ Z + reg * s * np.eye(f.rank)
        whole = c[u] + model.alpha0 if model.loss == "wrmf" else c[u]
        b = Z.T @ (whole * (r[u] > 0))
        if b.any():
            worst = max(worst, float(np.linalg.norm(A @ W[u] - b) / np.linalg.norm(b)))
    return worst


def measure(given: argparse.Namespace) -> list[Figure]:
    """How far the scores are apart, of every case, and whether ours solves what it should."""
    shape = (30, 20) if given.test else (300, 200)
    what = {"part": "conversions", "K": RANK, "threads": given.threads}
    found, left, there = [], [], {}
    for case in CASES:
        columns = interactions(*shape, case.negative)
        model = fitted(case, columns, SWEEPS + 1)
        left.append(residual(model))
        check(left[-1] <= NEAR, f"{case.name}: ours has a residual of {left[-1]:.2g}")
        options = {"library": case.library, "sweeps": SWEEPS, "own": case.own}
        engine = Engine(case.name, "converted.py", case.peer, case.library, options)
        if case.library not in there:
            there[case.library] = bool(available([engine]))
        if not there[case.library] or (given.only and given.only not in case.name):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for name, column in zip(("users", "items", "ratings"), columns, strict=True):
                np.save(folder / f"{name}.npy", column)
            start = fitted(case, columns, 1).factors_.user_factors
            np.save(folder / "start.npy", start.astype(np.float32))
            told = engine.run(folder, given.threads)
            theirs = np.load(folder / "scores.npy")
        ours = model.factors_.item_factors @ model.factors_.user_factors.T
        apart = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        check(apart <= NEAR, f"{case.name}: scores are {apart:.2g} of the largest apart")
        what |= {
            "case": f"{shape[0]} × {shape[1]}",
            "engine": case.name,
            "version": told["version"],
        }
        found.append(Figure.of([apart], measure="scores apart", unit="of the largest", **what))
    what |= {"case": f"{shape[0]} × {shape[1]}", "engine": "halfstep", "version": hs.__version__}
    return [Figure.of(left, measure="residual of the users", unit="", **what), *found]


if __name__ == "__main__":
    main(parser(__doc__), measure, "Converted parameters: how far scores are apart")
