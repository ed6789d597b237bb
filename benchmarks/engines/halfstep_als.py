"""halfstep's exact ALS: seconds of each sweep.

J = ½ Σ_Ω (r − μ − w·z)² + ½ λ (Σ_u n_u ‖w_u‖² + Σ_i n_i ‖z_i‖²), no biases, as the peers have none.
"""

from __future__ import annotations

import numpy as np
from common import answer, arguments, load, peak_rss, worst_residual

import halfstep as hs

REG = 0.05


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "sweeps": 5, "warmup": 1, **given.options}
    hs.set_num_threads(given.threads)
    ratings = hs.Ratings.from_arrays(*load(given.folder))
    model = hs.ExplicitMF(
        rank=options["rank"],
        reg=REG,
        biases=False,
        max_iter=options["warmup"] + options["sweeps"],
        tol=0,
    ).fit(ratings)
    peak = peak_rss()

    factors, users = model.factors_, ratings.by_user
    w, z, mean = factors.user_factors, factors.item_factors, factors.mean

    def system(fixed: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gram = fixed.T @ fixed + REG * len(values) * np.eye(fixed.shape[1])
        return gram, fixed.T @ (values - mean)

    # J once more, from its definition and in float64.
    counts = [np.diff(cells.indptr) for cells in (ratings.by_user, ratings.by_item)]
    penalty = sum(
        float(count @ np.einsum("rk,rk->r", f, f, dtype=np.float64))
        for count, f in zip(counts, (w, z), strict=True)
    )
    errors = 0.0
    for first in range(0, len(ratings), 1 << 18):
        cells = slice(first, first + (1 << 18))
        row = np.searchsorted(users.indptr, np.arange(*cells.indices(users.nnz)), "right") - 1
        fitted = np.einsum("rk,rk->r", w[row], z[users.indices[cells]], dtype=np.float64)
        errors += float(np.sum((users.values[cells] - mean - fitted) ** 2))

    steps = [sum(v for k, v in row.seconds.items() if k != "measure") for row in model.trace_]
    answer(
        version=hs.__version__,
        sweep_seconds=steps[options["warmup"] :],
        peak_rss=peak,
        cells=len(ratings),
        rows=len(w) + len(z),
        objective=[row.objective for row in model.trace_],
        objective_again=0.5 * errors + 0.5 * REG * penalty,
        rmse=float(np.sqrt(errors / len(ratings))),
        residual=worst_residual(users.indptr, users.indices, users.values, z, w, system),
    )


if __name__ == "__main__":
    main()
