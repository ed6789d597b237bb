"""halfstep's folding in of users: all of them in one call, and one after the other.

The model is a short implicit ALS; every user has `each` interactions. A row that is folded in is held
against the row of the fit's own last half-step, of which it must be a copy.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
from common import answer, arguments, load

import halfstep as hs


def main() -> None:
    given = arguments(__doc__)
    options = {"rank": 64, "each": 20, "users": 100_000, "singles": 300, **given.options}
    hs.set_num_threads(given.threads)
    users, items, _ = load(given.folder)
    table = hs.Ratings.from_arrays(users, items)
    model = hs.ImplicitMF(rank=options["rank"], max_iter=2, tol=0).fit(table)

    generator = np.random.default_rng(0)
    count, each, n = options["users"], options["each"], len(table.items)
    chosen = (generator.integers(0, n, (count, 1)) + np.arange(each) * (n // each)) % n
    rows = np.repeat(np.arange(count), each)
    batch = hs.Ratings.from_arrays(rows, table.items.take(chosen.ravel()))
    model.fold_in(batch)
    seconds = []
    for _ in range(5):
        begun = perf_counter()
        folded = model.fold_in(batch)
        seconds.append(perf_counter() - begun)

    alone = []
    for user in range(options["singles"]):
        pairs = np.column_stack([np.zeros(each, dtype=np.int64), table.items.take(chosen[user])])
        begun = perf_counter()
        one = model.fold_in(pairs)
        alone.append(perf_counter() - begun)
        same = one.factors[0].tobytes() == folded.factors[user].tobytes()
        if not same:
            raise SystemExit("one user alone is another than among all")

    own = model.factors_.user_factors
    again = model.fold_in(table).factors
    answer(
        version=hs.__version__,
        users_per_second=[count / s for s in seconds],
        one_user=alone,
        off=float(np.abs(again - own).max() / np.abs(own).max()),
    )


if __name__ == "__main__":
    main()
