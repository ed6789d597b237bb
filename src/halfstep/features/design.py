"""The design matrix of one side: what is known of its rows beside the values of their ratings.

    X = [table of features | implicit features]        rows × F, sparse

`SideDesign` says what its columns are, and makes the rows of X of those who were fitted and of newcomers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings
from halfstep.features.blocks import Group, hstack, implicit_features
from halfstep.features.encoding import Encoding
from halfstep.features.features import Features

__all__ = ["SideDesign", "implicit_rows"]

IMPLICIT = "implicit"
"""The name of the group of implicit features."""


@dataclass(frozen=True, slots=True)
class SideDesign:
    """The columns of X.

    Attributes
    ----------
    encoding : Encoding or None
        How a table becomes the first columns.
    implicit : IdMap or None
        The ids of the other side, one for each of the other columns: 1/√n_u where row u has rated it.
    """

    encoding: Encoding | None
    implicit: IdMap | None

    @property
    def groups(self) -> tuple[Group, ...]:
        """The columns by their source."""
        found = () if self.encoding is None else self.encoding.groups
        if self.implicit is None:
            return found
        width = found[-1].stop if found else 0
        return (*found, Group(IMPLICIT, width, width + len(self.implicit)))

    @property
    def width(self) -> int:
        """F."""
        return self.groups[-1].stop

    def column_names(self) -> list[str]:
        """The names of the columns: «age», «sex=f», «implicit 2571»."""
        names = [] if self.encoding is None else self.encoding.column_names()
        if self.implicit is not None:
            names += [f"{IMPLICIT} {name}" for name in self.implicit.values.tolist()]
        return names

    def fitted_rows(self, features: Features | None, ratings: Ratings, side: Literal["user", "item"]) -> CSR:
        """X of the rows of a fit."""
        ids = ratings.users if side == "user" else ratings.items
        cells = ratings.by_user if side == "user" else ratings.by_item
        return self._whole(features, ids, cells, implicit_features(ratings, side))

    def new_rows(self, features: Features | None, ids: IdMap, cells: CSR, others: IdMap) -> CSR:
        """X of rows that were not fitted, with these ratings, whose columns have the ids `others`."""
        known = cells
        if self.implicit is not None and others != self.implicit:
            column = self.implicit.lookup(others.values)[cells.indices]
            known = cells.select(column >= 0)
            known = CSR(known.indptr, column[column >= 0].astype(np.uint32), known.values)
        return self._whole(features, ids, cells, implicit_rows(known))

    def _whole(self, features: Features | None, ids: IdMap, cells: CSR, implicit: CSR) -> CSR:
        blocks: list[tuple[CSR, Any]] = []
        if self.encoding is not None:
            none = CSR(
                np.zeros(len(ids) + 1, dtype=np.int64),
                np.empty(0, dtype=np.uint32),
                np.empty(0, dtype=np.float32),
            )
            blocks.append(
                (none if features is None else features.aligned(ids), self.encoding.groups)
            )
        if self.implicit is not None:
            blocks.append((implicit, (Group(IMPLICIT, 0, len(self.implicit)),)))
        return hstack(blocks)[0]
