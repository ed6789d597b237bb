"""The protocols of published splits, under their own names and with their own conventions.

    LeaveOneOut            HR@10, NDCG@10 among listed negatives (He et al. 2017)
    FullRanking            Recall@20, NDCG@20 among all items (He et al. 2020)
    StrongGeneralization   Recall@20, Recall@50, NDCG@100 of users folded in (Liang et al. 2018)

Each holds a split and measures any model on it: one with `recommend`, fitted on the `train` of the
split, or a function from user ids to scores (`halfstep.baselines.Scored`). The formulas are those of
`evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.checks import check_choice
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, LeakError
from halfstep.evaluation.evaluation import Evaluation, evaluation_of
from halfstep.evaluation.measures import Asked, Options, parse_metrics
from halfstep.evaluation.splits.leaks import check_split
from halfstep.evaluation.splits.new_users import UserSplit

__all__ = ["FullRanking", "LeaveOneOut", "StrongGeneralization"]


@dataclass(frozen=True, slots=True, eq=False)
class LeaveOneOut:
    """One held-out item of each user, ranked among negatives that the split lists (He et al. 2017).

        HR@10 = the share of users with rank ≤ 10,    NDCG@10 = the mean of [rank ≤ 10] / log₂(rank + 1)

    The rank of the held-out item is 1 + the number of listed negatives that score at least as high. So a
    negative of the same score is ahead, as in the authors' code, where the held-out item is appended to
    its negatives and a stable sort cuts the list. A negative that is the held-out item itself counts
    nothing (of the 99 listed for MovieLens 1M that is one for 156 users). Negatives are ranked whether
    or not the user has them in training. A negative without a score is behind; a held-out item without
    one is last.

    Sampled metrics say little about the whole catalogue (Krichene and Rendle 2020): see docs/metrics.md.

    Attributes
    ----------
    train, test : Ratings
        Over the same ids; `test` has one item of each user in it.
    negatives : (indptr, item rows)
        The negatives of user row u are `items[indptr[u]:indptr[u + 1]]`.

    References
    ----------
    He, Liao, Zhang, Nie, Hu, Chua, Neural Collaborative Filtering, WWW 2017, section 4.1.
    """

    train: Ratings
    test: Ratings
    negatives: tuple[Array, Array]
    metrics: ClassVar[Mapping[str, str]] = {
        "HR@10": "sampled_hit_rate@10",
        "NDCG@10": "sampled_ndcg@10",
    }

    def __post_init__(self) -> None:
        check_split(self.train, self.test)
        held = np.diff(self.test.by_user.indptr)
        if held.max() > 1:
            user = self.test.users.id_at(int(np.argmax(held)))
            raise DataError("test", user, "has several held-out items", "hold out one of each user")
        indptr, items = self.negatives
        if len(indptr) != len(held) + 1 or indptr[-1] != len(items):
            rule = f"must be the lists of {len(held)} users"
            raise DataError("negatives", indptr, rule, "pass (indptr, item rows)")
        without = (np.diff(indptr) == 0) & (held > 0)
        if without.any():
            user = self.test.users.id_at(int(np.argmax(without)))
            raise DataError("negatives", user, "is a user without any", "list at least one")
        if len(items) and not 0 <= items.min() <= items.max() < self.test.shape[1]:
            raise DataError(
                "negatives", int(items.max()), "must be rows of the items", "look them up first"
            )

    def evaluate(
        self, model: Any, *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0
    ) -> Evaluation:
        """HR@10 and NDCG@10 of a model, with intervals by resampling users.

        Parameters
        ----------
        model
            Fitted on `train`; or a function from user ids to the scores of all items.
        confidence, n_resamples, seed
            Of the intervals, as in `evaluate`.

        Raises
        ------
        ParameterError, DataError
        """
        held = np.flatnonzero(np.diff(self.test.by_user.indptr))
        indptr, items = self.negatives
        ids = self.test.items.take(items)
        candidates = {
            user: ids[indptr[row] : indptr[row + 1]]
            for user, row in zip(self.test.users.take(held).tolist(), held.tolist(), strict=True)
        }
        options = Options(
            train=self.train,
            unknown="bias",
            exclude_seen=False,
            candidates=candidates,
            seed=seed,
            ties="behind",
        )
        asked = _named(self.metrics)
        model = _model(model, self.train)
        return evaluation_of(model, self.test, asked, options, confidence, n_resamples)


@dataclass(frozen=True, slots=True, eq=False)
class FullRanking:
    """Every user's held-out items among all items that the user has not in training (He et al. 2020).

        Recall@20 = h_u(20) / |R_u|,
        NDCG@20 = Σ_{j ≤ 20, hit} 1 / log₂(j + 1) over that of min(20, |R_u|) hits

    with R_u the held-out items and h_u(k) how many are among the first k; the mean over all users with
    held-out items. Equal scores stand in the order of the item ids.

    Attributes
    ----------
    train, test : Ratings
        Over the same ids.

    References
    ----------
    He, Deng, Wang, Li, Zhang, Wang, LightGCN, SIGIR 2020, section 4.1, and its code.
    """

    train: Ratings
    test: Ratings
    metrics: ClassVar[Mapping[str, str]] = {"Recall@20": "recall@20", "NDCG@20": "ndcg_binary@20"}

    def __post_init__(self) -> None:
        check_split(self.train, self.test)

    def evaluate(
        self, model: Any, *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0
    ) -> Evaluation:
        """Recall@20 and NDCG@20 of a model, with intervals by resampling users.

        Parameters and errors as in `LeaveOneOut.evaluate`.
        """
        options = Options(train=self.train, unknown="bias", seed=seed)
        model = _model(model, self.train)
        asked = _named(self.metrics)
        return evaluation_of(model, self.test, asked, options, confidence, n_resamples)


@dataclass(frozen=True, slots=True, eq=False)
class StrongGeneralization:
    """Users whom the fit has not seen, folded in by a part of their items (Liang et al. 2018).

        Recall@k = h_u(k) / min(k, |R_u|), k = 20 and 50,
        NDCG@100 = Σ_{j ≤ 100, hit} 1 / log₂(j + 1) over that of min(100, |R_u|) hits

    with R_u the items of the user that are held out, ranked among all items but those that are given. A
    held-out user without held-out items is left out.

    Attributes
    ----------
    train : Ratings
        All items of the users to fit on.
    validation, test : UserSplit
        Of two groups of other users what is `given` and what is held out (`test`).

    References
    ----------
    Liang, Krishnan, Hoffman, Jebara, Variational Autoencoders for Collaborative Filtering, WWW 2018,
    section 4.2, and its code.
    """

    train: Ratings
    validation: UserSplit
    test: UserSplit
    metrics: ClassVar[Mapping[str, str]] = {
        "Recall@20": "recall_capped@20",
        "Recall@50": "recall_capped@50",
        "NDCG@100": "ndcg_binary@100",
    }

    def __post_init__(self) -> None:
        for part in (self.validation, self.test):
            check_split(*part, kind="users")
        watched, held_out = _known(self.validation.given), _known(self.test.given)
        both = held_out.lookup(watched.values) >= 0
        if both.any():
            user = watched.id_at(int(np.argmax(both)))
            rule = "is a user of the test part too"
            raise LeakError("validation", user, rule, "hold out other users there")

    def evaluate(
        self,
        model: Any,
        part: Literal["test", "validation"] = "test",
        *,
        confidence: float = 0.95,
        n_resamples: int = 1000,
        seed: int = 0,
    ) -> Evaluation:
        """Recall@20, Recall@50 and NDCG@100 of a model, with intervals by resampling users.

        Parameters
        ----------
        model
            Fitted on `train`, with `fold_in` and `with_rows` (factor models) or `with_users`
            (baselines); or a function from user ids to the scores of all items, which has looked at
            what is given.
        part : {"test", "validation"}
            Which held-out users: choose parameters on "validation".
        confidence, n_resamples, seed
            As in `LeaveOneOut.evaluate`.

        Raises
        ------
        ParameterError, DataError
        """
        check_choice("part", part, ("test", "validation"))
        _, given, test = self.test if part == "test" else self.validation
        given = _of_own_users(given)
        model = _model(model, given)
        if hasattr(model, "fold_in"):
            told = model.with_rows(model.fold_in(given, unknown="ignore"))
        elif hasattr(model, "with_users"):
            told = model.with_users(given, unknown="ignore")
        else:
            raise DataError(
                "model", model, "cannot fold in users", "pass one with with_users, or a function"
            )
        options = Options(train=given, unknown="bias", seed=seed)
        asked = _named(self.metrics)
        return evaluation_of(told, test, asked, options, confidence, n_resamples)


def _named(metrics: Mapping[str, str]) -> list[Asked]:
    """These metrics of `evaluate`, under the names that the protocol has for them."""
    return [replace(parse_metrics(ours)[0], name=name) for name, ours in metrics.items()]


def _model(model: Any, known: Ratings) -> Any:
    """A model as it is; a function as the model that ranks by it."""
    if callable(model) and not hasattr(model, "recommend"):
        from halfstep.baselines.scored import Scored

        return Scored(model).fit(known)
    return model


def _known(ratings: Ratings) -> IdMap:
    """The users who have some."""
    return IdMap(ratings.users.values[np.diff(ratings.by_user.indptr) > 0])


def _of_own_users(ratings: Ratings) -> Ratings:
    """The same ratings, over the users who have some."""
    cells = ratings.by_user
    rows = np.flatnonzero(np.diff(cells.indptr))
    kept = CSR(np.append(cells.indptr[rows], cells.nnz), cells.indices, cells.values, cells.weights)
    return Ratings(_known(ratings), ratings.items, kept, report=ratings.report)
