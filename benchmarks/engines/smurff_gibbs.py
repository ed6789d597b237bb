"""smurff's Gibbs sampler (BPMF): normal priors, the noise drawn; ratings less their mean.

The tasks "sweeps" and "target" of `halfstep_bayes.py`. Seconds are those of its steps; where errors are
asked for, its own predicting of the held-out part is among them.
"""

from __future__ import annotations

from importlib.metadata import version
from time import perf_counter

import numpy as np
import scipy.sparse as sps
import smurff
from common import answer, arguments, load, parts, peak_rss


def main() -> None:
    given = arguments(__doc__)
    options = {"task": "sweeps", "rank": 32, "sweeps": 5, "burn_in": 20, "seed": 1}
    options |= given.options
    users, items, ratings = load(given.folder)
    users, items = (np.unique(ids, return_inverse=True)[1] for ids in (users, items))
    shape = int(users.max()) + 1, int(items.max()) + 1
    timing = options["task"] == "sweeps"
    train, test = np.arange(len(ratings)), np.arange(min(1000, len(ratings)))
    if not timing:
        train, test = next(iter(parts(given.folder)))
    mean = float(ratings[train].mean())

    def matrix(rows: np.ndarray) -> sps.coo_matrix:
        values = ratings[rows].astype(np.float64) - mean
        return sps.coo_matrix((values, (users[rows], items[rows])), shape=shape)

    warmup = 2 if timing else options["burn_in"]
    session = smurff.TrainSession(
        priors=["normal", "normal"],
        num_latent=options["rank"],
        num_threads=given.threads,
        burnin=warmup,
        nsamples=options["sweeps"],
        seed=options["seed"],
        verbose=0,
    )
    spread = float(ratings[train].std())
    # α from 1 / s² on, and at most 100 times that
    session.addTrainAndTest(matrix(train), matrix(test), smurff.AdaptiveNoise(1.0, 100.0))
    session.init()
    seconds, curve = [], []
    for _ in range(warmup + options["sweeps"]):
        begun = perf_counter()
        session.step()
        seconds.append(perf_counter() - begun)
        status = session.getStatus()
        error = status.rmse_avg if status.rmse_avg == status.rmse_avg else spread
        curve.append((sum(seconds), float(error)))
    answer(
        version=version("smurff"),
        peak_rss=peak_rss(),
        sweep_seconds=seconds[warmup:],
        curve=curve,
        rmse=curve[-1][1],
    )


if __name__ == "__main__":
    main()
