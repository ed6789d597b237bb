"""What to recommend where a model is not sure: optimism and sampling, in place of the mean.

    ucb        r̂_ui + κ σ √(f_iᵀ A_u⁻¹ f_i + g_uᵀ A_i⁻¹ g_u)
    thompson   μ + b_i + f_iᵀ x,   x ~ N(x_u, σ² A_u⁻¹)

Both show items of which little is known more often, so that more is learned of them than by r̂
alone (Li, Chu, Langford and Schapire 2010, «A Contextual-Bandit Approach to Personalized News
Article Recommendation»; Chapelle and Li 2011, «An Empirical Evaluation of Thompson Sampling»). The
terms are those of `uncertainty.py`, without the noise of a rating, which no choice can avoid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.errors import SingularSystemError
from halfstep.models.side_features import prior_means, table_rows
from halfstep.models.uncertainty import (
    cells_by,
    noise_variance,
    problem_of,
    rows_or_empty,
    who,
)

if TYPE_CHECKING:
    from halfstep.models.fitted import Fitted
    from halfstep.models.rankings import Rankings

__all__ = ["best_by_ucb", "sampled_users"]

_PAIRS = 2_000_000  # scored at a time


def sampled_users(
    model: Fitted, rows: Array, seed: int, backend: str | Backend
) -> tuple[Array, Array | None]:
    """(factors, bias) of users (row numbers, −1 unknown), drawn from N(x_u, σ² A_u⁻¹).

    The row is solved again after noise was added to its ratings (σ ε / √c each) and to its prior (σ
    √(s d) ε): the right-hand side then has the covariance σ² A, and the solution σ² A⁻¹ (Papandreou
    and Yuille 2010, «Gaussian sampling by local perturbations»). The mean x_u is the exact solution
    of the row. The noise of a user depends on the seed and on their row number alone. The items are
    not sampled.
    """
    why = 'strategy="thompson"'
    f = model.factors_
    history = cells_by(model, "user", why)
    sigma = float(np.sqrt(noise_variance(model, why, backend)))
    cells = rows_or_empty(history, rows)
    problem = problem_of(model, "user", cells, of=history)
    unknowns = len(problem.ridge)
    noise, prior = np.empty(cells.nnz), np.empty((len(rows), unknowns))
    for place, row in enumerate(rows.tolist()):
        generator = np.random.default_rng([seed, row + 1])
        prior[place] = generator.standard_normal(unknowns)
        own = slice(int(cells.indptr[place]), int(cells.indptr[place + 1]))
        noise[own] = generator.standard_normal(own.stop - own.start)
    if cells.weights is not None:
        noise /= np.sqrt(cells.weights.astype(np.float64))
    values = (cells.values + sigma * noise).astype(np.float32)
    s = np.ones(len(rows)) if problem.scale is None else problem.scale.astype(np.float64)
    runs_on = get_backend(backend, dtype=f.dtype)
    linear = sigma * np.sqrt(s[:, None] * problem.ridge.astype(np.float64)) * prior
    mean = prior_means(model, "user", cells, table_rows(model, "user", rows), f.dtype, runs_on)
    if mean is not None:
        linear += s[:, None] * problem.ridge.astype(np.float64) * mean
    factors = np.empty((len(rows), f.rank), dtype=f.dtype)
    bias = None if f.user_bias is None else np.empty(len(rows), dtype=f.dtype)
    try:
        runs_on.solve_rows(
            CSR(cells.indptr, cells.indices, values, cells.weights),
            f.item_factors,
            problem.terms,
            offset=f.item_bias,
            prior=None,
            linear=linear.astype(f.dtype),
            ridge=problem.ridge,
            scale=problem.scale,
            out=factors,
            out_bias=bias,
        )
    except SingularSystemError as error:
        row = int(rows[error.row or 0])
        raise SingularSystemError(
            f"the system of {who('user', row, f.user_ids)} has no unique solution, so that nothing "
            "can be drawn; raise reg",
            side="user",
            row=row,
        ) from None
    return factors, bias


def best_by_ucb(
    model: Rankings,
    rows: Array,
    n: int,
    kappa: float,
    lists: tuple[tuple[Array, Array] | None, tuple[Array, Array] | None, Array | None],
    backend: str | Backend,
) -> tuple[Array, Array]:
    """(index, score) of the n items of the highest upper bound, each (users, n); −1 where none is
    left.

    `lists` are `exclude`, `candidates` and `allow` of `Backend.topk`. About 2 n_items K² operations
    for a user, and one half-step over the items for every 2,000,000 pairs.
    """
    why = 'strategy="ucb"'
    exclude, candidates, allow = lists
    items = len(model.factors_.item_ids)
    index = np.full((len(rows), n), -1, dtype=np.int64)
    score = np.full((len(rows), n), np.nan, dtype=model.factors_.dtype)
    every = np.arange(items, dtype=np.int64)
    together = max(1, _PAIRS // max(1, items))
    for first in range(0, len(rows), together):
        batch = rows[first : first + together]
        users, pairs = np.repeat(batch, items), np.tile(every, len(batch))
        bound = model._predict_rows(users, pairs, backend).astype(np.float64)
        bound += kappa * model._mean_std(users, pairs, why, backend)
        for place, bounds in enumerate(bound.reshape(len(batch), items), start=first):
            left = np.ones(items, dtype=bool) if allow is None else allow.copy()
            if candidates is not None:
                chosen = np.zeros(items, dtype=bool)
                chosen[_listed(candidates, place)] = True
                left &= chosen
            if exclude is not None:
                left[_listed(exclude, place)] = False
            remaining = np.flatnonzero(left)
            best = remaining[np.argsort(-bounds[remaining], kind="stable")][:n]
            index[place, : len(best)], score[place, : len(best)] = best, bounds[best]
    return index, score


def _listed(lists: tuple[Array, Array], place: int) -> Array:
    return lists[1][lists[0][place] : lists[0][place + 1]]
