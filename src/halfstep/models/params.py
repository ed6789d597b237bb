"""scikit-learn's contract without importing scikit-learn: the constructor only stores."""

from __future__ import annotations

import inspect
import sys
from functools import cache
from typing import Any, Self

from halfstep.errors import NotFittedError, ParameterError

__all__ = ["Parameters"]


class Parameters:
    """`get_params`, `set_params`, `repr` and scikit-learn's tags from the constructor's signature.

    Solver objects are replaced whole: they have no parameters of their own here.
    """

    _estimator_type = "regressor"
    _learned = "factors_"  # an attribute that a fitted model has

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name (`deep` is there for scikit-learn)."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Replace some of the constructor's arguments; returns the model itself."""
        names = self._parameter_names()
        for name, value in params.items():  # all names before any value
            if name not in names:
                raise ParameterError(
                    name,
                    value,
                    f"is not a parameter of {type(self).__name__}",
                    f"choose from {', '.join(names)}",
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not _same(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, self._learned)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=False),
            regressor_tags=RegressorTags(),
            # X is pairs of ids, integers or text, not a matrix of features
            input_tags=InputTags(two_d_array=True, string=True, categorical=True),
        )

    def _check_fitted(self) -> None:
        if not hasattr(self, self._learned):
            error = _not_fitted_error("sklearn.exceptions" in sys.modules)
            raise error(f"this {type(self).__name__} is not fitted yet; call fit first")


@cache
def _not_fitted_error(with_sklearn: bool) -> type[NotFittedError]:
    """Our error; where scikit-learn is in use, one that is scikit-learn's too."""
    if not with_sklearn:
        return NotFittedError
    theirs = sys.modules["sklearn.exceptions"].NotFittedError
    return type(
        "NotFittedError", (NotFittedError, theirs), {"__module__": NotFittedError.__module__}
    )


def _same(value: Any, default: Any) -> bool:
    try:
        return bool(value == default)
    except ValueError:
        return False
