"""halfstep's `SGD` without biases and centring: seconds and held-out error after every epoch.

J = ½ Σ_Ω (r − w·z)² + ½ λ Σ_u n_u ‖w_u‖² + ½ λ Σ_i n_i ‖z_i‖²: twice this is LIBMF's with the same λ.
Seconds are those of the whole fit, from `Ratings` on, without those of measuring J and the errors.
"""

from __future__ import annotations

from itertools import accumulate
from time import perf_counter

import numpy as np
from common import answer, arguments, digest, load, peak_rss, squared_error, timed

import halfstep as hs


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "reg": 0.05, "rate": None, "epochs": 20, **given.options}
    hs.set_num_threads(given.threads)
    columns, held = load(given.folder), load(given.folder / "held")
    begun = perf_counter()
    ratings = hs.Ratings.from_arrays(*columns)
    prepared = perf_counter() - begun
    model = hs.ExplicitMF(
        rank=options["rank"],
        reg=options["reg"],
        biases=False,
        center=False,
        solver=hs.SGD(rate=options["rate"]),
        max_iter=options["epochs"],
        tol=0.0,
        patience=3,
    )
    parts = {"validation": hs.Ratings.from_arrays(*held)}
    seconds = timed(lambda: model.fit(ratings, **parts))
    peak = peak_rss()
    epochs = [row.seconds["epoch"] for row in model.trace_]
    start = seconds - sum(epochs) - sum(row.seconds["measure"] for row in model.trace_)
    f = model.factors_
    users, items = (
        ids.lookup(column) for ids, column in zip((f.user_ids, f.item_ids), held, strict=False)
    )
    error = squared_error(users, items, held[2], f.user_factors, f.item_factors)
    answer(
        version=hs.__version__,
        prepare=prepared,
        start=start,
        epoch_seconds=epochs,
        seconds=[start + s for s in accumulate(epochs)],
        rmse=[row.validation_rmse for row in model.trace_],
        best_again=float(np.sqrt(error / len(held[2]))),
        bits=digest(f.user_factors, f.item_factors),
        peak_rss=peak,
    )


if __name__ == "__main__":
    main()
