"""How many parameters a fit really used, by small random changes of its ratings.

    df = Σ_Ω ∂r̂_ui / ∂r_ui  ≈  δᵀ (r̂(r + ε δ) − r̂(r − ε δ)) / 2 ε

with δ of independent ±1, averaged over a few of them: for a fit that is linear in the ratings, r̂ =
H r, its mean is the trace of H, the number of parameters where nothing is regularized. (Ye 1998,
«On Measuring and Correcting the Effects of Data Mining and Model Selection»; Ramani, Blu and Unser
2008, «Monte-Carlo SURE»; ±1 and the trace: Hutchinson 1990.) Both sides move, which the leverages
of a row with the other side held fixed leave out. df / |Ω| near 0 is a fit that has averaged much,
near 1 one that repeats its ratings.

Both fits start from the model's factors, in float64, with the model's own solver, and run until df
stands still: after every ten sweeps it is worked out again, and a change below `tol` ends the
probe. With only as many sweeps as the fit had it would be smaller: a fit that was stopped early has
used fewer parameters.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.checks import check_integer, is_number
from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.data.report import Report, Source
from halfstep.errors import DataError, ParameterError
from halfstep.factors import Factors
from halfstep.solvers import Problem, get_solver
from halfstep.training import Stopping, train

if TYPE_CHECKING:
    from halfstep.models.fitted import Fitted

__all__ = ["EffectiveParameters", "effective_parameters"]

_SWEEPS = 10  # between two looks at df
_STEP = 1e-3  # ε, as a share of the spread of the ratings
_FLOAT32 = 2.0**-22  # or as a share of the largest, which float32 tells apart


@dataclass(frozen=True, slots=True)
class EffectiveParameters:
    """The effective number of parameters of a fit.

    Attributes
    ----------
    count : float
        df, the mean over the probes.
    standard_error : float
        Of `count`, from the spread of the probes.
    share : float
        df / |Ω|.
    sweeps : int
        The most that a probe ran.
    converged : bool
        Whether all probes stood still.
    probes : array
        df of each.
    """

    count: float
    standard_error: float
    share: float
    sweeps: int
    converged: bool
    probes: Array

    def __str__(self) -> str:
        text = f"{self.count:,.0f} ± {self.standard_error:,.0f} effective parameters"
        return f"{text}, {self.share:.3f} of the ratings ({self.sweeps} sweeps)" + (
            "" if self.converged else ", not converged"
        )


def effective_parameters(
    model: Fitted,
    ratings: Ratings | None = None,
    *,
    probes: int = 4,
    seed: int = 0,
    tol: float = 1e-3,
    max_iter: int = 500,
    backend: str | Backend = "native",
) -> EffectiveParameters:
    """See `FactorModel.effective_parameters` and the head of the module."""
    model._check_fitted()
    for name, value, least in (
        ("probes", probes, 2),
        ("seed", seed, 0),
        ("max_iter", max_iter, 10),
    ):
        check_integer(name, value, least)
    if not is_number(tol) or not 0 < tol < 1:
        raise ParameterError("tol", tol, "must be a number between 0 and 1", "try tol=1e-3")
    if ratings is not None:
        require_ratings(ratings)
    whole = _ratings_of(model) if ratings is None else ratings
    if (whole.users, whole.items) != (model.factors_.user_ids, model.factors_.item_ids):
        raise DataError(
            "ratings", whole, "must be those that the model was fitted on", "leave ratings out"
        )
    runs_on = get_backend(backend, dtype="float64")
    generator = np.random.default_rng(seed)
    found, sweeps, converged = [], 0, True
    for _ in range(probes):
        delta = generator.choice([-1.0, 1.0], size=len(whole))
        df, ran, stood = _probe(model, whole, delta, tol, max_iter, runs_on)
        found.append(df)
        sweeps, converged = max(sweeps, ran), converged and stood
    values = np.array(found)
    count = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return EffectiveParameters(count, error, count / len(whole), sweeps, converged, values)


def _probe(
    model: Fitted,
    ratings: Ratings,
    delta: Array,
    tol: float,
    max_iter: int,
    backend: Backend,
) -> tuple[float, int, bool]:
    """(df, sweeps, whether it stood still) in the direction δ."""
    values = ratings.by_user.values.astype(np.float64)
    step = _STEP * (float(values.std()) or 1.0)
    step = max(step, _FLOAT32 * float(np.abs(values).max()))
    sides = [_Refit(model, ratings, values + sign * step * delta, backend) for sign in (1, -1)]
    # what float32 has made of r ± ε δ
    gap = sides[0].values - sides[1].values
    df, before, sweeps = np.inf, np.inf, 0
    while sweeps < max_iter:
        for side in sides:
            side.run(_SWEEPS)
        sweeps += _SWEEPS
        before = df
        moved = sides[0].fitted() - sides[1].fitted()
        df = float(np.add.reduce(gap * moved) / np.add.reduce(gap * gap)) * len(gap)
        if abs(df - before) <= tol * abs(df):
            return df, sweeps, True
    return df, sweeps, False


class _Refit:
    """A fit of changed ratings that can be continued."""

    def __init__(self, model: Fitted, ratings: Ratings, values: Array, backend: Backend) -> None:
        params: dict[str, Any] = copy.deepcopy(model._fitted_params)
        old = ratings.by_user
        cells = CSR(old.indptr, old.indices, values.astype(np.float32), old.weights)
        changed = Ratings(ratings.users, ratings.items, cells, report=ratings.report)
        mean = changed.mean() if params["center"] else 0.0
        given: Any = model.objective_
        objective = dataclasses.replace(given, mean=mean)
        f = model.factors_
        self.values = cells.values.astype(np.float64)
        self.factors = Factors(
            f.user_factors.astype(np.float64),
            f.item_factors.astype(np.float64),
            None if f.user_bias is None else f.user_bias.astype(np.float64),
            None if f.item_bias is None else f.item_bias.astype(np.float64),
            mean,
            f.user_ids,
            f.item_ids,
        )
        self.problem = Problem.of(changed, objective, f.rank, "float64")
        self.solver = get_solver(
            params["solver"], f.rank, nonnegative=given.nonnegative, complete=changed.is_complete
        )
        self.backend = backend
        self.pairs = (changed.user_index(), cells.indices.astype(np.int64))

    def run(self, sweeps: int) -> None:
        """So many sweeps more."""
        stopping = Stopping(sweeps, 0.0, 1)
        self.factors = train(
            self.problem, self.solver, self.backend, self.factors, stopping=stopping
        ).factors

    def fitted(self) -> Array:
        """r̂ of the ratings."""
        f = self.factors
        return self.backend.predict(
            *self.pairs, f.user_factors, f.item_factors, f.user_bias, f.item_bias, f.mean
        )


def _ratings_of(model: Fitted) -> Ratings:
    """The model's history as Ratings."""
    f = model.factors_
    cells = model._whole_history("effective_parameters")
    report = Report(Source("a model's history", cells.nnz), {}, 0, "error")
    return Ratings(f.user_ids, f.item_ids, cells, report=report)
