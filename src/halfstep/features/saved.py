"""The designs of a model as part of its file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from halfstep.backends.base import Array
from halfstep.data.id_arrays import ids_from_arrays, ids_to_arrays
from halfstep.features.design import Designs, SideDesign
from halfstep.features.encoding import Encoding
from halfstep.objectives import SIDES

__all__ = ["designs_from_parts", "designs_to_parts"]


def designs_to_parts(designs: Designs) -> tuple[dict[str, Any], dict[str, Array]]:
    """The document of both sides' encodings, and the ids of implicit features as arrays."""
    document: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for side in SIDES:
        design = designs.side(side)
        if design is None:
            continue
        encoding = design.encoding
        document[side] = {
            "encoding": None if encoding is None else encoding.to_document(),
            "implicit": design.implicit is not None,
        }
        if design.implicit is not None:
            arrays |= ids_to_arrays(f"features.{side}_implicit", design.implicit)
    return document, arrays


def designs_from_parts(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> Designs:
    """The inverse. Raises `ModelFileError`, or what reading a damaged document raises."""
    designs: dict[str, SideDesign | None] = dict.fromkeys(SIDES)
    for side in SIDES:
        if side not in document:
            continue
        own = document[side]
        designs[side] = SideDesign(
            None if own["encoding"] is None else Encoding.from_document(own["encoding"]),
            ids_from_arrays(f"features.{side}_implicit", arrays) if own["implicit"] else None,
        )
    return Designs(designs["user"], designs["item"])
