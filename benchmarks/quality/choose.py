"""Parameters chosen on a held-out part of the training part; the test part is not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from rows import Ours

import halfstep as hs


def fitted(row: Ours, train: hs.Ratings, seed: int = 0) -> Any:
    """The model of a row, fitted."""
    if "seed" in row.model.get_params():
        row.model.set_params(seed=seed)
    return row.model.fit(train.weighted_by_popularity(-row.damping) if row.damping else train)


def choices(row: Ours, data: str, train: hs.Ratings, seed: int = 0) -> Iterator[dict[str, Any]]:
    """What each setting of the grid is worth: parameters, and two figures of the held-out part.

    Held out are one interaction of each user for a leave-one-out split, else a tenth of all of them. The
    figures are over all items in both cases.
    """
    if data == "ncf":
        part, held = hs.split_leave_k_out(train, 1, seed=seed)
    else:
        part, held = hs.split_random(train, test=0.1, seed=seed)
    for values in product(*row.grid.values()):
        setting = dict(zip(row.grid, values, strict=True))
        row.model.set_params(**setting)
        found = hs.evaluate(
            fitted(row, part), held, ["recall@20", "ndcg_binary@20"], n_resamples=0, seed=seed
        )
        yield {**setting, **{name: round(figure.value, 5) for name, figure in found.items()}}
