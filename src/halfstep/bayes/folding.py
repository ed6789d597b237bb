"""Folding in: new or changed rows given each kept draw of the other side.

    for every draw s:   y_s ~ p(y | ratings, Z_s, α_s, m_s, Λ_s)          the row problem of the sampler

(of ordered ratings with latent numbers in their place, drawn in turn with the rows).

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
from halfstep.bayes.latents import draw_latents, expected_latents
from halfstep.bayes.posterior import Draw
from halfstep.data.ids import IdMap
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors
from halfstep.models.foldin import FoldedIn, merge_rows
from halfstep.objectives import Side

__all__ = ["FoldedDraws", "folded", "latent_cells", "merged"]

_SWEEPS = 10
"""Of rows and latent numbers in turn; with one side fixed they forget their start in a few."""


@dataclass(frozen=True, slots=True)
class FoldedDraws(FoldedIn):
    """Rows folded into a Bayesian model.

    Attributes
    ----------
    draws : tuple of (factors, bias)
        The rows in every kept draw of the model.
    """

    draws: tuple[tuple[Array, Array | None], ...]


def folded(
    side: Side,
    ids: IdMap,
    cells: CSR,
    mean: Factors,
    draws: Sequence[Draw],
    seed: int,
    backend: Backend,
) -> FoldedDraws:
    """Every row of `cells`, whose columns are row numbers of the model."""
    user = side == "user"
    fixed_mean = mean.item_factors if user else mean.user_factors
    target = np.zeros((cells.n_rows, fixed_mean.shape[1]))
    bias = np.zeros(cells.n_rows)
    rows: list[tuple[Array, Array | None]] = []
    for number, draw in enumerate(draws):
        f, K = draw.factors, draw.factors.rank
        own, other = (draw.users, draw.items) if user else (draw.items, draw.users)
        fixed = f.item_side if user else f.user_side
        drawn, expected = _room(cells.n_rows, f), _room(cells.n_rows, f)
        problem = draw.density().row_problem(side, cells, K, f.dtype)
        try:
            if draw.levels is None:
                problem.draw(cells, fixed, drawn, backend, Noise(seed, number), expected)
            else:
                latent, means = latent_cells(side, cells, draw, (seed, number), backend)
                noise = Noise(seed, number)
                problem.draw(means, fixed, drawn, backend, noise, expected)
                problem.draw(latent, fixed, drawn, backend, noise)
        except SingularSystemError as error:
            row = error.row or 0
            raise SingularSystemError(
                f"the system of {side} {ids.id_at(row)!r} has no unique solution; "
                "fold in more ratings, or fit with dtype='float64'",
                side=side,
                row=row,
            ) from None
        rows.append(drawn)
        w = expected[0] - own.typical[:K]
        z = fixed[0][:-1] - other.typical[:K]  # the last one is nobody
        target += w @ (fixed_mean.astype(np.float64).T @ z).T
        bias += w @ other.typical[:K]
        if expected[1] is not None:
            bias += expected[1] - own.typical[K]
    gram = backend.gram(fixed_mean.astype(np.float64))
    factors = target @ np.linalg.pinv(gram, hermitian=True) / len(draws)
    dtype = mean.dtype
    return FoldedDraws(
        side,
        ids,
        np.ascontiguousarray(factors.astype(dtype)),
        (bias / len(draws)).astype(dtype),
        cells,
        tuple(rows),
    )


def latent_cells(
    side: Side, cells: CSR, draw: Draw, key: tuple[int, int], backend: Backend
) -> tuple[CSR, CSR]:
    """Ordered ratings of new rows as latent numbers given a draw's other side: drawn, and their means.

    A few sweeps of rows and latent numbers in turn, from the typical row; both are those given the last
    rows.
    """
    assert draw.levels is not None
    f, user = draw.factors, side == "user"
    own, fixed = (draw.users, f.item_side) if user else (draw.items, f.user_side)
    seed, number = key
    places = draw.levels.places(cells.values)
    problem = draw.density().row_problem(side, cells, f.rank, f.dtype)
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
    factors, bias = new.draws[number]
    rows = FoldedIn(new.side, new.ids, factors, bias, new.cells)
    whole, _ = merge_rows(without_nobody, None, rows)

    longer = replace(
        whole,
        user_factors=np.concatenate([whole.user_factors, f.user_factors[-1:]]),
        item_factors=np.concatenate([whole.item_factors, f.item_factors[-1:]]),
        user_bias=_again(whole.user_bias, f.user_bias),
        item_bias=_again(whole.item_bias, f.item_bias),
    )
    return replace(draw, factors=longer)


def _again(now: Array | None, before: Array | None) -> Array | None:
    """The biases, and that of nobody."""
    return None if now is None or before is None else np.concatenate([now, before[-1:]])
