"""`Fitted`: the learned attributes of a model, and how questions find their rows in them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ids import IdMap, require_known
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import DataError, HistoryRequiredError, UnknownIdError
from halfstep.factors import Factors
from halfstep.models.params import Parameters
from halfstep.objectives import Objective, Side, scales
from halfstep.training import Trace

if TYPE_CHECKING:
    from halfstep.models.calibration import Calibration
    from halfstep.models.growth import Stage
    from halfstep.selection.result import Selection

__all__ = ["Fitted"]

# What asks for a history and has an argument `ratings` in place of it.
_TAKE_RATINGS = (
    "exclude_seen=True",
    "explain",
    "influence",
    "certificate",
    "effective_parameters",
)


class Fitted(Parameters):
    """What a fit leaves, and what every answer is made from.

    Attributes
    ----------
    factors_ : Factors
        W, Z, biases, μ and the ids of their rows.
    trace_ : Trace
        One row for each sweep of the fit.
    n_iter_ : int
        Sweeps done.
    best_iter_ : int
        The sweep whose factors the model holds (another than the last only with `validation`).
    stopped_ : str
        Why the fit ended: "converged", "max_iter", "validation", "callback", "budget" or
        "interrupted".
    history_ : CSR or None
        The ratings of every user, by row; None in a model saved without them.
    scale_ : (float, float)
        The lowest and highest rating seen.
    objective_ : Objective
        What was minimized.
    calibration_ : Calibration or None
        What `calibrate` has learned.
    rank_ : int
        K.
    selection_ : Selection or None
        What was tried where rank or λ were "auto".
    growth_ : tuple of Stage
        How the rank was found (of a fit with rank="grow").
    departure_, distance_ : float
        What `canonical` and `align` have found (of the models that they return).
    """

    factors_: Factors
    trace_: Trace
    n_iter_: int
    best_iter_: int
    stopped_: str
    history_: CSR | None
    scale_: tuple[float, float]
    objective_: Objective
    calibration_: Calibration | None
    selection_: Selection | None
    data_summary_: dict[str, Any]
    departure_: float
    distance_: float
    growth_: tuple[Stage, ...]
    n_features_in_: int
    _exact_users: bool
    _fitted_params: dict[str, Any]

    @property
    def rank_(self) -> int:
        """K, the number of factors that the model has."""
        self._check_fitted()
        return self.factors_.rank

    def settled(self, *, sweeps: bool = True) -> Self:
        """An unfitted model that fits as this one did: rank and λ as chosen, as many sweeps as it kept.

        With `sweeps=False` its fit ends by itself, as `max_iter` and `tol` say.
        """
        self._check_fitted()
        params = copy.deepcopy(self._fitted_params)
        if self.selection_ is not None:
            params |= self.selection_.parameters
        if sweeps:
            params["max_iter"] = self.best_iter_
            if params["rank"] != "grow":  # there `tol` is the gap to reach, not a step
                params["tol"] = 0.0
        return type(self)(**params)

    def _predict_rows(self, user_index: Array, item_index: Array, backend: str | Backend) -> Array:
        f = self.factors_
        return get_backend(backend, dtype=f.dtype).predict(
            user_index,
            item_index,
            f.user_factors,
            f.item_factors,
            f.user_bias,
            f.item_bias,
            f.mean,
        )

    def _rows_asked(
        self, asked: Any, ids: IdMap, side: str, must_be_known: bool
    ) -> tuple[Array, Array]:
        if asked is None:
            return np.arange(len(ids)), ids.take(np.arange(len(ids)))
        listed = [asked] if np.ndim(asked) == 0 else asked
        rows = ids.lookup(listed, f"{side}s")
        if must_be_known:
            require_known(rows, listed, side)
        names = np.asarray(listed, dtype=object) if isinstance(listed, list) else np.asarray(listed)
        known = rows >= 0
        if known.all():  # the ids as the model writes them
            names = ids.take(rows)
        return rows, names

    def _forget(self, *names: str) -> None:
        """Drop learned attributes that are no longer true."""
        for name in names:
            self.__dict__.pop(name, None)

    def _history(self, why: str) -> CSR:
        if self.history_ is None:
            raise HistoryRequiredError(
                "ratings",
                None,
                f"the model was saved without its users' ratings, and {why} needs them",
                "pass ratings=, or save with history=True"
                if why in _TAKE_RATINGS
                else "fit again, or save with history=True",
            )
        return self.history_

    def _whole_history(self, why: str) -> CSR:
        return self._rows_of(self._history(why), np.arange(len(self.factors_.user_ids)))

    def _rows_of(self, history: CSR, rows: Array) -> CSR:
        """Rows of the history, checked: that of a mapped file was not read when it was loaded."""
        everything = len(rows) == history.n_rows and np.array_equal(rows, np.arange(len(rows)))
        found = history if everything else take_rows(history, rows)
        if len(found.indices) and int(found.indices.max()) >= len(self.factors_.item_ids):
            raise DataError(
                "history",
                int(found.indices.max()),
                f"names an item beyond the {len(self.factors_.item_ids)} of the model",
                "the file is damaged: load it without mmap, or restore a copy",
            )
        return found

    def _seen(self, rows: Array, asked: Array, ratings: Ratings | None) -> tuple[Array, Array]:
        """(indptr, items ascending) of what each asked user has rated."""
        if ratings is None:
            history = self._history("exclude_seen=True")
            source = rows
        else:
            history = self._translate(ratings, "user", "ignore")
            source = ratings.users.lookup(asked, "users")
        known = source >= 0
        found = self._rows_of(history, np.where(known, source, 0)[known])
        sizes = np.zeros(len(source), dtype=np.int64)
        sizes[known] = np.diff(found.indptr)
        return np.concatenate([[0], np.cumsum(sizes)]), found.indices

    def _translate(
        self,
        ratings: Ratings,
        side: Side,
        unknown: str,
        remedy: str = 'pass unknown="ignore" to leave those ratings out',
    ) -> CSR:
        """The cells by rows of `side`, their columns as row numbers of the model."""
        require_ratings(ratings)
        if side == "user":
            cells, others, ours = ratings.by_user, ratings.items, self.factors_.item_ids
        else:
            cells, others, ours = ratings.by_item, ratings.users, self.factors_.user_ids
        if others == ours:
            return cells
        lookup = ours.lookup(others.values)
        column = lookup[cells.indices]
        missing = column < 0
        if missing.any():
            if unknown == "error":
                wrong = others.id_at(int(cells.indices[np.argmax(missing)]))
                raise UnknownIdError(
                    "item" if side == "user" else "user",
                    wrong,
                    f"is not known to the model ({np.count_nonzero(lookup < 0):,} such ids)",
                    remedy,
                )
            cells, column = cells.select(~missing), column[~missing]
        if others.kind != ours.kind:  # «10» sorts before «9», 9 before 10
            row = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
            order = np.lexsort((column, row))
            weights = None if cells.weights is None else cells.weights[order]
            return CSR(cells.indptr, column[order].astype(np.uint32), cells.values[order], weights)
        return CSR(cells.indptr, column.astype(np.uint32), cells.values, cells.weights)

    def _as_history(self, ratings: Ratings) -> CSR:
        """Other ratings as cells over the rows and columns of the model."""
        ids = self.factors_.user_ids
        remedy = "pass those that the model was fitted to"
        cells = self._translate(ratings, "user", "error", remedy)
        if ratings.users == ids:
            return cells
        rows = ids.lookup(ratings.users.values)
        if (rows < 0).any():
            wrong = ratings.users.id_at(int(np.argmin(rows)))
            raise UnknownIdError("user", wrong, "is not known to the model", remedy)
        source = np.full(len(ids), cells.n_rows)
        source[rows] = np.arange(cells.n_rows)
        with_empty = CSR(
            np.append(cells.indptr, cells.indptr[-1]), cells.indices, cells.values, cells.weights
        )
        return take_rows(with_empty, source)

    def _scales(self, why: str) -> tuple[Array, Array]:
        """s_u and s_i of the objective."""
        f, scaling = self.factors_, getattr(self.objective_, "reg_scaling", "none")
        if scaling == "none":
            return np.ones(len(f.user_ids)), np.ones(len(f.item_ids))
        return scales(self._whole_history(why), len(f.item_ids), scaling)

    def _with(self, factors: Factors) -> Self:
        """This model with other factors."""
        fresh = type(self)(**self.get_params())
        fresh.__dict__.update(self.__dict__)
        fresh._forget("_noise", "departure_", "distance_")
        fresh.factors_ = factors
        return fresh
