"""halfstep's `read_ratings`: ids looked up, cells sorted by user and by item."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from common import answer, arguments, memory, peak_rss

import halfstep as hs


def main() -> None:
    given = arguments(__doc__)
    hs.set_num_threads(given.threads)
    before = memory()
    begun = perf_counter()
    ratings = hs.read_ratings(given.folder / given.options["file"])
    seconds = perf_counter() - begun
    peak = peak_rss()
    answer(
        version=hs.__version__,
        seconds=seconds,
        peak_rss=peak,
        beyond=peak - before,
        rows=len(ratings),
        total=float(np.sum(ratings.by_user.values, dtype=np.float64)),
    )


if __name__ == "__main__":
    main()
