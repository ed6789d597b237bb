"""implicit's folding in of users: all of them in one call, and one after the other. Runs in the peers'
environment, with BLAS on one thread as its authors advise.
"""

from __future__ import annotations

from importlib.metadata import version
from time import perf_counter

import numpy as np
import scipy.sparse as sps
from common import answer, arguments, load
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "each": 20, "users": 100_000, "singles": 300, **given.options}
    threadpool_limits(1, "blas")
    users, items, ratings = load(given.folder)
    table = sps.csr_matrix((np.ones_like(ratings, dtype=np.float32), (users, items)))
    model = AlternatingLeastSquares(
        factors=options["rank"], iterations=2, num_threads=given.threads, random_state=0
    )
    model.fit(table, show_progress=False)

    generator = np.random.default_rng(0)
    count, each, n = options["users"], options["each"], table.shape[1]
    chosen = (generator.integers(0, n, (count, 1)) + np.arange(each) * (n // each)) % n
    rows = np.repeat(np.arange(count), each)
    batch = sps.csr_matrix((np.ones(len(rows), np.float32), (rows, chosen.ravel())), (count, n))
    model.recalculate_user(np.arange(count), batch)
    seconds = []
    for _ in range(5):
        begun = perf_counter()
        model.recalculate_user(np.arange(count), batch)
        seconds.append(perf_counter() - begun)
    alone = []
    for user in range(options["singles"]):
        one = batch[user]
        begun = perf_counter()
        model.recalculate_user(0, one)
        alone.append(perf_counter() - begun)
    answer(
        version=version("implicit"),
        users_per_second=[count / s for s in seconds],
        one_user=alone,
    )


if __name__ == "__main__":
    main()
