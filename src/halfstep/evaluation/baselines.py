"""What any model has to beat: the global mean, and biases alone."""

from __future__ import annotations

from halfstep.data.ratings import Ratings

__all__ = ["baseline_rmse"]


def baseline_rmse(train: Ratings, test: Ratings, reg: float = 5.0) -> dict[str, float]:
    """RMSE on `test` of the mean of `train`, and of μ + b_u + b_i.

    The biases minimize ½ Σ c (r − μ − b_u − b_i)² + ½ λ (Σ b_u² + Σ b_i²) with λ = `reg`, by
    alternating exact half-steps to convergence (the model without factors).
    """
    import numpy as np

    from halfstep.evaluation.metrics import root_mean_squared_error as rmse

    mean = train.mean()
    cells = train.by_user
    users, items = train.user_index(), cells.indices
    c = np.ones(len(cells.values)) if cells.weights is None else cells.weights.astype(np.float64)
    centred = cells.values.astype(np.float64) - mean
    m, n = train.shape
    b_u, b_i = np.zeros(m), np.zeros(n)
    n_u = np.bincount(users, c, m) + reg
    n_i = np.bincount(items, c, n) + reg
    for _ in range(100):
        before = b_u
        b_i = np.bincount(items, c * (centred - b_u[users]), n) / n_i
        b_u = np.bincount(users, c * (centred - b_i[items]), m) / n_u
        if np.max(np.abs(b_u - before)) < 1e-6:
            break
    observed = test.by_user.values.astype(np.float64)
    weights = test.by_user.weights
    to_user = train.users.lookup(test.users.values)[test.user_index()]
    to_item = train.items.lookup(test.items.values)[test.by_user.indices]
    fitted = (
        mean + np.where(to_user < 0, 0.0, b_u[to_user]) + np.where(to_item < 0, 0.0, b_i[to_item])
    )
    return {
        "global mean": rmse(observed, np.full(len(observed), mean), weights),
        "biases only": rmse(observed, fitted, weights),
    }
