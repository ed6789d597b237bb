"""implicit's ALS: seconds of each sweep. Runs in the peers' environment.

J = Σ_all c (p − w·z)² + λ (Σ ‖w_u‖² + Σ ‖z_i‖²), divided by Σ_all c, with p = 1 on Ω, c the rating
there (with `more` one more than that) and 1 elsewhere. As its authors advise, BLAS runs on one thread
inside its own loop over rows. The objective is told of every sweep with `trace`, else of the first and
the last.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import scipy.sparse as sps
from common import answer, arguments, load, peak_rss, worst_residual
from implicit.cpu import _als
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

REG = 0.05


def main() -> None:
    given = arguments(__doc__)
    options = {"cg": False, "rank": 64, "sweeps": 5, "warmup": 1, "trace": False, "more": False}
    options |= given.options
    threadpool_limits(1, "blas")
    users, items, ratings = load(given.folder)
    table = sps.csr_matrix((ratings, (users, items)))
    del users, items, ratings
    if options["more"]:
        table.data += 1

    model = AlternatingLeastSquares(
        factors=options["rank"],
        regularization=REG,
        use_cg=options["cg"],
        iterations=options["warmup"] + options["sweeps"],
        num_threads=given.threads,
        random_state=0,
    )
    seconds: list[float] = []
    losses: list[float | None] = []

    def told(sweep: int, elapsed: float, _: object) -> None:
        seconds.append(elapsed)
        told = options["trace"] or sweep in (options["warmup"] - 1, model.iterations - 1)
        factors = (model.user_factors, model.item_factors)
        loss = (
            _als.calculate_loss(table, *factors, REG, num_threads=given.threads) if told else None
        )
        losses.append(loss)

    model.fit(table, show_progress=False, callback=told)
    peak = peak_rss()

    # A sweep ends with the items: their systems must be solved.
    w, z = model.user_factors, model.item_factors
    dense = w.T.astype(np.float64) @ w.astype(np.float64) + REG * np.eye(w.shape[1])

    def system(fixed: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return dense + (fixed.T * (c - 1)) @ fixed, fixed.T @ c

    columns = table.tocsc()
    answer(
        version=version("implicit"),
        sweep_seconds=seconds[options["warmup"] :],
        peak_rss=peak,
        cells=int(table.nnz),
        rows=sum(table.shape),
        trace=list(zip(seconds, losses, strict=True)),
        objective=[loss for loss in losses if loss is not None],
        residual=worst_residual(columns.indptr, columns.indices, columns.data, w, z, system),
    )


if __name__ == "__main__":
    main()
