"""`Fitted`: the learned attributes of a model with factors."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ids import IdMap
from halfstep.data.pairs import as_interactions, as_ratings
from halfstep.data.ratings import Ratings, take_rows, transpose
from halfstep.errors import UnknownIdError
from halfstep.factors import Factors
from halfstep.features.design import Designs
from halfstep.features.features import Features
from halfstep.models.known import Known
from halfstep.objectives import Objective, Side
from halfstep.training import Trace

if TYPE_CHECKING:
    from halfstep.models.calibration import Calibration
    from halfstep.models.growth import Stage
    from halfstep.selection.result import Selection

__all__ = ["Fitted"]


class Fitted(Known):
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
    objective_ : Objective
        What was minimized.
    calibration_ : Calibration or None
        What `calibrate` has learned.
    rank_ : int
        K.
    selection_ : Selection or None
        What was tried where rank, λ or α₀ were "auto".
    features_ : Designs
        What the features of users and items are, where it was fitted with any.
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
    objective_: Objective
    calibration_: Calibration | None
    selection_: Selection | None
    departure_: float
    distance_: float
    growth_: tuple[Stage, ...]
    features_: Designs = Designs()
    _tables: tuple[Features | None, Features | None] = (None, None)
    _told_items: frozenset[Any] = frozenset()  # folded in with ratings, which no history has
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
        found: Any = self.objective_
        if params["rank"] == "auto":
            params["rank"] = self.rank_
        if params.get("alpha0") == "auto":
            params["alpha0"] = found.alpha0
        if params["reg"] == "auto":
            params["reg"] = (found.reg.user, found.reg.item, found.reg.bias)
            params["reg_scaling"] = found.reg_scaling
        if sweeps:
            params["max_iter"] = self.best_iter_
            if params["rank"] != "grow":  # there `tol` is the gap to reach, not a step
                params["tol"] = 0.0
        return type(self)(**params)

    def _taken(self, X: Any, y: Any = None, sample_weight: Any = None) -> Ratings:
        """`Ratings` of whatever `fit` takes."""
        take = as_interactions if self._adds_counts else as_ratings
        return take(X, y, sample_weight)

    @property
    def _adds_counts(self) -> bool:
        """Whether values are counts, of which those of a pair are added."""
        return self.learns == "interactions"

    def _ids(self, side: Side) -> IdMap:
        return self.factors_.user_ids if side == "user" else self.factors_.item_ids

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
        f = self.factors_
        if getattr(self.objective_, "reg_scaling", "none") == "none":
            return np.ones(len(f.user_ids)), np.ones(len(f.item_ids))
        by_user = self._whole_history(why)
        by_item = transpose(by_user, len(f.item_ids))
        return self.objective_.scales("user", by_user), self.objective_.scales("item", by_item)

    def _with(self, factors: Factors) -> Self:
        """This model with other factors."""
        fresh = type(self)(**self.get_params())
        fresh.__dict__.update(self.__dict__)
        fresh._forget("_noise", "departure_", "distance_")
        fresh.factors_ = factors
        return fresh
