"""The features of a model in its file, and back.

Arrays, for a side that has features: `user_map` (F × K, or K + 1 with the biases); with implicit
features `user_implicit` (their ids, as those of the rows) and `user_typical` (F, float32); with a table
`user_table.indptr`, `.columns`, `.values`, a row for each user (not with `history=False`). `told_items`
are the rows of items that were folded in with ratings, where there are any. The document's entry
`features` has `encoding` and `implicit` of each side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.data.id_arrays import ids_from_arrays, ids_to_arrays
from halfstep.data.ids import IdMap
from halfstep.features.design import Designs, SideDesign
from halfstep.features.encoding import Encoding
from halfstep.features.features import Features
from halfstep.models.side_features import known_features
from halfstep.objectives import SIDES, Side

if TYPE_CHECKING:
    from halfstep.models.fitted import Fitted
    from halfstep.models.forms import ModelFile

__all__ = ["features_to_arrays", "restore_features"]


def features_to_arrays(model: Fitted, *, tables: bool) -> tuple[dict[str, Any], dict[str, Array]]:
    """What is added to the document and to the arrays; nothing for a model without features."""
    document: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for side in SIDES:
        design = model.features_.side(side)
        A = model.factors_.user_map if side == "user" else model.factors_.item_map
        if design is None:
            continue
        encoding = design.encoding
        document[side] = {
            "encoding": None if encoding is None else encoding.to_document(),
            "implicit": design.implicit is not None,
        }
        if A is not None:
            arrays[f"{side}_map"] = A
        if design.implicit is not None and design.typical is not None:
            arrays |= ids_to_arrays(f"{side}_implicit", design.implicit)
            arrays[f"{side}_typical"] = design.typical
        table = known_features(model, side)
        if table is not None and tables:
            cells = table.aligned(model._ids(side))
            arrays |= {
                f"{side}_table.indptr": cells.indptr,
                f"{side}_table.columns": cells.indices,
                f"{side}_table.values": cells.values,
            }
    if document and model._told_items:
        told = model._ids("item").lookup(sorted(model._told_items), "items")
        arrays["told_items"] = np.sort(told)
    return ({"features": document} if document else {}), arrays


def restore_features(model: Fitted, file: ModelFile, *, mapped: bool) -> None:
    """Put the features of a file into a model that has its factors; `mapped`: these have the maps.

    Raises `ModelFileError`, or what reading a document of the wrong form raises.
    """
    document = file.document.get("features", {})
    f, designs, tables = model.factors_, {}, {}
    for side in SIDES:
        if side not in document:
            continue
        own = document[side]
        encoding = None if own["encoding"] is None else Encoding.from_document(own["encoding"])
        implicit, width = None, 0 if encoding is None else encoding.width
        typical = None
        if own["implicit"]:
            implicit = ids_from_arrays(f"{side}_implicit", file.arrays)
            width += len(implicit)
            typical = file.array(f"{side}_typical", (width,), "float32")
        designs[side] = SideDesign(encoding, implicit, typical)
        if mapped:
            columns = f.rank + (f.user_bias is not None)
            A = file.array(f"{side}_map", (width, columns), f.dtype)
            f = replace(f, user_map=A) if side == "user" else replace(f, item_map=A)
        if encoding is not None and f"{side}_table.indptr" in file.arrays:
            tables[side] = _table(file, side, model._ids(side), encoding)
    model.factors_ = f
    model.features_ = Designs(user=designs.get("user"), item=designs.get("item"))
    model._tables = tables.get("user"), tables.get("item")
    if "told_items" in file.arrays:
        model._told_items = _told(file, model._ids("item"))


def _told(file: ModelFile, ids: IdMap) -> frozenset[Any]:
    from halfstep.models.forms import wrong

    rows = file.array("told_items", (file.arrays["told_items"].size,), "int64")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(ids):
        raise wrong(file.path, "names folded-in items that it does not have")
    return frozenset(ids.take(rows).tolist())


def _table(file: ModelFile, side: Side, ids: IdMap, encoding: Encoding) -> Features:
    from halfstep.models.forms import wrong

    indptr, columns = (file.arrays[f"{side}_table.{name}"] for name in ("indptr", "columns"))
    if (
        indptr.dtype != np.int64
        or indptr.shape != (len(ids) + 1,)
        or indptr[0] != 0
        or (np.diff(indptr) < 0).any()
        or columns.dtype != np.uint32
        or columns.shape != (indptr[-1],)
        or (len(columns) and int(columns.max()) >= encoding.width)
    ):
        raise wrong(file.path, f"has features of {side}s that do not fit")
    values = file.array(f"{side}_table.values", columns.shape, "float32")
    return Features(ids, CSR(indptr, columns, values), encoding)
