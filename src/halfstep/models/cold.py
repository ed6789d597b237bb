"""Users and items of whom only features are known, and what each feature does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.checks import check_choice
from halfstep.errors import ParameterError
from halfstep.models.rows import Rows
from halfstep.models.side_features import as_fitted, selected
from halfstep.objectives import Side

__all__ = ["Cold", "FeatureEffects", "effects_of"]


@dataclass(frozen=True, slots=True)
class FeatureEffects:
    """What each feature of a side does to its rows: the rows of the map [A a].

    Attributes
    ----------
    names : list of str
        The columns of X: «age», «sex=f», «implicit 2571».
    groups : list of str
        The column of the table that each comes from; «implicit» for implicit features.
    bias : array (F,), float64
        a_f: how far a 1 in this column moves the bias of a row (0 in a model without biases).
    factors : array (F,), float64
        ‖A_f‖: how far it moves the factors.
    bias_std : array (F,), float64, or None
        The standard deviation of the effect on the bias, of a Bayesian model. There the bias is
        that of a centred draw: what a 1 in this column adds to the rating of a typical row of the
        other side.
    """

    names: list[str]
    groups: list[str]
    bias: Array
    factors: Array
    bias_std: Array | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, str, float, float]]:
        """(name, group, effect on the bias, norm of the effect on the factors)."""
        return iter(
            zip(self.names, self.groups, self.bias.tolist(), self.factors.tolist(), strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """One list for each column: ready for any DataFrame."""
        columns: dict[str, Any] = {
            "feature": list(self.names),
            "group": list(self.groups),
            "bias": self.bias.tolist(),
            "factors": self.factors.tolist(),
        }
        if self.bias_std is not None:
            columns["bias_std"] = self.bias_std.tolist()
        return columns

    def __str__(self) -> str:
        order = np.argsort(-np.abs(self.bias), kind="stable")[:10]
        rows = list(self)
        lines = ["effect on the bias, size of that on the factors"]
        for k in order:
            std = "" if self.bias_std is None else f" ± {self.bias_std[k]:.4f}"
            lines.append(f"{rows[k][2]:+9.4f}{std} {rows[k][3]:9.4f}  {rows[k][0]}")
        if len(rows) > 10:
            lines.append(f"and {len(rows) - 10:,} more")
        return "\n".join(lines)


class Cold(Rows):
    """`with_features`, `feature_effects`."""

    def with_features(
        self,
        user_features: Any = None,
        item_features: Any = None,
        *,
        backend: str | Backend = "native",
    ) -> Self:
        """A model that knows these users and items too, though nobody has rated anything of them.

        Their factors are A'x, what their features lead to expect. Users and items that have ratings
        stay what they are (without a history, all that the model knows); implicit features, which those
        without ratings cannot have, are taken to be the mean of the others'.

        Parameters
        ----------
        user_features, item_features : Features, a table, or a pair (matrix, ids)
            With the columns of the fit's; encoded as they were.

        Raises
        ------
        NotFittedError, DataError, DuplicatesError
        ParameterError
            The model was fitted without a table of that side, or both are None.
        """
        self._check_fitted()
        if user_features is None and item_features is None:
            raise ParameterError("user_features", None, "and item_features are missing", "pass one")
        runs_on = get_backend(backend, dtype=self.factors_.dtype)
        model = self
        given: tuple[tuple[Side, Any], ...] = (("user", user_features), ("item", item_features))
        for side, table in given:
            if table is not None:
                model = model._with_cold(side, table, runs_on)
        return model

    def _with_cold(self, side: Side, table: Any, backend: Backend) -> Self:
        features = as_fitted(self, side, table, f"{side}_features")
        rows = self._ids(side).lookup(features.ids.values)
        new = selected(features, (rows < 0) | ~self._rated(side)[rows])
        if not len(new):
            return self
        none = CSR(
            np.zeros(len(new) + 1, dtype=np.int64),
            np.empty(0, dtype=np.uint32),
            np.empty(0, dtype=np.float32),
        )
        model = self.with_rows(self._folded(side, new.ids, none, backend, new))
        model._exact_users = self._exact_users  # nobody has rated what was replaced
        return model

    def _rated(self, side: Side) -> Array:
        """Whether rows have ratings, known or told (`with_rows`); all where no history was saved."""
        history, count = self.history_, len(self._ids(side))
        if history is None:
            return np.ones(count, dtype=bool)
        if side == "user":
            return np.diff(history.indptr) > 0
        rated = np.zeros(count, dtype=bool)
        rated[self._whole_history("with_features").indices] = True
        rated[self.factors_.item_ids.lookup(sorted(self._told_items), "items")] = True
        return rated

    def feature_effects(self, side: Side = "user") -> FeatureEffects:
        """What each feature of the users (items) does to the bias and to the factors.

        Raises
        ------
        NotFittedError
        ParameterError
            That side has no features.
        """
        self._check_fitted()
        check_choice("side", side, ("user", "item"))
        design = self.features_.side(side)
        if design is None:
            raise ParameterError(
                "side", side, "has no features in this model", f"fit with {side}_features="
            )
        groups = [group.name for group in design.groups for _ in range(len(group))]
        return FeatureEffects(design.column_names(), groups, *self._effects(side))

    def _effects(self, side: Side) -> tuple[Array, Array, Array | None]:
        """Of every feature of a side: on the bias, on the factors, and how sure the first is."""
        A = self.factors_.user_map if side == "user" else self.factors_.item_map
        assert A is not None
        return (*effects_of(A, self.factors_.rank), None)


def effects_of(A: Array, rank: int) -> tuple[Array, Array]:
    """a_f and ‖A_f‖ of every row [A_f, a_f] of a map (a_f = 0 where it has no column)."""
    bias = np.zeros(len(A)) if A.shape[1] == rank else A[:, rank].astype(np.float64)
    return bias, np.sqrt(np.einsum("fk,fk->f", A[:, :rank], A[:, :rank], dtype=np.float64))
