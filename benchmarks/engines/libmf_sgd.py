"""LIBMF's SGD: seconds of an epoch. Runs in an environment of its own.

J = Σ_Ω ((r − w·z)² + λ (‖w_u‖² + ‖z_i‖²)). It tells no times, so they are those of two fits. Its threads
share the factors without locks: no two runs give the same bits.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from common import answer, arguments, load, peak_rss, squared_error, sweeps_of_two_fits
from libmf import mf

REG = 0.05


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "sweeps": 5, "warmup": 1, **given.options}
    users, items, ratings = load(given.folder)
    table = np.stack([column.astype(np.float32) for column in (users, items, ratings)], axis=1)
    models = []

    def fit(sweeps: int) -> None:
        model = mf.MF(
            k=options["rank"],
            nr_iters=sweeps,
            nr_threads=given.threads,
            lambda_p2=REG,
            lambda_q2=REG,
            lambda_p1=0.0,
            lambda_q1=0.0,
            quiet=True,
        )
        model.fit(table)
        models.append(model)

    seconds = sweeps_of_two_fits(fit, options["warmup"], options["sweeps"])
    peak = peak_rss()
    errors = [
        squared_error(users, items, ratings, model.p_factors(), model.q_factors())
        for model in models
    ]
    answer(
        version=version("libmf"),
        sweep_seconds=seconds,
        peak_rss=peak,
        cells=len(ratings),
        rows=int(users.max()) + int(items.max()) + 2,
        objective=[float(np.sqrt(error / len(ratings))) for error in errors],
    )


if __name__ == "__main__":
    main()
