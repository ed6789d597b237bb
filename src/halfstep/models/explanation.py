"""Why a score is what it is: the share that each of the user's own ratings has in it.

The user's unknowns are x = A⁻¹ Σ_j b_j f_j, with f_j = [z_j, 1] and b_j = c_j (r_uj − μ − b_j), so

    score = μ + b_i + f_iᵀ x = (μ + b_i) + Σ_j b_j f_iᵀ A⁻¹ f_j

is a sum with one term for each rating of the user (Hu, Koren and Volinsky 2008, §5, for implicit
feedback, where P is in A and b_j = c_j (t_j − b_j) with the target t; the same algebra here). Where
factors must be ≥ 0, x is 0 but on a set S of them, and x_S = A_SS⁻¹ h_S: the same sum over S.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.backends.numpy import solve_nonnegative
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors
from halfstep.objectives import RowProblem

__all__ = ["Explanation", "contributions"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """score = baseline + Σ contributions, the largest contributions first.

    `exact` is True where the model's stored user factors solve the user's row (ALS): then `score` is
    what `predict` says. Otherwise it is the score that `fold_in` of the same ratings would give.
    `counts`: `ratings` are counts of interactions, not ratings.
    """

    user: Any
    item: Any
    score: float
    baseline: float
    items: Array
    ratings: Array
    contributions: Array
    exact: bool
    counts: bool = False

    def __iter__(self) -> Iterator[tuple[Any, float, float]]:
        """(item, the user's rating, its contribution)."""
        return iter(
            zip(
                self.items.tolist(), self.ratings.tolist(), self.contributions.tolist(), strict=True
            )
        )

    def __str__(self) -> str:
        lines = [f"score of item {self.item!r} for user {self.user!r}: {self.score:.3f}"]
        if not self.counts:
            lines.append(f"{self.baseline:+8.3f}  mean and item bias")
        elif self.baseline:
            lines.append(f"{self.baseline:+8.3f}  biases of the items")
        for item, rating, share in list(self)[:10]:
            told = f"{item!r} × {rating:g}" if self.counts else f"rated {item!r} {rating:g}"
            lines.append(f"{share:+8.3f}  {told}")
        if len(self.items) > 10:
            rest = float(self.contributions[10:].sum())
            what = "interactions" if self.counts else "ratings"
            lines.append(f"{rest:+8.3f}  the other {len(self.items) - 10} {what}")
        if not self.exact:
            lines.append("(the score is that of the folded-in user)")
        return "\n".join(lines)


def contributions(
    row: CSR, problem: RowProblem, factors: Factors, item: int
) -> tuple[float, Array]:
    """(baseline, one contribution per cell) for one user's cells, in float64.

    `row` is a CSR of a single row and `problem` its row problem. What its prior says is in the baseline.
    """
    if not row.nnz and problem.linear is None:  # x = 0
        bias_of = factors.item_bias
        return factors.mean + (0.0 if bias_of is None else float(bias_of[item])), np.empty(0)
    if not row.nnz and problem.mean is not None:  # x is that, whatever the penalties are
        x, bias_of = problem.mean[0].astype(np.float64), factors.item_bias
        score = factors.mean + float(
            x[: factors.rank] @ factors.item_factors[item].astype(np.float64)
        )
        score += float(np.add.reduce(x[factors.rank :]))
        return score + (0.0 if bias_of is None else float(bias_of[item])), np.empty(0)
    Z = factors.item_factors.astype(np.float64)[np.append(row.indices.astype(np.int64), item)]
    bias = np.zeros(len(Z))
    if factors.item_bias is not None:
        bias = factors.item_bias.astype(np.float64)[np.append(row.indices.astype(np.int64), item)]
        Z = np.column_stack([Z, np.ones(len(Z))])
    f, target = Z[:-1], Z[-1]
    v = row.values.astype(np.float64)
    c = np.ones(len(v)) if row.weights is None else row.weights.astype(np.float64)
    a = c * (problem.terms.a0 + problem.terms.a1 * v)
    b = c * (problem.terms.b0 + problem.terms.b1 * v) - a * bias[:-1]
    s = 1.0 if problem.scale is None else float(problem.scale[0])
    A = (f.T * a) @ f + s * np.diag(problem.ridge.astype(np.float64))
    if problem.prior is not None:
        A += problem.prior.astype(np.float64)
    own = np.arange(len(A))
    if problem.nonnegative:
        x = solve_nonnegative(A, f.T @ b, factors.rank, 0.0)
        own = own[(own >= factors.rank) | (x > 0)] if x is not None else own
    direction = np.zeros(len(A))
    try:
        direction[own] = np.linalg.solve(A[np.ix_(own, own)], target[own])
    except np.linalg.LinAlgError:
        raise SingularSystemError(
            "the user's system has no unique solution; raise reg", side="user"
        ) from None
    baseline = factors.mean + float(bias[-1])
    if problem.linear is not None:
        baseline += float(problem.linear[0].astype(np.float64) @ direction)
    return baseline, b * (f @ direction)
