"""How good is it: metrics, splits, cross-validation, and the baselines to beat."""

from halfstep.evaluation.baselines import baseline_rmse
from halfstep.evaluation.breakdowns import (
    ErrorTable,
    IntervalCoverage,
    error_by_activity,
    error_by_popularity,
    interval_coverage,
)
from halfstep.evaluation.comparison import Comparison, compare
from halfstep.evaluation.cross_validation import CrossValidation, cross_validate
from halfstep.evaluation.evaluation import Evaluation, evaluate
from halfstep.evaluation.metrics import mean_absolute_error, r_squared, root_mean_squared_error
from halfstep.evaluation.splits import kfold, split_random

__all__ = [
    "Comparison",
    "CrossValidation",
    "ErrorTable",
    "Evaluation",
    "IntervalCoverage",
    "baseline_rmse",
    "compare",
    "cross_validate",
    "error_by_activity",
    "error_by_popularity",
    "evaluate",
    "interval_coverage",
    "kfold",
    "mean_absolute_error",
    "r_squared",
    "root_mean_squared_error",
    "split_random",
]
