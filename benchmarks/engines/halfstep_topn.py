"""halfstep's top-N: the model's `recommend` (`through` "model") or the kernel behind it ("backend")."""

from __future__ import annotations

import numpy as np
from topn import instance, run

import halfstep as hs
from halfstep.backends import get_backend


def main() -> None:
    given = instance(__doc__)
    n = given.options["n"]
    hs.set_num_threads(given.threads)
    if given.options["through"] == "model":
        model = hs.load(given.folder / "model.safetensors")
        ids = model.factors_.user_ids.take(np.arange(len(given.users)))

        def ask(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = model.recommend(ids[rows], n)
            shape = (len(rows), n)
            # Less μ, so that the scores are those that every engine gives.
            return found.found.reshape(shape), found.scores.reshape(shape) - model.factors_.mean
    else:
        backend = get_backend("native", dtype="float32")
        whole = given.options.get("exclude", True)

        def ask(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            exclude = None
            if whole:
                first, last = int(rows[0]), int(rows[-1]) + 1  # neighbours
                indptr = given.indptr[first : last + 1]
                seen = given.indices[indptr[0] : indptr[-1]]
                exclude = (indptr - indptr[0], seen)
            return backend.topk(given.users[rows], given.items, None, n, exclude=exclude)

    run(given, ask, hs.__version__)


if __name__ == "__main__":
    main()
