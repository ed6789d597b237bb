"""Single sweeps of the sampler from a state of one's own, for tests that look at its steps."""

from dataclasses import dataclass, replace

import numpy as np

from halfstep.backends import get_backend
from halfstep.bayes.density import PosteriorDensity
from halfstep.bayes.gibbs import Gibbs
from halfstep.bayes.priors import RowPrior, first_prior
from halfstep.factors import Factors
from halfstep.features.design import Designs
from halfstep.objectives import SIDES
from halfstep.solvers.base import Problem


@dataclass
class State:
    """Everything that a chain holds: rows y = (w, b), their priors, λ of their features, the noise."""

    rows: dict
    priors: dict
    strengths: dict
    alpha: float = 1.0
    steadiness: np.ndarray | None = None
    freedom: float = 10.0

    @classmethod
    def simple(cls, users, items, spread=1.0, biases=True, alpha=1.0):
        """Shared noise, no features, priors where a chain begins."""
        prior = first_prior(users.shape[1] - biases, biases, spread)
        return cls({"user": users, "item": items}, dict.fromkeys(SIDES, prior), {}, alpha)


def factors_of(ratings, rows, mean=0.0, biases=True, dtype="float64"):
    """Factors from the rows y = (w, b) of both sides."""
    parts = []
    for side in SIDES:
        factors = rows[side][:, :-1] if biases else rows[side]
        parts.append(np.ascontiguousarray(factors.astype(dtype)))
        parts.append(np.ascontiguousarray(rows[side][:, -1].astype(dtype)) if biases else None)
    return Factors(parts[0], parts[2], parts[1], parts[3], mean, ratings.users, ratings.items)


def sweeps(
    ratings,
    state,
    count,
    seed,
    *,
    mean=0.0,
    biases=True,
    spread=None,
    designs=None,
    dtype="float64",
    backend="native",
):
    """Yield the state after each of `count` sweeps, and the means of the users.

    `spread`: s, on which the priors depend, where it is not to be that of the ratings.
    """
    runs_on = get_backend(backend)
    start = factors_of(ratings, state.rows, mean, biases, dtype)
    density = PosteriorDensity(
        *(mean, state.priors["user"], state.priors["item"], state.alpha, biases),
        steadiness=state.steadiness,
    )
    told = []
    solver = Gibbs(
        seed,
        lambda *draw: told.append(draw),
        Designs() if designs is None else designs,
    )
    problem = Problem.of(ratings, density, start.rank, dtype)
    sweep = solver.begin(problem, start, runs_on)
    chain = sweep.__self__
    noise = chain.likelihood.noise
    noise.freedom = state.freedom
    if spread is not None:
        noise.spread = spread
    for side, strengths in state.strengths.items():
        prior, effects = state.priors[side], chain.effects[side]
        effects.map, effects.shift, effects.strengths = prior.effects, prior.shift, strengths
    current, spare = start.copy(), start.empty_like()
    for _ in range(count):
        for _step in sweep(current, spare):
            pass
        current, spare = spare, current
        density.value(ratings.by_user, ratings.by_item, current, runs_on)
        (_, _, means) = told.pop()
        yield _state_of(current, density, chain), means


def _state_of(factors, density, chain):
    rows = {}
    for side, (own, bias) in (("user", factors.user_side), ("item", factors.item_side)):
        rows[side] = own.copy() if bias is None else np.column_stack([own, bias])
    effects = {side: part for side, part in chain.effects.items() if part is not None}
    return State(
        rows,
        {side: replace(density.prior(side)) for side in SIDES},
        {side: part.strengths.copy() for side, part in effects.items()},
        density.alpha,
        None if density.steadiness is None else density.steadiness.copy(),
        density.freedom,
    )


def plain_prior(mean, precision):
    """N(m, Λ⁻¹) of every row."""
    return RowPrior(mean, precision, mean)
