"""irspack's ranking of dense scores in batches of 1,000 users. Runs in the peers' environment.

The scores are numpy's product of the factors, seen items −∞, as its recommenders do it.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from irspack.utils._util_cpp import retrieve_recommend_from_score_f32
from topn import blocks, instance, run


def main() -> None:
    given = instance(__doc__)
    transposed = np.ascontiguousarray(given.items.T)
    n = given.options["n"]

    def ask(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = given.users[rows] @ transposed
        first, last = int(rows[0]), int(rows[-1]) + 1  # neighbours
        indptr = given.indptr[first : last + 1]
        row = np.repeat(np.arange(len(rows)), np.diff(indptr))
        scores[row, given.indices[indptr[0] : indptr[-1]]] = -np.inf
        found = retrieve_recommend_from_score_f32(scores, [], n, given.threads)
        pairs = np.array(found)
        return pairs[:, :, 0], pairs[:, :, 1]

    run(given, blocks(ask, 1000), version("irspack"))


if __name__ == "__main__":
    main()
