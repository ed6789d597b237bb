"""Folding in: new or changed rows given each kept draw of the other side.

    for every draw s:   y_s ~ p(y | ratings, Z_s, α_s, γ, m_s, Λ_s)       the row problem of the sampler

γ of a new user, how steady they are, is not drawn but taken at its conditional mean, in a few
rounds with y; what is kept of it is 1 / E[1/γ], with which the variance of a rating is the expected
one. Of ordered ratings there are latent numbers in their place, drawn in turn with the rows.

The mean prediction of a new row is made of its conditional means, which have no noise of their own. In
the axes of the model's mean factors Ẑ it is the row ŵ that comes nearest for all items,

    ŵ = argmin Σ_i (ẑ_i·ŵ − 1/S Σ_s z'_is·w'_s)² = (ẐᵀẐ)⁺ · 1/S Σ_s (Ẑᵀ Z'_s) w'_s

with every draw centred as in `posterior.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from halfstep.backends.base import CSR, Array, Backend, Noise
from halfstep.bayes.density import PosteriorDensity
from halfstep.bayes.latents import draw_latents, expected_latents
from halfstep.bayes.levels import check_no_weights
from halfstep.bayes.noise import steadied, typical_steadiness
from halfstep.bayes.posterior import Draw, lifted
from halfstep.data.ids import IdMap, union
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors
from halfstep.features.prior import prior_mean
from halfstep.models.foldin import FoldedIn, merge_rows
from halfstep.objectives import Side, row_weights

__all__ = ["FoldedDraws", "NewRows", "drawn_rows", "folded", "latent_cells", "merged"]

_ROUNDS = 3
"""Of a row and its γ."""
_SWEEPS = 10
"""Of rows and latent numbers in turn; with one side fixed they forget their start in a few."""


@dataclass(frozen=True, slots=True)
class FoldedDraws(FoldedIn):
    """Rows folded into a Bayesian model.

    Attributes
    ----------
    draws : tuple of (factors, bias, γ or None)
        The rows in every kept draw of the model.
    """

    draws: tuple[tuple[Array, Array | None, Array | None], ...]

    def fits(self, draws: Sequence[Draw]) -> bool:
        """Whether the rows can be of a model with these draws."""
        if len(draws) != len(self.draws):
            return False
        (factors, bias, gamma), like = self.draws[0], draws[0]
        return (
            factors.shape[1] == like.factors.rank
            and (bias is None) == (like.factors.user_bias is None)
            and (self.side == "item" or (gamma is None) == (like.steadiness is None))
        )


@dataclass(frozen=True, slots=True)
class NewRows:
    """Rows to be folded in: who they are, their ratings (columns are rows of the model), and X of
    them.
    """

    side: Side
    ids: IdMap
    cells: CSR
    features: CSR | None
    typical: Array | None

    def density(self, draw: Draw, backend: Backend) -> PosteriorDensity:
        """That of these rows given a draw: their prior has the mean that their features lead to."""
        density = draw.density()
        own = density.prior(self.side)
        if self.features is None or own.effects is None:
            return density
        unrated = np.diff(self.cells.indptr) == 0
        shift = prior_mean(self.features, own.effects, self.typical, unrated, backend)
        own = replace(own, shift=shift.astype(np.float64))
        return replace(density, users=own) if self.side == "user" else replace(density, items=own)


def folded(
    new: NewRows, mean: Factors, draws: Sequence[Draw], seed: int, backend: Backend
) -> FoldedDraws:
    """The rows in every draw, and in the mean."""
    fixed_mean = mean.item_factors if new.side == "user" else mean.user_factors
    target = np.zeros((new.cells.n_rows, fixed_mean.shape[1]))
    bias = np.zeros(new.cells.n_rows)
    rows: list[tuple[Array, Array | None, Array | None]] = []
    for number, draw in enumerate(draws):
        own, other = (draw.users, draw.items) if new.side == "user" else (draw.items, draw.users)
        drawn, expected, gamma = drawn_rows(new, draw, Noise(seed, number), backend)
        unrated = np.diff(new.cells.indptr) == 0
        drawn, expected = (lifted(part, own.lift, unrated) for part in (drawn, expected))
        if gamma is not None:
            gamma = gamma * typical_steadiness(draw.freedom + row_weights(new.cells))
        rows.append((*drawn, gamma))
        f = draw.factors
        K, fixed = f.rank, (f.item_factors if new.side == "user" else f.user_factors)
        w = expected[0] - own.typical[:K]
        z = fixed[:-1] - other.typical[:K]  # the last one is nobody
        target += w @ (fixed_mean.astype(np.float64).T @ z).T
        bias += w @ other.typical[:K]
        if expected[1] is not None:
            bias += expected[1] - own.typical[K]
    gram = backend.gram(fixed_mean.astype(np.float64))
    factors = target @ np.linalg.pinv(gram, hermitian=True) / len(draws)
    return FoldedDraws(
        new.side,
        new.ids,
        np.ascontiguousarray(factors.astype(mean.dtype)),
        (bias / len(draws)).astype(mean.dtype),
        new.cells,
        tuple(rows),
    )


def drawn_rows(
    new: NewRows, draw: Draw, noise: Noise, backend: Backend
) -> tuple[tuple[Array, Array | None], tuple[Array, Array | None], Array | None]:
    """(factors, bias) drawn, their means, and γ of new users."""
    f, cells = draw.factors, new.cells
    density = new.density(draw, backend)
    fixed = f.item_side if new.side == "user" else f.user_side
    drawn, expected = _room(cells.n_rows, f), _room(cells.n_rows, f)
    gamma = None
    rounds = 1
    if draw.steadiness is not None:
        if new.side == "item":
            cells = steadied(cells, draw.steadiness, "item")
        else:
            gamma, rounds = np.ones(cells.n_rows), _ROUNDS
    counts, squares = row_weights(cells), np.empty(cells.n_rows)
    for _ in range(rounds):
        own_cells = steadied(cells, gamma, "user")
        try:
            if draw.levels is None:
                problem = density.row_problem(new.side, own_cells, f.rank, f.dtype)
                problem.draw(own_cells, fixed, drawn, backend, noise, expected)
            else:
                key = noise.seed, noise.step
                latent, means = latent_cells(new, density, draw, key, backend)
                problem = density.row_problem(new.side, means, f.rank, f.dtype)
                problem.draw(means, fixed, drawn, backend, noise, expected)
                problem.draw(latent, fixed, drawn, backend, noise)
        except SingularSystemError as error:
            row = error.row or 0
            raise SingularSystemError(
                f"the system of {new.side} {new.ids.id_at(row)!r} has no unique solution; "
                "fold in more ratings, or fit with dtype='float64'",
                side=new.side,
                row=row,
            ) from None
        if gamma is not None:
            backend.squared_error(cells, drawn[0], fixed[0], drawn[1], fixed[1], f.mean, squares)
            gamma = (draw.freedom + counts) / (draw.freedom + draw.alpha * squares)
    return drawn, expected, gamma


def latent_cells(
    new: NewRows, density: PosteriorDensity, draw: Draw, key: tuple[int, int], backend: Backend
) -> tuple[CSR, CSR]:
    """Ordered ratings of new rows as latent numbers given a draw's other side: drawn, and their means.

    A few sweeps of rows and latent numbers in turn, from the typical row; both are those given the last
    rows. Raises `DataError` where a rating is none of the levels, or a weight is not 1.
    """
    assert draw.levels is not None
    check_no_weights(new.cells)
    f, user, cells = draw.factors, new.side == "user", new.cells
    own, fixed = (draw.users, f.item_side) if user else (draw.items, f.user_side)
    seed, number = key
    places = draw.levels.places(cells.values)
    problem = density.row_problem(new.side, cells, f.rank, f.dtype)
    rows = _room(cells.n_rows, f)
    rows[0][:] = own.typical[: f.rank]
    if rows[1] is not None:
        rows[1][:] = own.typical[f.rank]
    owner = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
    columns = cells.indices.astype(np.int64)

    def eta() -> Array:
        (W, bias), (Z, other) = rows, fixed
        return backend.predict(owner, columns, W, Z, bias, other, f.mean)

    for sweep in range(1, _SWEEPS):
        step = sweep << 16 | number
        latent = draw_latents(eta(), places, draw.levels, (seed, step))
        noise = Noise(seed, step)
        problem.draw(CSR(cells.indptr, cells.indices, latent), fixed, rows, backend, noise)
    last = eta()
    latent = draw_latents(last, places, draw.levels, (seed, number))
    means = expected_latents(last, places, draw.levels).astype(np.float32)
    return CSR(cells.indptr, cells.indices, latent), CSR(cells.indptr, cells.indices, means)


def _room(rows: int, like: Factors) -> tuple[Array, Array | None]:
    """Arrays for the factors and biases of so many rows."""
    bias = None if like.user_bias is None else np.empty(rows, dtype=like.dtype)
    return np.empty((rows, like.rank), dtype=like.dtype), bias


def merged(draw: Draw, mean: Factors, new: FoldedDraws, number: int) -> Draw:
    """A draw with the new rows added, or in place of those that it knew; `mean` has its ids."""
    f = draw.factors
    without_nobody = replace(
        f,
        user_factors=f.user_factors[:-1],
        item_factors=f.item_factors[:-1],
        user_bias=None if f.user_bias is None else f.user_bias[:-1],
        item_bias=None if f.item_bias is None else f.item_bias[:-1],
        user_ids=mean.user_ids,
        item_ids=mean.item_ids,
    )
    factors, bias, gamma = new.draws[number]
    rows = FoldedIn(new.side, new.ids, factors, bias, new.cells)
    whole, _ = merge_rows(without_nobody, None, rows)

    longer = replace(
        whole,
        user_factors=np.concatenate([whole.user_factors, f.user_factors[-1:]]),
        item_factors=np.concatenate([whole.item_factors, f.item_factors[-1:]]),
        user_bias=_again(whole.user_bias, f.user_bias),
        item_bias=_again(whole.item_bias, f.item_bias),
    )
    known = draw.steadiness
    if known is None or gamma is None:
        return replace(draw, factors=longer)
    _, old_rows, new_rows = union(mean.user_ids, new.ids, "user")
    steadiness = np.empty(len(longer.user_factors))
    steadiness[old_rows], steadiness[-1] = known[:-1], known[-1]
    steadiness[new_rows] = gamma
    return replace(draw, factors=longer, steadiness=steadiness)


def _again(now: Array | None, before: Array | None) -> Array | None:
    """The biases, and that of nobody."""
    return None if now is None or before is None else np.concatenate([now, before[-1:]])
