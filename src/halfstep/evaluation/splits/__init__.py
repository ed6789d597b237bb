"""Train, validation and test parts of `Ratings`: which question an error answers is decided here.

| split | what the model has not seen | the question |
|---|---|---|
| `split_random`, `kfold` | some ratings, at random | how well are missing cells filled in? |
| `split_each_user` | a share of each user's ratings, at random | the same, of users who are known |
| `split_leave_k_out` | k ratings of each user, at random | the same, every user counted alike |
| `split_last` | the last k ratings of each user | what does a known user want next? |
| `split_by_time`, `rolling_origin` | all that comes after a moment | how good is it from tomorrow on? |
| `split_cold`, `kfold_cold` | some users (items) | what is said of users without ratings? |
| `split_users`, `kfold_users` | some users, until it is told a part | how good for users to come? |

All parts are over the same ids. They depend on the ratings and on the seed, never on the order of the
table (only `kfold(order="file")` asks for it). `check_split` names what leaks from one part into
another; every function here holds its own parts to it.
"""

from halfstep.evaluation.splits.cold import kfold_cold, split_cold
from halfstep.evaluation.splits.each_user import split_each_user, split_last, split_leave_k_out
from halfstep.evaluation.splits.leaks import SplitKind, check_split
from halfstep.evaluation.splits.moments import rolling_origin, split_by_time
from halfstep.evaluation.splits.new_users import UserSplit, kfold_users, split_users
from halfstep.evaluation.splits.shares import kfold, split_random

__all__ = [
    "SplitKind",
    "UserSplit",
    "check_split",
    "kfold",
    "kfold_cold",
    "kfold_users",
    "rolling_origin",
    "split_by_time",
    "split_cold",
    "split_each_user",
    "split_last",
    "split_leave_k_out",
    "split_random",
    "split_users",
]
