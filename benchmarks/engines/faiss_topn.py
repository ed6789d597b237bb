"""faiss's IndexFlatIP: exact, nothing excluded. Runs in the peers' environment."""

from __future__ import annotations

from importlib.metadata import version

import faiss
import numpy as np
from topn import blocks, instance, run


def main() -> None:
    given = instance(__doc__)
    faiss.omp_set_num_threads(given.threads)
    index = faiss.IndexFlatIP(given.items.shape[1])
    index.add(given.items)

    def ask(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, items = index.search(given.users[rows], given.options["n"])
        return items, scores

    run(given, blocks(ask, 16_384), version("faiss-cpu"))


if __name__ == "__main__":
    main()
