"""Is it the optimum? A lower bound of J over all factors of all ranks, from the residuals of a fit.

For the squared loss, J over W and Z of enough columns has the minimum of a convex problem over M =
W Zᵀ:

    P = min ½ Σ_Ω c (r̃ − b_u − b_i − m_ui)² + λ ‖S_w^½ M S_z^½‖_* + ½ λ_b (Σ s_u b_u² + Σ s_i b_i²)

with r̃ = r − μ, λ = √(λ_w λ_z) and ‖·‖_* the sum of the singular values, because the least penalty
of all factorizations of an M is that norm (Srebro, Rennie and Jaakkola 2004, «Maximum-Margin Matrix
Factorization»; Mazumder, Hastie and Tibshirani 2010, «Spectral Regularization Algorithms»). For
every Y on Ω with ‖S_w^-½ Y S_z^-½‖₂ ≤ λ, by ½ c e² ≥ y e − y² / 2c and the duality of both norms,

    P ≥ D(Y) = Σ_Ω (y r̃ − y² / 2c) − Σ_u (Σ_i y_ui)² / (2 λ_b s_u) − Σ_i (Σ_u y_ui)² / (2 λ_b s_i)

(with λ_b = 0 the row and column sums of Y must be 0). Y = t c e, with e the residuals for the
biases that are best for this M (so that those sums vanish where they must) and the t ≥ 0 that makes
D largest among the feasible ones. At an optimum of J of enough columns t = 1 and D = J.

The norm is that of Lanczos plus its residual (`lanczos.py`), or that on the spans of the factors.
What is orthogonal to the factors on both sides,

    R = (I − U Uᵀ) Ỹ (I − V Vᵀ),   Ỹ = S_w^-½ Y S_z^-½,   U, V bases of the spans of S_w^½ W and
    S_z^½ Z,

says whether K is large enough: at a stationary point of J, Ỹ is λ on the spans, so that ‖Ỹ‖₂ ≤ λ
where ‖R‖₂ ≤ λ, and where it is not, the singular vectors of R are the factors that are missing.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array
from halfstep.diagnostics.lanczos import Triplets, largest_singular
from halfstep.errors import ParameterError
from halfstep.objectives import SquaredError, scales
from halfstep.rotations import scaled

if TYPE_CHECKING:
    from halfstep.factors import Factors

__all__ = ["Certificate", "Direction", "certify", "check_certifiable"]

_CHUNK = 1 << 20  # cells whose residuals are computed at once
_COLUMNS = 8  # of a sparse times dense product at once, so that Ctrl-C is heard
_DEAD = 1e-12  # eigenvalues of a Gram matrix below this share of the largest are no direction
_ROUNDING = 1e-13
_BALANCED = 1e-9  # sums of residuals below this share of their sizes are 0
_STATIONARY = 0.05  # of the penalty's gradient; above it, nothing is said of the rank

Verdict = Literal["optimal", "rank too small", "not converged"]


@dataclass(frozen=True, slots=True)
class Direction:
    """Columns that lower J when they are appended to W and Z.

    Attributes
    ----------
    user_factors : array (m, k), float64
    item_factors : array (n, k), float64
        Of the length that lowers J most along them.
    fall : float
        By how much J falls at least when both are appended (and the biases are the best ones).
    """

    user_factors: Array
    item_factors: Array
    fall: float


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the residuals of a fit prove about it. `print` it for the sentence.

    Attributes
    ----------
    objective : float
        J, in float64.
    lower_bound : float
        D: no factors of any rank, with any biases, have a smaller J.
    gap : float
        (J − D) / J.
    spectral_ratio : float
        σ / λ with σ an upper bound of ‖S_w^-½ Y S_z^-½‖₂ and λ = √(λ_w λ_z): at most 1 at an
        optimum.
    rest_ratio : float
        The same for what is orthogonal to the factors: above 1, J can be lowered by more factors.
    gradient : float
        ‖∂J/∂(W, Z)‖ / ‖∂(its penalty)/∂(W, Z)‖ in scaled rows (each divided by √s) and for the best
        biases: 0 at a stationary point.
    imbalance : float
        ‖λ_w WᵀS_w W − λ_z ZᵀS_z Z‖_F / ‖λ_w WᵀS_w W + λ_z ZᵀS_z Z‖_F: 0 at a stationary point.
    rank : int
        K.
    tolerance : float
        The gap up to which the verdict is "optimal".
    verdict : {"optimal", "rank too small", "not converged"}
        Where the gap is larger than the tolerance: "rank too small" if the rest's ratio is above 1,
        the gradient is below 0.05, and more than half of the gap is not there within the span of
        the factors.
    direction : Direction or None
        What to append where σ / λ of the rest is above 1.
    """

    objective: float
    lower_bound: float
    gap: float
    spectral_ratio: float
    rest_ratio: float
    gradient: float
    imbalance: float
    rank: int
    tolerance: float
    verdict: Verdict
    direction: Direction | None

    def __str__(self) -> str:
        bound = (
            f"No factors of any rank, with any biases, bring J below {self.lower_bound:,.6g} "
            f"(gap {self.gap:.2g}, σ/λ = {self.spectral_ratio:.6g})."
        )
        if self.verdict == "optimal":
            within = f"within {max(self.gap, 0.0):.2g} of J = {self.objective:,.6g}"
            return f"Globally optimal to {within}. {bound}"
        if self.verdict == "not converged":
            return (
                f"Not converged at J = {self.objective:,.6g}: the gradient is {self.gradient:.2g} of "
                f"that of the penalty. {bound} Fit on, with init= and a smaller tol."
            )
        fall = 0.0 if self.direction is None else self.direction.fall
        columns = 0 if self.direction is None else self.direction.user_factors.shape[1]
        more = "one more factor lowers" if columns == 1 else f"{columns} more factors lower"
        return (
            f"Rank {self.rank} is too small: J = {self.objective:,.6g}, and {more} it by "
            f"{fall:.3g} or more. {bound}"
        )


def check_certifiable(objective: object) -> SquaredError:
    """The objective, where there is a certificate for it."""
    if not isinstance(objective, SquaredError):
        raise ParameterError(
            "objective",
            type(objective).__name__,
            "has no certificate here: it is worked out for the squared error of ratings alone",
            "ask an ExplicitMF; of other models the trace says whether they have converged",
        )
    if objective.nonnegative:
        raise ParameterError(
            "nonnegative",
            True,
            "has no certificate: with W, Z ≥ 0 the problem is not a convex one in disguise",
            "fit with nonnegative=False",
        )
    if not min(objective.reg.user, objective.reg.item) > 0:
        raise ParameterError(
            "reg",
            (objective.reg.user, objective.reg.item),
            "must be positive for users and items: the certificate is a statement about their penalty",
            "fit with reg > 0",
        )
    return objective


def certify(
    cells: CSR,
    objective: SquaredError,
    factors: Factors,
    *,
    tolerance: float,
    directions: int = 1,
) -> Certificate:
    """The certificate of these factors for these cells (whose rows are the users of the factors)."""
    return Point(cells, objective, factors).certificate(tolerance, directions)


class Point:
    """Factors and their residuals in the scaled variables of the convex problem, float64.

    W̃ = √(λ_w/λ) S_w^½ W and Z̃ = √(λ_z/λ) S_z^½ Z, so that W̃ Z̃ᵀ = S_w^½ M S_z^½ and both have
    the penalty ½ λ ‖·‖².
    """

    def __init__(self, cells: CSR, objective: SquaredError, factors: Factors) -> None:
        from scipy.sparse import csr_array

        check_certifiable(objective)
        reg, f = objective.reg, factors
        self.rank, self.bias_reg = f.rank, reg.bias
        self.level = math.sqrt(reg.user) * math.sqrt(reg.item)  # λ
        m, n = len(f.user_factors), len(f.item_factors)
        self.s_u, self.s_i = scales(cells, n, objective.reg_scaling)
        self.stretch = math.sqrt(reg.user / self.level), math.sqrt(reg.item / self.level)
        self.W = scaled(f.user_factors, self.s_u) * self.stretch[0]
        self.Z = scaled(f.item_factors, self.s_i) * self.stretch[1]
        self.user = np.repeat(np.arange(m), np.diff(cells.indptr))
        self.item = cells.indices.astype(np.int64)
        self.c = np.ones(cells.nnz) if cells.weights is None else cells.weights.astype(np.float64)
        self.target = cells.values.astype(np.float64) - objective.mean  # r̃
        self.error = self.target - _fitted(self.user, self.item, f)
        J = 0.5 * _sum(self.c * self.error**2)
        J += 0.5 * self.level * (_sum(self.W**2) + _sum(self.Z**2))

        settled = self.error
        if f.user_bias is not None and f.item_bias is not None:
            biases = np.concatenate([f.user_bias, f.item_bias]).astype(np.float64)
            J += 0.5 * reg.bias * _sum(np.concatenate([self.s_u, self.s_i]) * biases**2)
            settled = self._settled(biases)
        self.biases = f.user_bias is not None
        self.objective = J
        self.y = self.c * settled
        values = self.y * _inverse_root(self.s_u)[self.user] * _inverse_root(self.s_i)[self.item]
        self.Y = csr_array((values, self.item, cells.indptr), shape=(m, n))
        self.Yt = self.Y.T.tocsr()

    def turned(self, factors: Factors) -> Point:
        """The same point in other axes."""
        fresh = copy(self)
        fresh.W = scaled(factors.user_factors, self.s_u) * self.stretch[0]
        fresh.Z = scaled(factors.item_factors, self.s_i) * self.stretch[1]
        return fresh

    def drops(self) -> tuple[Array, Array]:
        """Columns that may be dropped, shortest first, and how J changes when the first 1, 2, …
        are.

        Without the columns k of a set, Σ_k w_uk z_ik is added to every residual and their penalty
        is gone. A column comes into question where the slope of J along it is negative.
        """
        slope = np.einsum("rk,rk->k", self.W, _product(self.Y, self.Z))
        penalty = (
            0.5
            * self.level
            * (np.einsum("rk,rk->k", self.W, self.W) + np.einsum("rk,rk->k", self.Z, self.Z))
        )
        order = np.flatnonzero(slope - penalty <= 0)
        order = order[np.argsort(penalty[order], kind="stable")]
        W = self.W[:, order] * _inverse_root(self.s_u)[:, None]
        Z = self.Z[:, order] * _inverse_root(self.s_i)[:, None]
        squares = np.zeros(len(order))
        step = max(_CHUNK // max(len(order), 1), 1)
        for first in range(0, len(self.user) if len(order) else 0, step):
            part = slice(first, first + step)
            moved = np.cumsum(W[self.user[part]] * Z[self.item[part]], axis=1)
            squares += np.einsum("n,nk,nk->k", self.c[part], moved, moved)
        return order, np.cumsum(slope[order] - penalty[order]) + 0.5 * squares

    # ------------------------------------------------------------------ biases

    def _settled(self, biases: Array) -> Array:
        """The residuals for the biases that minimize J for this M: a system solved by conjugate
        gradients.

        (C + λ_b S) δ = Cᵀe − λ_b S b, with C the weights as a graph between users and items.
        """
        m = len(self.s_u)
        rows, columns = self.user, m + self.item
        size = m + len(self.s_i)
        penalty = self.bias_reg * np.concatenate([self.s_u, self.s_i])

        def sums(cells: Array) -> Array:
            return np.bincount(rows, cells, size) + np.bincount(columns, cells, size)

        diagonal = sums(self.c) + penalty
        inverse = np.divide(1.0, diagonal, out=np.zeros(size), where=diagonal > 0)
        shift = np.zeros(size)
        residual = sums(self.c * self.error) - penalty * biases
        aim = _ROUNDING**2 * _sum(inverse * sums(self.c * np.abs(self.error)) ** 2)
        z = inverse * residual
        p, now = z, _sum(residual * z)
        for _ in range(1000):
            if now <= aim:
                break
            image = sums(self.c * (p[rows] + p[columns])) + penalty * p
            step = now / _sum(p * image)
            shift = shift + step * p
            residual = residual - step * image
            z = inverse * residual
            before, now = now, _sum(residual * z)
            p = z + (now / before) * p
        settled: Array = self.error - shift[rows] - shift[columns]
        return settled

    # ------------------------------------------------------------------- blocks

    def certificate(self, tolerance: float, directions: int = 1) -> Certificate:
        """The bound, the gap and what they mean; with up to so many columns to append."""
        level = self.level
        floor = _ROUNDING * math.sqrt(_sum(self.Y.data**2))

        def enough(value: float, residual: float) -> bool:
            return value + residual <= level or residual <= 0.02 * (value - level)

        def largest(left: Array, right: Array, count: int) -> Triplets:
            return largest_singular(
                lambda x: _off(left, self.Y @ _off(right, x)),
                lambda x: _off(right, self.Yt @ _off(left, x)),
                self.Y.shape,
                count,
                enough=enough,
                floor=floor,
            )

        U, V = _basis(self.W), _basis(self.Z)
        rest = largest(U, V, directions)
        within = [_product(self.Y, V), _product(self.Yt, U)]
        # on the spans Ỹ is nearly λ, a cluster in which Lanczos tells the largest value last
        sigma = max(largest(U[:, :0], V[:, :0], 1).bound, *(_norm(part) for part in within))
        bound = self._dual(sigma)
        gap = (self.objective - bound) / self.objective if self.objective else 0.0
        gradient = self._gradient()
        verdict: Verdict = "optimal"
        if gap > tolerance:
            inside = _norm(np.einsum("rk,rl->kl", U, within[0]))
            without = (self.objective - self._dual(max(inside, level))) / self.objective
            missing = rest.bound > level and gradient < _STATIONARY and without < 0.5 * gap
            verdict = "rank too small" if missing else "not converged"
        return Certificate(
            objective=self.objective,
            lower_bound=bound,
            gap=gap,
            spectral_ratio=sigma / level,
            rest_ratio=rest.bound / level,
            gradient=gradient,
            imbalance=_imbalance(self.W, self.Z),
            rank=self.rank,
            tolerance=tolerance,
            verdict=verdict,
            direction=self._direction(rest),
        )

    def _dual(self, sigma: float) -> float:
        """D(t Y) for the best t with t σ ≤ λ."""
        if self.biases and self.bias_reg == 0 and not self._balanced():
            return 0.0  # that of Y = 0
        linear = _sum(self.y * self.target)
        square = _sum(self.y**2 / self.c)
        if self.biases and self.bias_reg > 0:
            for index, s in ((self.user, self.s_u), (self.item, self.s_i)):
                sums = np.bincount(index, self.y, len(s))
                square += _sum((sums * _inverse_root(s)) ** 2) / self.bias_reg
        if not square:
            return 0.0
        t = linear / square
        if sigma > 0:
            t = min(t, self.level / sigma)
        t = max(t, 0.0)
        return t * linear - 0.5 * t * t * square

    def _balanced(self) -> bool:
        """Whether Y sums to 0 in every row and column, as biases without a penalty ask for."""
        for index, s in ((self.user, self.s_u), (self.item, self.s_i)):
            sums, sizes = (np.bincount(index, y, len(s)) for y in (self.y, np.abs(self.y)))
            if np.abs(sums).max(initial=0.0) > _BALANCED * sizes.max(initial=0.0):
                return False
        return True

    def _gradient(self) -> float:
        """The gradient in W̃ and Z̃ relative to that of the penalty."""
        users = _product(self.Y, self.Z) - self.level * self.W
        items = _product(self.Yt, self.W) - self.level * self.Z
        size = _sum(self.W**2) + _sum(self.Z**2)
        return math.sqrt((_sum(users**2) + _sum(items**2)) / size) / self.level if size else 0.0

    def _direction(self, found: Triplets) -> Direction | None:
        """Along M̃ + τ Σ_k (σ_k − λ) p_k q_kᵀ J is a parabola in τ: columns for its minimum.

        This is the step of a singular value that soft thresholding of the residual would take.
        """
        gain = found.values - self.level
        better = gain > 0
        if not better.any():
            return None
        gain = gain[better]
        P = found.left[:, better] * _inverse_root(self.s_u)[:, None]
        Q = found.right[:, better] * _inverse_root(self.s_i)[:, None]
        curvature = 0.0
        for part in _parts(len(self.user)):
            moved = np.einsum("nk,k,nk->n", P[self.user[part]], gain, Q[self.item[part]])
            curvature += _sum(self.c[part] * moved**2)
        slope = _sum(gain**2)
        length = np.sqrt(slope / curvature * gain)
        return Direction(
            P * (length / self.stretch[0]),
            Q * (length / self.stretch[1]),
            0.5 * slope**2 / curvature,
        )


def _fitted(user: Array, item: Array, f: Factors) -> Array:
    """b_u + b_i + w_u·z_i of every cell."""
    out = np.empty(len(user))
    backend = get_backend("native", dtype="float64")
    W, Z = (np.ascontiguousarray(a, dtype=np.float64) for a in (f.user_factors, f.item_factors))
    b_u = None if f.user_bias is None else f.user_bias.astype(np.float64)
    b_i = None if f.item_bias is None else f.item_bias.astype(np.float64)
    for part in _parts(len(user)):
        out[part] = backend.predict(user[part], item[part], W, Z, b_u, b_i, 0.0)
    return out


def _parts(cells: int) -> list[slice]:
    return [slice(first, first + _CHUNK) for first in range(0, cells, _CHUNK)]


def _sum(array: Array) -> float:
    return float(np.add.reduce(array, axis=None))


def _inverse_root(s: Array) -> Array:
    """1 / √s, and 0 for a row without ratings, of which nothing is asked."""
    return np.divide(1.0, np.sqrt(s), out=np.zeros(len(s)), where=s > 0)


def _basis(rows: Array) -> Array:
    """An orthonormal basis of the columns' span, without directions of 1e-6 of the longest and less."""
    for share in (_DEAD, 0.0):  # the second time it is orthonormal to rounding
        values, vectors = np.linalg.eigh(np.einsum("rk,rl->kl", rows, rows))
        there = values > share * values.max(initial=0.0)
        rows = np.einsum("rk,kl->rl", rows, vectors[:, there] / np.sqrt(values[there]))
    return rows


def _product(Y: Any, rows: Array) -> Array:
    out = np.empty((Y.shape[0], rows.shape[1]))
    for first in range(0, rows.shape[1], _COLUMNS):
        part = slice(first, first + _COLUMNS)
        out[:, part] = Y @ np.ascontiguousarray(rows[:, part])
    return out


def _off(basis: Array, vector: Array) -> Array:
    """The part of the vector that is orthogonal to the basis."""
    rest: Array = vector - np.einsum("rk,k->r", basis, np.einsum("rk,r->k", basis, vector))
    return rest


def _norm(rows: Array) -> float:
    """‖F‖₂, from FᵀF."""
    gram = np.einsum("rk,rl->kl", rows, rows)
    return math.sqrt(max(float(np.linalg.eigvalsh(gram).max(initial=0.0)), 0.0))


def _imbalance(W: Array, Z: Array) -> float:
    users, items = np.einsum("rk,rl->kl", W, W), np.einsum("rk,rl->kl", Z, Z)
    size = math.sqrt(_sum((users + items) ** 2))
    return math.sqrt(_sum((users - items) ** 2)) / size if size else 0.0
