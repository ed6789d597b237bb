"""Id maps as arrays of a file: int64, or UTF-8 text with offsets."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ids import TEXT, IdMap

__all__ = ["ids_from_arrays", "ids_to_arrays"]


def ids_to_arrays(name: str, ids: IdMap) -> dict[str, Array]:
    """`name`; or `name.bytes` and `name.offsets`."""
    if ids.kind == "int":
        return {name: ids.values}
    encoded = [value.encode("utf-8") for value in ids.values.tolist()]
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in encoded])])
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}.offsets": offsets.astype(np.int64),
    }


def ids_from_arrays(name: str, arrays: Mapping[str, Array]) -> IdMap:
    """The inverse. Raises `ValueError` saying what is wrong with the arrays, or `KeyError`."""
    if name in arrays:
        values = arrays[name]
        if values.dtype != np.int64 or values.ndim != 1:
            raise ValueError(f"has {name} that are not 64-bit integers")
    else:
        text, offsets = arrays[f"{name}.bytes"].tobytes(), arrays[f"{name}.offsets"]
        if (
            len(offsets) < 1
            or offsets[0] != 0
            or offsets[-1] != len(text)
            or (np.diff(offsets) < 0).any()
        ):
            raise ValueError(f"has {name} whose offsets do not fit")
        bounds = offsets.tolist()
        listed = [text[a:b].decode("utf-8") for a, b in pairwise(bounds)]
        values = np.array(listed, dtype=TEXT)
        if any(a >= b for a, b in pairwise(listed)):
            raise ValueError(f"has {name} that are not sorted")
    if values.dtype.kind == "i" and not (values[1:] > values[:-1]).all():
        raise ValueError(f"has {name} that are not sorted")
    return IdMap(values)
