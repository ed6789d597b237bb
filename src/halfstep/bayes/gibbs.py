"""Gibbs sampling: every unknown drawn in turn given all others.

    the likelihood's own unknowns | everything  (`likelihoods.py`): the noise, or latent numbers
    (m, Λ) of the items | Z, b_i                Normal-Wishart (`priors.py`)
    the effects of their features | Z, b_i      a ridge regression (`effects.py`)
    every item (z_i, b_i) | W, b_u, α, m, Λ     a row problem, noise added (`Backend.draw_rows`)
    the same for the users

A sweep is a sweep of ALS with noise: the rows are those of the same kernel. Salakhutdinov and Mnih
(2008), algorithm 1, with α drawn too and biases as one more entry of each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from halfstep.backends.base import CSR, Array, Backend, Noise
from halfstep.bayes.density import PosteriorDensity, stacked
from halfstep.bayes.effects import Effects
from halfstep.bayes.likelihoods import Likelihood
from halfstep.bayes.priors import RowPrior, draw_prior, smallest_scatter
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors
from halfstep.features.design import Designs
from halfstep.objectives import SIDES, Side, row_weights
from halfstep.solvers.base import Problem, Sweep

__all__ = ["Gibbs"]

OnDraw = Callable[[Factors, PosteriorDensity, tuple[Array, Array | None]], None]


@dataclass(frozen=True, slots=True)
class Gibbs:
    """The sampler of one chain: `seed` chooses its random numbers.

    `on_draw` is told of every draw: the factors, the density with its priors, and the means of the
    users given all else.
    """

    seed: int
    on_draw: OnDraw
    designs: Designs = field(default_factory=Designs)

    name: ClassVar[str] = "gibbs"
    descends: ClassVar[bool] = False
    ends_with_users: ClassVar[bool] = False

    def begin(self, problem: Problem, start: Factors, backend: Backend) -> Sweep:
        density = problem.objective
        assert isinstance(density, PosteriorDensity)
        density.value(problem.ratings.by_user, problem.ratings.by_item, start, backend)
        numbers, rows, cells = np.random.SeedSequence(self.seed).spawn(3)
        random = np.random.Generator(np.random.Philox(numbers))
        seed = int(cells.generate_state(1, np.uint64)[0])
        bias = start.user_bias
        effects = {side: self._effects(side, problem, start, backend) for side in SIDES}
        density.users, density.items = (
            prior
            if own is None or prior.effects is not None
            else replace(prior, shift=own.shift, effects=own.map)
            for prior, own in (
                (density.users, effects["user"]),
                (density.items, effects["item"]),
            )
        )
        chain = _Chain(
            problem,
            density,
            backend,
            density.likelihood(problem.ratings, start, random, seed),
            (np.empty_like(start.user_factors), None if bias is None else np.empty_like(bias)),
            self.on_draw,
            effects,
            random,
            int(rows.generate_state(1, np.uint64)[0]),
            {side: row_weights(problem.side(side)[0]) for side in SIDES},
        )
        return chain.sweep

    def _effects(
        self, side: Side, problem: Problem, start: Factors, backend: Backend
    ) -> Effects | None:
        """A of a side that has features, all 0."""
        design, rows = self.designs.side(side), self.designs.rows(side)
        if design is None or rows is None:
            return None
        known = np.diff(problem.side(side)[0].indptr) > 0
        D = start.rank + (start.user_bias is not None)
        return Effects(rows, design, known, D, start.dtype, backend)


@dataclass(slots=True)
class _Chain:
    """What the sweeps of one chain share."""

    problem: Problem
    density: PosteriorDensity
    backend: Backend
    likelihood: Likelihood
    means: tuple[Array, Array | None]
    on_draw: OnDraw
    effects: dict[Side, Effects | None]
    random: np.random.Generator
    seed: int
    counts: dict[Side, Array]
    step: int = 0

    def sweep(self, current: Factors, out: Factors) -> Iterator[str]:
        by_user, by_item = self.likelihood.draw()
        self._draw_side("item", by_item, current, current, out)
        yield "items"
        self._draw_side("user", by_user, out, current, out)
        yield "users"
        self.on_draw(out, self.density, self.means)
        yield "keep"

    def _draw_side(
        self, side: Side, cells: CSR, others: Factors, current: Factors, out: Factors
    ) -> None:
        """The prior of a side given its rows in `current`, then its rows given `cells` and those of
        `others`.
        """
        ratings, density = self.problem.ratings, self.density
        user = side == "user"
        if self.step >= 2:  # in the first sweep the priors stay where they begin
            rows = stacked(*(current.user_side if user else current.item_side))
            prior = self._drawn_prior(side, rows)
            if user:
                density.users = prior
            else:
                density.items = prior
        problem = density.row_problem(side, cells, out.rank, out.dtype)
        fixed = others.item_side if user else others.user_side
        into = out.user_side if user else out.item_side
        try:
            problem.draw(
                cells,
                fixed,
                into,
                self.backend,
                Noise(self.seed, self.step),
                self.means if user else None,
            )
        except SingularSystemError as error:
            ids = ratings.users if user else ratings.items
            row = error.row or 0
            raise SingularSystemError(
                f"the system of {side} {ids.id_at(row)!r} has no unique solution in {out.dtype}"
                + ("; pass dtype='float64'" if out.dtype == "float32" else "; lower rank"),
                side=side,
                row=row,
            ) from None
        self.step += 1

    def _drawn_prior(self, side: Side, rows: Array) -> RowPrior:
        """The prior of a side, with the effects of its features, given the rows that have ratings: a
        row without says nothing.
        """
        counts = self.counts[side]
        known = counts > 0
        if not known.all():
            rows, counts = rows[known], counts[known]
        density, effects = self.density, self.effects[side]
        D = rows.shape[1]
        smallest = smallest_scatter(D - density.biases, density.biases, self.likelihood.spread)
        rest = rows if effects is None else (rows - effects.shift[known]).astype(rows.dtype)
        mean, precision = draw_prior(rest, smallest, self.random, self.backend, effects)
        typical, gaps = mean, rows - mean.astype(rows.dtype)
        if effects is not None:
            effects.draw(gaps, precision, self.random)
            typical = mean + np.add.reduce(effects.shift[known], axis=0) / len(rows)
            gaps = gaps - effects.shift[known]
        lift = np.einsum("u,ud->d", counts / np.add.reduce(counts), gaps)
        shift, A = (None, None) if effects is None else (effects.shift, effects.map)
        return RowPrior(mean, precision, typical + lift, shift, A, lift)
