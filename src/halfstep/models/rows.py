"""Single rows: new and changed ones, and why they are what they are."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.checks import check_choice
from halfstep.data.ids import IdMap, require_known
from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings, take_rows
from halfstep.errors import ParameterError
from halfstep.models.explanation import Explanation, contributions
from halfstep.models.fitted import Fitted
from halfstep.models.foldin import FoldedIn, merge_rows
from halfstep.models.influence import Influence, influence_of
from halfstep.objectives import Side

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
        check_choice("side", side, ("user", "item"))
        check_choice("unknown", unknown, ("error", "ignore"))
        ratings = as_ratings(X, y)
        cells = self._translate(ratings, side, unknown)
        ids = ratings.users if side == "user" else ratings.items
        return self._folded(side, ids, cells, get_backend(backend, dtype=self.factors_.dtype))

    def _folded(self, side: Side, ids: IdMap, cells: CSR, backend: Backend) -> FoldedIn:
        """The rows of `cells`, whose columns are row numbers of the model."""
        return FoldedIn.solve(side, ids, cells, self.factors_, self.objective_, backend)

    def with_rows(self, folded: FoldedIn) -> Self:
        """A model in which these users (items) are added, or replaced where it knew them.

        The other side keeps its factors. The history of added or replaced users is that of their
        folded-in ratings; added items change no history, so that how sure a prediction is counts
        them as items without ratings. A calibration is kept for users, and dropped for items. Where an
        item that it knew is replaced, its users are no longer the solutions of their rows, and `explain`
        says so.
        """
        self._check_fitted()
        factors, history = merge_rows(self.factors_, self.history_, folded)
        fresh = self._with(factors)
        fresh._forget("_by_item")
        fresh.history_ = history
        if folded.side == "item":
            fresh.calibration_ = None
            if (self.factors_.item_ids.lookup(folded.ids.values) >= 0).any():
                fresh._exact_users = False
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
            cells = self._translate(ratings, "user", "ignore")
            user_row = ratings.users.lookup([user], "user")
            require_known(user_row, [user], "user")
            cells = take_rows(cells, user_row)
        baseline, shares = self._contributions(cells, int(item_row[0]))
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

    def _contributions(self, cells: CSR, item: int) -> tuple[float, Array]:
        """(baseline, one share per cell) of a user's score of an item."""
        f = self.factors_
        problem = self.objective_.row_problem("user", cells, f.rank, "float64")
        return contributions(cells, problem, f, item)

    def influence(
        self, user: Any = None, *, item: Any = None, ratings: Ratings | None = None
    ) -> Influence:
        """Which ratings of a user (or of an item) move their factors most, when they leave.

        The row without each of its ratings is solved in closed form, the other side and μ held
        fixed: what `fold_in` without that rating gives, the regularization's n_u included, not what
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
