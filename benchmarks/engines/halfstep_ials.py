"""halfstep's implicit ALS: seconds and objective of each sweep.

The objectives are those of the peers' engines: with loss "ials" irspack's (c the rating, α₀ = 0.1,
λ = 0.003 by frequency), with "wrmf" implicit's (1 + rating on Ω and 1 elsewhere, λ = 0.05), told in its
unit.
"""

from __future__ import annotations

import numpy as np
from common import answer, arguments, digest, load, peak_rss, worst_residual

import halfstep as hs
from halfstep.solvers import solver_from_dict

IALS = {"loss": "ials", "alpha0": 0.1, "reg": 0.003, "reg_scaling": "frequency"}
WRMF = {"loss": "wrmf", "alpha0": 1.0, "reg": 0.05, "reg_scaling": "none"}


def main() -> None:
    given = arguments(__doc__)
    options = {"loss": "ials", "rank": 64, "sweeps": 5, "warmup": 1, "solver": "als"}
    options |= given.options
    hs.set_num_threads(given.threads)
    users, items, values = load(given.folder)
    ratings = hs.Ratings.from_arrays(users, items, values)
    del users, items, values
    chosen = IALS if options["loss"] == "ials" else WRMF
    model = hs.ImplicitMF(
        rank=options["rank"],
        solver=solver_from_dict(options["solver"]),
        max_iter=options["warmup"] + options["sweeps"],
        tol=0,
        **chosen,
    ).fit(ratings)
    peak = peak_rss()

    unit = 1.0
    if options["loss"] == "wrmf":
        m, n = ratings.shape
        unit = 2.0 / (float(ratings.by_user.values.sum(dtype=np.float64)) + m * n)
    steps = [sum(v for k, v in row.seconds.items() if k != "measure") for row in model.trace_]
    w, z = model.factors_.user_factors, model.factors_.item_factors
    dense = chosen["alpha0"] * (z.T.astype(np.float64) @ z.astype(np.float64))
    by_frequency = chosen["reg_scaling"] == "frequency"
    extra = 0.0 if options["loss"] == "ials" else chosen["alpha0"]

    def system(fixed: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = len(count) + chosen["alpha0"] * len(z) if by_frequency else 1.0
        matrix = dense + (fixed.T * count) @ fixed + chosen["reg"] * s * np.eye(fixed.shape[1])
        return matrix, fixed.T @ (count + extra)

    cells = ratings.by_user
    answer(
        version=hs.__version__,
        sweep_seconds=steps[options["warmup"] :],
        trace=[(s, unit * row.objective) for s, row in zip(steps, model.trace_, strict=True)],
        peak_rss=peak,
        cells=len(ratings),
        rows=len(w) + len(z),
        objective=[unit * row.objective for row in model.trace_],
        exact=model._exact_users,
        residual=worst_residual(cells.indptr, cells.indices, cells.values, z, w, system),
        bits=digest(w, z),
    )


if __name__ == "__main__":
    main()
