"""halfstep: matrix factorization from a table of ratings to recommendations.

>>> import halfstep as hs
>>> ratings = hs.simulate(300, 120, rank=4, seed=0).ratings
>>> train, test = hs.split_random(ratings, test=0.1, seed=0)
>>> model = hs.ExplicitMF(rank=4, reg=0.05).fit(train)
>>> bool(model.rmse(test) < 1.0)
True

Everything public is reached from here; modules are loaded when a name of theirs is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from halfstep._native import __version__

if TYPE_CHECKING:
    from halfstep.backends import available_backends, get_backend
    from halfstep.baselines import EASE, Biases, GlobalMean, ItemKNN, MostPopular
    from halfstep.data.ratings import Ratings
    from halfstep.data.read import read_ratings
    from halfstep.data.simulate import simulate, simulate_parquet
    from halfstep.data.titles import read_titles
    from halfstep.diagnostics import Certificate
    from halfstep.errors import HalfstepError
    from halfstep.evaluation import (
        baseline_rmse,
        compare,
        cross_validate,
        evaluate,
        kfold,
        split_random,
    )
    from halfstep.factors import Factors
    from halfstep.models import ExplicitMF
    from halfstep.models.saving import load
    from halfstep.solvers import ALS, CG, GD, LBFGS, SGD, Cholesky, Subspace
    from halfstep.threads import get_num_threads, set_num_threads

_HOME = {
    "ALS": "solvers",
    "Biases": "baselines",
    "CG": "solvers",
    "Certificate": "diagnostics",
    "Cholesky": "solvers",
    "EASE": "baselines",
    "ExplicitMF": "models",
    "Factors": "factors",
    "GD": "solvers",
    "GlobalMean": "baselines",
    "HalfstepError": "errors",
    "ItemKNN": "baselines",
    "LBFGS": "solvers",
    "MostPopular": "baselines",
    "Ratings": "data.ratings",
    "SGD": "solvers",
    "Subspace": "solvers",
    "available_backends": "backends",
    "baseline_rmse": "evaluation",
    "compare": "evaluation",
    "cross_validate": "evaluation",
    "evaluate": "evaluation",
    "get_backend": "backends",
    "get_num_threads": "threads",
    "kfold": "evaluation",
    "load": "models.saving",
    "read_ratings": "data.read",
    "read_titles": "data.titles",
    "set_num_threads": "threads",
    "simulate": "data.simulate",
    "simulate_parquet": "data.simulate",
    "split_random": "evaluation",
}

__all__ = [
    "ALS",
    "CG",
    "EASE",
    "GD",
    "LBFGS",
    "SGD",
    "Biases",
    "Certificate",
    "Cholesky",
    "ExplicitMF",
    "Factors",
    "GlobalMean",
    "HalfstepError",
    "ItemKNN",
    "MostPopular",
    "Ratings",
    "Subspace",
    "__version__",
    "available_backends",
    "baseline_rmse",
    "compare",
    "cross_validate",
    "evaluate",
    "get_backend",
    "get_num_threads",
    "kfold",
    "load",
    "read_ratings",
    "read_titles",
    "set_num_threads",
    "simulate",
    "simulate_parquet",
    "split_random",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'halfstep' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"halfstep.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
