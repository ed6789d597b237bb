"""`RankingMF`: what a user takes, ranked above what they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn, Self

import numpy as np
import numpy.typing as npt

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_rank,
    check_tol,
    is_number,
)
from halfstep.data.ids import IdMap
from halfstep.data.pairs import as_interactions
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.rank_validation import RankValidation, check_metric
from halfstep.factors import Factors
from halfstep.features.features import Features
from halfstep.models.asked import AskedLists
from halfstep.models.base import FactorModel
from halfstep.models.explicit import check_reg
from halfstep.models.fitting import held_out_of, listeners_of, warm_start
from halfstep.models.foldin import FoldedIn
from halfstep.objectives import Reg, Side
from halfstep.pairwise import LOSSES, Loss, Pairs, RankingObjective, positive_cells, positives_of
from halfstep.solvers.base import Problem, Solver
from halfstep.solvers.ranking import Drawing, RankingSGD, folded_users
from halfstep.training import (
    Callback,
    HeldOut,
    Interrupted,
    Listener,
    Outcome,
    Stopping,
    train,
)

__all__ = ["RankingMF"]

_RATES = {"bpr": 0.5, "warp": 0.1, "logistic": 0.5, "softmax": 0.3}
"""η of "adagrad"."""
_PLAIN = 0.1
"""Of that: η_1 of the other schedules."""
_SPREAD = 0.1
"""Standard deviation of w·z at the start is its square; small, so that the first steps find the
directions."""


class RankingMF(FactorModel):
    """Matrix factorization that ranks a user's positives above the other items.

    A positive is a stored cell with a value above 0 (whatever the value: see `alpha`). The score is

        x_ui = w_u·z_i + b_i

    and the mean over all positives (u, i), each with N = `negatives` items j drawn from those that
    are no positives of u, of

        "bpr"        1/N Σ_j −ln σ(x_ui − x_uj)
        "warp"       the first j with x_uj > x_ui − margin among N, weighted by how soon it was found
        "logistic"   −ln σ(x_ui) − 1/c Σ_j ln σ(−x_uj)
        "softmax"    −ln(e^{x_ui} / (e^{x_ui} + Σ_j e^{x_uj}))
        + ½ (λ_w ‖w_u‖² + λ_z ‖z_i‖² + λ_b b_i²) + ½ e/c Σ_j (λ_z ‖z_j‖² + λ_b b_j²)

    weighted by c (e = c/N; logistic: 1), is made small by stochastic gradient descent: one step
    for every positive in an epoch, with other negatives in every epoch. The result is the same
    bits for any number of threads. Sources: Rendle, Freudenthaler, Gantner and Schmidt-Thieme
    (2009, «BPR: Bayesian Personalized Ranking from Implicit Feedback»); Weston, Bengio and Usunier
    (2011, «WSABIE»); Johnson (2014, «Logistic Matrix Factorization for Implicit Feedback Data»);
    Zhang, Chen, Wang and Yu (2013) for `hard`.

    Parameters
    ----------
    rank : int
        K.
    loss : {"bpr", "warp", "logistic", "softmax"}
    negatives : int, optional
        N. Default: 1; 100 for "warp" (the most that it looks at), 4 for "logistic", 32 for
        "softmax".
    sampling : {"uniform", "popularity"} or float
        How likely an item is drawn: all alike, or as the number of its positives to the power 0.75
        ("popularity") or another one.
    hard : bool
        Of "bpr" and "logistic": of the N negatives only the one with the highest score counts.
    margin : float
        Of "warp".
    alpha : float, optional
        Where given, a positive of value r has the weight c = alpha · r, else 1; times its own
        weight. A step is as long as its c: where some are well above 1, lower `rate`, or the
        factors grow without bound (J in the trace rises).
    reg : float or (float, float, float)
        λ, or λ_w, λ_z and λ_b: penalties of every step.
    item_bias : bool
        Whether b_i is in the model.
    rate : float, optional
        η of the first epoch. Default with "adagrad": 0.5 ("bpr", "logistic"), 0.3 ("softmax") or 0.1
        ("warp"); without it a tenth of that.
    schedule : {"adagrad", "decay", "constant"}
        How rates change: see `solvers/ranking.py`.
    decay : float
        Of "decay": η_t = η_1 / (1 + decay (t − 1)).
    max_iter : int
        Epochs.
    tol : float
        A fit ends when J falls by less than this share of itself in an epoch; J is over a fixed
        sample of 262,144 pairs.
    patience : int
        With `validation`: epochs without improvement before the fit ends.
    metric : str
        What `validation` and `score` measure: "ndcg@10", "recall@20", …; or "auc", the share of pairs of
        a held-out positive and a random other item that are in the right order.
    dtype : {"float32", "float64"}
        Of the factors.
    seed : int
        Of the start, the order of the steps and all that is drawn.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 100, rank=3, seed=0).ratings
    >>> train, test = hs.split_random(ratings, test=0.1, seed=0)
    >>> model = hs.RankingMF(rank=8, max_iter=20, metric="auc").fit(train)
    >>> model.score(test) > 0.6
    True
    >>> user = train.users.id_at(0)
    >>> len(model.recommend(user, n=5)[user])
    5
    """

    def __init__(
        self,
        rank: int = 64,
        *,
        loss: Loss = "bpr",
        negatives: int | None = None,
        sampling: float | Literal["uniform", "popularity"] = "uniform",
        hard: bool = False,
        margin: float = 1.0,
        alpha: float | None = None,
        reg: float | tuple[float, float, float] = 0.002,
        item_bias: bool = True,
        rate: float | None = None,
        schedule: Literal["adagrad", "decay", "constant"] = "adagrad",
        decay: float = 0.1,
        max_iter: int = 50,
        tol: float = 0.0,
        patience: int = 5,
        metric: str = "ndcg@10",
        dtype: Literal["float32", "float64"] = "float32",
        seed: int = 0,
    ) -> None:
        self.rank = rank
        self.loss = loss
        self.negatives = negatives
        self.sampling = sampling
        self.hard = hard
        self.margin = margin
        self.alpha = alpha
        self.reg = reg
        self.item_bias = item_bias
        self.rate = rate
        self.schedule = schedule
        self.decay = decay
        self.max_iter = max_iter
        self.tol = tol
        self.patience = patience
        self.metric = metric
        self.dtype = dtype
        self.seed = seed

    objective_: RankingObjective
    learns = "interactions"

    def fit(
        self,
        X: Any,
        y: npt.ArrayLike | None = None,
        *,
        validation: Any = None,
        sample_weight: npt.ArrayLike | None = None,
        init: FactorModel | None = None,
        backend: str | Backend = "native",
        callbacks: Sequence[Callback] = (),
        progress: bool | Listener = False,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        X, y : Ratings; or a table; or pairs of ids and their values (counts)
        validation : Ratings, a table or (X, y), optional
            Held-out positives: `metric` on them is in the trace, the fit stops when it no longer rises
            (`patience`), and the model keeps the factors of the best epoch.
        sample_weight : array, optional
            One weight per cell (in the order of `X.by_user` for Ratings).
        init : fitted model, optional
            Warm start: users and items that it knows begin with its factors.
        backend : {"native", "numpy"} or Backend
            Where the arithmetic runs. Not stored in the model.
        callbacks : sequence of callables
            Called with the `TraceRow` of every epoch; a true return value stops the fit.
        progress : bool
            Show a progress line on the terminal.

        Returns
        -------
        the model itself

        Raises
        ------
        ParameterError, DataError, DuplicatesError, DivergedError, BackendError
        KeyboardInterrupt
            After Ctrl-C. Where at least one epoch was finished, the model is fitted and holds the
            last finished one, or with `validation` the best (`stopped_ == "interrupted"`).
        """
        solver, reg = self._check()
        runs_on = get_backend(backend, dtype=str(self.dtype))
        ratings = as_interactions(X, y, sample_weight)
        positives = positives_of(ratings, None if self.alpha is None else float(self.alpha))
        held_out = None
        if validation is not None:
            ids = positives.users, positives.items
            part = held_out_of(validation, as_interactions)
            held_out = self._held_out("validation", part, ids, ratings.by_user)
        start = self._start(positives, warm_start(init, int(self.rank)))
        generator = np.random.default_rng([int(self.seed), 0])
        pairs = Pairs.of(positives.by_user, positives.shape[1], self._compared(solver), generator)
        objective = self._objective(solver, reg, pairs)
        stopping = Stopping(int(self.max_iter), float(self.tol), int(self.patience))
        try:
            with listeners_of(progress, stopping.max_iter) as listeners:
                outcome = train(
                    Problem(positives, objective, positives.by_user, positives.by_item),
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
                self._keep(interrupt.outcome, ratings, objective)
            raise
        self._keep(outcome, ratings, objective)
        return self

    @staticmethod
    def _objective(solver: Solver, reg: Reg, pairs: Pairs | None = None) -> RankingObjective:
        assert isinstance(solver, RankingSGD)
        return RankingObjective(solver.loss, reg, solver.hard, solver.margin, pairs)

    def _compared(self, solver: Solver) -> int:
        """N of the pairs of J."""
        assert isinstance(solver, RankingSGD)
        return 1 if self.loss == "warp" else solver.drawing.count

    def _start(self, positives: Ratings, known: Factors | None) -> Factors:
        """Small random factors, but for the rows and columns that are known."""
        m, n = positives.shape
        K, dtype = int(self.rank), str(self.dtype)
        generator = np.random.default_rng(int(self.seed))
        spread = np.float32(_SPREAD / np.sqrt(np.sqrt(K)))
        W, Z = (
            (spread * generator.standard_normal((rows, K), dtype=np.float32)).astype(dtype)
            for rows in (m, n)
        )
        biases = [np.zeros(rows, dtype=dtype) if self.item_bias else None for rows in (m, n)]
        start = Factors(W, Z, biases[0], biases[1], 0.0, positives.users, positives.items)
        return start if known is None else start.started_from(known)

    def _held_out(
        self, name: str, part: Ratings, ids: tuple[IdMap, IdMap], history: CSR
    ) -> HeldOut:
        """What measures `metric` on held-out positives."""
        if self.metric == "auc":
            return self._pairs(name, part, *ids, positive_cells(history))
        return RankValidation.of(part, ids, history, str(self.metric), name)

    def _pairs(self, name: str, part: Ratings, users: IdMap, items: IdMap, positives: CSR) -> Pairs:
        """Held-out positives of known users and items, each with a negative that is in neither part."""
        m, n = len(users), len(items)
        u = users.lookup(part.users.values)[part.user_index()]
        i = items.lookup(part.items.values)[part.by_user.indices]
        kept = (part.by_user.values > 0) & (u >= 0) & (i >= 0)
        if not kept.any():
            raise ParameterError(
                name,
                part,
                "holds no positive of a user and an item that are known",
                "hold out a part of the same users and items",
            )
        order = np.flatnonzero(kept)[np.lexsort((i[kept], u[kept]))]
        weights = part.by_user.weights
        cells = CSR(
            np.concatenate([[0], np.cumsum(np.bincount(u[order], minlength=m))]).astype(np.int64),
            i[order].astype(np.uint32),
            part.by_user.values[order],
            None if weights is None else weights[order],
        )
        generator = np.random.default_rng([int(self.seed), 1])
        return Pairs.of(cells, n, 1, generator, beside=positives)

    def _keep(self, outcome: Outcome, ratings: Ratings, objective: RankingObjective) -> None:
        self._forget("departure_", "distance_", "_by_item", "_told_items")
        self._fitted_params = self.get_params()  # set_params after the fit does not reach the file
        self.factors_ = outcome.factors
        self.trace_ = outcome.trace
        self.n_iter_ = len(outcome.trace)
        self.best_iter_ = outcome.best_sweep
        self.stopped_ = outcome.stopped
        self.history_ = ratings.by_user
        self.scale_ = ratings.scale()
        self.objective_ = replace(objective, pairs=None)
        self.selection_ = None
        self.calibration_ = None
        self.data_summary_ = ratings.facts()
        self.n_features_in_ = 2  # scikit-learn's name for the number of columns of X
        self._exact_users = False

    def _check(self) -> tuple[Solver, Reg]:
        """The solver and λ of the parameters; raises `ParameterError`."""
        check_rank(self.rank)
        for name, least in (("max_iter", 1), ("patience", 1), ("seed", 0)):
            check_integer(name, getattr(self, name), least)
        if self.metric != "auc":
            check_metric(self.metric)
        check_choice("loss", self.loss, LOSSES)
        check_choice("schedule", self.schedule, ("adagrad", "decay", "constant"))
        check_choice("dtype", self.dtype, ("float32", "float64"))
        for name in ("hard", "item_bias"):
            check_flag(name, getattr(self, name))
        if self.negatives is not None:
            check_integer("negatives", self.negatives, 1, 1 << 16)
        if self.hard and self.loss not in ("bpr", "logistic"):
            raise ParameterError(
                "hard", True, f'cannot be had with loss="{self.loss}"', 'pass loss="bpr"'
            )
        power = {"uniform": 0.0, "popularity": 0.75}.get(str(self.sampling), self.sampling)
        if not (is_number(power) and 0 <= float(power) <= 1):
            raise ParameterError(
                "sampling",
                self.sampling,
                'must be "uniform", "popularity" or a power from 0 to 1',
                'try "uniform"',
            )
        check_number("margin", self.margin, example=1.0)
        check_number("decay", self.decay, example=0.1)
        if self.alpha is not None:
            check_number("alpha", self.alpha, positive=True, example=1.0)
        if self.rate is not None:
            check_number("rate", self.rate, positive=True, example=0.1)
        check_tol(self.tol)
        reg = check_reg(self.reg)
        usual = {"bpr": 1, "warp": 100, "logistic": 4, "softmax": 32}[self.loss]
        plain = 1.0 if self.schedule == "adagrad" else _PLAIN
        solver = RankingSGD(
            loss=self.loss,
            drawing=Drawing(usual if self.negatives is None else int(self.negatives), float(power)),
            hard=bool(self.hard),
            margin=float(self.margin),
            rate=plain * _RATES[self.loss] if self.rate is None else float(self.rate),
            schedule=self.schedule,
            decay=float(self.decay),
            # with the sum of squares in place of their mean, rates do not depend on K
            growth=float(self.rank),
            seed=int(self.seed),
        )
        return solver, reg

    def settled(self, *, sweeps: bool = True) -> Self:
        """An unfitted model that fits as this one did, with as many epochs as it kept.

        With `sweeps=False` its fit ends by itself, as `max_iter` and `tol` say.
        """
        self._check_fitted()
        params = dict(self._fitted_params)
        if sweeps:
            params |= {"max_iter": self.best_iter_, "tol": 0.0}
        return type(self)(**params)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """`metric` on held-out positives, higher is better.

        Lists leave out what the model was fitted on; "auc" compares each positive of X with an item
        drawn from those that are a positive of the same user neither in X nor in the history,
        weighted (`sample_weight`, of which lists know nothing), ties by half.
        """
        self._check_fitted()
        f = self.factors_
        history = self._whole_history("score")
        part = as_interactions(X, y, sample_weight)
        held_out = self._held_out("X", part, (f.user_ids, f.item_ids), history)
        measured = held_out.measure(f, get_backend("native", dtype=f.dtype)).score
        assert measured is not None
        return measured

    def _folded(
        self, side: Side, ids: IdMap, cells: CSR, backend: Backend, features: Features | None = None
    ) -> FoldedIn:
        """Epochs of the loss over the rows, the items fixed; only users can be folded in."""
        self._users_only(side)
        solver, reg = type(self)(**self._fitted_params)._check()
        assert isinstance(solver, RankingSGD)
        f = self.factors_
        positives = positive_cells(cells, self._fitted_params["alpha"])
        history = positive_cells(self._whole_history("fold_in"))
        counts = np.bincount(history.indices, minlength=len(f.item_ids))
        factors = folded_users(solver, positives, counts, f, reg, backend)
        bias = None if f.user_bias is None else np.zeros(len(factors), dtype=f.dtype)
        return FoldedIn(side, ids, factors, bias, cells)

    def _solve_items(self, items: Array, backend: Backend) -> None:
        if len(items):
            raise ParameterError(
                "items",
                True,
                "asks for items to be solved, and their negatives are of other items",
                "pass items=False, or fit again with init= this model",
            )

    @staticmethod
    def _users_only(side: Side) -> None:
        if side == "item":
            raise ParameterError(
                "side",
                side,
                "cannot be folded in: its negatives are of other items",
                "fit again, with init= this model",
            )

    def _contributions(
        self, cells: CSR, item: int, table: CSR | None = None
    ) -> tuple[float, Array]:
        self._refuse("explain", "factors are no sums over a user's positives", "ask similar_items")

    def _std(self, users: Array, items: Array, backend: str | Backend) -> Array:
        self._refuse("standard deviation", "scores are no ratings", "ask a BayesianMF")

    def _interval(
        self, users: Array, items: Array, fitted: Array, level: float, backend: str | Backend
    ) -> tuple[Array, Array]:
        self._refuse("intervals", "scores are no ratings", "ask a BayesianMF")

    def _mean_std(self, users: Array, items: Array, why: str, backend: str | Backend) -> Array:
        self._refuse('strategy="ucb"', "scores are no ratings", 'pass strategy="mean"')

    def _thompson(
        self, lists: AskedLists, seed: int, backend: str | Backend
    ) -> tuple[Array, Array]:
        self._refuse('strategy="thompson"', "scores are no ratings", 'pass strategy="mean"')

    def calibrate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: there are no intervals."""
        self._refuse("calibrate", "scores are no ratings", "ask a BayesianMF")

    def influence(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: factors are no solutions of one row's system."""
        self._refuse("influence", "its factors solve no one system", "ask an ExplicitMF")

    def certificate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: the loss is not quadratic."""
        self._refuse("certificate", "its loss is not quadratic", "look at trace_")

    def effective_parameters(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: there are no ratings to change a little."""
        self._refuse("effective_parameters", "scores are no ratings", "ask an ExplicitMF")

    def _refuse(self, what: str, why: str, remedy: str) -> NoReturn:
        raise ParameterError("model", type(self).__name__, f"has no {what}: {why}", remedy)
