"""LensKit's explicit ALS: seconds of each sweep. Runs in an environment of its own.

J = Σ_Ω (r' − w·z)² + λ (Σ_u n_u ‖w_u‖² + Σ_i n_i ‖z_i‖²) with r' the ratings less biases that it
computes once, before the first sweep.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pandas as pd
from common import (
    answer,
    arguments,
    load,
    peak_rss,
    ridge_regression,
    squared_error,
    timed,
    worst_residual,
)
from lenskit.als import BiasedMFScorer
from lenskit.data import from_interactions_df
from lenskit.training import TrainingOptions

REG = 0.05


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "sweeps": 5, "warmup": 1, **given.options}
    names = ("user_id", "item_id", "rating")
    table = pd.DataFrame(dict(zip(names, load(given.folder), strict=True)))
    data = from_interactions_df(table)
    del table
    scorer = BiasedMFScorer(embedding_size=options["rank"], regularization=REG)
    trainer = scorer.create_trainer(data, TrainingOptions(rng=0))
    by_user, by_item = (
        [np.asarray(part) for part in (rates.offsets, rates.indices, rates.values)]
        for rates in (trainer.ui_rates, trainer.iu_rates)
    )
    users = np.repeat(np.arange(data.user_count, dtype=np.int32), np.diff(by_user[0]))

    seconds, errors, peak = [], [], 0.0
    for sweep in range(options["warmup"] + options["sweeps"]):
        seconds.append(timed(trainer.train_epoch))
        if sweep in (options["warmup"] - 1, options["warmup"] + options["sweeps"] - 1):
            peak = peak_rss()
            w, z = scorer.user_embeddings, scorer.item_embeddings
            errors.append(squared_error(users, *by_user[1:], w, z) / len(users))

    # A sweep ends with the items: their systems must be solved.
    answer(
        version=version("lenskit"),
        sweep_seconds=seconds[options["warmup"] :],
        peak_rss=peak,
        cells=len(users),
        rows=data.user_count + data.item_count,
        objective=[float(np.sqrt(error)) for error in errors],
        residual=worst_residual(*by_item, w, z, ridge_regression(REG)),
    )


if __name__ == "__main__":
    main()
