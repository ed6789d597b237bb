"""implicit's BPR: seconds, and AUC on held-out pairs, after every epoch. Runs in the peers' environment.

Its negatives are drawn as often as items have positives. Its last factor of items is a bias, so that
`factors` is one less than K. Seconds are those of its fit, without those of measuring the AUC.
"""

from __future__ import annotations

from importlib.metadata import version
from time import perf_counter

import numpy as np
import scipy.sparse as sps
from common import answer, arguments, auc, held_pairs, load_pairs, peak_rss
from implicit.cpu.bpr import BayesianPersonalizedRanking


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "rate": 0.01, "reg": 0.01, "epochs": 20, **given.options}
    users, items = load_pairs(given.folder)
    table = sps.csr_matrix((np.ones(len(users), dtype=np.float32), (users, items)))
    del users, items
    model = BayesianPersonalizedRanking(
        factors=options["rank"] - 1,
        learning_rate=options["rate"],
        regularization=options["reg"],
        iterations=options["epochs"],
        num_threads=given.threads,
        random_state=0,
    )
    pairs = held_pairs(given.folder)
    found: list[float] = []
    seconds: list[float] = []
    measuring = 0.0
    begun = perf_counter()

    def told(*_: object) -> None:
        nonlocal measuring
        now = perf_counter()
        seconds.append(now - begun - measuring)
        found.append(auc(pairs, model.user_factors, model.item_factors))
        measuring += perf_counter() - now

    model.fit(table, show_progress=False, callback=told)
    answer(
        version=version("implicit"),
        epoch_seconds=np.diff([0.0, *seconds]).tolist(),
        seconds=seconds,
        auc=found,
        auc_again=auc(pairs, model.user_factors, model.item_factors),
        peak_rss=peak_rss(),
    )


if __name__ == "__main__":
    main()
