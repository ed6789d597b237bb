"""`FactorModel`: what every fitted factor model answers, whatever it was fitted by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ids import IdMap, require_known
from halfstep.data.pairs import as_ratings, split_pairs
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import DataError, HistoryRequiredError, ParameterError, UnknownIdError
from halfstep.evaluation.metrics import mean_absolute_error, r_squared, root_mean_squared_error
from halfstep.factors import Factors
from halfstep.models.explanation import Explanation, contributions
from halfstep.models.filters import item_mask, rows_of_mapping, union_of_rows
from halfstep.models.foldin import FoldedIn, merge_rows
from halfstep.models.params import Parameters
from halfstep.models.ranked import Ranked
from halfstep.objectives import Objective, Side, scales
from halfstep.training import Trace

if TYPE_CHECKING:
    from halfstep.diagnostics.certificate import Certificate

__all__ = ["FactorModel"]

Unknown = Literal["bias", "nan", "error"]


class FactorModel(Parameters):
    """The answers of a fitted model; subclasses fit.

    Attributes
    ----------
    factors_ : Factors
        W, Z, biases, μ and the ids of their rows.
    trace_ : Trace
        One row for each sweep of the fit.
    n_iter_ : int
        Sweeps done.
    best_iter_ : int
        The sweep whose factors the model holds (another than the last only with `validation`).
    stopped_ : str
        Why the fit ended: "converged", "max_iter", "validation", "callback" or "interrupted".
    history_ : CSR or None
        The ratings of every user, by row; None in a model saved without them.
    scale_ : (float, float)
        The lowest and highest rating seen.
    objective_ : Objective
        What was minimized.
    rank_ : int
        K.
    """

    factors_: Factors
    trace_: Trace
    n_iter_: int
    best_iter_: int
    stopped_: str
    history_: CSR | None
    scale_: tuple[float, float]
    objective_: Objective
    data_summary_: dict[str, Any]
    departure_: float
    distance_: float
    _exact_users: bool
    _fitted_params: dict[str, Any]

    # ------------------------------------------------------------- predictions

    def predict(
        self,
        users: Any,
        items: Any = None,
        *,
        unknown: Unknown = "bias",
        clip: bool = False,
        backend: str | Backend = "native",
    ) -> Array | float:
        """r̂ = μ + b_u + b_i + w_u·z_i for pairs of users and items.

        Parameters
        ----------
        users, items : array-like of ids
            Two arrays of equal length, two single ids, or one (N, 2) array or two-column frame.
        unknown : {"bias", "nan", "error"}
            What an unknown user or item gives: the sum of the parts that are known (at least μ), a
            NaN, or an `UnknownIdError`.
        clip : bool
            Clip to the scale seen in training.

        Returns
        -------
        array (N,) of the factors' dtype, or a float for two single ids

        Raises
        ------
        NotFittedError, UnknownIdError, DataError
        """
        self._check_fitted()
        _choice("unknown", unknown, ("bias", "nan", "error"))
        if items is None:
            users, items = split_pairs(users)
        single = np.ndim(users) == 0 and np.ndim(items) == 0
        if single:
            users, items = [users], [items]
        user_index = self.factors_.user_ids.lookup(users, "users")
        item_index = self.factors_.item_ids.lookup(items, "items")
        if len(user_index) != len(item_index):
            raise DataError(
                "items",
                len(item_index),
                f"must be as many as the users, {len(user_index)}",
                "pass arrays of equal length",
            )
        if unknown == "error":
            require_known(user_index, users, "user")
            require_known(item_index, items, "item")
        fitted = self._predict_rows(user_index, item_index, backend)
        if clip:
            np.clip(fitted, *self.scale_, out=fitted)
        if unknown == "nan":
            fitted[(user_index < 0) | (item_index < 0)] = np.nan
        return float(fitted[0]) if single else fitted

    def _predict_rows(self, user_index: Array, item_index: Array, backend: str | Backend) -> Array:
        f = self.factors_
        return get_backend(backend, dtype=f.dtype).predict(
            user_index,
            item_index,
            f.user_factors,
            f.item_factors,
            f.user_bias,
            f.item_bias,
            f.mean,
        )

    def _residuals(self, X: Any, y: Any, clip: bool) -> tuple[Array, Array, Array | None]:
        """(observed, fitted, weights) of ratings or (X, y)."""
        self._check_fitted()
        if isinstance(X, Ratings):
            if y is not None:
                raise DataError("y", "an array", "must be None where X is Ratings", "pass X alone")
            users = self.factors_.user_ids.lookup(X.users.values)[X.user_index()]
            items = self.factors_.item_ids.lookup(X.items.values)[X.by_user.indices]
            fitted = self._predict_rows(users, items, "native").astype(np.float64)
            if clip:
                np.clip(fitted, *self.scale_, out=fitted)
            return X.by_user.values.astype(np.float64), fitted, X.by_user.weights
        if y is None:
            return self._residuals(as_ratings(X), None, clip)
        fitted = np.asarray(self.predict(X, clip=clip), dtype=np.float64)
        return np.asarray(y, dtype=np.float64).reshape(-1), fitted, None

    def rmse(self, X: Any, y: Any = None, *, clip: bool = False) -> float:
        """Root mean squared error on `Ratings` or (X, y); unknown ids fall back to the biases."""
        return root_mean_squared_error(*self._residuals(X, y, clip))

    def mae(self, X: Any, y: Any = None, *, clip: bool = False) -> float:
        """Mean absolute error on `Ratings` or (X, y); unknown ids fall back to the biases."""
        return mean_absolute_error(*self._residuals(X, y, clip))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R² = 1 − Σ (r − r̂)² / Σ (r − r̄)², higher is better, as scikit-learn expects."""
        observed, fitted, weights = self._residuals(X, y, clip=False)
        if sample_weight is not None:
            weights = np.asarray(sample_weight, dtype=np.float64)
        return r_squared(observed, fitted, weights)

    # ---------------------------------------------------------------- rankings

    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Any = None,
        deny: Any = None,
        exclude: Mapping[Any, Any] | None = None,
        candidates: Mapping[Any, Any] | None = None,
        min_ratings: int = 1,
        ratings: Ratings | None = None,
        unknown: Literal["error", "bias"] = "error",
        backend: str | Backend = "native",
    ) -> Ranked:
        """The n items of the highest predicted rating for every user.

        Parameters
        ----------
        users : id or array-like of ids, optional
            Default: every user of the model.
        n : int
            How many for each; fewer where fewer are left.
        exclude_seen : bool
            Leave out the items that the user has rated (in `history_`, or in `ratings`).
        allow, deny : array-like of item ids, optional
            Only these items; never these. Ids that the model does not know have no effect.
        exclude, candidates : mapping from user id to item ids, optional
            The same for single users: never these for that user; only these for that user.
        min_ratings : int
            Only items with at least so many ratings in the model's history: the estimate of an item
            with one or two ratings is little more than those.
        ratings : Ratings, optional
            What the users have seen, in place of the model's own history.
        unknown : {"error", "bias"}
            What a user gives whom the model does not know: an error, or the items by their biases.

        Returns
        -------
        Ranked
            Best first; equal scores in the order of the item ids.

        Raises
        ------
        NotFittedError, UnknownIdError, ParameterError, HistoryRequiredError
        """
        self._check_fitted()
        _at_least_one("n", n)
        _at_least_one("min_ratings", min_ratings)
        _choice("unknown", unknown, ("error", "bias"))
        f = self.factors_
        allowed = item_mask(f.item_ids, allow, deny)
        if min_ratings > 1:
            history = self._history(f"min_ratings={min_ratings}")
            known_well = np.bincount(history.indices, minlength=len(f.item_ids)) >= min_ratings
            allowed = known_well if allowed is None else allowed & known_well
        rows, asked = self._rows_asked(users, f.user_ids, "user", unknown == "error")
        known = rows >= 0
        queries = f.user_factors[np.where(known, rows, 0)]
        queries[~known] = 0
        excluded: tuple[Array, Array] | None = None
        if exclude_seen:
            excluded = self._seen(rows, asked, ratings)
        if exclude is not None:
            more = rows_of_mapping("exclude", exclude, asked, f.item_ids)
            excluded = more if excluded is None else union_of_rows(excluded, more)
        only = None
        if candidates is not None:
            only = rows_of_mapping("candidates", candidates, asked, f.item_ids, True)
        index, scores = get_backend(backend, dtype=f.dtype).topk(
            queries,
            f.item_factors,
            f.item_bias,
            min(n, len(f.item_ids)),
            exclude=excluded,
            candidates=only,
            allow=allowed,
        )
        base = np.full(len(rows), f.mean, dtype=f.dtype)
        if f.user_bias is not None:
            base[known] += f.user_bias[rows[known]]
        return Ranked.of(asked, index, scores + base[:, None], f.item_ids, ("user", "item"))

    def similar_items(
        self, items: Any, n: int = 10, *, backend: str | Backend = "native"
    ) -> Ranked:
        """The n items whose factors point the same way: cos(z_i, z_j), largest first."""
        return self._similar("item", items, n, backend)

    def similar_users(
        self, users: Any, n: int = 10, *, backend: str | Backend = "native"
    ) -> Ranked:
        """The n users whose factors point the same way: cos(w_u, w_v), largest first."""
        return self._similar("user", users, n, backend)

    def _similar(self, side: Side, asked: Any, n: int, backend: str | Backend) -> Ranked:
        self._check_fitted()
        _at_least_one("n", n)
        f = self.factors_
        ids = f.user_ids if side == "user" else f.item_ids
        factors = f.user_factors if side == "user" else f.item_factors
        rows, names = self._rows_asked(asked, ids, side, True)
        norms = np.sqrt(np.einsum("rk,rk->r", factors, factors, dtype=np.float64))
        directions = (factors / np.where(norms > 0, norms, 1.0)[:, None]).astype(f.dtype)
        themselves = (np.arange(len(rows) + 1), rows.astype(np.uint32))
        index, scores = get_backend(backend, dtype=f.dtype).topk(
            directions[rows],
            directions,
            None,
            min(n, len(ids)),
            exclude=themselves,
            allow=norms > 0,  # a row without ratings has no direction
        )
        index[norms[rows] == 0] = -1
        return Ranked.of(names, index, scores, ids, (side, side))

    def _rows_asked(
        self, asked: Any, ids: IdMap, side: str, must_be_known: bool
    ) -> tuple[Array, Array]:
        if asked is None:
            return np.arange(len(ids)), ids.take(np.arange(len(ids)))
        listed = [asked] if np.ndim(asked) == 0 else asked
        rows = ids.lookup(listed, f"{side}s")
        if must_be_known:
            require_known(rows, listed, side)
        names = np.asarray(listed, dtype=object) if isinstance(listed, list) else np.asarray(listed)
        known = rows >= 0
        if known.all():  # the ids as the model writes them
            names = ids.take(rows)
        return rows, names

    def _history(self, why: str) -> CSR:
        if self.history_ is None:
            raise HistoryRequiredError(
                "ratings",
                None,
                f"the model was saved without its users' ratings, and {why} needs them",
                "pass ratings=, or save with history=True",
            )
        return self.history_

    def _rows_of(self, history: CSR, rows: Array) -> CSR:
        """Rows of the history, checked: that of a mapped file was not read when it was loaded."""
        everything = len(rows) == history.n_rows and np.array_equal(rows, np.arange(len(rows)))
        found = history if everything else take_rows(history, rows)
        if len(found.indices) and int(found.indices.max()) >= len(self.factors_.item_ids):
            raise DataError(
                "history",
                int(found.indices.max()),
                f"names an item beyond the {len(self.factors_.item_ids)} of the model",
                "the file is damaged: load it without mmap, or restore a copy",
            )
        return found

    def _seen(self, rows: Array, asked: Array, ratings: Ratings | None) -> tuple[Array, Array]:
        """(indptr, items ascending) of what each asked user has rated."""
        if ratings is None:
            history = self._history("exclude_seen=True")
            source = rows
        else:
            history = self._translate(ratings, "user", "ignore")
            source = ratings.users.lookup(asked, "users")
        known = source >= 0
        found = self._rows_of(history, np.where(known, source, 0)[known])
        sizes = np.zeros(len(source), dtype=np.int64)
        sizes[known] = np.diff(found.indptr)
        return np.concatenate([[0], np.cumsum(sizes)]), found.indices

    # ------------------------------------------------- new and changed rows

    def fold_in(
        self,
        X: Any,
        y: Any = None,
        *,
        side: Side = "user",
        unknown: Literal["error", "ignore"] = "error",
        backend: str | Backend = "native",
    ) -> FoldedIn:
        """Factors of new or changed users (or items) from their ratings, the other side fixed.

        Solves the row problem of the fit exactly, so that folding in a user's training ratings
        gives the stored factors of a model whose solver is exact. `with_rows` puts the result into
        a model.

        Parameters
        ----------
        X, y : Ratings, a table, or pairs and their ratings
            All ratings of the users (items) to solve.
        side : {"user", "item"}
            Which side is new.
        unknown : {"error", "ignore"}
            What to do with ratings of items (users) that the model does not know.

        Raises
        ------
        NotFittedError, UnknownIdError, SingularSystemError, DataError
        """
        self._check_fitted()
        _choice("side", side, ("user", "item"))
        _choice("unknown", unknown, ("error", "ignore"))
        ratings = as_ratings(X, y)
        cells = self._translate(ratings, side, unknown)
        ids = ratings.users if side == "user" else ratings.items
        return FoldedIn.solve(
            side,
            ids,
            cells,
            self.factors_,
            self.objective_,
            get_backend(backend, dtype=self.factors_.dtype),
        )

    def _translate(self, ratings: Ratings, side: Side, unknown: str) -> CSR:
        """The cells by rows of `side`, their columns as row numbers of the model."""
        if side == "user":
            cells, others, ours = ratings.by_user, ratings.items, self.factors_.item_ids
        else:
            cells, others, ours = ratings.by_item, ratings.users, self.factors_.user_ids
        if others == ours:
            return cells
        lookup = ours.lookup(others.values)
        column = lookup[cells.indices]
        missing = column < 0
        if missing.any():
            if unknown == "error":
                wrong = others.id_at(int(cells.indices[np.argmax(missing)]))
                raise UnknownIdError(
                    "item" if side == "user" else "user",
                    wrong,
                    f"is not known to the model ({np.count_nonzero(lookup < 0):,} such ids)",
                    'pass unknown="ignore" to leave those ratings out',
                )
            cells, column = cells.select(~missing), column[~missing]
        if others.kind != ours.kind:  # «10» sorts before «9», 9 before 10
            row = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
            order = np.lexsort((column, row))
            weights = None if cells.weights is None else cells.weights[order]
            return CSR(cells.indptr, column[order].astype(np.uint32), cells.values[order], weights)
        return CSR(cells.indptr, column.astype(np.uint32), cells.values, cells.weights)

    def with_rows(self, folded: FoldedIn) -> Self:
        """A model in which these users (items) are added, or replaced where it knew them.

        The other side keeps its factors. The history of added or replaced users is that of their
        folded-in ratings; added items change no history.
        """
        self._check_fitted()
        fresh = type(self)(**self.get_params())
        fresh.__dict__.update(self.__dict__)
        fresh.factors_, fresh.history_ = merge_rows(self.factors_, self.history_, folded)
        return fresh

    def explain(self, user: Any, item: Any, *, ratings: Ratings | None = None) -> Explanation:
        """The share of each of the user's own ratings in a score; the shares sum to it.

        Raises
        ------
        NotFittedError, UnknownIdError, HistoryRequiredError
        """
        self._check_fitted()
        f = self.factors_
        item_row = f.item_ids.lookup([item], "item")
        require_known(item_row, [item], "item")
        if ratings is None:
            user_row = f.user_ids.lookup([user], "user")
            require_known(user_row, [user], "user")
            cells = self._rows_of(self._history("explain"), user_row)
        else:
            user_row = ratings.users.lookup([user], "user")
            require_known(user_row, [user], "user")
            cells = take_rows(self._translate(ratings, "user", "ignore"), user_row)
        problem = self.objective_.row_problem("user", cells, f.rank, "float64")
        baseline, shares = contributions(cells, problem, f, int(item_row[0]))
        order = np.argsort(-shares, kind="stable")
        return Explanation(
            user=user,
            item=f.item_ids.id_at(int(item_row[0])),
            score=baseline + float(shares.sum()),
            baseline=baseline,
            items=f.item_ids.take(cells.indices[order]),
            ratings=cells.values[order],
            contributions=shares[order],
            exact=self._exact_users and ratings is None,
        )

    # ------------------------------------------------ which factors, and how good

    @property
    def rank_(self) -> int:
        """K, the number of factors that the model has."""
        self._check_fitted()
        return self.factors_.rank

    def canonical(self) -> Self:
        """This model with its factors in canonical axes: J, predictions and fold-in stay what they
        are.

        `Factors.canonical` with the S of the objective, which count scaling takes from the history.
        The result's `departure_` is 0 at a stationary point of J and says how far the fit is from
        one.

        Raises
        ------
        NotFittedError
        HistoryRequiredError
            Count scaling, and the model was saved without its users' ratings.
        ParameterError
            A non-negative model: a rotation would break W, Z ≥ 0.
        """
        self._check_fitted()
        self._refuse_nonnegative("canonical")
        found = self.factors_.canonical(*self._scales("canonical"))
        fresh = self._with(found.factors)
        fresh.departure_ = found.departure
        return fresh

    def singular_values(self) -> Array:
        """The singular values of S_w^½ W Zᵀ S_z^½, decreasing; see `Factors.singular_values`.

        Raises
        ------
        NotFittedError, HistoryRequiredError
        """
        self._check_fitted()
        return self.factors_.singular_values(*self._scales("singular_values"))

    def align(self, other: FactorModel) -> Self:
        """This model in the axes of another; see `Factors.align`.

        The result's `distance_` says how far apart both are (0: the same up to a rotation). So a
        retrained model keeps the axes of the one before.

        Raises
        ------
        NotFittedError, DataError
        ParameterError
            A non-negative model, or another of higher rank.
        """
        self._check_fitted()
        other._check_fitted()
        self._refuse_nonnegative("align")
        if other.factors_.rank > self.factors_.rank:
            raise ParameterError(
                "other",
                f"a model of rank {other.factors_.rank}",
                f"must not have a higher rank than this one, {self.factors_.rank}",
                "use factors_.align, which fills up with zeros",
            )
        found = self.factors_.align(other.factors_)
        fresh = self._with(found.factors)
        fresh.distance_ = found.distance
        return fresh

    def certificate(
        self, ratings: Ratings | None = None, *, tolerance: float | None = None
    ) -> Certificate:
        """Whether the model is the optimum of its objective, over all factors of all ranks.

        `print(model.certificate())` says it in a sentence: globally optimal to within a gap; or the
        rank is too small, and by how much J would fall; or not converged. See
        `diagnostics/certificate.py` for the dual problem behind it, `docs/theory.md` for the
        derivation. All in float64.

        Parameters
        ----------
        ratings : Ratings, optional
            What the model was fitted to. Default: its history.
        tolerance : float
            The gap (J − D)/J up to which the verdict is "optimal". Default: 1e-6, and 1e-5 for factors
            in float32, whose rounding alone leaves a gap of some 1e-7.

        Raises
        ------
        NotFittedError, HistoryRequiredError, UnknownIdError
        ParameterError
            A non-negative model, or reg = 0 for users or items.
        """
        from halfstep.diagnostics.certificate import certify, check_certifiable

        self._check_fitted()
        objective = check_certifiable(self.objective_)
        if tolerance is None:
            tolerance = 1e-6 if self.factors_.dtype == "float64" else 1e-5
        if not isinstance(tolerance, (int, float, np.number)) or not tolerance >= 0:
            raise ParameterError(
                "tolerance", tolerance, "must be a number ≥ 0", "try tolerance=1e-6"
            )
        cells = self._all_rows("certificate") if ratings is None else self._as_history(ratings)
        return certify(cells, objective, self.factors_, tolerance=float(tolerance))

    def _as_history(self, ratings: Ratings) -> CSR:
        """Other ratings as cells over the rows and columns of the model."""
        ids = self.factors_.user_ids
        cells = self._translate(ratings, "user", "error")
        if ratings.users == ids:
            return cells
        rows = ids.lookup(ratings.users.values)
        require_known(rows, ratings.users.values, "user")
        source = np.full(len(ids), cells.n_rows)
        source[rows] = np.arange(cells.n_rows)
        with_empty = CSR(
            np.append(cells.indptr, cells.indptr[-1]), cells.indices, cells.values, cells.weights
        )
        return take_rows(with_empty, source)

    def _scales(self, why: str) -> tuple[Array, Array]:
        """s_u and s_i of the objective."""
        f, scaling = self.factors_, getattr(self.objective_, "reg_scaling", "none")
        if scaling == "none":
            return np.ones(len(f.user_ids)), np.ones(len(f.item_ids))
        return scales(self._all_rows(why), len(f.item_ids), scaling)

    def _all_rows(self, why: str) -> CSR:
        return self._rows_of(self._history(why), np.arange(len(self.factors_.user_ids)))

    def _refuse_nonnegative(self, what: str) -> None:
        if getattr(self.objective_, "nonnegative", False):
            raise ParameterError(
                "nonnegative",
                True,
                f"{what} is a rotation, which would break W ≥ 0 and Z ≥ 0",
                "leave the factors as they are: non-negative ones have axes of their own",
            )

    def _with(self, factors: Factors) -> Self:
        """This model with other factors for the same rows."""
        fresh = type(self)(**self.get_params())
        fresh.__dict__.update(self.__dict__)
        fresh.factors_ = factors
        return fresh

    # -------------------------------------------------------------------- file

    def save(self, path: str | Path, *, history: bool = True) -> Path:
        """Write the model to one `.safetensors` file, whole or not at all.

        `history=False` leaves the users' ratings out: the file is smaller and holds no personal
        history, and `recommend(exclude_seen=True)` and `explain` then ask for `ratings=`.
        """
        from halfstep.models.saving import save_model

        self._check_fitted()
        return save_model(self, path, history=history)


def _choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ParameterError(name, value, "is not a choice", f"choose one of {', '.join(choices)}")


def _at_least_one(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ParameterError(name, value, "must be an integer of at least 1", f"try {name}=10")
