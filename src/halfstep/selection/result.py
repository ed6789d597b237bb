"""What a selection has tried, what it chose, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from halfstep.checks import check_choice, check_integer, check_number
from halfstep.evaluation.rank_validation import check_metric
from halfstep.objectives import Reg

__all__ = ["Selection", "Trial", "lowest"]

_RMSE = "rmse"
_OF_RATINGS, _OF_RANKINGS = ("count", "sqrt", "none"), ("frequency", "count", "none")


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting, and how well it does on what was held out.

    Attributes
    ----------
    rank : int, K
    reg : Reg
        λ of users, items and biases.
    reg_scaling : {"count", "sqrt", "none"}, and "frequency" of `ImplicitMF`
    sweeps : int
        How many were done; of a final trial, after how many the score was best.
    score : float
        `metric` on what was held out: the RMSE over all ratings, or the mean of a metric of lists over
        the users.
    standard_error : float
        Of that score, from the spread between users.
    ratings : int
        How many ratings it was fitted to (fewer than all on a sample of the users).
    seconds : float
        What the trial took.
    final : bool
        Whether it was fitted from random factors until the score no longer improved, as the model will
        be; the other trials begin with their neighbour's factors.
    metric : str
        "rmse", of which lower is better, or the metric of `ImplicitMF`, of which higher is.
    alpha0 : float or None
        α₀ of `ImplicitMF`.
    popularity : float
        The power of `Ratings.weighted_by_popularity` that the trial was fitted with; 0 is none.
    """

    rank: int
    reg: Reg
    reg_scaling: Literal["count", "sqrt", "none", "frequency"]
    sweeps: int
    score: float
    standard_error: float
    ratings: int
    seconds: float
    final: bool = False
    metric: str = _RMSE
    alpha0: float | None = None
    popularity: float = 0.0

    @property
    def rmse(self) -> float:
        """The held-out RMSE, of a model of ratings."""
        if self.metric != _RMSE:
            raise AttributeError(
                f"a trial of a model of rankings has no RMSE: its score is {self.metric}"
            )
        return self.score

    @property
    def loss(self) -> float:
        """What is to be low: the error, or minus the score. Infinite where no fit was possible."""
        return self.score if self.metric == _RMSE else -self.score


@dataclass(frozen=True, slots=True)
class Selection:
    """The surface that was explored, and the choice.

    Attributes
    ----------
    trials : tuple of Trial
        In the order in which they were done.
    chosen : Trial
        One of them: the best, or with the one-standard-error rule the simplest that is no worse.
    reason : str
        Why, in one sentence.
    stopped : {"done", "budget"}
    seconds : float
    folds : int
        Parts that were held out in turn; 1 is a single held-out part.
    held_out : int
        Ratings that measured.
    sweeps : int or None
        How many a fit from random factors needs; None where the time was up before that was known.
    """

    trials: tuple[Trial, ...]
    chosen: Trial
    reason: str
    stopped: str
    seconds: float
    folds: int
    held_out: int
    sweeps: int | None

    @property
    def best(self) -> Trial:
        """The best trial among the final ones, else those on the most ratings."""
        return lowest(self.trials)

    @property
    def metric(self) -> str:
        """What measured: "rmse", or the metric of `ImplicitMF`."""
        return self.chosen.metric

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments of `ExplicitMF` or `ImplicitMF` that make the chosen model.

        All others must be those of the model that was selected for. (`chosen.popularity` is no argument
        of a model, but of the interactions: `Ratings.weighted_by_popularity`.)
        """
        reg = self.chosen.reg
        found: dict[str, Any] = {
            "rank": self.chosen.rank,
            "reg": (reg.user, reg.item, reg.bias),
            "reg_scaling": self.chosen.reg_scaling,
        }
        if self.chosen.alpha0 is not None:
            found["alpha0"] = self.chosen.alpha0
        return found if self.sweeps is None else {**found, "max_iter": self.sweeps, "tol": 0.0}

    def to_dict(self) -> dict[str, list[Any]]:
        """One list per column, one entry per trial: ready for any DataFrame.

        Of a model of ratings the column of the scores is called `rmse`.
        """
        columns: dict[str, list[Any]] = {}
        for trial in self.trials:
            flat = asdict(trial)
            reg = flat.pop("reg")
            if trial.metric == _RMSE:
                del flat["alpha0"], flat["popularity"], flat["metric"]
                flat = {(_RMSE if name == "score" else name): flat[name] for name in flat}
            row = {**flat, **{f"reg_{name}": value for name, value in reg.items()}}
            for name, value in {**row, "chosen": trial is self.chosen}.items():
                columns.setdefault(name, []).append(value)
        return columns

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file; `from_dict` reads them. A score that is infinite is None."""
        whole = {name: getattr(self, name) for name in ("reason", "stopped", "seconds")}
        counts = {name: getattr(self, name) for name in ("folds", "held_out", "sweeps")}
        trials = self.to_dict()
        name = _RMSE if self.metric == _RMSE else "score"
        trials[name] = [score if math.isfinite(score) else None for score in trials[name]]
        return {**whole, **counts, "trials": trials}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Selection:
        """From what `as_dict` has written.

        Raises `ParameterError`, `LookupError`, `TypeError` or `ValueError` where it is something else.
        """
        columns = dict(document["trials"])
        chosen = columns.pop("chosen").index(True)
        trials = [
            _trial(dict(zip(columns, values, strict=True)))
            for values in zip(*columns.values(), strict=True)
        ]
        names = ("reason", "stopped", "seconds", "folds", "held_out", "sweeps")
        values = {name: document[name] for name in names}
        if not isinstance(values["reason"], str):
            raise TypeError("reason is no text")
        check_choice("stopped", values["stopped"], ("done", "budget"))
        check_number("seconds", values["seconds"])
        for name in ("folds", "held_out", *(["sweeps"] if values["sweeps"] is not None else [])):
            check_integer(name, values[name], 1)
        return cls(tuple(trials), trials[chosen], **values)

    def __str__(self) -> str:
        return self.reason


def _trial(row: dict[str, Any]) -> Trial:
    """One row of the columns of `as_dict`, checked."""
    reg = [row.pop(f"reg_{name}") for name in ("user", "item", "bias")]
    scalings, worst = _OF_RATINGS, math.inf
    if _RMSE in row:
        row = {("score" if name == _RMSE else name): value for name, value in row.items()}
        known = {"alpha0", "popularity", "metric"} & set(row)
        if known:
            raise TypeError(f"an RMSE has no {', '.join(sorted(known))}")
    else:
        check_metric(row["metric"])
        check_number("alpha0", row["alpha0"], positive=True)
        if not isinstance(row["popularity"], float) or not math.isfinite(row["popularity"]):
            raise TypeError("popularity is no number")
        scalings, worst = _OF_RANKINGS, -math.inf
    for value in (*reg, row["standard_error"], row["seconds"]):
        check_number("trials", value)
    for name, least in (("rank", 1), ("sweeps", 0), ("ratings", 0)):
        check_integer(name, row[name], least)
    check_choice("reg_scaling", row["reg_scaling"], scalings)
    if row["score"] is None:
        row["score"] = worst
    if row["score"] != worst:
        check_number("score", row["score"])
    if not isinstance(row["final"], bool):
        raise TypeError("final is neither true nor false")
    return Trial(reg=Reg(*(float(value) for value in reg)), **row)


def lowest(trials: Sequence[Trial]) -> Trial:
    """See `Selection.best`."""
    final = [trial for trial in trials if trial.final]
    most = max(trial.ratings for trial in trials)
    comparable = final or [trial for trial in trials if trial.ratings == most]
    return min(comparable, key=lambda trial: trial.loss)
