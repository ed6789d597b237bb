"""What the `fit` of every factor model takes: held-out ratings, a start, listeners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.factors import Factors
from halfstep.models.base import FactorModel
from halfstep.training import Listener

__all__ = ["held_out_of", "listeners_of", "warm_start"]


def held_out_of(validation: Any, taken: Callable[..., Ratings] = as_ratings) -> Ratings:
    """Validation ratings, from whatever `fit` takes for them."""
    if isinstance(validation, tuple) and len(validation) == 2:
        part = taken(*validation)
    elif isinstance(validation, Ratings) or hasattr(validation, "columns"):
        part = taken(validation)
    else:
        raise ParameterError(
            "validation",
            type(validation).__name__,
            "must be Ratings, a table with a rating column, or a pair (X, y)",
            "hold a part out with split_random",
        )
    if not len(part):
        raise ParameterError("validation", part, "holds no ratings", "hold out a larger part")
    return part


def warm_start(init: FactorModel | None, rank: int, *, nonnegative: bool = False) -> Factors | None:
    """The factors of `init`, cut to K = `rank` where they are more."""
    if init is None:
        return None
    if not isinstance(init, FactorModel):
        raise ParameterError(
            "init", type(init).__name__, "must be a fitted model", "pass a model or None"
        )
    init._check_fitted()
    lowest = min(f.min() for f in (init.factors_.user_factors, init.factors_.item_factors))
    if nonnegative and lowest < 0:
        raise ParameterError(
            "init",
            f"a model with a factor of {lowest:.3g}",
            "must have no factor below 0, as this model must not",
            "fit it with nonnegative=True",
        )
    if init.factors_.rank > rank:
        return init.factors_.narrowed(rank, nonnegative=nonnegative)
    return init.factors_


def listeners_of(progress: bool | Listener, max_iter: int, chains: int = 1) -> Any:
    """Who hears of the sweeps, as a context: a given listener, a progress line, or nobody."""
    from contextlib import nullcontext

    if isinstance(progress, Listener):
        return nullcontext([progress])
    if not progress:
        return nullcontext([])
    from halfstep.progress import fit_progress

    return fit_progress(max_iter, chains)
