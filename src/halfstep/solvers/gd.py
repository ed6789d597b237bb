"""Batch gradient descent: all factors and biases move at once, against the gradient of J.

    D ← β D − P⁻¹ ∂J(x)            x ← x + η D

with x all unknowns, η the step, β the momentum (Polyak's heavy ball, 1964) and P = I or the steepness
of each row (`steepness.py`). With `nonnegative` factors, what a step takes below 0 is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.checks import check_choice, is_number
from halfstep.errors import ParameterError
from halfstep.factors import Factors
from halfstep.solvers.base import Problem, Sweep, settle, smooth
from halfstep.solvers.steepness import Steepness

__all__ = ["GD"]

_ENOUGH = 1e-4
"""Armijo's share of the decrease that the slope promises."""


@dataclass(frozen=True, slots=True)
class GD:
    """Batch gradient descent. A sweep is one step of all factors and biases.

    Parameters
    ----------
    step : float or "backtracking"
        η > 0: the same in every sweep, as in the textbooks (J may then rise, and a step that is too long
        ends in `DivergedError`); or found anew in every sweep by a line search from a longer step to
        shorter ones, until J falls by a share of what the slope promises (Armijo 1966): J never rises.
    momentum : float
        β in [0, 1): the share of the last direction that is kept. With "backtracking" a direction that
        does not lead downhill is dropped for the gradient's.
    scaling : {"auto", "rows", "none"}
        Whether the gradient of a row is divided by the row's steepness, ρ n_u + λ s_u (biases: n_u + λ_b
        s_u), ρ the mean square of an entry of the factors. "auto" is "rows" with "backtracking" and
        "none", the textbooks' step, with a number. With "rows" a step of 1 is about a Newton step.

    A sweep costs 8 |Ω| K useful floating-point operations, and 2 |Ω| K more for every step that is
    tried. Sources: Polyak (1964, «Some methods of speeding up the convergence of iteration methods»),
    Armijo (1966, «Minimization of functions having Lipschitz continuous first partial derivatives»).

    Raises, in a fit, `DivergedError` where a constant step was too long.
    """

    step: float | Literal["backtracking"] = "backtracking"
    momentum: float = 0.8
    scaling: Literal["auto", "rows", "none"] = "auto"

    name: ClassVar[str] = "gd"
    ends_with_users: ClassVar[bool] = False

    def __post_init__(self) -> None:
        step: Any = self.step
        searched = isinstance(step, str) and step == "backtracking"
        if not searched and not (is_number(step) and 0 < step < np.inf):
            raise ParameterError(
                "step",
                self.step,
                'must be a finite number above 0, or "backtracking"',
                'try step="backtracking"',
            )
        if not is_number(self.momentum) or not 0 <= self.momentum < 1:
            raise ParameterError(
                "momentum", self.momentum, "must be a number in [0, 1)", "try momentum=0.8"
            )
        check_choice("scaling", self.scaling, ("auto", "rows", "none"))

    @property
    def descends(self) -> bool:
        """True where a line search finds the step."""
        return self.step == "backtracking"

    @property
    def scaled(self) -> bool:
        """Whether each row's gradient is divided by its steepness."""
        return self.descends if self.scaling == "auto" else self.scaling == "rows"

    def begin(self, problem: Problem, start: Factors, backend: Backend) -> Sweep:
        settle(problem, start)
        return _Descent(self, problem, start, backend).sweep


class _Descent:
    """One fit: the direction of the last sweep, the length of its step, and room for the gradient."""

    def __init__(self, options: GD, problem: Problem, start: Factors, backend: Backend) -> None:
        self.options, self.problem, self.backend = options, problem, backend
        self.steepness = Steepness(problem) if options.scaled else None
        self.gradient = start.empty_like()
        self.direction = start._map(np.zeros_like)
        self.step = 1.0 if options.step == "backtracking" else float(options.step)

    def sweep(self, current: Factors, out: Factors) -> Iterator[str]:
        problem = self.problem
        value = smooth(problem, self.options.name).gradient(
            problem.by_user, problem.by_item, current, self.backend, self.gradient
        )
        yield "gradient"
        downhill = self._downhill(current)
        self._turn(current, downhill, self.options.momentum)
        if self.options.descends:
            if not self._walk(current, out, value.objective):
                self._turn(current, downhill, 0.0)
                if not self._walk(current, out, value.objective):
                    self._turn(current, downhill, 0.0)
                    self._move(current, out, 0.0)
        else:
            self._move(current, out, self.step)
        yield "step"

    def _downhill(self, current: Factors) -> list[Array]:
        """P⁻¹ ∂J, in the place of the gradient where P = I."""
        g = self.gradient._arrays()
        if self.steepness is None:
            return g
        scales = self.steepness.at(current)
        return [(a / d).astype(a.dtype) for a, d in zip(g, scales, strict=True)]

    def _turn(self, current: Factors, downhill: list[Array], momentum: float) -> None:
        """D ← β D − P⁻¹ ∂J, without what would leave W ≥ 0 and Z ≥ 0 at once."""
        for d, p in zip(self.direction._arrays(), downhill, strict=True):
            d *= momentum
            d -= p
        if self.problem.objective.nonnegative:
            for x, d in (
                (current.user_factors, self.direction.user_factors),
                (current.item_factors, self.direction.item_factors),
            ):
                d[(x == 0) & (d < 0)] = 0

    def _move(self, current: Factors, out: Factors, step: float) -> None:
        """out ← current + step · D, with the factors ≥ 0 where they must be."""
        for x, d, to in zip(
            current._arrays(), self.direction._arrays(), out._arrays(), strict=True
        ):
            np.multiply(d, d.dtype.type(step), out=to)
            to += x
        if self.problem.objective.nonnegative:
            for factors in (out.user_factors, out.item_factors):
                np.maximum(factors, 0, out=factors)

    def _walk(self, current: Factors, out: Factors, before: float) -> bool:
        """Find a step along D that lowers J enough; False where there is none above rounding."""
        problem, objective = self.problem, self.problem.objective
        slope = _product(self.gradient._arrays(), self.direction._arrays())
        step = self.step
        while -step * slope > np.finfo(np.float64).eps * before:
            self._move(current, out, step)
            promised = step * slope
            if objective.nonnegative:  # the step ends where it meets a bound
                moved = [b - a for a, b in zip(current._arrays(), out._arrays(), strict=True)]
                promised = _product(self.gradient._arrays(), moved)
            after = objective.value(problem.by_user, problem.by_item, out, self.backend).objective
            # the lowest point of the parabola through J(0), its slope and J(step)
            bend = after - before - step * slope
            lowest = -0.5 * slope * step * step / bend if bend > 0 else np.inf
            if promised < 0 and after <= before + _ENOUGH * promised:
                self.step = min(max(lowest, 0.5 * step), 4.0 * step)
                return True
            step = min(max(lowest, 0.1 * step), 0.5 * step) if np.isfinite(bend) else 0.1 * step
        return False


def _product(one: list[Array], two: list[Array]) -> float:
    """The sum of the products of all entries, in float64 and the same for any number of threads."""
    total = 0.0
    for a, b in zip(one, two, strict=True):
        total += float(np.einsum("r,r->", a.reshape(-1), b.reshape(-1), dtype=np.float64))
    return total
