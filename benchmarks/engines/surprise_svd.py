"""Surprise's SVD (SGD, biases) on the five folds. Runs in the peers' environment."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pandas as pd
import surprise
from common import answer, arguments, five_folds, load, peak_rss


def main() -> None:
    given = arguments(__doc__)
    users, items, ratings = load(given.folder)
    table = pd.DataFrame({"user": users, "item": items, "rating": ratings.astype(np.float64)})
    scale = (float(ratings.min()), float(ratings.max()))
    data = surprise.Dataset.load_from_df(table, surprise.Reader(rating_scale=scale))
    rows = data.raw_ratings
    folds = []
    for train, test in five_folds(len(ratings)):
        begun = perf_counter()
        trainset = data.construct_trainset([rows[i] for i in train])
        testset = data.construct_testset([rows[i] for i in test])
        prepared = perf_counter()
        model = surprise.SVD(random_state=0, **given.options).fit(trainset)
        fitted = perf_counter()
        predictions = model.test(testset)
        predicted = perf_counter()
        errors = np.array([p.r_ui - p.est for p in predictions])
        folds.append(
            {
                "prepare": prepared - begun,
                "fit": fitted - prepared,
                "predict": predicted - fitted,
                "rmse": float(np.sqrt(np.mean(errors**2))),
                "mae": float(np.mean(np.abs(errors))),
            }
        )
    answer(version=surprise.__version__, folds=folds, peak_rss=peak_rss())


if __name__ == "__main__":
    main()
