"""`ImplicitMF`: clicks, plays and purchases, ranked by b_u + b_i + w_u·z_i."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from halfstep.backends import get_backend
from halfstep.backends.base import Backend
from halfstep.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_rank,
    check_tol,
)
from halfstep.data.pairs import as_interactions
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.rank_validation import RankValidation, check_metric
from halfstep.factors import Factors
from halfstep.implicit import (
    Confidence,
    Counting,
    ImplicitLoss,
    ImplicitScaling,
    ImplicitSquaredError,
)
from halfstep.models.base import FactorModel
from halfstep.models.explicit import SEARCHING, check_reg
from halfstep.models.fitting import held_out_of, listeners_of, warm_start
from halfstep.models.uncertainty import require_noise
from halfstep.objectives import Reg
from halfstep.selection.budget import Clock, seconds_of
from halfstep.selection.result import Selection
from halfstep.solvers import ALS, Problem, Solver, get_solver
from halfstep.training import Callback, Interrupted, Listener, Outcome, Stopping, train

__all__ = ["ImplicitMF"]


class ImplicitMF(FactorModel):
    """Matrix factorization of implicit feedback: interactions and how many of them.

    A cell of the table is a preference p (1 where there is an interaction, else 0) with a
    confidence: c for an observed one, which grows with the count r, and α₀ for every other. With
    ŷ_ui = w_u·z_i (and b_u + b_i with `biases`) a fit minimizes

        "ials"   J = ½ Σ_Ω c_ui (p_ui − ŷ_ui)² + ½ α₀ Σ_all ŷ_ui² + R
        "wrmf"   J = ½ Σ_Ω (α₀ + c_ui)(p_ui − ŷ_ui)² + ½ α₀ Σ_not Ω ŷ_ui² + R
        R = ½ λ_w Σ_u s_u ‖w_u‖² + ½ λ_z Σ_i s_i ‖z_i‖² + ½ λ_b (Σ_u s_u b_u² + Σ_i s_i b_i²)

    the first that of Rendle et al. (2022), the second that of Hu, Koren and Volinsky (2008), of
    `implicit`, Spark and LensKit; `docs/objectives.md` converts their parameters. Σ_all is over all
    pairs of a user and an item with interactions, and is never made. No conversion turns one into
    the other where counts differ.

    Parameters
    ----------
    rank : int or "auto"
        K. More factors than for ratings pay: hundreds to thousands. "auto" chooses it by `metric` on a
        fifth of each user's interactions, as `select` does; `selection_` holds what was tried.
    alpha : float
        α > 0: the confidence of an interaction (of one count).
    alpha0 : float or "auto"
        α₀ > 0: the confidence that a cell without interactions means no preference. 0.01 to 1 times
        alpha; the larger the catalogue, the smaller. Or chosen like the rank.
    reg : float or (float, float, float) or "auto"
        λ ≥ 0: one number, or one for each of users, items and biases; or chosen like the rank.
    reg_scaling : {"frequency", "count", "none"}
        s_u = (interactions of u + α₀ n)^ν, the (stored) interactions of u, or 1.
    nu : float
        ν of "frequency".
    loss : {"ials", "wrmf"}
    confidence : {"linear", "log", "binary"}
        c = α r, c = α ln(1 + r / ε), or c = α whatever the count. Weights multiply c. A count below 0 is
        negative feedback: p = 0 with the confidence of |r|; with "binary" a stored 0 is too.
    epsilon : float
        ε of "log".
    biases : bool
        Whether b_u and b_i are learned, jointly with the factors, or 0. Σ_all holds them near 0; users
        without interactions are then ranked by b_i.
    solver : str or ALS object
        "als" or `ALS()`: exact where that is as fast, else by conjugate gradients; "als-cholesky",
        "als-cg", "als-subspace" or `ALS(linear=…)` say which ("als-subspace" is iALS++).
        "als-accelerated" or `ALS(acceleration="line-search")` needs fewer sweeps.
    max_iter : int
        The most sweeps. Rankings are often best long before J has converged.
    tol : float
        Stop where a sweep lowers J by no more than `tol` times J.
    patience : int
        With `validation`, stop after so many sweeps without a better score.
    metric : str
        What `validation` and `score` measure: "ndcg@10", "recall@20", "map@10", "hit_rate@10", …. An
        interaction is an interaction: "ndcg" is that of `evaluate` called "ndcg_binary".
    dtype : {"float32", "float64"}
        Of the factors.
    seed : int
        Of the initial factors.

    Examples
    --------
    >>> import halfstep as hs
    >>> plays = hs.simulate(300, 100, rank=3, seed=0).ratings
    >>> train, test = hs.split_random(plays, test=0.2, seed=0)
    >>> model = hs.ImplicitMF(rank=8, confidence="binary").fit(train)
    >>> len(model.recommend(0, n=5)[0])
    5
    """

    learns = "interactions"

    def __init__(
        self,
        rank: int | Literal["auto"] = 64,
        *,
        alpha: float = 1.0,
        alpha0: float | Literal["auto"] = 0.1,
        reg: float | Sequence[float] | Literal["auto"] = 0.003,
        reg_scaling: ImplicitScaling = "frequency",
        nu: float = 1.0,
        loss: ImplicitLoss = "ials",
        confidence: Counting = "linear",
        epsilon: float = 1.0,
        biases: bool = False,
        solver: str | Solver = "als",
        max_iter: int = 16,
        tol: float = 1e-4,
        patience: int = 3,
        metric: str = "ndcg@10",
        dtype: Literal["float32", "float64"] = "float32",
        seed: int = 0,
    ) -> None:
        self.rank = rank
        self.alpha = alpha
        self.alpha0 = alpha0
        self.reg = reg
        self.reg_scaling = reg_scaling
        self.nu = nu
        self.loss = loss
        self.confidence = confidence
        self.epsilon = epsilon
        self.biases = biases
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.patience = patience
        self.metric = metric
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
        backend: str | Backend = "native",
        callbacks: Sequence[Callback] = (),
        progress: bool | Listener = False,
        budget: float | str | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        X, y : Ratings; or a table, with counts or without; or pairs of ids, and their counts if any
            The values are counts r; those of a repeated pair are added.
        validation : Ratings, a table or (X, y), optional
            Held-out interactions: `metric` on them is in the trace, the fit stops when it no longer
            rises (`patience`), and the model keeps the factors of the best sweep.
        sample_weight : array, optional
            One weight per interaction (in the order of `X.by_user` for Ratings): it multiplies c.
        init : fitted model, optional
            Warm start: users and items that it knows begin with its factors.
        selection : Selection, optional
            What to take for rank, alpha0 and reg where they are "auto", in place of a new selection:
            that of another model (`selection_`), or of `select`.
        backend : {"native", "numpy"} or Backend
            Where the arithmetic runs. Not stored in the model.
        callbacks : sequence of callables
            Called with the `TraceRow` of every sweep; a true return value stops the fit.
        progress : bool
            Show a progress line on the terminal.
        budget : float or text, optional
            The most time for the selection, where there is one, and the fit: seconds, or text such as
            "60s". What is reached then depends on the machine.

        Returns
        -------
        the model itself

        Raises
        ------
        ParameterError, DataError, SingularSystemError, BackendError
        KeyboardInterrupt
            After Ctrl-C. Where at least one sweep was finished after the choice, the model is fitted.
        """
        settings = self._check()
        clock = Clock(seconds_of(budget))
        runs_on = get_backend(backend, dtype=str(self.dtype))
        if selection is not None:
            self._check_selection(selection, settings)
        ratings = as_interactions(X, y, sample_weight)
        self._confidence().check(ratings)
        part = None if validation is None else held_out_of(validation, as_interactions)
        held_out = None
        if part is not None:
            ids = ratings.users, ratings.items
            held_out = RankValidation.of(part, ids, ratings.by_user, str(self.metric))
        if settings.open:
            if selection is None:
                selection = self._select(ratings, part, runs_on, progress, clock)
            settings = settings.settled(selection, validated=part is not None)
        assert settings.rank is not None
        assert settings.reg is not None
        assert settings.alpha0 is not None
        stopping = replace(settings.stopping, deadline=clock.deadline)
        objective = self._objective(settings.reg, settings.alpha0).fitted_to(ratings)
        start = self._start(ratings, warm_start(init, settings.rank), settings.rank)
        problem = Problem.of(ratings, objective, start.rank, start.dtype)
        solver = get_solver(self.solver, start.rank, counts=problem.counts)
        try:
            with listeners_of(progress, stopping.max_iter) as listeners:
                outcome = train(
                    problem,
                    solver,
                    runs_on,
                    start,
                    stopping=stopping,
                    validation=held_out,
                    callbacks=callbacks,
                    listeners=listeners,
                )
        except Interrupted as interrupt:
            if interrupt.outcome is not None:
                self._keep(interrupt.outcome, ratings, objective, solver, selection)
            raise
        self._keep(outcome, ratings, objective, solver, selection)
        return self

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """`metric` of the users' lists against held-out interactions, higher is better.

        Lists leave out what the model was fitted on. Users without interactions there are not counted,
        and `sample_weight` has no part in it.
        """
        self._check_fitted()
        part = as_interactions(X, y)
        ids = self.factors_.user_ids, self.factors_.item_ids
        history = self._whole_history("score")
        held_out = RankValidation.of(part, ids, history, str(self.metric), "X")
        runs_on = get_backend("native", dtype=self.factors_.dtype)
        measured = held_out.measure(self.factors_, runs_on).score
        assert measured is not None
        return measured

    def effective_parameters(self, *given: Any, **named: Any) -> Any:
        """Refused: they count changes of ratings, and there are none."""
        raise self._no_ratings("effective parameters")

    def _residuals(self, X: Any, y: Any, clip: bool) -> Any:
        """Refused: `rmse` and `mae` are of ratings."""
        raise self._no_ratings("RMSE or MAE")

    def _interval(self, *given: Any) -> Any:
        require_noise(self)

    def _no_ratings(self, what: str) -> ParameterError:
        return ParameterError(
            "model",
            type(self).__name__,
            f"predicts scores to rank by, not ratings, and has no {what}",
            'use score(test), or evaluate(model, test, "ndcg@10")',
        )

    def _confidence(self) -> Confidence:
        return Confidence(self.confidence, float(self.alpha), float(self.epsilon))

    def _objective(
        self, reg: Reg, alpha0: float, users: int = 0, items: int = 0, level: float = 1.0
    ) -> ImplicitSquaredError:
        return ImplicitSquaredError(
            self.loss,
            self._confidence(),
            alpha0,
            reg,
            self.reg_scaling,
            float(self.nu),
            bool(self.biases),
            users,
            items,
            level,
        )

    def _start(self, ratings: Ratings, known: Factors | None, K: int) -> Factors:
        """W with independent normal entries of standard deviation 0.1 / √K, but for what is known.

        That of Rendle et al. (2022, §4). Rows without interactions are 0.
        """
        m, n = ratings.shape
        users = np.random.default_rng(int(self.seed)).standard_normal((m, K), dtype=np.float32)
        users *= np.float32(0.1 / np.sqrt(K))
        items = np.zeros((n, K), dtype=self.dtype)
        start = Factors(
            users.astype(self.dtype),
            items,
            np.zeros(m, dtype=self.dtype) if self.biases else None,
            np.zeros(n, dtype=self.dtype) if self.biases else None,
            0.0,
            ratings.users,
            ratings.items,
        )
        if known is not None:
            start = start.started_from(known)
        for cells, (rows, own) in (
            (ratings.by_user, start.user_side),
            (ratings.by_item, start.item_side),
        ):
            empty = np.diff(cells.indptr) == 0
            rows[empty] = 0
            if own is not None:
                own[empty] = 0
        return start

    def _keep(
        self,
        outcome: Outcome,
        ratings: Ratings,
        objective: ImplicitSquaredError,
        solver: Solver,
        selection: Selection | None,
    ) -> None:
        self._forget("departure_", "distance_", "_by_item", "_told_items")
        self._fitted_params = self.get_params()  # set_params after the fit does not reach the file
        self.factors_ = outcome.factors
        self.trace_ = outcome.trace
        self.n_iter_ = len(outcome.trace)
        self.best_iter_ = outcome.best_sweep
        self.stopped_ = outcome.stopped
        self.history_ = ratings.by_user
        self.scale_ = (0.0, 1.0)
        self.objective_ = objective
        self.selection_ = selection
        self.calibration_ = None
        self.data_summary_ = ratings.facts()
        self.n_features_in_ = 2
        self._exact_users = solver.ends_with_users

    def _select(
        self,
        ratings: Ratings,
        validation: Ratings | None,
        backend: Backend,
        progress: bool | Listener,
        clock: Clock,
    ) -> Selection:
        """What is best for these interactions, by a part of them or by the validation ones."""
        from halfstep.selection.implicit import choose_implicit

        return choose_implicit(
            self,
            ratings,
            validation=validation,
            backend=backend,
            clock=clock.part(SEARCHING),
            seed=int(self.seed),
            progress=progress is True,
        )

    def _check(self) -> _Settings:
        """The parameters, checked; K, α₀ and λ as far as they are given."""
        rank, alpha0, reg = (_given(value) for value in (self.rank, self.alpha0, self.reg))
        if isinstance(rank, str):
            raise ParameterError("rank", rank, "is not a rank", 'pass an integer, or rank="auto"')
        check_rank(1 if rank is None else rank)
        for name in ("max_iter", "patience"):
            check_integer(name, getattr(self, name), 1)
        check_integer("seed", self.seed, 0)
        for name, given, example in (
            ("alpha", self.alpha, 1.0),
            ("alpha0", 0.1 if alpha0 is None else alpha0, 0.1),
            ("epsilon", self.epsilon, 1.0),
        ):
            check_number(name, given, positive=True, example=example)
        check_number("nu", self.nu, positive=False, example=1.0)
        for name, choices in (
            ("loss", ("ials", "wrmf")),
            ("confidence", ("linear", "log", "binary")),
            ("reg_scaling", ("frequency", "count", "none")),
            ("dtype", ("float32", "float64")),
        ):
            check_choice(name, getattr(self, name), choices)
        check_flag("biases", self.biases)
        check_tol(self.tol)
        check_metric(self.metric)
        if not isinstance(get_solver(self.solver, 1 if rank is None else int(rank)), ALS):
            raise ParameterError(
                "solver", self.solver, "does not minimize this objective", 'pass solver="als"'
            )
        return _Settings(
            None if rank is None else int(rank),
            None if alpha0 is None else float(alpha0),
            None if reg is None else check_reg(reg),
            Stopping(int(self.max_iter), float(self.tol), int(self.patience)),
        )

    def _check_selection(self, selection: object, settings: _Settings) -> None:
        """That it has what this model leaves open."""
        if not isinstance(selection, Selection):
            raise ParameterError(
                "selection", selection, "must be a Selection", "pass selection_ or hs.select(…)"
            )
        if not settings.open:
            raise ParameterError(
                "selection",
                selection,
                "has no effect",
                'pass rank="auto", alpha0="auto" or reg="auto"',
            )
        chosen = selection.chosen
        if chosen.alpha0 is None:
            raise ParameterError(
                "selection",
                selection,
                "is of a model of ratings",
                "select with model=ImplicitMF(…)",
            )
        if settings.reg is None and chosen.reg_scaling != self.reg_scaling:
            raise ParameterError(
                "selection",
                selection,
                f'chose λ for reg_scaling="{chosen.reg_scaling}", and the model has '
                f'"{self.reg_scaling}"',
                f'select with reg_scaling="{self.reg_scaling}"',
            )


def _given(value: Any) -> Any:
    """None where it is to be chosen."""
    return None if isinstance(value, str) and value == "auto" else value


@dataclass(frozen=True, slots=True)
class _Settings:
    """K, α₀ and λ, None where they are to be chosen, and when to stop."""

    rank: int | None
    alpha0: float | None
    reg: Reg | None
    stopping: Stopping

    @property
    def open(self) -> bool:
        """Whether something is left to choose."""
        return self.rank is None or self.alpha0 is None or self.reg is None

    def settled(self, selection: Selection, *, validated: bool) -> _Settings:
        """These with what the selection chose; where no validation part stops the fit, its sweeps."""
        chosen, stopping = selection.chosen, self.stopping
        if not validated and selection.sweeps is not None:
            stopping = replace(stopping, max_iter=selection.sweeps, tol=0.0)
        return _Settings(
            chosen.rank if self.rank is None else self.rank,
            chosen.alpha0 if self.alpha0 is None else self.alpha0,
            chosen.reg if self.reg is None else self.reg,
            stopping,
        )
