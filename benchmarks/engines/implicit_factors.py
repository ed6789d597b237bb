"""implicit's ALS (`model`: "als") or BPR ("bpr"): the factors of a fit.

Runs in the peers' environment.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import scipy.sparse as sps
from factors import run
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from threadpoolctl import threadpool_limits


def fit(
    table: sps.csr_matrix, options: dict[str, Any], threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """W and Z (those of BPR have a column of biases); `options` are its own."""
    threadpool_limits(1, "blas")  # as its authors advise
    made = {"als": AlternatingLeastSquares, "bpr": BayesianPersonalizedRanking}
    model = made[options.pop("model")](num_threads=threads, random_state=0, **options)
    model.fit(table, show_progress=False)
    return model.user_factors, model.item_factors


if __name__ == "__main__":
    run(__doc__, version("implicit"), fit)
