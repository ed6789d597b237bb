"""How good is it: metrics, splits, cross-validation, and the baselines to beat."""

from halfstep.evaluation.baselines import baseline_rmse
from halfstep.evaluation.breakdowns import (
    ErrorTable,
    error_by_activity,
    error_by_popularity,
)
from halfstep.evaluation.calibration import CalibrationTable, calibration_table
from halfstep.evaluation.cold_start import ColdComparison, compare_cold
from halfstep.evaluation.comparison import Comparison, compare
from halfstep.evaluation.cross_validation import CrossValidation, cross_validate
from halfstep.evaluation.evaluation import Evaluation, evaluate
from halfstep.evaluation.metrics import mean_absolute_error, r_squared, root_mean_squared_error
from halfstep.evaluation.protocols import FullRanking, LeaveOneOut, StrongGeneralization
from halfstep.evaluation.scores import gaussian_crps, gaussian_log_score, interval_score
from halfstep.evaluation.splits import (
    UserSplit,
    check_split,
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

__all__ = [
    "CalibrationTable",
    "ColdComparison",
    "Comparison",
    "CrossValidation",
    "ErrorTable",
    "Evaluation",
    "FullRanking",
    "LeaveOneOut",
    "StrongGeneralization",
    "UserSplit",
    "baseline_rmse",
    "calibration_table",
    "check_split",
    "compare",
    "compare_cold",
    "cross_validate",
    "error_by_activity",
    "error_by_popularity",
    "evaluate",
    "gaussian_crps",
    "gaussian_log_score",
    "interval_score",
    "kfold",
    "kfold_cold",
    "kfold_users",
    "mean_absolute_error",
    "r_squared",
    "rolling_origin",
    "root_mean_squared_error",
    "split_by_time",
    "split_cold",
    "split_each_user",
    "split_last",
    "split_leave_k_out",
    "split_random",
    "split_users",
]
