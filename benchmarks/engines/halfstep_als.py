"""halfstep's ALS: seconds and objective of each sweep.

J = ½ Σ_Ω (r − μ − b_u − b_i − w·z)² + ½ λ Σ_u n_u (‖w_u‖² + b_u²) + ½ λ Σ_i n_i (‖z_i‖² + b_i²),
without biases unless the options ask for them. `solver` is a name or a solver as JSON.
"""

from __future__ import annotations

import numpy as np
from common import (
    answer,
    arguments,
    digest,
    load,
    peak_rss,
    ridge_regression,
    squared_error,
    worst_residual,
)

import halfstep as hs
from halfstep.solvers import solver_from_dict

REG = 0.05


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "sweeps": 5, "warmup": 1, "biases": False, "solver": "als"}
    options |= given.options
    hs.set_num_threads(given.threads)
    users, items, values = load(given.folder)
    ratings = hs.Ratings.from_arrays(users, items, values)
    del users, items, values
    model = hs.ExplicitMF(
        rank=options["rank"],
        reg=REG,
        biases=options["biases"],
        solver=solver_from_dict(options["solver"]),
        max_iter=options["warmup"] + options["sweeps"],
        tol=0,
    ).fit(ratings)
    peak = peak_rss()

    factors = model.factors_
    w, z, mean = factors.user_factors, factors.item_factors, factors.mean
    biases = [b for b in (factors.user_bias, factors.item_bias) if b is not None]
    steps = [sum(v for k, v in row.seconds.items() if k != "measure") for row in model.trace_]
    figures = {
        "version": hs.__version__,
        "sweep_seconds": steps[options["warmup"] :],
        "trace": [(s, row.objective) for s, row in zip(steps, model.trace_, strict=True)],
        "peak_rss": peak,
        "cells": len(ratings),
        "rows": len(w) + len(z),
        "objective": [row.objective for row in model.trace_],
        "bits": digest(w, z, *biases),
    }
    if not biases:
        # The rows solved last, and J once more, from their definitions and in float64.
        cells = ratings.by_user
        row = np.repeat(np.arange(cells.n_rows, dtype=np.int32), np.diff(cells.indptr))
        error = squared_error(row, cells.indices, cells.values, w, z, mean)
        penalty = sum(
            float(np.diff(side.indptr) @ np.einsum("rk,rk->r", f, f, dtype=np.float64))
            for side, f in ((cells, w), (ratings.by_item, z))
        )
        figures["objective_again"] = 0.5 * error + 0.5 * REG * penalty
        figures["residual"] = worst_residual(
            cells.indptr, cells.indices, cells.values, z, w, ridge_regression(REG, mean)
        )
    answer(**figures)


if __name__ == "__main__":
    main()
