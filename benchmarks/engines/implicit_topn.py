"""implicit's `recommend` in batches of 1,000 users. Runs in the peers' environment."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import scipy.sparse as sps
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits
from topn import blocks, instance, run


def main() -> None:
    given = instance(__doc__)
    threadpool_limits(1, "blas")  # as its authors advise
    shape = (len(given.users), len(given.items))
    ones = np.ones(len(given.indices), dtype=np.float32)
    seen = sps.csr_matrix((ones, given.indices.astype(np.int32), given.indptr), shape=shape)
    model = AlternatingLeastSquares(factors=given.users.shape[1], num_threads=given.threads)
    model.user_factors, model.item_factors = given.users, given.items

    def ask(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return model.recommend(
            rows, seen[rows], N=given.options["n"], filter_already_liked_items=True
        )

    run(given, blocks(ask, 1000), version("implicit"))


if __name__ == "__main__":
    main()
