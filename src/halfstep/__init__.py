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
    from halfstep.baselines import (
        EASE,
        Biases,
        GlobalMean,
        GraphFilter,
        ItemKNN,
        MostPopular,
        PureSVD,
    )
    from halfstep.data.published import read_liang, read_lightgcn, read_ncf
    from halfstep.data.ratings import Ratings
    from halfstep.data.read import read_ratings
    from halfstep.data.simulate import simulate, simulate_parquet
    from halfstep.data.titles import read_titles
    from halfstep.diagnostics import Certificate
    from halfstep.errors import HalfstepError
    from halfstep.evaluation import (
        FullRanking,
        LeaveOneOut,
        StrongGeneralization,
        UserSplit,
        baseline_rmse,
        calibration_table,
        check_split,
        compare,
        compare_cold,
        cross_validate,
        evaluate,
        kfold,
        kfold_cold,
        kfold_users,
        rolling_origin,
        split_by_time,
        split_cold,
        split_each_user,
        split_last,
        split_leave_k_out,
        split_random,
        split_users,
    )
    from halfstep.factors import Factors
    from halfstep.features import Features, read_features
    from halfstep.models import BayesianMF, CosineMF, ExplicitMF, ImplicitMF, RankingMF
    from halfstep.models.saving import load
    from halfstep.selection.result import Selection
    from halfstep.selection.select import select
    from halfstep.selection.tune import tune
    from halfstep.solvers import ALS, CG, GD, LBFGS, SGD, Cholesky, Subspace
    from halfstep.threads import get_num_threads, set_num_threads

_HOME = {
    "ALS": "solvers",
    "BayesianMF": "models",
    "Biases": "baselines",
    "CG": "solvers",
    "Certificate": "diagnostics",
    "Cholesky": "solvers",
    "CosineMF": "models",
    "EASE": "baselines",
    "ExplicitMF": "models",
    "Factors": "factors",
    "Features": "features",
    "FullRanking": "evaluation",
    "GD": "solvers",
    "GlobalMean": "baselines",
    "GraphFilter": "baselines",
    "HalfstepError": "errors",
    "ImplicitMF": "models",
    "ItemKNN": "baselines",
    "LBFGS": "solvers",
    "LeaveOneOut": "evaluation",
    "MostPopular": "baselines",
    "PureSVD": "baselines",
    "RankingMF": "models",
    "Ratings": "data.ratings",
    "SGD": "solvers",
    "Selection": "selection.result",
    "StrongGeneralization": "evaluation",
    "Subspace": "solvers",
    "UserSplit": "evaluation",
    "available_backends": "backends",
    "baseline_rmse": "evaluation",
    "calibration_table": "evaluation",
    "check_split": "evaluation",
    "compare": "evaluation",
    "compare_cold": "evaluation",
    "cross_validate": "evaluation",
    "evaluate": "evaluation",
    "get_backend": "backends",
    "get_num_threads": "threads",
    "kfold": "evaluation",
    "kfold_cold": "evaluation",
    "kfold_users": "evaluation",
    "load": "models.saving",
    "read_features": "features",
    "read_liang": "data.published",
    "read_lightgcn": "data.published",
    "read_ncf": "data.published",
    "read_ratings": "data.read",
    "read_titles": "data.titles",
    "select": "selection.select",
    "rolling_origin": "evaluation",
    "set_num_threads": "threads",
    "simulate": "data.simulate",
    "simulate_parquet": "data.simulate",
    "split_by_time": "evaluation",
    "split_cold": "evaluation",
    "split_each_user": "evaluation",
    "split_last": "evaluation",
    "split_leave_k_out": "evaluation",
    "split_random": "evaluation",
    "split_users": "evaluation",
    "tune": "selection.tune",
}

__all__ = [
    "ALS",
    "CG",
    "EASE",
    "GD",
    "LBFGS",
    "SGD",
    "BayesianMF",
    "Biases",
    "Certificate",
    "Cholesky",
    "CosineMF",
    "ExplicitMF",
    "Factors",
    "Features",
    "FullRanking",
    "GlobalMean",
    "GraphFilter",
    "HalfstepError",
    "ImplicitMF",
    "ItemKNN",
    "LeaveOneOut",
    "MostPopular",
    "PureSVD",
    "RankingMF",
    "Ratings",
    "Selection",
    "StrongGeneralization",
    "Subspace",
    "UserSplit",
    "__version__",
    "available_backends",
    "baseline_rmse",
    "calibration_table",
    "check_split",
    "compare",
    "compare_cold",
    "cross_validate",
    "evaluate",
    "get_backend",
    "get_num_threads",
    "kfold",
    "kfold_cold",
    "kfold_users",
    "load",
    "read_features",
    "read_liang",
    "read_lightgcn",
    "read_ncf",
    "read_ratings",
    "read_titles",
    "rolling_origin",
    "select",
    "set_num_threads",
    "simulate",
    "simulate_parquet",
    "split_by_time",
    "split_cold",
    "split_each_user",
    "split_last",
    "split_leave_k_out",
    "split_random",
    "split_users",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'halfstep' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"halfstep.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
