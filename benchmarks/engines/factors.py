"""What engines of quality/run.py share: the interactions in, the factors out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sps
from common import answer, arguments, peak_rss

Fit = Callable[[sps.csr_matrix, dict[str, Any], int], tuple[np.ndarray, np.ndarray]]


def run(doc: str | None, version: str, fit: Fit) -> None:
    """Fit the interactions in the folder and leave W and Z there: the scores are W Zᵀ.

    `options` are the shape of the table, the seed, and what the library calls its parameters.
    """
    given = arguments(doc)
    options = dict(given.options)
    shape = options.pop("shape")
    users, items = (np.load(given.folder / f"{name}.npy") for name in ("users", "items"))
    ones = np.ones(len(users), dtype=np.float32)
    table = sps.csr_matrix((ones, (users, items)), shape=shape)
    begun = perf_counter()
    with redirect_stdout(sys.stderr):  # libraries tell of their progress; ours is one line
        factors = fit(table, options, given.threads)
    seconds = perf_counter() - begun
    for name, array in zip(("user_factors", "item_factors"), factors, strict=True):
        np.save(given.folder / f"{name}.npy", np.asarray(array, dtype=np.float32))
    answer(version=version, seconds=seconds, peak_rss=peak_rss())
