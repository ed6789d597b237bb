"""All baselines for ratings on one test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from halfstep.baselines.base import Baseline
from halfstep.baselines.knn import ItemKNN
from halfstep.baselines.neighbors import operations
from halfstep.baselines.nonpersonal import Biases, GlobalMean
from halfstep.checks import check_integer
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.metrics import mean_absolute_error, root_mean_squared_error

__all__ = ["BaselineError", "compare_baselines"]


@dataclass(frozen=True, slots=True)
class BaselineError:
    """What a baseline's error on a test part is, or why nobody knows.

    Attributes
    ----------
    rmse, mae : float or None
        In the unit of the ratings; None where it was left out.
    seconds : float or None
        What fitting and predicting took.
    left_out : str or None
        Why it was not fitted.
    """

    rmse: float | None
    mae: float | None
    seconds: float | None
    left_out: str | None = None


def compare_baselines(
    train: Ratings,
    test: Ratings,
    *,
    clip: bool = False,
    most_operations: int = 1_000_000_000,
    models: Mapping[str, Baseline] | None = None,
) -> dict[str, BaselineError]:
    """Fit the baselines for ratings to `train` and measure them on `test`.

    Parameters
    ----------
    train, test : Ratings
        Users and items of `test` that `train` has not fall back to the biases that are known.
    clip : bool
        Clip predictions to the scale of `train`.
    most_operations : int
        An `ItemKNN` is left out where Σ_u (number of ratings of u)² + n² is larger: the default is
        about half a minute.
    models : mapping from name to baseline, optional
        Default: "global mean", "biases only" and "item-kNN", as they come. They are fitted.

    Returns
    -------
    {name: BaselineError}, in the order of `models`

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 60, rank=3, ratings_per_user=20, seed=0).ratings
    >>> train, test = hs.split_random(ratings, test=0.1, seed=0)
    >>> for name, error in compare_baselines(train, test, most_operations=1000).items():
    ...     print(name, error.left_out or round(error.rmse, 1))
    global mean 1.0
    biases only 0.9
    item-kNN 144,704 operations are more than most_operations=1000
    """
    require_ratings(train, "train")
    require_ratings(test, "test")
    check_integer("most_operations", most_operations, 0, example=1_000_000_000)
    if models is None:
        models = {"global mean": GlobalMean(), "biases only": Biases(), "item-kNN": ItemKNN()}
    wrong = not isinstance(models, Mapping) or not all(
        isinstance(model, Baseline) for model in models.values()
    )
    if wrong:
        raise ParameterError("models", models, "must map names to baselines", 'pass {"mean": …}')
    found = {}
    needed = operations(train)
    for name, model in models.items():
        if isinstance(model, ItemKNN) and needed > most_operations:
            reason = f"{needed:,} operations are more than most_operations={most_operations}"
            found[name] = BaselineError(None, None, None, reason)
            continue
        begun = perf_counter()
        model.fit(train)
        told = model._residuals(test, None, clip)
        rmse, mae = root_mean_squared_error(*told), mean_absolute_error(*told)
        found[name] = BaselineError(rmse, mae, perf_counter() - begun)
    return found
