"""How we get to the optimum. To add a solver: one file here, one entry in `_BY_NAME`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.errors import ParameterError
from halfstep.solvers.als import ALS
from halfstep.solvers.base import Problem, Solver, Sweep
from halfstep.solvers.gd import GD
from halfstep.solvers.lbfgs import LBFGS
from halfstep.solvers.linear import CG, Cholesky, Linear, Subspace, linear_for, linear_from_dict
from halfstep.solvers.sgd import SGD

__all__ = [
    "ALS",
    "CG",
    "GD",
    "LBFGS",
    "SGD",
    "Cholesky",
    "Linear",
    "Problem",
    "Solver",
    "Subspace",
    "Sweep",
    "available_solvers",
    "get_solver",
    "linear_for",
    "solver_from_dict",
    "solver_to_dict",
]

_BY_NAME: dict[str, Callable[..., Any]] = {
    "als": ALS,
    "als-cholesky": partial(ALS, linear=Cholesky()),
    "als-cg": partial(ALS, linear=CG()),
    "als-subspace": partial(ALS, linear=Subspace()),
    "als-accelerated": partial(ALS, acceleration="line-search"),
    "gd": GD,
    "lbfgs": LBFGS,
    "sgd": SGD,
}


_OURS = (ALS, GD, LBFGS, SGD)


def available_solvers() -> list[str]:
    """The names that `solver=` takes."""
    return list(_BY_NAME)


def get_solver(
    solver: str | Solver,
    rank: int,
    *,
    nonnegative: bool = False,
    complete: bool = False,
    counts: Sequence[Array] | None = None,
) -> Solver:
    """The solver of that name with its defaults, or the object itself, settled for K = `rank`.

    `nonnegative`, `complete` (no rating is missing) and `counts` (`Problem.counts`) say what else the
    choice depends on.
    """
    if isinstance(solver, str):
        if solver not in _BY_NAME:
            raise ParameterError(
                "solver", solver, "is not known", f"choose one of {', '.join(_BY_NAME)}"
            )
        solver = _BY_NAME[solver]()
    if not hasattr(solver, "begin") or isinstance(solver, type):
        raise ParameterError(
            "solver", solver, "is not a solver", "pass a name or an object such as ALS()"
        )
    settled: Any = solver
    if isinstance(solver, ALS):
        settled = solver.at_rank(rank, nonnegative=nonnegative, complete=complete, counts=counts)
    made: Solver = settled
    return made


def solver_to_dict(solver: str | Solver) -> Any:
    """A solver as JSON: its name, or its name and options (of which `linear` is written alike).

    Of a solver from elsewhere only the name is told.
    """
    if isinstance(solver, str):
        return solver
    if not isinstance(solver, _OURS):
        return {"name": solver.name, "from": type(solver).__module__}
    options = _options(solver)
    if isinstance(options.get("linear"), Linear):
        options["linear"] = {"name": options["linear"].name, **_options(options["linear"])}
    return {"name": solver.name, **options}


def _options(chosen: Any) -> dict[str, Any]:
    """The fields of a dataclass, numpy's numbers as plain ones."""
    values = {f.name: getattr(chosen, f.name) for f in fields(chosen)}
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}


def solver_from_dict(saved: Any) -> str | Solver:
    """The inverse of `solver_to_dict`; "als" for a solver from elsewhere, with a warning."""
    if isinstance(saved, str):
        return saved
    options = dict(saved)
    if "from" in options:
        warnings.warn(
            f"the model was fitted by {options['name']!r} of {options['from']}, which a file cannot "
            'hold: solver="als" stands in its place, should it be fitted again',
            stacklevel=2,
        )
        return "als"
    if isinstance(options.get("linear"), dict):
        options["linear"] = linear_from_dict(options["linear"])
    made: Solver = _BY_NAME[options.pop("name")](**options)
    return made
