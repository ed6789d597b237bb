"""Which items may be recommended: allow and deny lists, and lists of single users, as row numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ids import IdMap
from halfstep.errors import ParameterError

__all__ = ["item_mask", "rows_of_mapping", "union_of_rows"]


def _listed(values: Any) -> Any:
    return [values] if np.ndim(values) == 0 else values


def item_mask(items: IdMap, allow: Any, deny: Any) -> Array | None:
    """True where an item may be recommended to anyone; None where all may."""
    if allow is None and deny is None:
        return None
    mask = np.ones(len(items), dtype=bool)
    if allow is not None:
        mask[:] = False
        rows = items.lookup(_listed(allow), "allow")
        mask[rows[rows >= 0]] = True
    if deny is not None:
        rows = items.lookup(_listed(deny), "deny")
        mask[rows[rows >= 0]] = False
    return mask


def rows_of_mapping(
    name: str,
    lists: Mapping[Any, Any],
    asked: Array,
    items: IdMap,
    all_by_default: bool = False,
) -> tuple[Array, Array]:
    """(indptr, item rows ascending) for each asked user from {user: items}.

    A user without an entry gets no items, or all of them.
    """
    if not isinstance(lists, Mapping):
        raise ParameterError(
            name, type(lists).__name__, "must map user ids to lists of item ids", "pass a dict"
        )
    by_text = {str(user): chosen for user, chosen in lists.items()}  # 12 and «12» are one id
    everything = np.arange(len(items), dtype=np.int64)
    parts = []
    for user in asked.tolist():
        if str(user) in by_text:
            rows = np.unique(items.lookup(_listed(by_text[str(user)]), name))
            parts.append(rows[rows >= 0])
        else:
            parts.append(everything if all_by_default else everything[:0])
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    joined = np.concatenate(parts) if parts else everything[:0]
    return indptr, joined.astype(np.uint32)


def union_of_rows(one: tuple[Array, Array], two: tuple[Array, Array]) -> tuple[Array, Array]:
    """Row by row the sorted union of two (indptr, indices) lists."""
    rows = np.concatenate(
        [np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) for indptr, _ in (one, two)]
    )
    columns = np.concatenate([one[1], two[1]])
    pairs = np.unique(np.stack([rows, columns.astype(np.int64)], axis=1), axis=0)
    sizes = np.bincount(pairs[:, 0], minlength=len(one[0]) - 1)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), pairs[:, 1].astype(np.uint32)
