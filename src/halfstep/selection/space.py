"""A space of settings: which values of a model's parameters a search may try.

A space is a mapping from names to what may be tried, or a callable that asks a trial itself. A name is
that of a parameter, or with a dot a part of one: `reg.user`, `reg.item` and `reg.bias`; a field of a
dataclass such as a solver, `solver.rate`; a place of a tuple, `sizes.0`.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.checks import is_integer, is_number
from halfstep.errors import ParameterError
from halfstep.objectives import Reg

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Suggest", "fresh", "own_parameters", "settings", "suggestions"]

Suggest = Callable[[Any], Mapping[str, Any]]
"""From a trial to the values of some names."""

_PARTS = {"reg": tuple(field.name for field in fields(Reg))}
_FORMS = 'pass (low, high), (low, high, "log"), a list of choices, or an Optuna distribution'


def own_parameters(model: Any) -> dict[str, Any]:
    """The values of the constructor's parameters by name.

    From `get_params` where the model has it; else every parameter of the constructor must be an
    attribute of the same name.
    """
    if isinstance(model, type) or not hasattr(model, "fit"):
        raise ParameterError("model", model, "must be a model with fit", "try ExplicitMF()")
    if hasattr(model, "get_params"):
        return dict(model.get_params(deep=False))
    names = [name for name in inspect.signature(type(model).__init__).parameters if name != "self"]
    if not all(hasattr(model, name) for name in names):
        raise ParameterError(
            "model",
            model,
            "must have get_params, or its constructor's parameters as attributes",
            "give its class get_params and set_params as scikit-learn has them",
        )
    return {name: getattr(model, name) for name in names}


def fresh(model: Any, params: Mapping[str, Any]) -> Any:
    """A new, unfitted model of the same class and parameters, except for these."""
    own = copy.deepcopy(own_parameters(model))
    if hasattr(model, "set_params"):
        return type(model)(**own).set_params(**params)
    return type(model)(**{**own, **params})


def settings(model: Any, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the constructor's parameters from those of names with and without a part.

    >>> from halfstep import ExplicitMF
    >>> settings(ExplicitMF(reg=0.1), {"rank": 8, "reg.bias": 0.02})
    {'rank': 8, 'reg': (0.1, 0.1, 0.02)}
    """
    own = own_parameters(model)
    for name in chosen:
        if not isinstance(name, str):
            raise ParameterError(
                "space", name, "is not the name of a parameter", f"choose from {', '.join(own)}"
            )
    made = {name: value for name, value in chosen.items() if "." not in name}
    nested = model.get_params() if hasattr(model, "get_params") else own
    for name, value in chosen.items():
        whole, _, part = name.partition(".")
        if whole not in own and whole not in nested:
            raise ParameterError(
                "space",
                name,
                f"is not a parameter of {type(model).__name__}",
                f"choose from {', '.join(own)}",
            )
        if part:
            before = made[whole] if whole in made else nested[whole]
            made[whole] = _with_part(whole, before, part, value)
    return made


def _with_part(name: str, value: Any, part: str, new: Any) -> Any:
    """`value` with one of its parts replaced; `part` may go on with a dot into that part."""
    first, _, rest = part.partition(".")
    names: tuple[str, ...]
    listed = list(value) if isinstance(value, (list, tuple, np.ndarray)) else []
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in fields(value))
        listed = [getattr(value, field) for field in names]
    elif name in _PARTS and (is_number(value) or len(listed) == len(_PARTS[name])):
        names = _PARTS[name]
        listed = listed or [value] * len(names)
    else:
        names = getattr(value, "_fields", tuple(str(i) for i in range(len(listed))))
    parts = dict(zip(names, listed, strict=True))
    if first not in parts:
        raise ParameterError(
            "space",
            f"{name}.{first}",
            f"is not a part of {name}={value!r}",
            f"choose from {', '.join(f'{name}.{part}' for part in names)}"
            if names
            else f"search {name} itself, or pass a model whose {name} has parts",
        )
    parts[first] = _with_part(f"{name}.{first}", parts[first], rest, new) if rest else new
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{first: parts[first]})
    return value._replace(**parts) if hasattr(value, "_replace") else tuple(parts.values())


def suggestions(space: Any, model: Any) -> Suggest:
    """The space as a callable, checked.

    Raises
    ------
    ParameterError
        The space is empty or neither a mapping nor callable; a name is not a parameter; what stands
        for it is no range, no choices and no distribution.
    """
    if callable(space):
        return _asked(space)
    if not isinstance(space, Mapping) or not space:
        raise ParameterError(
            "space",
            space,
            "must say for at least one parameter what to try",
            'try space={"rank": (2, 64, "log")}',
        )
    tried = {name: _tried(name, given) for name, given in space.items()}
    settings(model, {name: None for name in space if "." not in str(name)})

    def suggest(trial: Any) -> dict[str, Any]:
        return {name: ask(trial) for name, ask in tried.items()}

    return suggest


def _asked(space: Callable[[Any], Any]) -> Suggest:
    def suggest(trial: Any) -> Mapping[str, Any]:
        chosen = space(trial)
        if not isinstance(chosen, Mapping):
            raise ParameterError(
                "space",
                chosen,
                "must return a dict from names of parameters to their values",
                'try return {"rank": trial.suggest_int("rank", 2, 64)}',
            )
        return chosen

    return suggest


def _tried(name: str, given: Any) -> Callable[[Any], Any]:
    """Ask a trial for a value of that name."""
    import optuna.distributions as distributions

    if isinstance(given, list):
        return _choice(name, given)
    found = _range(name, given) if isinstance(given, tuple) else given
    if isinstance(found, distributions.CategoricalDistribution):
        return _choice(name, list(found.choices))
    if isinstance(found, distributions.IntDistribution):
        return lambda trial: trial.suggest_int(
            name, found.low, found.high, step=found.step, log=found.log
        )
    if isinstance(found, distributions.FloatDistribution):
        return lambda trial: trial.suggest_float(
            name, found.low, found.high, step=found.step, log=found.log
        )
    raise ParameterError("space", {name: given}, "says not what to try", _FORMS)


def _range(name: str, given: tuple[Any, ...]) -> BaseDistribution:
    """Integers where both ends are integers, else real numbers; both ends belong to it."""
    from optuna.distributions import FloatDistribution, IntDistribution

    ends, scale = given[:2], given[2:]
    finite = len(ends) == 2 and all(is_number(end) and math.isfinite(end) for end in ends)
    if not finite or scale not in ((), ("log",)):
        raise ParameterError("space", {name: given}, "is not a range", _FORMS)
    low, high = ends
    if not low < high:
        raise ParameterError(
            "space",
            {name: given},
            "must begin below its end",
            f"swap the ends, or set {name} in the model where it is not searched",
        )
    if scale and low <= 0:
        raise ParameterError(
            "space", {name: given}, "must begin above 0 on a log scale", "raise the lower end"
        )
    if is_integer(low) and is_integer(high):
        return IntDistribution(int(low), int(high), log=bool(scale))
    return FloatDistribution(float(low), float(high), log=bool(scale))


def _choice(name: str, choices: list[Any]) -> Callable[[Any], Any]:
    """One of these; a trial holds plain values as they are and others by their `repr`."""
    plain = (type(None), bool, int, float, str)
    labels = [choice if isinstance(choice, plain) else repr(choice) for choice in choices]
    if not choices or any(labels.index(label) != i for i, label in enumerate(labels)):
        raise ParameterError(
            "space", {name: choices}, "must be different choices, at least one", _FORMS
        )
    return lambda trial: choices[labels.index(trial.suggest_categorical(name, labels))]
