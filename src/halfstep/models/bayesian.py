"""`BayesianMF`: ratings predicted by the mean of all factors that explain them, not by the best ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn, Self

import numpy as np
import numpy.typing as npt

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend, Noise
from halfstep.bayes.choices import best_by_draws
from halfstep.bayes.convergence import summary_of
from halfstep.bayes.folding import (
    FoldedDraws,
    NewRows,
    drawn_rows,
    folded,
    latent_cells,
    merged,
)
from halfstep.bayes.levels import Levels, narrowest
from halfstep.bayes.noise import steadied
from halfstep.bayes.posterior import Draw
from halfstep.bayes.predictive import NoiseShape, noise_variance, variance
from halfstep.bayes.sampling import Chains, Plan, Record
from halfstep.checks import check_choice, check_flag, check_integer, check_rank
from halfstep.data.ids import IdMap
from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings
from halfstep.diagnostics.chains import ChainSummary
from halfstep.errors import ParameterError
from halfstep.factors import Factors, deviation
from halfstep.features.design import Tables
from halfstep.features.features import Features
from halfstep.models.asked import AskedLists, AskedPairs
from halfstep.models.base import FactorModel
from halfstep.models.calibration import check_level
from halfstep.models.cold import effects_of
from halfstep.models.explanation import contributions
from halfstep.models.fitting import held_out_of, listeners_of, warm_start
from halfstep.models.foldin import FoldedIn
from halfstep.objectives import Reg, Side, SquaredError
from halfstep.solvers import ALS, Problem
from halfstep.training import (
    Callback,
    Interrupted,
    Listener,
    Stopping,
    Trace,
    Validation,
    train,
)

__all__ = ["BayesianMF"]

_WARM_SWEEPS, _WARM_REG = 4, 0.1
"""Of alternating least squares before the first draw, with λ per rating: a start near the ratings."""
_QUARTER = 0.25
"""Of the factors that these give."""


class BayesianMF(FactorModel):
    """Bayesian matrix factorization of explicit ratings: nothing to tune, and every prediction with
    its doubt.

    The probabilistic model is

        r_ui ~ N(μ + b_u + b_i + w_u·z_i, 1 / (α γ_u c_ui))
        y_u = (w_u, b_u) ~ N(m_U + A_Uᵀ x_u, Λ_U⁻¹),   y_i = (z_i, b_i) ~ N(m_I + A_Iᵀ x_i, Λ_I⁻¹)
        m | Λ ~ N(0, Λ⁻¹),   Λ ~ Wishart(W₀, K + 1) for each side,   α ~ Gamma(½, ½ s²)
        γ_u ~ Gamma(ν/2, ν/2): how steady a user is
        A_f ~ N(0, (λ_g Λ)⁻¹) for every feature f, λ_g ~ Gamma(½, ½) for the column that it comes from

    (s the standard deviation of the ratings, W₀ as in `bayes/priors.py`), so that the strength of
    the regularization, separate for users, items and every direction, is learned with the factors,
    and a rank that is too large does not overfit. All of it is drawn by Gibbs sampling, and
    predictions are means over the draws. `ExplicitMF` with plain λ is the maximum a posteriori
    estimate of the same model with fixed m = 0 and Λ = α λ I (probabilistic matrix factorization).
    Sources: Salakhutdinov and Mnih (2007; 2008, «Bayesian Probabilistic Matrix Factorization using
    Markov Chain Monte Carlo»).

    With likelihood="ordinal" ratings are not numbers with noise but ordered levels v_1 < … < v_L, at
    whatever distances: an ordered probit on a latent scale,

        r_ui = v_k  where  c_{k−1} < r*_ui ≤ c_k,   r*_ui ~ N(η_ui, 1),   η_ui = b_u + b_i + w_u·z_i

    with the same priors, s = 1, and the cutpoints c drawn too (Albert and Chib 1993, «Bayesian Analysis
    of Binary and Polychotomous Response Data»; `bayes/ordinal.py`). `predict` is still the posterior
    mean of the rating, `predict_proba` the probability of each level. `factors_`, `fold_in` and
    `explain` are of η, less the mean of the cutpoints.

    Parameters
    ----------
    rank : int
        K, the number of factors of a draw.
    samples : int
        Draws of every chain that are averaged: one sweep each.
    burn_in : int
        Sweeps before them, whose draws are not used.
    chains : int
        Independent chains. More than one tells better whether they have converged (`chain_summary`).
    keep : int
        How many of the draws are kept, at even distances: for standard deviations, intervals, folding in
        and sampling. A model file has room for each of them.
    biases : bool
        Whether b_u and b_i are in the model.
    center : bool
        Whether μ is the mean of the ratings or 0. Of no effect with likelihood="ordinal", where the
        cutpoints hold the location.
    likelihood : {"gaussian", "ordinal"}
        What a rating is, given the factors: a number with normal noise, or one of 2 to 20 ordered levels
        (all weights 1).
    noise : {"auto", "user", "shared"}
        Whether the noise of ratings is one for each user (γ_u) or the same for all (γ_u = 1). "auto":
        each user's, but shared with likelihood="ordinal", which knows no other.
    implicit_features : bool
        Whether which items a user has rated, whatever the ratings, is a feature of the user, and which
        users have rated it one of an item: one more entry of x for each, 1/√n_u where it is there.
    dtype : {"float32", "float64"}
        Of the factors.
    seed : int
        Of everything drawn. The same seed gives the same bits for any number of threads.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(200, 100, rank=3, seed=0).ratings
    >>> train, test = hs.split_random(ratings, test=0.1, seed=0)
    >>> model = hs.BayesianMF(rank=8, samples=50, burn_in=20).fit(train)
    >>> model.rmse(test) < hs.baseline_rmse(train, test)["biases only"]
    True
    >>> mean, std = model.predict(3, 7, std=True)
    """

    def __init__(
        self,
        rank: int = 32,
        *,
        samples: int = 200,
        burn_in: int = 50,
        chains: int = 1,
        keep: int = 32,
        biases: bool = True,
        center: bool = True,
        likelihood: Literal["gaussian", "ordinal"] = "gaussian",
        noise: Literal["auto", "user", "shared"] = "auto",
        implicit_features: bool = False,
        dtype: Literal["float32", "float64"] = "float32",
        seed: int = 0,
    ) -> None:
        self.rank = rank
        self.samples = samples
        self.burn_in = burn_in
        self.chains = chains
        self.keep = keep
        self.biases = biases
        self.center = center
        self.likelihood = likelihood
        self.noise = noise
        self.implicit_features = implicit_features
        self.dtype = dtype
        self.seed = seed

    draws_: tuple[Draw, ...]
    noise_shape_: NoiseShape | None
    record_: Record

    @property
    def rank_(self) -> int:
        """K of the draws. The mean over them, `factors_`, has 2 K."""
        self._check_fitted()
        return int(self._fitted_params["rank"])

    def fit(
        self,
        X: Any,
        y: npt.ArrayLike | None = None,
        *,
        validation: Any = None,
        sample_weight: npt.ArrayLike | None = None,
        init: FactorModel | None = None,
        user_features: Any = None,
        item_features: Any = None,
        backend: str | Backend = "native",
        callbacks: Sequence[Callback] = (),
        progress: bool | Listener = False,
    ) -> Self:
        """Draw from the posterior distribution.

        Parameters
        ----------
        X, y : Ratings; or a table with a rating column; or pairs of ids and their ratings
        validation : Ratings or (X, y), optional
            Held-out ratings: the trace has the RMSE of the mean over the draws so far. It stops nothing.
        sample_weight : array, optional
            c_ui: one weight per rating (in the order of `X.by_user` for Ratings).
        init : fitted model, optional
            Where the chains begin: users and items that it knows with its factors. Default: a
            quarter of those of a few sweeps of alternating least squares. Where they begin is
            forgotten during `burn_in`.
        user_features, item_features : Features, a table, or a pair (matrix, ids), optional
            What is known of users and items beside their ratings: x. A user or item of a table is
            known to the model also where it has no ratings.
        backend : {"native", "numpy"} or Backend
            Where the arithmetic runs. Not stored in the model.
        callbacks : sequence of callables
            Called with the `TraceRow` of every sweep (`sweep` counts those of its chain); a true return
            value ends its chain.
        progress : bool
            Show a progress line on the terminal.

        Returns
        -------
        the model itself

        Raises
        ------
        ParameterError, DataError, DuplicatesError, SingularSystemError, BackendError
        KeyboardInterrupt
            After Ctrl-C. Where at least two draws were kept, the model is fitted and holds them
            (`stopped_ == "interrupted"`).
        """
        from threadpoolctl import threadpool_limits

        self._check()
        runs_on = get_backend(backend, dtype=str(self.dtype))
        tables = Tables.of(user_features, item_features, implicit=bool(self.implicit_features))
        ratings = tables.extended(as_ratings(X, y, sample_weight))
        designs = tables.designs(ratings)
        held_out = None
        if validation is not None:
            held_out = Validation.of(held_out_of(validation), ratings)
        levels = Levels.of(ratings) if self.likelihood == "ordinal" else None
        total = self.chains * (self.burn_in + self.samples)
        # one thread of BLAS: the same bits everywhere, and no threads that wait for one another
        with (
            threadpool_limits(1, user_api="blas"),
            listeners_of(progress, total, int(self.chains)) as listeners,
        ):
            chains = Chains(
                ratings,
                designs,
                self._start(ratings, levels, init, runs_on),
                self._plan(),
                runs_on,
                levels,
            )
            try:
                chains.run(held_out, callbacks, listeners)
            except Interrupted:
                if len(chains.posterior.draws) >= 2:
                    self._keep(chains, tables, runs_on, "interrupted")
                raise
            kept = len(chains.posterior.draws)
            if kept < 2:
                raise ParameterError(
                    "callbacks",
                    list(callbacks),
                    f"have ended the chains when {kept} of their draws were kept, and it takes 2",
                    f"let each chain run longer than its {self.burn_in} sweeps of burn_in",
                )
            self._keep(chains, tables, runs_on, "samples")
        return self

    def _plan(self) -> Plan:
        return Plan(
            int(self.chains),
            int(self.burn_in),
            int(self.samples),
            int(self.keep),
            2 * int(self.rank),
            int(self.seed),
            self.noise != "shared" and self.likelihood == "gaussian",
        )

    def _start(
        self,
        ratings: Ratings,
        levels: Levels | None,
        init: FactorModel | None,
        backend: Backend,
    ) -> Factors:
        """The factors of `init`, or a quarter of those of a few sweeps of alternating least squares.

        These have the directions of the ratings; whole, they would hold for long what features and
        latent numbers are to say.
        """
        rank, mean = int(self.rank), ratings.mean() if self.center else 0.0
        if levels is not None:
            ratings, mean = levels.scored(ratings), 0.0
        known = warm_start(init, rank)
        start = Factors.random(
            ratings,
            rank,
            biases=bool(self.biases),
            mean=mean,
            dtype=str(self.dtype),
            seed=int(self.seed),
        )
        if known is not None:
            return start.started_from(known)
        # in units of the ratings, as λ ‖w‖² is, and λ_b b² with a number for λ_b
        unit = deviation(ratings.by_user, mean)
        reg = Reg(_WARM_REG * unit, _WARM_REG * unit, _WARM_REG)
        objective = SquaredError(mean, reg, "count", bool(self.biases))
        found = train(
            Problem.of(ratings, objective, rank, start.dtype),
            ALS(),
            backend,
            start,
            stopping=Stopping(_WARM_SWEEPS, 0.0, _WARM_SWEEPS),
        ).last
        for factors in (found.user_factors, found.item_factors):
            factors *= _QUARTER
        return found

    def _keep(self, chains: Chains, tables: Tables, backend: Backend, stopped: str) -> None:
        """What the model is from now on."""
        ratings, posterior = chains.ratings, chains.posterior
        self._forget("departure_", "distance_", "_by_item", "_told_items")
        self._fitted_params = self.get_params()  # set_params after the fit does not reach the file
        self.factors_ = posterior.mean(chains.start)
        self.features_ = chains.designs.without_rows()
        self._tables = tables.user, tables.item
        self.draws_ = tuple(posterior.draws)
        self.noise_shape_ = None
        if self.likelihood == "gaussian":
            self.noise_shape_ = NoiseShape.of(self.draws_, ratings.by_user, backend)
        self.record_ = chains.record()
        self.trace_ = Trace(chains.trace)
        self.n_iter_ = self.best_iter_ = len(self.trace_)
        self.stopped_ = stopped
        self.history_ = ratings.by_user
        self.scale_ = ratings.scale()
        self.objective_ = self.draws_[-1].density()
        self.selection_ = None
        self.calibration_ = None
        self.data_summary_ = ratings.facts()
        self.n_features_in_ = 2  # scikit-learn's name for the number of columns of X
        self._exact_users = False

    def _check(self) -> None:
        """Raise `ParameterError` where a parameter is not what it must be."""
        for name, least in (
            ("rank", 1),
            ("samples", 2),
            ("burn_in", 0),
            ("chains", 1),
            ("keep", 2),
            ("seed", 0),
        ):
            check_integer(name, getattr(self, name), least)
        check_rank(self.rank)
        check_choice("noise", self.noise, ("auto", "user", "shared"))
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_choice("likelihood", self.likelihood, ("gaussian", "ordinal"))
        if self.likelihood == "ordinal" and self.noise == "user":
            raise ParameterError(
                "noise",
                "user",
                'cannot be had with likelihood="ordinal": the noise of latent numbers is 1',
                'pass noise="auto"',
            )
        for name in ("biases", "center", "implicit_features"):
            check_flag(name, getattr(self, name))

    def settled(self, *, sweeps: bool = True) -> Self:
        """An unfitted model with the parameters that this one was fitted with.

        `sweeps` makes no difference: a sampler draws as much as it was told.
        """
        self._check_fitted()
        return type(self)(**self._fitted_params)

    def chain_summary(self) -> ChainSummary:
        """Whether the chains have converged: mean, sd, Monte Carlo error, effective draws and R̂.

        Of σ = 1/√α, of J and of the predictions of twenty pairs, over the draws after burn-in: of users
        and of items that have ratings, mostly not of each other. Single factors are left out: they turn
        freely from draw to draw, predictions do not. `diagnostics/chains.py` has the formulas; a file
        keeps what this is made of.

        Raises `NotFittedError`.
        """
        self._check_fitted()
        return summary_of(self.record_, self.factors_)

    # ------------------------------------------------------------------ ordered levels

    @property
    def levels_(self) -> Levels | None:
        """The levels of ordered ratings, with the means of the cutpoints over the kept draws."""
        self._check_fitted()
        levels = [draw.levels for draw in self.draws_ if draw.levels is not None]
        return Levels.mean(levels) if levels else None

    def predict_proba(
        self,
        users: Any,
        items: Any = None,
        *,
        unknown: Literal["bias", "error"] = "bias",
        backend: str | Backend = "native",
    ) -> tuple[Array, Array]:
        """The probability of every level, for pairs of users and items (likelihood="ordinal").

            P(r = v_k) = Φ((c_k − m) / √(1 + s²)) − Φ((c_{k−1} − m) / √(1 + s²))

        with m the mean of η over all draws, s² its variance over those kept and c the mean cutpoints:
        what the mean of the probabilities over the draws is where η is normal.

        Parameters
        ----------
        users, items : array-like of ids
            As in `predict`.
        unknown : {"bias", "error"}
            As in `predict`.

        Returns
        -------
        values (L,), probabilities (N, L), float64; of two single ids (L,)

        Raises
        ------
        NotFittedError, UnknownIdError, DataError
        ParameterError
            The model has another likelihood.
        """
        levels = self.levels_
        if levels is None:
            self._refuse(
                "probabilities of ratings",
                "its ratings are not levels",
                'fit it with likelihood="ordinal", or ask predict(std=True)',
            )
        check_choice("unknown", unknown, ("bias", "error"))
        asked = AskedPairs.of(self, users, items, unknown)
        chances = levels.chances(*self._eta(asked.users, asked.items, backend))
        return levels.decimals, chances[0] if asked.single else chances

    def _eta(self, users: Array, items: Array, backend: str | Backend) -> tuple[Array, Array]:
        """Mean and variance of η over the draws, float64."""
        mean = super()._predict_rows(users, items, backend).astype(np.float64)
        return mean, variance(self.draws_, users, items, self._backend(backend))

    def _predict_rows(self, user_index: Array, item_index: Array, backend: str | Backend) -> Array:
        levels = self.levels_
        if levels is None:
            return super()._predict_rows(user_index, item_index, backend)
        expected = levels.expected(*self._eta(user_index, item_index, backend))
        return expected.astype(self.factors_.dtype)

    def _best(self, lists: AskedLists, backend: str | Backend) -> tuple[Array, Array]:
        """Of ordered ratings the best by E r among twice as many (and ten more) of the highest η."""
        if self.levels_ is None:
            return super()._best(lists, backend)
        wider = replace(lists, n=min(2 * lists.n + 10, len(self.factors_.item_ids)))
        index, _ = super()._best(wider, backend)
        there = index >= 0
        scores = np.full(index.shape, -np.inf)
        users = np.broadcast_to(lists.rows[:, None], index.shape)[there]
        scores[there] = self._predict_rows(users, index[there], backend)
        order = np.lexsort((index, -scores))[:, : lists.n]
        index, scores = (np.take_along_axis(found, order, axis=1) for found in (index, scores))
        return index, np.where(index >= 0, scores, np.nan).astype(self.factors_.dtype)

    # ------------------------------------------------------------------ how sure

    def _std(self, users: Array, items: Array, backend: str | Backend) -> Array:
        levels = self.levels_
        if levels is not None:
            chances = levels.chances(*self._eta(users, items, backend))
            return levels.std(chances).astype(self.factors_.dtype)
        own = variance(self.draws_, users, items, self._backend(backend))
        std: Array = np.sqrt(own + noise_variance(self.draws_, users))
        return std.astype(self.factors_.dtype)

    def _mean_std(self, users: Array, items: Array, why: str, backend: str | Backend) -> Array:
        return np.sqrt(variance(self.draws_, users, items, self._backend(backend), rated=True))

    def _interval(
        self, users: Array, items: Array, fitted: Array, level: float, backend: str | Backend
    ) -> tuple[Array, Array]:
        levels = self.levels_
        if levels is not None:
            check_level(level)
            chances = levels.chances(*self._eta(users, items, backend))
            low, high = narrowest(levels, chances, level)
            return low.astype(fitted.dtype), high.astype(fitted.dtype)
        assert self.noise_shape_ is not None
        own, noise = (
            variance(self.draws_, users, items, self._backend(backend)),
            noise_variance(self.draws_, users),
        )
        lower, upper = self.noise_shape_.ends(level, own / (own + noise))
        std = np.sqrt(own + noise)
        return (fitted + std * lower).astype(fitted.dtype), (fitted + std * upper).astype(
            fitted.dtype
        )

    def _thompson(
        self, lists: AskedLists, seed: int, backend: str | Backend
    ) -> tuple[Array, Array]:
        return best_by_draws(self.draws_, lists, seed, self._backend(backend))

    # ------------------------------------------------------------------ single rows

    def _folded(
        self, side: Side, ids: IdMap, cells: CSR, backend: Backend, features: Features | None = None
    ) -> FoldedDraws:
        """In every kept draw the row is drawn given that draw's other side; the mean prediction is
        made of the conditional means (`bayes/folding.py`).
        """
        from threadpoolctl import threadpool_limits

        table = None if features is None else features.aligned(ids)
        new = NewRows(side, ids, cells, *self._row_features(side, cells, table))
        with threadpool_limits(1, user_api="blas"):  # the same bits everywhere
            rows = folded(new, self.factors_, self.draws_, self._row_seed(side), backend)
        if features is None or table is None:
            return rows
        return replace(rows, features=Features(ids, table, features.encoding))

    def _row_features(
        self, side: Side, cells: CSR, table: CSR | None
    ) -> tuple[CSR | None, Array | None]:
        """X of rows with these ratings and these rows of the table, and the typical implicit ones."""
        design = self.features_.side(side)
        if design is None:
            return None, None
        others = self._ids("item" if side == "user" else "user")
        return design.rows_of(table, cells, others), design.typical

    def _row_seed(self, side: Side) -> int:
        """Of what is drawn for single rows: another for each side, as new users may meet new items."""
        key = 1 if side == "user" else 2
        own = np.random.SeedSequence(self._fitted_params["seed"], spawn_key=(key,))
        return int(own.generate_state(1, np.uint64)[0])

    def with_rows(self, folded: FoldedIn) -> Self:
        """A model in which these users (items) are added, or replaced where it knew them.

        `folded` is of `fold_in` of this model: its rows are added to the mean and to every kept draw.

        Raises
        ------
        NotFittedError
        ParameterError
            The rows were folded into another model.
        """
        self._check_fitted()
        if not isinstance(folded, FoldedDraws) or not folded.fits(self.draws_):
            raise ParameterError(
                "folded",
                folded,
                "does not hold the draws of this model",
                "pass what fold_in returns",
            )
        fresh = super().with_rows(folded)
        fresh.draws_ = tuple(
            merged(draw, self.factors_, folded, number) for number, draw in enumerate(self.draws_)
        )
        record, before, now = self.record_, self.factors_, fresh.factors_
        fresh.record_ = replace(
            record,  # its rows have moved
            users=now.user_ids.lookup(before.user_ids.take(record.users)),
            items=now.item_ids.lookup(before.item_ids.take(record.items)),
        )
        return fresh

    def _contributions(
        self, cells: CSR, item: int, table: CSR | None = None
    ) -> tuple[float, Array]:
        """The means of those in every kept draw: of ordered ratings in η, the latent numbers' means in
        their place.
        """
        new = NewRows("user", self._ids("user"), cells, *self._row_features("user", cells, table))
        baseline, shares = 0.0, np.zeros(cells.nnz)
        key, runs_on = self._row_seed("user"), self._backend("native")
        for number, draw in enumerate(self.draws_):
            f, density = draw.factors, new.density(draw, runs_on)
            if draw.levels is not None:
                cells = latent_cells(new, density, draw, (key, number), runs_on)[1]
            if draw.steadiness is not None:
                _, _, gamma = drawn_rows(new, draw, Noise(key, number), runs_on)
                assert gamma is not None
                cells = steadied(new.cells, gamma, "user")
            problem = density.row_problem("user", cells, f.rank, "float64")
            own, parts = contributions(cells, problem, f, item)
            baseline += own / len(self.draws_)
            shares += parts / len(self.draws_)
        return baseline, shares

    def _effects(self, side: Side) -> tuple[Array, Array, Array | None]:
        biases, norms = [], []
        for draw in self.draws_:
            own = draw.users if side == "user" else draw.items
            other = draw.items if side == "user" else draw.users
            assert own.effects is not None
            K = draw.factors.rank
            bias, norm = effects_of(own.effects, K)
            biases.append(bias + np.einsum("fk,k->f", own.effects[:, :K], other.typical[:K]))
            norms.append(norm)
        return np.mean(biases, axis=0), np.mean(norms, axis=0), np.std(biases, axis=0, ddof=1)

    def calibrate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not needed: intervals are those of the posterior distribution."""
        self._refuse("calibrate", "its intervals need none", "ask predict(interval=0.9)")

    def influence(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: factors are no solutions of one row's system."""
        self._refuse(
            "influence", "its factors solve no one system", "ask an ExplicitMF, or explain"
        )

    def updated(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: every draw was made given all ratings."""
        self._refuse(
            "update",
            "its draws were made given all ratings",
            "fold users in (fold_in), or fit again",
        )

    def without_users(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: every draw was made given all ratings."""
        self._refuse(
            "way to forget users", "its draws were made given all ratings", "fit again without them"
        )

    def certificate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: nothing is minimized."""
        self._refuse("certificate", "it minimizes nothing", "ask chain_summary")

    def effective_parameters(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had: no one set of factors is fitted."""
        self._refuse("effective_parameters", "it fits no one set of factors", "ask an ExplicitMF")

    def _refuse(self, what: str, why: str, remedy: str) -> NoReturn:
        raise ParameterError("model", type(self).__name__, f"has no {what}: {why}", remedy)

    def _backend(self, backend: str | Backend) -> Backend:
        return get_backend(backend, dtype=self.factors_.dtype)
