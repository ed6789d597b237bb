"""`ExplicitMF`: ratings predicted by μ + b_u + b_i + w_u·z_i."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from halfstep.backends import get_backend
from halfstep.backends.base import Backend
from halfstep.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_rank,
    check_tol,
    is_number,
)
from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.factors import Factors
from halfstep.features.design import Designs, Tables
from halfstep.models.base import FactorModel
from halfstep.models.fitting import held_out_of, listeners_of, warm_start
from halfstep.models.growth import FIRST_RANK, Stage, grow
from halfstep.objectives import Reg, Scaling, SquaredError
from halfstep.selection.budget import Clock, seconds_of
from halfstep.selection.result import Selection
from halfstep.solvers import ALS, Problem, Solver, get_solver
from halfstep.training import (
    Callback,
    Interrupted,
    Listener,
    Outcome,
    Stopping,
    Validation,
    train,
)

__all__ = ["SEARCHING", "ExplicitMF", "check_reg"]


class ExplicitMF(FactorModel):
    """Matrix factorization of explicit ratings.

    Predicts r̂_ui = μ + b_u + b_i + w_u·z_i and minimizes, over the observed cells Ω,

        J = ½ Σ_Ω c_ui (r_ui − r̂_ui)²
            + ½ λ_w Σ_u s_u ‖w_u‖² + ½ λ_z Σ_i s_i ‖z_i‖² + ½ λ_b (Σ_u s_u b_u² + Σ_i s_i b_i²)

    with μ the weighted mean of the ratings, s = n_u, n_i (the sums of the weights of a row) where
    `reg_scaling="count"`, √n_u, √n_i where it is "sqrt" and 1 where it is "none". At a minimum the
    factors are the maximum a posteriori estimate of probabilistic matrix factorization (Salakhutdinov
    and Mnih 2007). With features the rows are drawn to a linear map of them in place of 0; see
    `docs/objectives.md`.

    Parameters
    ----------
    rank : int, "auto" or "grow"
        K, the number of factors. "grow" finds it: the rank of the solution of the convex problem that J
        becomes when K is free, so that λ alone decides (`models/growth.py`). The fit begins with a few
        factors, appends those that the certificate of global optimality (`certificate`) asks for, drops
        those that J is lower without, and ends where the certificate's gap is at most `tol`; `rank_` is
        what it found, `growth_` how. Needs reg > 0 for users and items. With `validation` the fit stops
        at whatever rank the error no longer falls.
        "auto" chooses it by held-out error, as `select` does; `selection_` holds what was tried.
    reg : float or (float, float, float) or "auto"
        λ ≥ 0: one number, or one for each of users, items and biases; or chosen like the rank.
    implicit_features : bool
        Which items a user has rated, whatever the ratings, as features of the user, and who has rated it
        as features of an item (`implicit_features`): their rows are drawn to a linear map of these in
        place of 0, as in SVD++. Predicts better, and a sweep takes longer (`docs/solvers.md`). With
        these or with tables of features (`fit`) the solver is "als", and `nonnegative`, rank="grow",
        `certificate` and `effective_parameters` are not to be had.
    feature_reg : float or "auto"
        λ_f > 0 of the map of features; see `SquaredError`. "auto": 1.5 times λ of the side's factors,
        times the mean of s over its rows.
    reg_scaling : {"auto", "count", "sqrt", "none"}
        How a row's penalty grows with its number of ratings: as it, as its root, or not. "auto" is
        chosen with reg="auto" (of "none" and "count", and with features of "none" and "sqrt"), and else
        "count", because plain λ depends on the size of the data.
    biases : bool
        Whether b_u and b_i are learned (jointly with the factors) or 0.
    center : bool
        Whether μ is the mean of the ratings or 0.
    nonnegative : bool
        Whether W ≥ 0 and Z ≥ 0, so that factors only add up (biases and μ are free). The classical
        non-negative matrix factorization is nonnegative=True, biases=False, center=False.
    solver : str or solver object
        "als" or `ALS()`: alternating least squares, exact up to rank 64 and by conjugate gradients
        above; "als-cholesky", "als-cg", "als-subspace" or `ALS(linear=…)` say which. Where no rating
        is missing, one factorization serves all rows and "als" is exact at any rank. "sgd" or `SGD()`:
        stochastic gradient descent. "gd" or `GD()`: batch gradient descent. "lbfgs" or `LBFGS()`:
        quasi-Newton steps. With `nonnegative`, of the first group "als" alone.
    max_iter : int
        The most sweeps; with rank="grow" over all ranks together (give it some hundred).
    tol : float
        Stop where a sweep lowers J by no more than `tol` times J; "sgd" and a constant step of `GD`
        may raise J, and go on where it rose. With rank="grow" the gap (J − D)/J to reach; float32 can
        reach about 1e-6.
    patience : int
        With `validation`, stop after so many sweeps without a better error.
    dtype : {"float32", "float64"}
        Of the factors.
    seed : int
        Of the initial factors.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(200, 100, rank=3, seed=0).ratings
    >>> train, test = hs.split_random(ratings, test=0.1, seed=0)
    >>> model = hs.ExplicitMF(rank=3, reg=0.05).fit(train)
    >>> model.rmse(test) < hs.baseline_rmse(train, test)["biases only"]
    True
    """

    def __init__(
        self,
        rank: int | Literal["grow", "auto"] = 32,
        *,
        reg: float | Sequence[float] | Literal["auto"] = 0.1,
        reg_scaling: Literal["auto", "count", "sqrt", "none"] = "auto",
        biases: bool = True,
        center: bool = True,
        nonnegative: bool = False,
        implicit_features: bool = False,
        feature_reg: float | Literal["auto"] = "auto",
        solver: str | Solver = "als",
        max_iter: int = 50,
        tol: float = 1e-4,
        patience: int = 3,
        dtype: Literal["float32", "float64"] = "float32",
        seed: int = 0,
    ) -> None:
        self.rank = rank
        self.reg = reg
        self.reg_scaling = reg_scaling
        self.biases = biases
        self.center = center
        self.nonnegative = nonnegative
        self.implicit_features = implicit_features
        self.feature_reg = feature_reg
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.patience = patience
        self.dtype = dtype
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: npt.ArrayLike | None = None,
        *,
        validation: Any = None,
        sample_weight: npt.ArrayLike | None = None,
        init: FactorModel | None = None,
        selection: Selection | None = None,
        user_features: Any = None,
        item_features: Any = None,
        backend: str | Backend = "native",
        callbacks: Sequence[Callback] = (),
        progress: bool | Listener = False,
        budget: float | str | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        X, y : Ratings; or a table with a rating column; or pairs of ids and their ratings
        validation : Ratings or (X, y), optional
            Held-out ratings: their RMSE is in the trace, the fit stops when it no longer falls
            (`patience`), and the model keeps the factors of the best sweep.
        sample_weight : array, optional
            c_ui: one weight per rating (in the order of `X.by_user` for Ratings).
        init : fitted model, optional
            Warm start: users and items that it knows begin with its factors. Where this rank is
            larger, the other columns begin at random; where it is smaller, with the first columns of
            canonical axes. With rank="grow" it grows from there.
        selection : Selection, optional
            What to take for rank, reg and their scaling where they are "auto", in place of a new
            selection: that of another model (`selection_`), or of `select`.
        user_features, item_features : Features, a table, or a pair (matrix, ids), optional
            What is known of users and items beside their ratings. Rows are drawn to a linear map of
            their features, which is learned too; users and items without ratings, which the tables may
            hold, become what their features lead to expect. The model remembers the tables.
        backend : {"native", "numpy"} or Backend
            Where the arithmetic runs. Not stored in the model.
        callbacks : sequence of callables
            Called with the `TraceRow` of every sweep; a true return value stops the fit.
        progress : bool
            Show a progress line on the terminal.
        budget : float or text, optional
            The most time for the selection, where there is one, and the fit: seconds, or text such as
            "60s" or "10min". What is reached then depends on the machine.

        Returns
        -------
        the model itself

        Raises
        ------
        ParameterError, DataError, DuplicatesError, SingularSystemError, BackendError
        KeyboardInterrupt
            After Ctrl-C. Where at least one sweep was finished after the choice, the model is fitted
            and holds the last finished one, or with `validation` the best
            (`stopped_ == "interrupted"`).
        """
        settings = self._check()
        clock = Clock(seconds_of(budget))
        runs_on = get_backend(backend, dtype=str(self.dtype))
        tables = Tables.of(user_features, item_features, implicit=bool(self.implicit_features))
        if tables.any:
            self._check_features(settings)
        ratings = tables.extended(as_ratings(X, y, sample_weight))
        part = None if validation is None else held_out_of(validation)
        held_out = None if part is None else Validation.of(part, ratings)
        if selection is not None:
            self._check_selection(selection, settings)
        if settings.open:
            if selection is None:
                selection = self._select(ratings, part, tables, runs_on, progress, clock)
            settings = settings.settled(selection, validated=part is not None)
        assert settings.reg is not None
        assert settings.reg_scaling != "auto"
        designs = tables.designs(ratings)
        objective = self._objective(ratings, settings.reg, settings.reg_scaling, designs)
        rank = self._first_rank(settings, init)
        start = self._start(ratings, objective, rank, self._warm(init, rank))
        stages: list[Stage] = []
        stopping = replace(settings.stopping, deadline=clock.deadline)
        try:
            with listeners_of(progress, stopping.max_iter) as listeners:
                if settings.rank == "grow":
                    outcome = grow(
                        ratings,
                        objective,
                        lambda rank: self._solver(rank, complete=ratings.is_complete),
                        runs_on,
                        start,
                        stopping=stopping,
                        validation=held_out,
                        callbacks=callbacks,
                        listeners=listeners,
                        stages=stages,
                    )
                else:
                    outcome = train(
                        Problem.of(ratings, objective, rank, start.dtype),
                        self._solver(rank, complete=ratings.is_complete),
                        runs_on,
                        start,
                        stopping=stopping,
                        validation=held_out,
                        callbacks=callbacks,
                        listeners=listeners,
                    )
        except Interrupted as interrupt:
            if interrupt.outcome is not None:
                self._keep(interrupt.outcome, ratings, objective, stages, selection)
                self._keep_features(tables, designs)
            raise
        self._keep(outcome, ratings, objective, stages, selection)
        self._keep_features(tables, designs)
        return self

    def _first_rank(self, settings: _Settings, init: FactorModel | None) -> int:
        """K of the start: where it grows, that of `init` or a few."""
        if not isinstance(settings.rank, str):
            return settings.rank
        if isinstance(init, FactorModel) and hasattr(init, "factors_"):
            return init.rank_
        return FIRST_RANK

    def _objective(
        self,
        ratings: Ratings,
        reg: Reg,
        scaling: Scaling,
        designs: Designs,
    ) -> SquaredError:
        objective = SquaredError(
            ratings.mean() if self.center else 0.0,
            reg,
            scaling,
            bool(self.biases),
            bool(self.nonnegative),
        )
        return objective.with_features(ratings, designs, self.feature_reg)

    def _start(
        self, ratings: Ratings, objective: SquaredError, rank: int, known: Factors | None
    ) -> Factors:
        """Random factors, but for the rows and columns that are known."""
        start = Factors.random(
            ratings,
            rank,
            biases=objective.biases,
            mean=objective.mean,
            dtype=str(self.dtype),
            seed=int(self.seed),
            nonnegative=objective.nonnegative,
        )
        if objective.features is not None:
            sides = objective.features.user, objective.features.item
            start = start.with_maps(*(None if side is None else side.width for side in sides))
        return start if known is None else start.started_from(known)

    def _keep(
        self,
        outcome: Outcome,
        ratings: Ratings,
        objective: SquaredError,
        stages: list[Stage],
        selection: Selection | None,
    ) -> None:
        self._forget("growth_", "departure_", "distance_", "_noise", "_by_item", "_told_items")
        self._fitted_params = self.get_params()  # set_params after the fit does not reach the file
        self.factors_ = outcome.factors
        self.trace_ = outcome.trace
        self.n_iter_ = len(outcome.trace)
        self.best_iter_ = outcome.best_sweep
        self.stopped_ = outcome.stopped
        self.history_ = ratings.by_user
        self.scale_ = ratings.scale()
        self.objective_ = replace(objective, features=None)  # X would stay in memory
        self.selection_ = selection
        self.calibration_ = None
        self.data_summary_ = ratings.facts()
        self.n_features_in_ = 2  # scikit-learn's name for the number of columns of X
        if self.rank == "grow":
            self.growth_ = tuple(stages)
        self._exact_users = self._solver(self.rank_, complete=ratings.is_complete).ends_with_users

    def _keep_features(self, tables: Tables, designs: Designs) -> None:
        self.features_ = designs.without_rows()
        self._tables = tables.user, tables.item

    def _check_features(self, settings: _Settings) -> None:
        """That this model can be fitted with features."""
        solver: Any = self._solver(1, complete=False)
        for name, value, wrong, remedy in (
            ("solver", self.solver, not isinstance(solver, ALS), 'pass solver="als"'),
            ("nonnegative", True, bool(self.nonnegative), "pass nonnegative=False"),
            ("rank", "grow", settings.rank == "grow", 'pass an integer, or rank="auto"'),
        ):
            if wrong:
                raise ParameterError(name, value, "cannot be had with features", remedy)
        reg = settings.reg
        if self.feature_reg == "auto" and reg is not None and not min(reg.user, reg.item) > 0:
            raise ParameterError(
                "feature_reg",
                "auto",
                "needs reg > 0 for users and items, of which it is a multiple",
                "pass a number",
            )

    def _check(self) -> _Settings:
        """The parameters, checked; K, λ and its scaling as far as they are given."""
        rank, reg, scaling = self.rank, self.reg, self.reg_scaling
        if isinstance(rank, str) and rank not in ("grow", "auto"):
            raise ParameterError(
                "rank", rank, "is not a rank", 'pass an integer, rank="auto" or rank="grow"'
            )
        whole = 1 if isinstance(rank, str) else rank
        check_integer("max_iter", self.max_iter, 1)
        check_integer("patience", self.patience, 1)
        check_integer("seed", self.seed, 0)
        check_rank(whole)
        for name, choices in (
            ("reg_scaling", ("auto", "count", "sqrt", "none")),
            ("dtype", ("float32", "float64")),
        ):
            check_choice(name, getattr(self, name), choices)
        for name in ("biases", "center", "nonnegative", "implicit_features"):
            check_flag(name, getattr(self, name))
        if rank == "grow" and self.nonnegative:
            raise ParameterError(
                "nonnegative",
                True,
                'cannot be had with rank="grow", which needs a certificate',
                "pass an integer rank",
            )
        check_tol(self.tol)
        strength: Any = self.feature_reg
        if strength != "auto" and not (is_number(strength) and 0 < strength <= _LARGEST):
            raise ParameterError(
                "feature_reg", strength, 'must be a finite number > 0, or "auto"', 'try "auto"'
            )
        given = None if isinstance(reg, str) and reg == "auto" else check_reg(reg)
        if rank == "grow" and (given is None or not (given.user > 0 and given.item > 0)):
            raise ParameterError(
                "reg",
                reg,
                'must be given, and positive for users and items, with rank="grow": it decides the rank',
                "try reg=0.1",
            )
        self._solver(int(whole), complete=False)
        if scaling == "auto" and given is not None:
            scaling = "count"
        stopping = Stopping(int(self.max_iter), float(self.tol), int(self.patience))
        settings = _Settings(rank if isinstance(rank, str) else int(rank), given, scaling, stopping)
        if self.implicit_features:
            self._check_features(settings)
        return settings

    @staticmethod
    def _check_selection(selection: object, settings: _Settings) -> None:
        """That it has what this model leaves open."""
        if not isinstance(selection, Selection):
            raise ParameterError(
                "selection", selection, "must be a Selection", "pass selection_ or hs.select(…)"
            )
        if not settings.open:
            raise ParameterError(
                "selection", selection, "has no effect", 'pass rank="auto" or reg="auto"'
            )
        if selection.metric != "rmse":
            raise ParameterError(
                "selection",
                selection,
                "is of a model of interactions",
                "select with model=ExplicitMF(…)",
            )
        scaling = selection.chosen.reg_scaling
        if settings.reg is None and settings.reg_scaling not in ("auto", scaling):
            raise ParameterError(
                "selection",
                selection,
                f'chose λ for reg_scaling="{scaling}", and the model has "{settings.reg_scaling}"',
                f'pass reg_scaling="auto", or select with "{settings.reg_scaling}"',
            )

    def _solver(self, rank: int, *, complete: bool) -> Solver:
        """The solver, settled for K = `rank` and for ratings of which none is missing (`complete`)."""
        return get_solver(self.solver, rank, nonnegative=bool(self.nonnegative), complete=complete)

    def _warm(self, init: FactorModel | None, rank: int) -> Factors | None:
        """The factors of `init`, of which there must be no more than K."""
        return warm_start(init, rank, nonnegative=bool(self.nonnegative))

    def _select(
        self,
        ratings: Ratings,
        validation: Ratings | None,
        tables: Tables,
        backend: Backend,
        progress: bool | Listener,
        clock: Clock,
    ) -> Selection:
        """What is best for these ratings, by a part of them or by the validation ratings."""
        from halfstep.selection.parts import Parts, part_of
        from halfstep.selection.select import choose

        return choose(
            self,
            ratings,
            tables=tables,
            parts=None if validation is None else Parts([part_of(ratings, validation)], 1),
            backend=backend,
            clock=clock.part(SEARCHING),
            seed=int(self.seed),
            progress=progress is True,
        )


@dataclass(frozen=True, slots=True)
class _Settings:
    """K, λ and its scaling, as far as they are settled, and when to stop."""

    rank: int | Literal["grow", "auto"]
    reg: Reg | None
    reg_scaling: Scaling | Literal["auto"]
    stopping: Stopping

    @property
    def open(self) -> bool:
        """Whether something is left to choose."""
        return self.rank == "auto" or self.reg is None

    def settled(self, selection: Selection, *, validated: bool) -> _Settings:
        """These with what the selection chose; where no validation part stops the fit, its sweeps."""
        stopping = self.stopping
        if not validated and selection.sweeps is not None:
            stopping = replace(stopping, max_iter=selection.sweeps, tol=0.0)
        chosen = selection.chosen
        rank = chosen.rank if self.rank == "auto" else self.rank
        if self.reg is not None:
            return _Settings(rank, self.reg, self.reg_scaling, stopping)
        return _Settings(rank, chosen.reg, cast("Scaling", chosen.reg_scaling), stopping)


SEARCHING = 0.75
"""Of the budget; the rest is for the fit itself."""
_LARGEST = float(np.finfo(np.float32).max)


def check_reg(reg: Any) -> Reg:
    """λ_w, λ_z and λ_b from one number or three.

    >>> check_reg(0.1)
    Reg(user=0.1, item=0.1, bias=0.1)
    """
    values = list(reg) if isinstance(reg, (list, tuple, np.ndarray)) and np.ndim(reg) else [reg] * 3
    if len(values) != 3 or not all(is_number(v) and 0 <= v <= _LARGEST for v in values):
        raise ParameterError(
            "reg",
            reg,
            "must be one finite number ≥ 0, or three: for users, items and biases",
            "try reg=0.1",
        )
    return Reg(*(float(v) for v in values))
