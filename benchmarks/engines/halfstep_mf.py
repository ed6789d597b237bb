"""halfstep's `ExplicitMF` on the five folds; the options are its parameters."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from common import answer, arguments, five_folds, load, peak_rss

import halfstep as hs
from halfstep.solvers import solver_from_dict


def main() -> None:
    given = arguments(__doc__)
    options = {"solver": "als", **given.options}
    options["solver"] = solver_from_dict(options["solver"])
    hs.set_num_threads(given.threads)
    users, items, ratings = load(given.folder)
    folds = []
    for train, test in five_folds(len(ratings)):
        begun = perf_counter()
        cells = hs.Ratings.from_arrays(users[train], items[train], ratings[train])
        prepared = perf_counter()
        model = hs.ExplicitMF(**options).fit(cells)
        fitted = perf_counter()
        estimates = model.predict(users[test], items[test])
        predicted = perf_counter()
        errors = ratings[test] - np.clip(estimates, ratings[train].min(), ratings[train].max())
        folds.append(
            {
                "prepare": prepared - begun,
                "fit": fitted - prepared,
                "predict": predicted - fitted,
                "rmse": float(np.sqrt(np.mean(errors.astype(np.float64) ** 2))),
                "mae": float(np.mean(np.abs(errors.astype(np.float64)))),
            }
        )
    answer(version=hs.__version__, folds=folds, peak_rss=peak_rss())


if __name__ == "__main__":
    main()
