"""The design matrix of one side: what is known of its rows beside the values of their ratings.

    X = [table of features | implicit features]        rows × F, sparse

`SideDesign` says what its columns are, and makes the rows of X of those who were fitted and of
newcomers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import CSR
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.features.blocks import Group, hstack, implicit_features, implicit_rows
from halfstep.features.encoding import Encoding
from halfstep.features.features import Features, as_features
from halfstep.objectives import Side

__all__ = ["Designs", "SideDesign"]

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

    def encoded(self, features: Any, side: Side) -> Features | None:
        """Features of newcomers as the model's own are encoded.

        Raises `ParameterError` where the model knows none but implicit ones, and what
        `Encoding.encode` raises.
        """
        if features is None:
            return None
        if self.encoding is None:
            raise ParameterError(
                "features",
                type(features).__name__,
                f"cannot be used: the model knows no features of {side}s but implicit ones",
                f"pass {side}_features to fit",
            )
        return self.encoding.encode(features)

    def fitted_rows(self, features: Features | None, ratings: Ratings, side: Side) -> CSR:
        """X of the rows of a fit."""
        ids = ratings.users if side == "user" else ratings.items
        return self._whole(features, ids, implicit_features(ratings, side))

    def new_rows(self, features: Features | None, ids: IdMap, cells: CSR, others: IdMap) -> CSR:
        """X of rows that were not fitted, with these ratings, whose columns have the ids `others`."""
        known = cells
        if self.implicit is not None and others != self.implicit:
            column = self.implicit.lookup(others.values)[cells.indices]
            known = cells.select(column >= 0)
            known = CSR(known.indptr, column[column >= 0].astype(np.uint32), known.values)
        return self._whole(features, ids, implicit_rows(known))

    def _whole(self, features: Features | None, ids: IdMap, implicit: CSR) -> CSR:
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


@dataclass(frozen=True, slots=True)
class Designs:
    """The designs of a fit (None: a side has none), and X of its rows."""

    user: SideDesign | None = None
    item: SideDesign | None = None
    user_rows: CSR | None = None
    item_rows: CSR | None = None

    @classmethod
    def of(
        cls, ratings: Ratings, user_features: Any, item_features: Any, *, implicit: bool
    ) -> tuple[Ratings, Designs]:
        """From the arguments of `fit`; the ratings over the ids of the tables too.

        Raises `DataError`, `ReadError`, `DuplicatesError`.
        """
        tables = [
            None if value is None else as_features(value, name=f"{side}_features", side=side)
            for side, value in (("user", user_features), ("item", item_features))
        ]
        whole = ratings.with_ids(*(None if table is None else table.ids for table in tables))
        sides: list[SideDesign | None] = []
        rows: list[CSR | None] = []
        for side, table, others in (
            ("user", tables[0], whole.items),
            ("item", tables[1], whole.users),
        ):
            if table is None and not implicit:
                sides.append(None)
                rows.append(None)
                continue
            design = SideDesign(
                None if table is None else table.encoding, others if implicit else None
            )
            sides.append(design)
            rows.append(design.fitted_rows(table, whole, "user" if side == "user" else "item"))
        return whole, cls(sides[0], sides[1], rows[0], rows[1])

    def side(self, side: Side) -> SideDesign | None:
        """That of one side."""
        return self.user if side == "user" else self.item

    def rows(self, side: Side) -> CSR | None:
        """X of one side."""
        return self.user_rows if side == "user" else self.item_rows

    def without_rows(self) -> Designs:
        """What a model remembers."""
        return Designs(self.user, self.item)
