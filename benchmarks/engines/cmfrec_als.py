"""cmfrec's explicit ALS without biases: seconds of a sweep. Runs in an environment of its own.

J = Σ_Ω (r − μ − w·z)² + λ (Σ_u n_u ‖w_u‖² + Σ_i n_i ‖z_i‖²). It tells no times: they are those of two
fits.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import scipy.sparse as sps
from cmfrec import CMF
from common import (
    answer,
    arguments,
    load,
    peak_rss,
    ridge_regression,
    squared_error,
    sweeps_of_two_fits,
    worst_residual,
)

REG = 0.05


def main() -> None:
    given = arguments(__doc__)
    options = {"cg": False, "rank": 64, "sweeps": 5, "warmup": 1, **given.options}
    users, items, ratings = load(given.folder)
    table = sps.coo_matrix((ratings, (users, items)))
    errors, models = [], []

    def fit(sweeps: int) -> None:
        model = CMF(
            k=options["rank"],
            lambda_=REG,
            scale_lam=True,
            method="als",
            use_cg=options["cg"],
            finalize_chol=False,
            user_bias=False,
            item_bias=False,
            center=True,
            niter=sweeps,
            use_float=True,
            precompute_for_predictions=False,
            nthreads=given.threads,
            random_state=1,
            verbose=False,
        )
        models.append(model.fit(table))

    seconds = sweeps_of_two_fits(fit, options["warmup"], options["sweeps"])
    peak = peak_rss()
    for model in models:
        factors = (model.A_, model.B_)
        errors.append(squared_error(users, items, ratings, *factors, float(model.glob_mean_)))

    # Whichever side a sweep ends with: its systems must be solved.
    w, z, system = model.A_, model.B_, ridge_regression(REG, float(model.glob_mean_))
    rows, columns = table.tocsr(), table.tocsc()
    answer(
        version=version("cmfrec"),
        sweep_seconds=seconds,
        peak_rss=peak,
        cells=int(table.nnz),
        rows=sum(table.shape),
        objective=[float(np.sqrt(error / table.nnz)) for error in errors],
        residual=min(
            worst_residual(columns.indptr, columns.indices, columns.data, w, z, system),
            worst_residual(rows.indptr, rows.indices, rows.data, z, w, system),
        ),
    )


if __name__ == "__main__":
    main()
