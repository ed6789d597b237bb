"""irspack's iALS: the factors of a fit. Runs in the peers' environment."""

from __future__ import annotations

from typing import Any

import irspack
import numpy as np
import scipy.sparse as sps
from factors import run
from irspack.recommenders.ials import IALSRecommender


def fit(
    table: sps.csr_matrix, options: dict[str, Any], threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """W and Z; `options` are its own."""
    model = IALSRecommender(table, n_threads=threads, **options)
    model.learn()
    return model.get_user_embedding(), model.get_item_embedding()


if __name__ == "__main__":
    run(__doc__, irspack.__version__, fit)
