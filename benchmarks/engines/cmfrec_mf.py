"""cmfrec's explicit ALS (biases) on the five folds. Runs in an environment of its own."""

from __future__ import annotations

from importlib.metadata import version
from time import perf_counter

import numpy as np
import scipy.sparse as sps
from cmfrec import CMF
from common import answer, arguments, five_folds, load, peak_rss


def main() -> None:
    given = arguments(__doc__)
    users, items, ratings = load(given.folder)
    rows, columns = (np.unique(ids, return_inverse=True)[1] for ids in (users, items))
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    folds = []
    for train, test in five_folds(len(ratings)):
        begun = perf_counter()
        table = sps.coo_matrix((ratings[train], (rows[train], columns[train])), shape)
        prepared = perf_counter()
        model = CMF(nthreads=given.threads, verbose=False, **given.options).fit(table)
        fitted = perf_counter()
        estimates = model.predict(rows[test], columns[test])
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
    answer(version=version("cmfrec"), folds=folds, peak_rss=peak_rss())


if __name__ == "__main__":
    main()
