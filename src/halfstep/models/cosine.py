"""`CosineMF`: directions of users and items, by the cosine contrastive loss."""

from __future__ import annotations

from typing import Literal

import numpy as np

from halfstep.backends.base import CSR, Backend
from halfstep.checks import (
    check_choice,
    check_integer,
    check_number,
    check_rank,
    check_tol,
    is_number,
)
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.rank_validation import check_metric
from halfstep.factors import Factors
from halfstep.features.features import Features
from halfstep.models.foldin import FoldedIn
from halfstep.models.ranking import RankingMF
from halfstep.objectives import Reg, Side
from halfstep.pairwise import Loss, Pairs, RankingObjective, positive_cells
from halfstep.solvers.base import Solver
from halfstep.solvers.cosine import CosineSGD, directions, folded_directions

__all__ = ["CosineMF"]

_COMPARED = 64
"""Negatives of each pair of J."""


class CosineMF(RankingMF):
    """Matrix factorization whose scores are cosines: factors are directions, without biases.

    A positive is a stored cell with a value above 0. With rows of unit length and x_ui = w_u·z_i,

        Σ c (1 − x_ui) + ω C_u mean_j max(0, x_uj − m)        C_u = Σ c over the positives of u

    over the positives i of every user and items j that are none of them is made small: a user is
    pulled to their items, and away from those others that are within the margin. How often an item
    was taken is not in its score, so lists are less alike than those of other models. Steps:
    `solvers/cosine.py`. The result is the same bits for any number of threads. Source: Mao, Zhu,
    Wang, Dai, Dong, Xiao and He (2021, «SimpleX: A Simple and Strong Baseline for Collaborative
    Filtering», eq. 2), with cosines of plain factors.

    Parameters
    ----------
    rank : int
        K.
    margin : float
        m, from −1 to 1.
    weight : float
        ω. Pulls balance where each user has about 1/ω of the items within the margin; the number of
        items over 270 is near what the authors found best for 4,000 to 40,000 items.
    negatives : int
        J, how many items are drawn for every block of 256 users; all items where there are no more.
    alpha : float, optional
        Where given, a positive of value r has the weight c = alpha · r, else 1; times its own
        weight.
    rates : (float, float)
        η of users and of items: about the angle, in radians, of a row's first step.
    max_iter : int
        Epochs. Rates fall to 0 in as many.
    tol : float
        A fit ends when J falls by less than this share of itself in an epoch; J is over a fixed
        sample of 262,144 pairs.
    patience : int
        With `validation`: epochs without improvement before the fit ends.
    metric : str
        What `validation` and `score` measure: "ndcg@10", "recall@20", …, or "auc".
    dtype : {"float32", "float64"}
        Of the factors.
    seed : int
        Of the start, the order of users and all that is drawn.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 100, rank=3, seed=0).ratings
    >>> model = hs.CosineMF(rank=8, weight=2, margin=0.5, max_iter=10).fit(ratings)
    >>> user = ratings.users.id_at(0)
    >>> len(model.recommend(user, n=5)[user])
    5
    """

    loss: Loss = "ccl"
    negatives: int

    def __init__(
        self,
        rank: int = 64,
        *,
        margin: float = 0.9,
        weight: float = 150.0,
        negatives: int = 8192,
        alpha: float | None = None,
        rates: tuple[float, float] = (2.4, 2.4),
        max_iter: int = 40,
        tol: float = 0.0,
        patience: int = 5,
        metric: str = "ndcg@10",
        dtype: Literal["float32", "float64"] = "float32",
        seed: int = 0,
    ) -> None:
        self.rank = rank
        self.margin = margin
        self.weight = weight
        self.negatives = negatives
        self.alpha = alpha
        self.rates = rates
        self.max_iter = max_iter
        self.tol = tol
        self.patience = patience
        self.metric = metric
        self.dtype = dtype
        self.seed = seed

    @staticmethod
    def _objective(solver: Solver, reg: Reg, pairs: Pairs | None = None) -> RankingObjective:
        assert isinstance(solver, CosineSGD)
        return RankingObjective("ccl", reg, False, solver.margin, pairs, solver.weight)

    def _compared(self, solver: Solver) -> int:
        return _COMPARED

    def _start(self, positives: Ratings, known: Factors | None) -> Factors:
        """Random directions, but for the rows and columns that are known."""
        K, dtype = int(self.rank), str(self.dtype)
        generator = np.random.default_rng(int(self.seed))
        W, Z = (
            directions(generator.standard_normal((rows, K), dtype=np.float32)).astype(dtype)
            for rows in positives.shape
        )
        start = Factors(W, Z, None, None, 0.0, positives.users, positives.items)
        return start if known is None else start.started_from(known)

    def _check(self) -> tuple[Solver, Reg]:
        """The solver; raises `ParameterError`."""
        check_rank(self.rank)
        for name, least in (("max_iter", 1), ("patience", 1), ("seed", 0), ("negatives", 1)):
            check_integer(name, getattr(self, name), least)
        check_choice("dtype", self.dtype, ("float32", "float64"))
        if self.metric != "auc":
            check_metric(self.metric)
        if not is_number(self.margin) or not -1 <= float(self.margin) <= 1:
            raise ParameterError(
                "margin", self.margin, "must be a cosine, from -1 to 1", "try margin=0.9"
            )
        check_number("weight", self.weight, example=150.0)
        if self.alpha is not None:
            check_number("alpha", self.alpha, positive=True, example=1.0)
        check_tol(self.tol)
        rates = self.rates
        if not isinstance(rates, (tuple, list)) or len(rates) != 2:
            raise ParameterError(
                "rates", rates, "must be two numbers, of users and of items", "try rates=(2.4, 2.4)"
            )
        for rate in rates:
            check_number("rates", rate, positive=True, example=2.4)
        solver = CosineSGD(
            float(self.margin),
            float(self.weight),
            int(self.negatives),
            (float(rates[0]), float(rates[1])),
            int(self.max_iter),
            int(self.seed),
        )
        return solver, Reg(0.0, 0.0, 0.0)

    def _folded(
        self, side: Side, ids: IdMap, cells: CSR, backend: Backend, features: Features | None = None
    ) -> FoldedIn:
        """Epochs of the loss over the rows, the items fixed; only users can be folded in."""
        self._users_only(side)
        solver, _ = type(self)(**self._fitted_params)._check()
        assert isinstance(solver, CosineSGD)
        positives = positive_cells(cells, self._fitted_params["alpha"])
        factors = folded_directions(solver, positives, self.factors_.item_factors, backend)
        return FoldedIn(side, ids, factors, None, cells)
