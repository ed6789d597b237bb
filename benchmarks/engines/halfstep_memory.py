"""halfstep's memory: what `Ratings` and a fit add to the columns that they are made from."""

from __future__ import annotations

from common import answer, arguments, load, memory, peak_rss, reset_peak

import halfstep as hs


def main() -> None:
    given = arguments(__doc__)
    hs.set_num_threads(given.threads)
    users, items, values = load(given.folder)
    hs.Ratings.from_arrays(users[:100], items[:100], values[:100])  # whatever is imported late
    columns = memory()
    reset_peak()
    ratings = hs.Ratings.from_arrays(users, items, values)
    prepare = peak_rss() - columns
    held = memory()
    reset_peak()
    model = hs.ExplicitMF(rank=given.options["rank"], reg=0.05, max_iter=2, tol=0).fit(ratings)
    fit = peak_rss() - held
    f = model.factors_
    answer(
        version=hs.__version__,
        cells=len(ratings),
        factors=f.user_factors.nbytes + f.item_factors.nbytes,
        prepare=prepare,
        ratings=held - columns,
        fit=fit,
        beyond=max(prepare, held - columns + fit),
        rmse=model.trace_[-1].train_rmse,
    )


if __name__ == "__main__":
    main()
