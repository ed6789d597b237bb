"""How we get to the optimum. To add a solver: one file here, one entry in `_BY_NAME`."""

from __future__ import annotations

from typing import Any

from halfstep.errors import ParameterError
from halfstep.solvers.als import ALS
from halfstep.solvers.base import Problem, Solver

__all__ = ["ALS", "Problem", "Solver", "get_solver", "solver_from_dict", "solver_to_dict"]

_BY_NAME: dict[str, type[Any]] = {"als": ALS}


def get_solver(solver: str | Solver) -> Solver:
    """The solver of that name with its defaults, or the object itself."""
    if isinstance(solver, str):
        if solver not in _BY_NAME:
            raise ParameterError(
                "solver", solver, "is not known", f"choose one of {', '.join(_BY_NAME)}"
            )
        made: Solver = _BY_NAME[solver]()
        return made
    if not hasattr(solver, "sweep"):
        raise ParameterError(
            "solver", solver, "is not a solver", "pass a name or an object such as ALS()"
        )
    return solver


def solver_to_dict(solver: str | Solver) -> Any:
    """A solver as JSON: its name, or its name and options."""
    if isinstance(solver, str):
        return solver
    from dataclasses import asdict

    return {"name": solver.name, **asdict(solver)}  # type: ignore[call-overload]


def solver_from_dict(saved: Any) -> str | Solver:
    """The inverse of `solver_to_dict`."""
    if isinstance(saved, str):
        return saved
    options = dict(saved)
    made: Solver = _BY_NAME[options.pop("name")](**options)
    return made
