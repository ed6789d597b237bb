"""What the file of a model holds beside what all models have: one form for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_choice, check_number
from halfstep.data.ids import IdMap
from halfstep.errors import ModelFileError
from halfstep.factors import Factors
from halfstep.implicit import ImplicitSquaredError
from halfstep.models.feature_arrays import features_to_arrays, restore_features
from halfstep.objectives import SquaredError
from halfstep.solvers import solver_from_dict, solver_to_dict

if TYPE_CHECKING:
    from halfstep.models.base import FactorModel
    from halfstep.models.bayesian import BayesianMF
    from halfstep.models.explicit import ExplicitMF
    from halfstep.models.implicit import ImplicitMF
    from halfstep.models.ranking import RankingMF

__all__ = [
    "BayesianForm",
    "ExplicitForm",
    "Form",
    "ImplicitForm",
    "ModelFile",
    "RankingForm",
    "wrong",
]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that was read; `check_values`: whether every value is to be looked at."""

    path: str | Path
    document: dict[str, Any]
    arrays: dict[str, Array]
    check_values: bool

    def array(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        *,
        least: float = -np.inf,
        finite: bool = True,
    ) -> Array:
        """An array of the file, of this shape and type; its values are at least `least`, and finite
        where they must be.

        Raises `ModelFileError`.
        """
        array = self.arrays[name]
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise wrong(
                self.path,
                f"has {name} of shape {array.shape} and {array.dtype.name}, "
                f"expected {shape} and {dtype}",
            )
        if self.check_values and finite and not np.isfinite(array).all():
            raise wrong(self.path, f"has values in {name} that are not finite")
        if self.check_values and array.size and not array.min() >= least:
            raise wrong(self.path, f"has values in {name} below {least:g}, where there can be none")
        return array


def wrong(path: str | Path, rule: str) -> ModelFileError:
    """The error of a file that is no model, or a damaged one."""
    return ModelFileError("path", str(path), rule, "save the model again or restore a copy")


class Form(Protocol):
    """How one class of models is written and read."""

    def parts(self, model: Any, history: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        """What is added to the document and to the arrays of every model.

        Without `history` nothing of it is about single users.
        """

    def restored(self, file: ModelFile, mean: float, users: IdMap, items: IdMap) -> FactorModel:
        """The model with its factors; what all models have is not yet there."""


class ExplicitForm:
    """`ExplicitMF`: λ, its scaling, and whether the users are exact."""

    def parts(self, model: ExplicitMF, history: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        objective = model.objective_
        assert isinstance(objective, SquaredError)
        params = dict(model._fitted_params)
        params["solver"] = solver_to_dict(params["solver"])
        reg = objective.reg
        document, arrays = features_to_arrays(model, tables=history)
        return {
            "params": plain_values(params),
            "reg": [reg.user, reg.item, reg.bias],
            "reg_scaling": objective.reg_scaling,
            **document,
        }, arrays

    def restored(self, file: ModelFile, mean: float, users: IdMap, items: IdMap) -> ExplicitMF:
        from halfstep.models.explicit import ExplicitMF, check_reg

        document = file.document
        params = dict(document["params"])
        params["solver"] = solver_from_dict(params["solver"])
        if isinstance(params.get("reg"), list):
            params["reg"] = tuple(params["reg"])
        model = ExplicitMF(**params)
        given = model._check()
        # a file that does not say what they are was written before they could be chosen
        reg = given.reg
        if "reg" in document or reg is None:
            reg = check_reg(document["reg"])
        scaling = document.get("reg_scaling", given.reg_scaling)
        check_choice("reg_scaling", scaling, ("count", "sqrt", "none"))
        K = params["rank"]
        if isinstance(K, str):
            K = max(file.arrays["user_factors"].shape[1], 1)
        least = 0.0 if params["nonnegative"] else -np.inf
        model.factors_ = factors_of(
            file, K, params["dtype"], params["biases"], mean, users, items, least
        )
        restore_features(model, file, mapped=True)
        model.objective_ = SquaredError(mean, reg, scaling, params["biases"], params["nonnegative"])
        if "exact_users" in document:
            model._exact_users = bool(document["exact_users"])
        else:
            model._exact_users = model._solver(K, complete=False).ends_with_users
        return model


class ImplicitForm:
    """`ImplicitMF`: λ, α₀, how many users and items have interactions, the unit of the confidence."""

    def parts(self, model: ImplicitMF, history: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        objective = model.objective_
        assert isinstance(objective, ImplicitSquaredError)
        params = dict(model._fitted_params)
        params["solver"] = solver_to_dict(params["solver"])
        reg = objective.reg
        return {
            "params": plain_values(params),
            "reg": [reg.user, reg.item, reg.bias],
            "alpha0": objective.alpha0,
            "active": [objective.users, objective.items],
            "level": objective.level,
        }, {}

    def restored(self, file: ModelFile, mean: float, users: IdMap, items: IdMap) -> ImplicitMF:
        from halfstep.models.explicit import check_reg
        from halfstep.models.implicit import ImplicitMF

        document = file.document
        params = dict(document["params"])
        params["solver"] = solver_from_dict(params["solver"])
        if isinstance(params["reg"], list):
            params["reg"] = tuple(params["reg"])
        model = ImplicitMF(**params)
        given = model._check()
        reg = check_reg(document["reg"])
        # a file that does not say what it is was written before it could be chosen
        alpha0 = (
            document["alpha0"] if given.alpha0 is None else document.get("alpha0", given.alpha0)
        )
        check_number("alpha0", alpha0, positive=True)
        active_users, active_items = (int(count) for count in document["active"])
        level = float(document["level"])
        if not (active_users >= 0 and active_items >= 0 and 0 < level < np.inf):
            raise wrong(file.path, "has counts of active users or items that make no sense")
        K = file.arrays["user_factors"].shape[1]
        model.factors_ = factors_of(file, K, model.dtype, model.biases, mean, users, items)
        model.objective_ = model._objective(reg, float(alpha0), active_users, active_items, level)
        model._exact_users = bool(document["exact_users"])
        return model


class BayesianForm:
    """`BayesianMF`: the kept draws, the shape of the noise, and what was followed."""

    def parts(self, model: BayesianMF, history: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        from halfstep.bayes.arrays import to_arrays

        document, arrays = features_to_arrays(model, tables=history)
        params = plain_values(model._fitted_params)
        return {"params": params, **document}, {**to_arrays(model), **arrays}

    def restored(self, file: ModelFile, mean: float, users: IdMap, items: IdMap) -> BayesianMF:
        from halfstep.bayes.arrays import restore
        from halfstep.models.bayesian import BayesianMF

        model = BayesianMF(**file.document["params"])
        model._check()
        K = file.arrays["user_factors"].shape[1]
        model.factors_ = factors_of(file, K, model.dtype, True, mean, users, items)
        restore_features(model, file, mapped=False)
        restore(model, file)
        model._exact_users = False
        return model


class RankingForm:
    """`RankingMF` and `CosineMF`: their parameters say all."""

    def __init__(self, cosine: bool = False) -> None:
        self._cosine = cosine

    def parts(self, model: RankingMF, history: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"params": plain_values(model._fitted_params)}, {}

    def restored(self, file: ModelFile, mean: float, users: IdMap, items: IdMap) -> RankingMF:
        from halfstep.models.cosine import CosineMF
        from halfstep.models.ranking import RankingMF

        params: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in file.document["params"].items()
        }
        model = (CosineMF if self._cosine else RankingMF)(**params)
        solver, reg = model._check()
        model.factors_ = factors_of(
            file,
            params["rank"],
            params["dtype"],
            params.get("item_bias", False),
            mean,
            users,
            items,
        )
        model.objective_ = model._objective(solver, reg)
        model._exact_users = False
        return model


def factors_of(
    file: ModelFile,
    rank: int,
    dtype: str,
    biases: bool,
    mean: float,
    users: IdMap,
    items: IdMap,
    least: float = -np.inf,
) -> Factors:
    """W, Z and the biases, checked."""
    m, n = len(users), len(items)
    return Factors(
        file.array("user_factors", (m, rank), dtype, least=least),
        file.array("item_factors", (n, rank), dtype, least=least),
        file.array("user_bias", (m,), dtype) if biases else None,
        file.array("item_bias", (n,), dtype) if biases else None,
        mean,
        users,
        items,
    )


def plain_values(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON knows them."""
    return {name: _plain(value) for name, value in params.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(v) for v in value]
    return value
