"""How sure a prediction is: the variance of a rating around r̂, from the matrices of its two rows.

    Var r_ui ≈ σ² (1 + f_iᵀ A_u⁻¹ f_i + g_uᵀ A_i⁻¹ g_u)

with f_i = [z_i, 1], g_u = [w_u, 1] (the 1 where there are biases), A_u = Σ_j c f_j f_jᵀ + s_u
diag(d) the matrix of the user's row, A_i that of the item's. The 1 is the noise of a rating of
weight 1; the other two terms are what is not known of the user's and of the item's factors, each
with the other side held fixed: the curvature of J, as in Laplace's approximation (MacKay 1992,
«Bayesian Interpolation»; the conditional covariances of Salakhutdinov and Mnih 2008, «Bayesian
Probabilistic Matrix Factorization», eq. 12). That both sides were learned from the same ratings is
left out; calibration makes up for it (`models/calibration.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ratings import take_rows, transpose
from halfstep.errors import NotCalibratedError, ParameterError, SingularSystemError
from halfstep.objectives import RowProblem, Side, row_weights

if TYPE_CHECKING:
    from halfstep.data.ids import IdMap
    from halfstep.models.fitted import Fitted

__all__ = [
    "cells_by",
    "interval_of",
    "noise_variance",
    "problem_of",
    "require_linear",
    "require_noise",
    "rows_or_empty",
    "std_of",
    "unsureness",
    "variances",
    "who",
]

_PAIRS = 2_000_000  # of an unknown vector, asked at a time


def std_of(model: Fitted, users: Array, items: Array, backend: str | Backend = "native") -> Array:
    """The standard deviation of ratings around r̂, of the factors' dtype; see the module's head."""
    own = unsureness(model, users, items, "std=True", backend)
    sigma = noise_variance(model, "std=True", backend)
    return np.sqrt(sigma * (1.0 + own)).astype(model.factors_.dtype)


def interval_of(
    model: Fitted,
    users: Array,
    items: Array,
    fitted: Array,
    level: float,
    backend: str | Backend = "native",
) -> tuple[Array, Array]:
    """The ends of calibrated intervals around `fitted`; see `models/calibration.py`.

    Raises `NotCalibratedError` where `calibrate` has not been called.
    """
    from halfstep.models.calibration import features

    if model.calibration_ is None:
        raise NotCalibratedError(
            f"interval={level!r}: this {type(model).__name__} does not know how wide its intervals "
            "must be; call calibrate with ratings that it has not seen, or with folds=5"
        )
    x, _ = features(model, users, items, backend)
    half = model.calibration_.half_width(x, level)
    return (fitted - half).astype(fitted.dtype), (fitted + half).astype(fitted.dtype)


def unsureness(
    model: Fitted, users: Array, items: Array, why: str, backend: str | Backend = "native"
) -> Array:
    """f_iᵀ A_u⁻¹ f_i + g_uᵀ A_i⁻¹ g_u for pairs of row numbers (−1: unknown), float64.

    Times σ² it is the variance of r̂ itself, without the noise of a rating.
    """
    user_part = variances(model, "user", users, items, why, backend)
    return user_part + variances(model, "item", items, users, why, backend)


def noise_variance(model: Fitted, why: str, backend: str | Backend = "native") -> float:
    """σ² = Σ c (r − r̂)² / (Σ c · (1 − h̄_w) (1 − h̄_z)), the variance of the noise of a rating.

    The residuals of the ratings that were fitted are too small: both sides have bent towards them.
    h̄_w is the mean of the leverages c fᵀ A_u⁻¹ f of the user rows over all ratings, the share of a
    rating's own noise that the user's factors follow, and h̄_z that of the item rows. (The
    generalized form of cross-validation, Golub, Heath and Wahba 1979, once for each side.) Still
    somewhat too small where both sides overfit together, which no formula with one side held fixed
    can see. Worked out at the first question and kept.
    """
    history = model._history(why)
    kept = model.__dict__.get("_noise")
    if kept is not None and kept[0] is model.factors_:
        return float(kept[1])
    f = model.factors_
    runs_on = get_backend(backend, dtype=f.dtype)
    weights = row_weights(history)
    total = float(np.add.reduce(weights))
    squares = runs_on.squared_error(
        history, f.user_factors, f.item_factors, f.user_bias, f.item_bias, f.mean
    )
    left = total
    for side in ("user", "item"):
        cells = cells_by(model, side, why)
        problem = problem_of(model, side, cells)
        fixed = f.item_factors if side == "user" else f.user_factors
        pairs = (cells.indptr, cells.indices)
        h = _asked(model, side, cells, problem, pairs, fixed, runs_on, None).astype(np.float64)
        c = np.ones(len(h)) if cells.weights is None else cells.weights.astype(np.float64)
        left *= 1.0 - float(np.add.reduce(c * h)) / total
    found = squares / max(left, np.finfo(np.float64).tiny)
    model.__dict__["_noise"] = (f, found)
    return found


def variances(
    model: Fitted,
    side: Side,
    rows: Array,
    others: Array,
    why: str,
    backend: str | Backend = "native",
) -> Array:
    """fᵀ A⁻¹ f of the rows of `side` for the vectors f of the other side's rows, pair by pair,
    float64.

    A row without ratings, or unknown (−1), has its prior alone: A = s diag(d), with s the smallest
    of any row of that side. No row that has ratings is less sure, since its A is at least that. An
    unknown vector (−1) is a random one of those that there are: the mean of fᵀ A⁻¹ f over them all,
    for which K + 1 vectors of the same mean and covariance are asked.
    """
    f = model.factors_
    fixed = f.item_factors if side == "user" else f.user_factors
    runs_on = get_backend(backend, dtype=f.dtype)
    unknown = others < 0
    answers = np.empty(len(rows))
    answers[~unknown] = _by_pairs(
        model, side, rows[~unknown], others[~unknown], fixed, why, runs_on
    )
    if unknown.any():
        typical = _typical(fixed)
        size = len(typical)
        distinct, place = np.unique(rows[unknown], return_inverse=True)
        means = np.empty(len(distinct))
        step = max(1, _PAIRS // size)
        for first in range(0, len(distinct), step):
            part = distinct[first : first + step]
            asked = np.repeat(part, size), np.tile(np.arange(size), len(part))
            found = _by_pairs(model, side, *asked, typical, why, runs_on)
            means[first : first + step] = found.reshape(-1, size).mean(axis=1)
        answers[unknown] = means[place]
    return answers


def _typical(fixed: Array) -> Array:
    """At most K + 1 vectors with the mean and the covariance of the rows of `fixed`.

    The corners of a simplex (the columns of Helmert's matrix), turned and stretched.
    """
    rows = fixed.astype(np.float64)
    mean = np.add.reduce(rows, axis=0) / len(rows)
    rows -= mean
    values, axes = np.linalg.eigh(np.einsum("rk,rl->kl", rows, rows) / len(rows))
    there = values > 1e-12 * values.max()
    r = int(np.count_nonzero(there))
    j, k = np.arange(r + 1)[:, None], np.arange(1, r + 1)
    corners = np.where(j < k, 1.0, np.where(j == k, -k, 0.0)) * np.sqrt((r + 1) / (k * (k + 1)))
    spread = axes[:, there] * np.sqrt(values[there])
    found: Array = mean + np.einsum("jr,kr->jk", corners, spread)
    return found.astype(fixed.dtype)


def _by_pairs(
    model: Fitted,
    side: Side,
    rows: Array,
    others: Array,
    vectors: Array,
    why: str,
    backend: Backend,
) -> Array:
    """fᵀ A⁻¹ f for rows of `side` and rows of `vectors`, pair by pair."""
    cells = cells_by(model, side, why)
    distinct, place = np.unique(rows, return_inverse=True)
    order = np.argsort(place, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=len(distinct)))])
    asked = others[order]
    own = rows_or_empty(cells, distinct)
    problem = problem_of(model, side, own, of=cells)
    found = _asked(
        model,
        side,
        own,
        problem,
        (indptr.astype(np.int64), asked.astype(np.uint32)),
        vectors,
        backend,
        distinct,
    )
    answers = np.empty(len(rows))
    answers[order] = found
    return answers


def _asked(
    model: Fitted,
    side: Side,
    cells: CSR,
    problem: RowProblem,
    asked: tuple[Array, Array],
    vectors: Array,
    backend: Backend,
    rows: Array | None,
) -> Array:
    """`Backend.row_variances` with the other side fixed; a singular system is named by its id."""
    f = model.factors_
    try:
        return backend.row_variances(
            cells,
            f.item_factors if side == "user" else f.user_factors,
            problem.terms,
            prior=None,
            ridge=problem.ridge,
            scale=problem.scale,
            asked=asked,
            vectors=vectors,
        )
    except SingularSystemError as error:
        row = error.row or 0
        row = row if rows is None else int(rows[row])
        ids = f.user_ids if side == "user" else f.item_ids
        raise SingularSystemError(
            f"the system of {who(side, row, ids)} has no unique solution, so that its variance is "
            "infinite; raise reg",
            side=side,
            row=row,
        ) from None


def who(side: Side, row: int, ids: IdMap) -> str:
    """A row by its id, in a sentence."""
    return f"an unknown {side}" if row < 0 else f"{side} {ids.id_at(row)!r}"


def require_linear(model: Fitted) -> None:
    """Raise `ParameterError` where factors must be ≥ 0."""
    if getattr(model.objective_, "nonnegative", False):
        raise ParameterError(
            "nonnegative",
            True,
            "gives rows that no linear system determines, so that there is no such formula for them",
            "fit with nonnegative=False",
        )


def require_noise(model: Fitted) -> None:
    """Raise `ParameterError` for implicit feedback, and where factors must be ≥ 0."""
    if getattr(model.objective_, "alpha0", None) is not None:
        raise ParameterError(
            "model",
            type(model).__name__,
            "predicts a preference, which has no noise that a standard deviation could tell",
            "rank by it, or fit ratings with ExplicitMF or BayesianMF",
        )
    require_linear(model)


def problem_of(model: Fitted, side: Side, cells: CSR, of: CSR | None = None) -> RowProblem:
    """The row problem of `cells`; rows without any get the smallest scale that a row of `of` has.

    Raises `ParameterError` for a nonnegative model, whose rows are not solutions of a linear system.
    """
    require_noise(model)
    f = model.factors_
    problem = model.objective_.row_problem(side, cells, f.rank, f.dtype)
    if problem.scale is not None and of is not None:
        empty = np.diff(cells.indptr) == 0
        own = model.objective_.row_problem(side, of, f.rank, f.dtype).scale
        assert own is not None
        problem.scale[empty] = own[own > 0].min(initial=np.inf)
    return problem


def cells_by(model: Fitted, side: Side, why: str) -> CSR:
    """The model's history by rows of `side`; that by item is made once."""
    history = model._whole_history(why)
    if side == "user":
        return history
    kept = model.__dict__.get("_by_item")
    if kept is None or kept[0] is not history:
        model.__dict__["_by_item"] = kept = (
            history,
            transpose(history, len(model.factors_.item_ids)),
        )
    by_item: CSR = kept[1]
    return by_item


def rows_or_empty(cells: CSR, rows: Array) -> CSR:
    """These rows in this order; −1 is a row without cells."""
    known = rows >= 0
    found = take_rows(cells, rows[known])
    sizes = np.zeros(len(rows), dtype=np.int64)
    sizes[known] = np.diff(found.indptr)
    return CSR(np.concatenate([[0], np.cumsum(sizes)]), found.indices, found.values, found.weights)
