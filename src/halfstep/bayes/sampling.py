"""Running the chains: each is a fit by the one training loop, whose draws go to one `Posterior`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.bayes.density import PosteriorDensity
from halfstep.bayes.gibbs import Gibbs
from halfstep.bayes.levels import Levels
from halfstep.bayes.ordinal import OrdinalDensity
from halfstep.bayes.posterior import Posterior, fitted
from halfstep.bayes.priors import RowPrior
from halfstep.data.ratings import Ratings
from halfstep.evaluation.metrics import root_mean_squared_error
from halfstep.factors import Factors
from halfstep.solvers.base import Problem
from halfstep.training import Callback, Listener, Stopping, TraceRow, Validation, train

__all__ = ["Chains", "Plan", "Record"]

_FOLLOWED = 20
"""Pairs whose predictions are recorded draw by draw."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is drawn, and what is kept of it."""

    chains: int
    burn_in: int
    samples: int
    keep: int
    mean_rank: int
    seed: int


@dataclass(frozen=True, slots=True)
class Record:
    """What is followed draw by draw, to see whether the chains have converged.

    Attributes
    ----------
    sigma, objective : arrays (chains, samples)
        σ = 1/√α, or in its place the distance of the levels per standard deviation of the latent number
        (`OrdinalDensity.sigma`), and J (`PosteriorDensity`).
    predictions : array (chains, samples, pairs)
        E r of the pairs (`users`, `items`: row numbers). Factors are not followed: they rotate freely.
    """

    sigma: Array
    objective: Array
    predictions: Array
    users: Array
    items: Array


@dataclass(slots=True)
class Averaged:
    """Held-out ratings, and the error of the mean over the draws so far."""

    cells: Validation
    wait: int
    rated: Callable[[Array], Array] = field(init=False)
    _total: Array = field(init=False)
    _count: int = 0
    _seen: int = 0

    def __post_init__(self) -> None:
        self._total = np.zeros(len(self.cells.ratings))

    def begin_chain(self, rated: Callable[[Array], Array]) -> None:
        """Another burn-in; `rated` gives the mean of a rating whose r̂ in a draw is known."""
        self._seen = 0
        self.rated = rated

    def rmse(self, factors: Factors, backend: Backend) -> float:
        """That of the mean, or during burn-in of the draw alone."""
        found = self.rated(self.cells.fitted(factors, backend)).astype(np.float64)
        self._seen += 1
        if self._seen > self.wait:
            self._total += found
            self._count += 1
            found = self._total / self._count
        observed = self.cells.ratings.astype(np.float64)
        return root_mean_squared_error(observed, found, self.cells.weights)


class Chains:
    """The chains of one fit.

    Attributes
    ----------
    posterior : Posterior
    trace : list of TraceRow
        Of all chains, one after the other.
    """

    def __init__(
        self,
        ratings: Ratings,
        start: Factors,
        plan: Plan,
        backend: Backend,
        levels: Levels | None = None,
    ) -> None:
        self.ratings, self.start, self.plan, self.backend = ratings, start, plan, backend
        self.levels = levels
        # one key each: of the chains, of what is kept, of the pairs that are followed
        *self._seeds, kept, pairs = np.random.SeedSequence(plan.seed).generate_state(
            plan.chains + 2, np.uint64
        )
        total = plan.chains * plan.samples
        counts = np.diff(ratings.by_user.indptr), np.diff(ratings.by_item.indptr)
        self.posterior = Posterior(
            counts,
            max(1, total // min(plan.keep, total)),
            np.random.Generator(np.random.Philox(kept)),
        )
        self.posterior.begin(start, plan.mean_rank, backend)
        self.trace: list[TraceRow] = []
        picked = np.random.Generator(np.random.Philox(pairs))
        self._pairs = (
            picked.choice(np.flatnonzero(counts[0]), _FOLLOWED),
            picked.choice(np.flatnonzero(counts[1]), _FOLLOWED),
        )
        self._followed: list[tuple[float, Array]] = []
        self._objectives: list[float] = []

    def run(
        self,
        validation: Validation | None,
        callbacks: Sequence[Callback],
        listeners: Sequence[Listener],
    ) -> None:
        """Draw; the draws so far stay where Ctrl-C ends it."""
        plan = self.plan
        sweeps = plan.burn_in + plan.samples
        held_out = None if validation is None else Averaged(validation, plan.burn_in)
        for chain, seed in enumerate(self._seeds):
            drawn = 0

            def on_draw(
                factors: Factors, density: PosteriorDensity, users: tuple[Array, Array | None]
            ) -> None:
                nonlocal drawn
                drawn += 1
                if drawn > plan.burn_in:
                    self.posterior.add(factors, density, users)
                    self._follow(factors, density)

            def on_sweep(row: TraceRow, before: int = chain * sweeps) -> None:
                if row.sweep > plan.burn_in:
                    self._objectives.append(row.objective)
                self.trace.append(replace(row, sweep=before + row.sweep))
                for listener in listeners:
                    listener.on_sweep(self.trace[-1])

            D = self.start.rank + (self.start.user_bias is not None)
            prior = RowPrior(np.zeros(D), np.eye(D), None, np.zeros(D))
            density = self._density(prior)
            if held_out is not None:
                held_out.begin_chain(density.rated)
            train(
                Problem.of(self.ratings, density, self.start.rank, self.start.dtype),
                Gibbs(int(seed), on_draw),
                self.backend,
                self.start.copy(),
                stopping=Stopping(sweeps, -math.inf, sweeps + 1),
                validation=held_out,
                callbacks=callbacks,
                listeners=[Listener(on_sweep=on_sweep)],
            )

    def _density(self, prior: RowPrior) -> PosteriorDensity:
        """That of the first sweep of a chain."""
        given = self.start.mean, prior, prior, 1.0, self.start.user_bias is not None
        if self.levels is None:
            return PosteriorDensity(*given)
        return OrdinalDensity(*given, levels=self.levels)

    def _follow(self, factors: Factors, density: PosteriorDensity) -> None:
        found = density.rated(fitted(factors, *self._pairs, self.backend))
        self._followed.append((density.sigma, found.astype(np.float64)))

    def record(self) -> Record:
        """What was followed, of chains of equal length: those of the shortest one's."""
        plan = self.plan
        whole = len(self._objectives) // plan.samples * plan.samples or len(self._objectives)
        chains = max(1, whole // plan.samples)
        sigma = np.array([sigma for sigma, _ in self._followed[:whole]]).reshape(chains, -1)
        followed = np.array([fitted for _, fitted in self._followed[:whole]])
        return Record(
            sigma,
            np.array(self._objectives[:whole]).reshape(chains, -1),
            followed.reshape(chains, -1, _FOLLOWED),
            *self._pairs,
        )
