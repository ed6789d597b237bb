"""irspack's implicit ALS: seconds of each sweep. Runs in the peers' environment.

J = ½ Σ_Ω c (w·z − 1)² + ½ α₀ Σ_all (w·z)² + ½ λ (Σ_u (n_u + α₀ n) ‖w_u‖² + Σ_i (n_i + α₀ m) ‖z_i‖²)
with c the rating. Its work per sweep is that of explicit ALS and one more FᵀF a side. The objective
is told of every sweep with `trace`, else of the first and the last.
"""

from __future__ import annotations

import irspack
import numpy as np
import scipy.sparse as sps
from common import answer, arguments, load, peak_rss, timed, worst_residual
from irspack.recommenders.ials import IALSRecommender

ALPHA0, REG = 0.1, 0.003


def main() -> None:
    given = arguments(__doc__)
    options = {"solver": "CHOLESKY", "rank": 64, "sweeps": 5, "warmup": 1, "trace": False}
    options |= given.options
    users, items, ratings = load(given.folder)
    shape = (int(users.max()) + 1, int(items.max()) + 1)
    table = sps.csr_matrix((ratings, (users, items)), shape=shape)
    del users, items, ratings

    recommender = IALSRecommender(
        table,
        n_components=options["rank"],
        alpha0=ALPHA0,
        reg=REG,
        nu=1.0,
        solver_type=options["solver"],
        n_threads=given.threads,
        random_seed=0,
    )
    trainer = recommender._create_trainer()
    trace = []
    last = options["warmup"] + options["sweeps"] - 1
    for sweep in range(last + 1):
        seconds = timed(trainer.run_epoch)
        told = options["trace"] or sweep in (options["warmup"] - 1, last)
        trace.append((seconds, trainer.compute_loss() if told else None))
    peak = peak_rss()

    # A sweep ends with the items: their systems must be solved.
    w, z = trainer.core_trainer.user, trainer.core_trainer.item
    dense = ALPHA0 * (w.T.astype(np.float64) @ w.astype(np.float64))

    def system(fixed: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ridge = REG * (len(count) + ALPHA0 * shape[0])
        gram = (fixed.T * count) @ fixed
        return dense + gram + ridge * np.eye(fixed.shape[1]), fixed.T @ count

    columns = table.tocsc()
    answer(
        version=irspack.__version__,
        sweep_seconds=[seconds for seconds, _ in trace[options["warmup"] :]],
        trace=trace,
        peak_rss=peak,
        cells=int(table.nnz),
        rows=sum(shape),
        objective=[loss for _, loss in trace if loss is not None],
        residual=worst_residual(columns.indptr, columns.indices, columns.data, w, z, system),
    )


if __name__ == "__main__":
    main()
