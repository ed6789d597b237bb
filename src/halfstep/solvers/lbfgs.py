"""L-BFGS: quasi-Newton steps of all factors and biases at once, by scipy's L-BFGS-B.

The unknowns are y = √d x, with d the steepness of each row (`steepness.py`), so that J is about equally
steep in all of them:

    ∂J/∂y = ∂J/∂x / √d

They are measured in units of ‖∂J/∂y‖ at the start of a sweep, and J in its square: the first step that
is tried, of length 1, is then y − ∂J/∂y, about a Newton step, whatever the scale of the ratings.

With `nonnegative` factors the bounds W ≥ 0 and Z ≥ 0 are passed on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import Array, Backend
from halfstep.checks import check_integer
from halfstep.factors import Factors
from halfstep.solvers.base import Problem, Sweep, settle, smooth
from halfstep.solvers.linear import MOST
from halfstep.solvers.steepness import Steepness

__all__ = ["LBFGS"]


@dataclass(frozen=True, slots=True)
class LBFGS:
    """L-BFGS with a line search for the strong Wolfe conditions. A sweep is `iterations` of its steps.

    Parameters
    ----------
    iterations : int
        Steps of a sweep. Each sweep begins anew from the factors so far, so that few steps forget more
        of the curvature, and many are slower to show what they do.
    memory : int
        The last steps whose curvature is remembered.

    A step costs about 9 |Ω| K useful floating-point operations (one gradient; now and then the line
    search needs another) and some 8 `memory` (m + n) K of scipy's own. All of it is in float64, whatever
    the dtype of the factors, and takes about 2 `memory` + 8 arrays of their size. Sources: Liu and
    Nocedal (1989, «On the limited memory BFGS method for large scale optimization»); Byrd, Lu, Nocedal
    and Zhu (1995, «A limited memory algorithm for bound constrained optimization»).

    The same bits for any number of threads: the gradient runs on halfstep's, scipy's own sums on one
    thread of BLAS.
    """

    iterations: int = 20
    memory: int = 10

    name: ClassVar[str] = "lbfgs"
    ends_with_users: ClassVar[bool] = False
    descends: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, default in (("iterations", 20), ("memory", 10)):
            check_integer(name, getattr(self, name), 1, MOST, example=default)

    def begin(self, problem: Problem, start: Factors, backend: Backend) -> Sweep:
        backend = get_backend(backend, dtype="float64")
        settle(problem, start)
        steepness = Steepness(problem)
        return lambda current, out: _sweep(self, problem, steepness, backend, current, out)


def _sweep(
    options: LBFGS,
    problem: Problem,
    steepness: Steepness,
    backend: Backend,
    current: Factors,
    out: Factors,
) -> Iterator[str]:
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    objective = smooth(problem, options.name)
    flat = _Flat(current)
    roots = flat.joined(
        [
            np.sqrt(np.broadcast_to(d, a.shape))
            for d, a in zip(steepness.at(current), current._arrays(), strict=True)
        ]
    )

    def value_and_gradient(y: Array) -> tuple[float, Array]:
        g = np.empty_like(y)
        value = objective.gradient(
            problem.by_user, problem.by_item, flat.factors(y / roots), backend, flat.factors(g)
        )
        g /= roots
        return value.objective, g

    y = flat.joined(current._arrays()) * roots
    first = [value_and_gradient(y)]
    unit = float(np.sqrt(np.add.reduce(first[0][1] ** 2))) or 1.0

    def in_units(t: Array) -> tuple[float, Array]:
        value, g = first.pop() if first else value_and_gradient(t * unit)  # the start comes first
        return value / unit**2, g / unit

    # one thread of BLAS: the same bits everywhere, and no threads that wait for one another
    with threadpool_limits(1, user_api="blas"):
        found = minimize(
            in_units,
            y / unit,
            jac=True,
            method="L-BFGS-B",
            bounds=_bounds(flat) if objective.nonnegative else None,
            options={
                "maxiter": int(options.iterations),
                "maxcor": int(options.memory),
                "maxfun": 100 * MOST,
                "ftol": 0.0,  # when to stop is the training loop's business
                "gtol": 0.0,
            },
        )
    for array, to in zip(
        flat.factors(found.x * unit / roots)._arrays(), out._arrays(), strict=True
    ):
        to[...] = array
    yield "steps"


class _Flat:
    """Factors as one vector of float64, the factors before the biases."""

    def __init__(self, like: Factors) -> None:
        self._like = like
        self._ends = np.cumsum([array.size for array in like._arrays()]).tolist()
        self.bounded = like.user_factors.size + like.item_factors.size

    def joined(self, arrays: list[Array]) -> Array:
        return np.concatenate([array.reshape(-1) for array in arrays], dtype=np.float64)

    def factors(self, x: Array) -> Factors:
        """Views of x in the shapes of the factors."""
        parts = iter(np.split(x, self._ends[:-1]))
        return self._like._map(lambda array: next(parts).reshape(array.shape))


def _bounds(flat: _Flat) -> Any:
    from scipy.optimize import Bounds

    lower = np.full(flat._ends[-1], -np.inf)
    lower[: flat.bounded] = 0.0
    return Bounds(lower, np.inf)
