"""The design matrix of one side: what is known of its rows beside the values of their ratings.

    X = [table of features | implicit features]        rows × F, sparse

`SideDesign` says what its columns are, and makes the rows of X of those who were fitted and of
newcomers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError
from halfstep.features.blocks import Group, hstack, implicit_features, implicit_rows
from halfstep.features.encoding import Encoding
from halfstep.features.features import Features, as_features
from halfstep.objectives import SIDES, Side

__all__ = ["Designs", "SideDesign", "Tables"]

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
    typical : array (F,), float32, or None
        The mean of the implicit features over the rows that have ratings (0 in the columns of the
        table): what stands for those of a row that has none.
    """

    encoding: Encoding | None
    implicit: IdMap | None
    typical: Array | None = field(default=None, compare=False, repr=False)

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

    def fitted_rows(self, features: Features | None, ratings: Ratings, side: Side) -> CSR:
        """X of the rows of a fit."""
        ids = ratings.users if side == "user" else ratings.items
        table = None if features is None else features.aligned(ids)
        return self._whole(table, len(ids), implicit_features(ratings, side))

    def new_rows(self, features: Features | None, ids: IdMap, cells: CSR, others: IdMap) -> CSR:
        """X of rows that were not fitted, with these ratings, whose columns have the ids `others`."""
        return self.rows_of(None if features is None else features.aligned(ids), cells, others)

    def rows_of(self, table: CSR | None, cells: CSR, others: IdMap) -> CSR:
        """X of rows with these rows of the table (None: it says nothing of them) and these ratings."""
        known = cells
        if self.implicit is not None and others != self.implicit:
            column = self.implicit.lookup(others.values)[cells.indices]
            known = cells.select(column >= 0)
            known = CSR(known.indptr, column[column >= 0].astype(np.uint32), known.values)
        return self._whole(table, cells.n_rows, implicit_rows(known))

    def _whole(self, table: CSR | None, rows: int, implicit: CSR) -> CSR:
        blocks: list[tuple[CSR, Any]] = []
        if self.encoding is not None:
            none = CSR(
                np.zeros(rows + 1, dtype=np.int64),
                np.empty(0, dtype=np.uint32),
                np.empty(0, dtype=np.float32),
            )
            blocks.append((none if table is None else table, self.encoding.groups))
        if self.implicit is not None:
            blocks.append((implicit, (Group(IMPLICIT, 0, len(self.implicit)),)))
        return hstack(blocks)[0]


@dataclass(frozen=True, slots=True)
class Tables:
    """What a fit is given: tables of features, and whether it makes implicit ones of its ratings."""

    user: Features | None = None
    item: Features | None = None
    implicit: bool = False

    @classmethod
    def of(cls, user_features: Any, item_features: Any, *, implicit: bool) -> Tables:
        """From the arguments of `fit`.

        Raises `DataError`, `ReadError`, `DuplicatesError`.
        """
        user, item = (
            None if value is None else as_features(value, name=f"{side}_features", side=side)
            for side, value in zip(SIDES, (user_features, item_features), strict=True)
        )
        return cls(user, item, implicit)

    @property
    def any(self) -> bool:
        """Whether there are features of any kind."""
        return self.implicit or self.user is not None or self.item is not None

    def extended(self, ratings: Ratings) -> Ratings:
        """The ratings over the ids of the tables too.

        Raises `DataError` where a table has nobody who is in the ratings.
        """
        for side, table, ids in (
            ("user", self.user, ratings.users),
            ("item", self.item, ratings.items),
        ):
            if table is not None and len(ids) and (ids.lookup(table.ids.values) < 0).all():
                raise DataError(
                    f"{side}_features",
                    table.ids.id_at(0),
                    f"and the other {side}s of the table are not in the ratings, whose first is "
                    f"{ids.id_at(0)!r}",
                    "make the ids those of the ratings, or name their column: "
                    "Features.from_table(table, id=…)",
                )
        return ratings.with_ids(*(None if t is None else t.ids for t in (self.user, self.item)))

    def designs(self, ratings: Ratings) -> Designs:
        """Those of a fit to these (extended) ratings; implicit features are of these alone."""
        return Designs(*self._side("user", ratings), *self._side("item", ratings))

    def _side(self, side: Side, ratings: Ratings) -> tuple[SideDesign | None, CSR | None]:
        """The design of a side and X of its rows; None where it has no features."""
        table = self.user if side == "user" else self.item
        if table is None and not self.implicit:
            return None, None
        design = SideDesign(
            None if table is None else table.encoding,
            (ratings.items if side == "user" else ratings.users) if self.implicit else None,
            _typical(table, ratings, side) if self.implicit else None,
        )
        return design, design.fitted_rows(table, ratings, side)


@dataclass(frozen=True, slots=True)
class Designs:
    """The designs of a fit (None: a side has none), and X of its rows."""

    user: SideDesign | None = None
    user_rows: CSR | None = None
    item: SideDesign | None = None
    item_rows: CSR | None = None

    def side(self, side: Side) -> SideDesign | None:
        """That of one side."""
        return self.user if side == "user" else self.item

    def rows(self, side: Side) -> CSR | None:
        """X of one side."""
        return self.user_rows if side == "user" else self.item_rows

    def without_rows(self) -> Designs:
        """What a model remembers."""
        return Designs(user=self.user, item=self.item)


def _typical(table: Features | None, ratings: Ratings, side: Side) -> Array:
    """See `SideDesign.typical`."""
    user = side == "user"
    rows = implicit_rows(ratings.by_user if user else ratings.by_item)
    count = max(int(np.count_nonzero(np.diff(rows.indptr))), 1)
    sums = np.bincount(rows.indices, rows.values, len(ratings.items if user else ratings.users))
    width = 0 if table is None else table.encoding.width
    return np.concatenate([np.zeros(width), sums / count]).astype(np.float32)
