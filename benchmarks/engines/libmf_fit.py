"""LIBMF's SGD: seconds and held-out error of fits of several lengths. An environment of its own.

J = Σ_Ω ((r − w·z)² + λ (‖w_u‖² + ‖z_i‖²)). It tells neither times nor errors by epoch, so every length
is a fit of its own, timed as a whole. Its threads share the factors without locks: no two runs give the
same bits.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from common import answer, arguments, load, peak_rss, squared_error, timed
from libmf import mf


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "reg": 0.05, "rate": 0.1, "epochs": [5, 10], **given.options}
    columns = load(given.folder)
    table = np.stack([column.astype(np.float32) for column in columns], axis=1)
    held = load(given.folder / "held")
    fits = []
    for epochs in options["epochs"]:
        model = mf.MF(
            k=options["rank"],
            nr_iters=epochs,
            nr_threads=given.threads,
            eta=options["rate"],
            lambda_p2=options["reg"],
            lambda_q2=options["reg"],
            lambda_p1=0.0,
            lambda_q1=0.0,
            quiet=True,
        )
        seconds = timed(lambda model=model: model.fit(table))
        error = squared_error(*held, model.p_factors(), model.q_factors())
        fits.append((epochs, seconds, float(np.sqrt(error / len(held[2])))))
    answer(version=version("libmf"), fits=fits, peak_rss=peak_rss())


if __name__ == "__main__":
    main()
