"""ALS and a Bayesian model on the same split: which one `halfstep fit` saves, and what it costs.

The Bayesian model is saved where its RMSE on the validation part is lower by a thousandth at least. Else
ALS is: its file has one set of factors where the other has dozens, and answers at half the rank.
The test part measures both, and has no say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from halfstep.cli.output import duration
from halfstep.data.ratings import Ratings
from halfstep.models.bayesian import BayesianMF
from halfstep.models.explicit import ExplicitMF

__all__ = ["Contest", "Rival"]

WORTH = 1e-3
"""The Bayesian model's error must be lower by this share of that of ALS."""


@dataclass(frozen=True)
class Rival:
    """The Bayesian model and the seconds of its fit; or why there is none."""

    model: BayesianMF | None
    seconds: float
    why: str


@dataclass
class Contest:
    """`seconds` are those of ALS, its choice included."""

    als: Any
    seconds: float
    bayesian: Rival
    winner: ExplicitMF | BayesianMF = field(init=False)
    _on: str = "validation"
    _rmse: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def models(self) -> dict[str, Any]:
        """By the name of their row in the table."""
        found = {f"ALS, rank {self.als.rank_}": self.als}
        other = self.bayesian.model
        return found if other is None else {**found, f"Bayesian, rank {other.rank_}": other}

    def decide(self, valid: Ratings) -> None:
        """By the error on the validation part."""
        self._take("validation", valid)
        errors = list(self._rmse["validation"].values())
        self.winner = self.als
        if self.bayesian.model is not None and errors[1] <= (1 - WORTH) * errors[0]:
            self.winner = self.bayesian.model

    def measure(self, test: Ratings) -> None:
        """On the test part, whose errors are told then."""
        self._take("test", test)
        self._on = "test"

    def _take(self, part: str, ratings: Ratings) -> None:
        self._rmse[part] = {name: model.rmse(ratings) for name, model in self.models.items()}

    def told(self) -> str:
        """One line: what the better error costs, and what is saved."""
        als, *others = self._rmse[self._on].values()
        if not others:
            return f"No Bayesian model: {self.bayesian.why}; saved: ALS."
        low = next(iter(others))
        saved = "ALS" if self.winner is self.als else "the Bayesian model"
        why = ""
        if self.winner is self.als:
            why = ", as the other is not better by a thousandth on the validation part"
        part = "" if self._on == "test" else "validation "
        return (
            f"Bayesian: {part}RMSE {low:.4f} against {als:.4f} of ALS, for "
            f"{duration(self.bayesian.seconds)} against {duration(self.seconds)}; saved: {saved}{why}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        found: dict[str, Any] = {}
        for place, (key, seconds) in enumerate(
            (("als", self.seconds), ("bayesian", self.bayesian.seconds))
        ):
            errors = {
                f"{part}_rmse": list(taken.values())[place] if place < len(taken) else None
                for part, taken in self._rmse.items()
            }
            found[key] = {**errors, "seconds": seconds}
        found["left_out"] = self.bayesian.why or None
        return {**found, "saved": type(self.winner).__name__}
