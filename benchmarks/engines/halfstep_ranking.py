"""halfstep's `RankingMF` with BPR: seconds, and AUC on held-out pairs, after every epoch.

Seconds are those of the whole fit, from `Ratings` on, without those of measuring J and the AUC.
"""

from __future__ import annotations

from itertools import accumulate
from time import perf_counter
from typing import Any

import numpy as np
from common import answer, arguments, auc, digest, held_pairs, load_pairs, peak_rss, timed

import halfstep as hs
from halfstep.backends.native import NativeBackend


class Watched(NativeBackend):
    """The native backend, with the AUC after every epoch."""

    def __init__(self, pairs: tuple[np.ndarray, ...]) -> None:
        self.pairs = pairs
        self.found: list[float] = []
        self.seconds: list[float] = []

    def ranking_epoch(self, *given: Any) -> int:
        begun = perf_counter()
        taken = super().ranking_epoch(*given)
        self.seconds.append(perf_counter() - begun)
        users, items = given[-2:]
        self.found.append(auc(self.pairs, users.factors, items.factors, items.bias))
        return taken


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "sampling": "uniform", "rate": None, "epochs": 20, **given.options}
    hs.set_num_threads(given.threads)
    columns = load_pairs(given.folder)
    begun = perf_counter()
    ratings = hs.Ratings.from_arrays(*columns)
    prepared = perf_counter() - begun
    users, items, others = held_pairs(given.folder)
    known = ratings.items.lookup
    backend = Watched((ratings.users.lookup(users), known(items), known(others)))
    model = hs.RankingMF(
        rank=options["rank"],
        sampling=options["sampling"],
        rate=options["rate"],
        max_iter=options["epochs"],
    )
    seconds = timed(lambda: model.fit(ratings, backend=backend))
    peak = peak_rss()
    start = seconds - sum(sum(row.seconds.values()) for row in model.trace_)
    f = model.factors_
    answer(
        version=hs.__version__,
        prepare=prepared,
        epoch_seconds=backend.seconds,
        seconds=[start + s for s in accumulate(backend.seconds)],
        auc=backend.found,
        auc_again=auc(backend.pairs, f.user_factors, f.item_factors, f.item_bias),
        bits=digest(f.user_factors, f.item_factors),
        peak_rss=peak,
    )


if __name__ == "__main__":
    main()
