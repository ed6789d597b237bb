"""The instances, written as one .npy file a column, in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from halfstep.data.simulate import BENCHMARK_16M, simulate

NETFLIX = {
    **BENCHMARK_16M,
    "n_users": 480_189,
    "n_items": 17_770,
    "ratings_per_user": 96,
    "min_per_user": 1,
    "n_draws": 150_000_000,
}
"""The shape of the Netflix prize: about 100 million ratings once repeats are dropped."""


def scaled(ratings: int, items_power: float = 0.5) -> dict[str, Any]:
    """The benchmark's recipe with about `ratings` ratings, n growing with that power of their number.

    With `items_power=1`, ratings per row and per column stay the same.
    """
    share = ratings / 16_000_000
    recipe = dict(BENCHMARK_16M)
    for size, power in (("n_users", 1.0), ("n_draws", 1.0), ("n_items", items_power)):
        recipe[size] = max(1, round(recipe[size] * share**power))
    return recipe


def write_columns(folder: Path, recipe: dict[str, Any]) -> int:
    """users.npy, items.npy and ratings.npy of `simulate(**recipe)`; the number of rows."""
    simulation = simulate(**recipe)
    names = ("users", "items", "ratings")
    files = {name: (folder / f"{name}.npy").open("wb") for name in names}
    count, dtypes = 0, {}
    # numpy pads headers for a growing first axis, so the true length fits in afterwards.
    for rows in simulation.chunks():
        for name, file in files.items():
            column = np.ascontiguousarray(getattr(rows, name))
            if not count:
                dtypes[name] = column.dtype
                _header(file, column.dtype, 0)
            file.write(column.data)
        count += len(rows.users)
    for name, file in files.items():
        file.seek(0)
        _header(file, dtypes[name], count)
        file.close()
    return count


def _header(file: Any, dtype: np.dtype[Any], count: int) -> None:
    np.lib.format.write_array_header_1_0(
        file,
        {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (count,),
        },
    )
