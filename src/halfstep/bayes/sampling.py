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
from halfstep.bayes.priors import first_prior
from halfstep.data.ratings import Ratings
from halfstep.evaluation.metrics import root_mean_squared_error
from halfstep.factors import Factors, deviation
from halfstep.features.design import Designs
from halfstep.solvers.base import Problem
from halfstep.training import (
    Callback,
    Listener,
    Measured,
    Stopping,
    TraceRow,
    Validation,
    train,
)

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
    noise_by_user: bool


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

    def measure(self, factors: Factors, backend: Backend) -> Measured:
        """The error of the mean, or during burn-in of the draw alone."""
        found = self.rated(self.cells.fitted(factors, backend)).astype(np.float64)
        self._seen += 1
        if self._seen > self.wait:
            self._total += found
            self._count += 1
            found = self._total / self._count
        observed = self.cells.ratings.astype(np.float64)
        return Measured(rmse=root_mean_squared_error(observed, found, self.cells.weights))


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
        designs: Designs,
        start: Factors,
        plan: Plan,
        backend: Backend,
        levels: Levels | None = None,
    ) -> None:
        self.ratings, self.designs, self.start = ratings, designs, start
        self.plan, self.backend, self.levels = plan, backend, levels
        # one key each: of the chains, of what is kept, of the pairs that are followed
        *self._seeds, kept, pairs = np.random.SeedSequence(plan.seed).generate_state(
            plan.chains + 2, np.uint64
        )
        total = plan.chains * plan.samples
        counts = np.diff(ratings.by_user.indptr), np.diff(ratings.by_item.indptr)
        self.posterior = Posterior(
            counts,
            min(plan.keep, total) / total,
            np.random.Generator(np.random.Philox(kept)),
        )
        self.posterior.begin(start, plan.mean_rank, backend)
        self.trace: list[TraceRow] = []
        picked = np.random.Generator(np.random.Philox(pairs))
        self._pairs = (
            picked.choice(np.flatnonzero(counts[0]), _FOLLOWED),
            picked.choice(np.flatnonzero(counts[1]), _FOLLOWED),
        )
        # of each chain: (σ, r̂ of the pairs) of its draws, and J
        self._followed: list[list[tuple[float, Array]]] = []
        self._objectives: list[list[float]] = []

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
            self._followed.append([])
            self._objectives.append([])

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
                    self._objectives[-1].append(row.objective)
                self.trace.append(replace(row, sweep=before + row.sweep))
                for listener in listeners:
                    listener.on_sweep(self.trace[-1])

            density = self._density()
            if held_out is not None:
                held_out.begin_chain(density.rated)
            train(
                Problem.of(self.ratings, density, self.start.rank, self.start.dtype),
                Gibbs(int(seed), on_draw, self.designs),
                self.backend,
                self.start.copy(),
                stopping=Stopping(sweeps, -math.inf, sweeps + 1),
                validation=held_out,
                callbacks=callbacks,
                listeners=[Listener(on_sweep=on_sweep)],
            )

    def _density(self) -> PosteriorDensity:
        """That of the first sweep of a chain."""
        start, biased = self.start, self.start.user_bias is not None
        spread = 1.0 if self.levels is not None else deviation(self.ratings.by_user, start.mean)
        prior = first_prior(start.rank, biased, spread)
        if self.levels is not None:
            return OrdinalDensity(start.mean, prior, prior, 1.0, biased, levels=self.levels)
        steady = np.ones(len(start.user_factors)) if self.plan.noise_by_user else None
        return PosteriorDensity(start.mean, prior, prior, spread**-2, biased, steady)

    def _follow(self, factors: Factors, density: PosteriorDensity) -> None:
        found = density.rated(fitted(factors, *self._pairs, self.backend))
        self._followed[-1].append((density.sigma, found.astype(np.float64)))

    def record(self) -> Record:
        """What was followed: as many draws of every chain. A chain that ended early is left out where
        that leaves more draws of the others.
        """
        lengths = [len(own) for own in self._objectives]
        length = max(lengths, key=lambda least: least * sum(own >= least for own in lengths))
        chains = [
            (followed[:length], objectives[:length])
            for followed, objectives in zip(self._followed, self._objectives, strict=True)
            if len(objectives) >= length
        ]
        return Record(
            np.array([[sigma for sigma, _ in followed] for followed, _ in chains]),
            np.array([objectives for _, objectives in chains]),
            np.array([[found for _, found in followed] for followed, _ in chains]),
            *self._pairs,
        )
