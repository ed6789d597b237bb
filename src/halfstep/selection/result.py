"""What a selection has tried, what it chose, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from halfstep.checks import check_choice, check_integer, check_number
from halfstep.objectives import Reg, Scaling

__all__ = ["Selection", "Trial", "lowest"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting, and its held-out error.

    Attributes
    ----------
    rank : int, K
    reg : Reg
        λ of users, items and biases.
    reg_scaling : {"count", "sqrt", "none"}
    sweeps : int
        How many were done; of a final trial, after how many the held-out error was lowest.
    rmse : float
        The held-out RMSE after them, over all held-out ratings.
    standard_error : float
        Of that RMSE, from the spread between users.
    ratings : int
        How many ratings it was fitted to (fewer than all on a sample of the users).
    seconds : float
        What the trial took.
    final : bool
        Whether it was fitted from random factors until the error no longer fell, as the model will be;
        the other trials begin with their neighbour's factors.
    """

    rank: int
    reg: Reg
    reg_scaling: Scaling
    sweeps: int
    rmse: float
    standard_error: float
    ratings: int
    seconds: float
    final: bool = False


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
        """The trial of the lowest error among the final ones, else those on the most ratings."""
        return lowest(self.trials)

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments of `ExplicitMF` that make the chosen model.

        Its seed must be that of the model that was selected for.
        """
        reg = self.chosen.reg
        found: dict[str, Any] = {
            "rank": self.chosen.rank,
            "reg": (reg.user, reg.item, reg.bias),
            "reg_scaling": self.chosen.reg_scaling,
        }
        return found if self.sweeps is None else {**found, "max_iter": self.sweeps, "tol": 0.0}

    def to_dict(self) -> dict[str, list[Any]]:
        """One list per column, one entry per trial: ready for any DataFrame."""
        columns: dict[str, list[Any]] = {}
        for trial in self.trials:
            flat = asdict(trial)
            reg = flat.pop("reg")
            row = {**flat, **{f"reg_{name}": value for name, value in reg.items()}}
            for name, value in {**row, "chosen": trial is self.chosen}.items():
                columns.setdefault(name, []).append(value)
        return columns

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file; `from_dict` reads them. An error that is infinite is None."""
        whole = {name: getattr(self, name) for name in ("reason", "stopped", "seconds")}
        counts = {name: getattr(self, name) for name in ("folds", "held_out", "sweeps")}
        trials = self.to_dict()
        trials["rmse"] = [error if math.isfinite(error) else None for error in trials["rmse"]]
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
    for value in (*reg, row["standard_error"], row["seconds"]):
        check_number("trials", value)
    for name, least in (("rank", 1), ("sweeps", 0), ("ratings", 0)):
        check_integer(name, row[name], least)
    check_choice("reg_scaling", row["reg_scaling"], ("count", "sqrt", "none"))
    if row["rmse"] is None:
        row["rmse"] = math.inf
    if row["rmse"] != math.inf:
        check_number("rmse", row["rmse"])
    if not isinstance(row["final"], bool):
        raise TypeError("final is neither true nor false")
    return Trial(reg=Reg(*(float(value) for value in reg)), **row)


def lowest(trials: Sequence[Trial]) -> Trial:
    """See `Selection.best`."""
    final = [trial for trial in trials if trial.final]
    most = max(trial.ratings for trial in trials)
    comparable = final or [trial for trial in trials if trial.ratings == most]
    return min(comparable, key=lambda trial: trial.rmse)
