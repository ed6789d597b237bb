"""The convex problem behind J, solved densely and independently of the package.

min over M and biases of ½ Σ_Ω c (r̃ − b_u − b_i − m_ui)² + λ ‖S_w^½ M S_z^½‖_* + ½ λ_b Σ s b²

by accelerated proximal gradients (FISTA with restarts) on X = S_w^½ M S_z^½; the biases are
eliminated by a dense linear system in every step.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class Solution:
    objective: float
    X: np.ndarray
    M: np.ndarray
    fitted: np.ndarray

    @property
    def rank(self) -> int:
        values = np.linalg.svd(self.X, compute_uv=False)
        return int((values > 1e-7 * max(values[0], 1e-300)).sum())


def dense(ratings):
    R, C = np.zeros(ratings.shape), np.zeros(ratings.shape)
    u, i = ratings.user_index(), ratings.by_user.indices
    R[u, i] = ratings.by_user.values
    C[u, i] = 1.0 if ratings.by_user.weights is None else ratings.by_user.weights
    return R, C


def solve(ratings, objective, *, steps=20_000, tol=1e-15):
    R, C = dense(ratings)
    reg, (m, n) = objective.reg, ratings.shape
    target = R - objective.mean
    count = objective.reg_scaling == "count"
    s_u = C.sum(axis=1) if count else np.ones(m)
    s_i = C.sum(axis=0) if count else np.ones(n)
    root = np.sqrt(np.outer(s_u, s_i))
    level = np.sqrt(reg.user * reg.item)
    graph = np.block([[np.diag(C.sum(axis=1)), C], [C.T, np.diag(C.sum(axis=0))]])
    penalty = reg.bias * np.concatenate([s_u, s_i])
    inverse = np.linalg.pinv(graph + np.diag(penalty), rcond=1e-12)

    def biases(E):
        if not objective.biases:
            return np.zeros(m + n)
        return inverse @ np.concatenate([(C * E).sum(axis=1), (C * E).sum(axis=0)])

    def parts(X):
        E = target - X / root
        b = biases(E)
        E = E - b[:m, None] - b[None, m:]
        return E, b

    def value(X, E, b):
        nuclear = np.linalg.svd(X, compute_uv=False).sum()
        return 0.5 * (C * E**2).sum() + level * nuclear + 0.5 * (penalty * b**2).sum()

    X = V = np.zeros((m, n))
    t, step = 1.0, 1.0 / (C / root**2).max()
    best = value(X, *parts(X))
    quiet = 0
    for _ in range(steps):
        E, _b = parts(V)
        left, values, right = np.linalg.svd(V + step * C * E / root, full_matrices=False)
        new = (left * np.maximum(values - step * level, 0)) @ right
        now = value(new, *parts(new))
        if now > best:  # restart
            V, t = X, 1.0
            quiet += 1
            if quiet > 3:
                break
            continue
        quiet = quiet + 1 if best - now <= tol * now else 0
        after = (1 + np.sqrt(1 + 4 * t * t)) / 2
        X, V, t, best = new, new + (t - 1) / after * (new - X), after, now
        if quiet > 3:
            break
    E, _b = parts(X)
    return Solution(best, X, X / root, R - E)
