"""Single rows: new and changed ones, and why they are what they are."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.checks import check_choice
from halfstep.data.ids import IdMap, require_known
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import ParameterError
from halfstep.features.features import Features
from halfstep.models.explanation import Explanation, contributions
from halfstep.models.fitted import Fitted
from halfstep.models.foldin import FoldedIn, merge_rows
from halfstep.models.influence import Influence, influence_of
from halfstep.models.side_features import (
    as_fitted,
    known_features,
    merged,
    prior_means,
    table_rows,
)
from halfstep.objectives import Shared, Side

__all__ = ["Rows"]


class Rows(Fitted):
    """`fold_in`, `with_rows`, `explain`, `influence`."""

    def fold_in(
        self,
        X: Any,
        y: Any = None,
        *,
        side: Side = "user",
        unknown: Literal["error", "ignore"] = "error",
        features: Any = None,
        backend: str | Backend = "native",
    ) -> FoldedIn:
        """Factors of new or changed users (or items) from their ratings, the other side fixed.

        Solves the row problem of the fit exactly, so that folding in a user's training ratings
        gives the stored factors of a model whose solver is exact. `with_rows` puts the result into
        a model.

        Parameters
        ----------
        X, y : Ratings, a table, or pairs and their ratings (counts, of implicit feedback, or none)
            All ratings of the users (items) to solve.
        side : {"user", "item"}
            Which side is new.
        unknown : {"error", "ignore"}
            What to do with ratings of items (users) that the model does not know.
        features : Features, a table, or a pair (matrix, ids), optional
            Of a model fitted with features of that side: those of these rows, which are drawn to A'x in
            place of 0. Of ids that are not among them: what the model remembers. A row of which
            nothing is known has the features of an average one. (Implicit features come from the
            ratings.)

        Raises
        ------
        NotFittedError, UnknownIdError, SingularSystemError, DataError
        ParameterError
            `features` of a model that was fitted without.
        """
        self._check_fitted()
        check_choice("side", side, ("user", "item"))
        check_choice("unknown", unknown, ("error", "ignore"))
        ratings = self._taken(X, y)
        cells = self._translate(ratings, side, unknown)
        ids = ratings.users if side == "user" else ratings.items
        known = known_features(self, side)
        if features is not None:
            known = merged(known, as_fitted(self, side, features, "features"))
        runs_on = get_backend(backend, dtype=self.factors_.dtype)
        return self._folded(side, ids, cells, runs_on, known)

    def _folded(
        self, side: Side, ids: IdMap, cells: CSR, backend: Backend, features: Features | None = None
    ) -> FoldedIn:
        """The rows of `cells`, whose columns are row numbers of the model; `features` by their ids."""
        f = self.factors_
        table = None if features is None else features.aligned(ids)
        mean = prior_means(self, side, cells, table, f.dtype, backend)
        if features is not None and table is not None:
            features = Features(ids, table, features.encoding)
        shared = self._shared(side, backend)
        return FoldedIn.solve(side, ids, cells, f, self.objective_, backend, mean, features, shared)

    def _shared(self, side: Side, backend: Backend) -> Shared | None:
        """What all rows of a side have in common, made at the first question."""
        f = self.factors_
        fixed = f.item_side if side == "user" else f.user_side
        kept = self.__dict__.get(f"_shared_{side}")
        if kept is None or kept[0] is not fixed[0] or kept[1] != backend.name:
            none = CSR(np.zeros(1, dtype=np.int64), np.empty(0, np.uint32), np.empty(0, np.float32))
            problem = self.objective_.row_problem(side, none, f.rank, f.dtype)
            kept = fixed[0], backend.name, problem.shared(fixed, backend)
            self.__dict__[f"_shared_{side}"] = kept
        shared: Shared | None = kept[2]
        return shared

    def with_rows(self, folded: FoldedIn) -> Self:
        """A model in which these users (items) are added, or replaced where it knew them.

        The other side keeps its factors. The history of added or replaced users is that of their
        folded-in ratings; added items change no history, so that how sure a prediction is counts
        them as items without ratings. A calibration is kept for users, and dropped for items. Where an
        item that it knew is replaced, its users are no longer the solutions of their rows, and `explain`
        says so.

        Raises
        ------
        NotFittedError
        ParameterError
            The rows were folded into a model of another rank.
        """
        self._check_fitted()
        rank = self.factors_.rank
        if folded.factors.shape[1] != rank:
            raise ParameterError(
                "folded",
                folded,
                f"has {folded.factors.shape[1]} factors, and this model has {rank}",
                "pass what fold_in of this model returns",
            )
        factors, history = merge_rows(self.factors_, self.history_, folded)
        fresh = self._with(factors)
        fresh._forget("_by_item")
        fresh.history_ = history
        own = merged(known_features(self, folded.side), folded.features)
        user, item = self._tables
        fresh._tables = (own, item) if folded.side == "user" else (user, own)
        if folded.side == "item":
            told = np.diff(folded.cells.indptr) > 0
            names = folded.ids.take(np.arange(len(folded.ids)))
            fresh._told_items = self._told_items.difference(names.tolist()).union(
                names[told].tolist()
            )
            fresh.calibration_ = None
            if (self.factors_.item_ids.lookup(folded.ids.values) >= 0).any():
                fresh._exact_users = False
        return fresh

    def explain(self, user: Any, item: Any, *, ratings: Ratings | None = None) -> Explanation:
        """The share of each of the user's own ratings (interactions) in a score; they sum to it.

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
            cells = self._translate(ratings, "user", "ignore")
            user_row = ratings.users.lookup([user], "user")
            require_known(user_row, [user], "user")
            cells = take_rows(cells, user_row)
        known = self._ids("user").lookup([user], "user")
        table = table_rows(self, "user", known)
        baseline, shares = self._contributions(cells, int(item_row[0]), table)
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
            counts=self._adds_counts,
        )

    def _contributions(
        self, cells: CSR, item: int, table: CSR | None = None
    ) -> tuple[float, Array]:
        """(baseline, one share per cell) of a user's score of an item; `table` has their features."""
        f = self.factors_
        problem = self.objective_.row_problem("user", cells, f.rank, "float64")
        backend = get_backend("native", dtype="float64")
        mean = prior_means(self, "user", cells, table, "float64", backend)
        if mean is not None:
            problem = problem.around(mean, cells)
        if problem.everywhere and cells.nnz:  # a row without cells is 0
            Z, offset = f.item_side
            wide = None if offset is None else offset.astype(np.float64)
            problem = problem.with_all((Z.astype(np.float64), wide), backend)
        return contributions(self.objective_.cells(cells), problem, f, item)

    def influence(
        self, user: Any = None, *, item: Any = None, ratings: Ratings | None = None
    ) -> Influence:
        """Which ratings (interactions) of a user or item move its factors most, when they leave.

        The row without each of its ratings is solved in closed form, the other side and μ held
        fixed: what `fold_in` without that rating gives, the regularization's s_u included, not what
        another fit would give. See `models/influence.py`.

        Parameters
        ----------
        user, item : id
            One of the two.
        ratings : Ratings, optional
            In place of the model's own history.

        Raises
        ------
        NotFittedError, UnknownIdError, ParameterError, HistoryRequiredError, SingularSystemError
        """
        self._check_fitted()
        if (user is None) == (item is None):
            raise ParameterError(
                "user" if user is None else "item",
                user if user is None else item,
                "exactly one of user and item must be given",
                "pass an id of one side",
            )
        side: Side = "item" if user is None else "user"
        return influence_of(self, side, item if user is None else user, ratings)
