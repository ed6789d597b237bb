"""The convex problem over M = W Zᵀ itself, dense, in float64: the check of every factorizing solver.

    min over M and b of  ½ Σ_Ω (r − μ − b_u − b_i − M_ui)² + √(λ_w λ_z) ‖M‖_* + ½ λ_b (Σ b_u² + Σ b_i²)

by the accelerated proximal gradient method (Beck and Teboulle 2009; restarts of O'Donoghue and Candès
2015) on M, singular values soft-thresholded, the biases at their exact minimum for every M. It ends
where its own dual bound is near. Plain λ, all weights 1, numpy and scipy only: nothing of halfstep is
used.
"""

from __future__ import annotations

from importlib.metadata import version
from time import perf_counter

import numpy as np
from common import answer, arguments, load
from scipy.linalg import cho_factor, cho_solve, eigh


class Convex:
    """The problem, and what its method needs of it."""

    def __init__(self, users, items, ratings, reg):
        self.shape = (int(users.max()) + 1, int(items.max()) + 1)
        self.cells = (users, items)
        self.centred = ratings.astype(np.float64) - ratings.mean(dtype=np.float64)
        self.threshold = np.sqrt(reg[0] * reg[1])
        self.bias = reg[2]
        m, n = self.shape
        mask = np.zeros(self.shape)
        mask[self.cells] = 1
        system = np.zeros((m + n, m + n))  # the normal equations of both sides' biases
        system[:m, m:] = mask
        system[np.diag_indices(m + n)] = np.append(mask.sum(axis=1), mask.sum(axis=0)) + self.bias
        self.factored = cho_factor(system.T, lower=True)

    def residual(self, M):
        """(e on Ω, the biases) with the biases at their minimum for this M."""
        (u, i), (m, n) = self.cells, self.shape
        target = self.centred - M[u, i]
        sums = np.append(np.bincount(u, target, m), np.bincount(i, target, n))
        b = cho_solve(self.factored, sums)
        return target - b[u] - b[m + i], b

    def step(self, M):
        """The proximal step from M: soft-thresholded M + E, with the sum of its singular values."""
        e, _ = self.residual(M)
        moved = M.copy()
        moved[self.cells] += e
        wide = moved.shape[0] <= moved.shape[1]
        squares, vectors = eigh(moved @ moved.T if wide else moved.T @ moved)
        values = np.sqrt(np.maximum(squares, 0))
        keep = values > self.threshold
        shrunk = values[keep] - self.threshold
        side = vectors[:, keep]
        shares = side * (shrunk / values[keep])
        near = shares @ (side.T @ moved) if wide else (moved @ side) @ shares.T
        return near, float(shrunk.sum()), int(keep.sum())

    def bounds(self, M, nuclear):
        """(J, the dual's lower bound)."""
        e, b = self.residual(M)
        value = 0.5 * (e @ e) + self.threshold * nuclear + 0.5 * self.bias * (b @ b)
        (u, i), (m, n) = self.cells, self.shape
        E = np.zeros(self.shape)
        E[self.cells] = e
        spectral = np.sqrt(eigh(E @ E.T if m <= n else E.T @ E, eigvals_only=True)[-1])
        sums = np.append(np.bincount(u, e, m), np.bincount(i, e, n))
        linear, square = e @ self.centred, e @ e + sums @ sums / self.bias
        t = min(self.threshold / spectral, linear / square)  # the best multiple that is feasible
        return value, t * linear - 0.5 * t * t * square


def main() -> None:
    given = arguments(__doc__)
    options = {"reg": [15.0, 15.0, 3.0], "gap": 1e-6, "most": 2000, **given.options}
    problem = Convex(*load(given.folder), options["reg"])
    begun = perf_counter()
    M = np.zeros(problem.shape)
    ahead, momentum = M, 1.0
    for iteration in range(1, options["most"] + 1):
        fresh, nuclear, rank = problem.step(ahead)
        if np.vdot(ahead - fresh, fresh - M) > 0:  # the momentum leads uphill
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = fresh + (momentum - 1) / following * (fresh - M)
        M, momentum = fresh, following
        if iteration % 10 == 0:
            value, bound = problem.bounds(M, nuclear)
            if value - bound <= options["gap"] * value:
                break
    value, bound = problem.bounds(M, nuclear)
    answer(
        version=version("numpy"),
        objective=value,
        gap=(value - bound) / value,
        rank=rank,
        seconds=perf_counter() - begun,
        sweeps=iteration,
        stopped="gap" if value - bound <= options["gap"] * value else "most",
    )


if __name__ == "__main__":
    main()
