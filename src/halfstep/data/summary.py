"""`ratings.summary()`: what was read, and what the ratings look like, as a person reads it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings

__all__ = ["Summary", "summarize"]

_MOST_LEVELS = 20  # a scale with more distinct values is shown by quantiles


@dataclass(frozen=True, slots=True)
class Summary:
    """Facts about a set of ratings; `str()` is a table, `as_dict()` is for machines.

    `per_user` and `per_item` are the least, median and largest number of ratings; `distribution`
    holds (rating, count) pairs, or (quantile, rating) pairs where there are many distinct ratings.
    """

    source: str
    notes: tuple[str, ...]
    rows_read: int
    dropped: dict[str, int]
    repeats: int
    duplicates: str
    ratings: int
    users: int
    items: int
    density: float
    mean: float
    lowest: float
    highest: float
    per_user: tuple[int, int, int]
    per_item: tuple[int, int, int]
    weighted: bool
    timed: bool
    distribution_kind: str
    distribution: tuple[tuple[float, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """The same facts as plain values."""
        return asdict(self)

    def rows(
        self, *, learns: Literal["ratings", "interactions"] = "ratings"
    ) -> list[tuple[str, str]]:
        """(label, text) pairs, in the order in which a person wants them."""
        rows = [("source", self.source)]
        if self.notes:
            rows.append(("found", "; ".join(self.notes)))
        rows.append(("rows read", f"{self.rows_read:,}"))
        for reason, count in self.dropped.items():
            rows.append(("dropped", f"{count:,} × {reason}"))
        if self.repeats:
            rows.append(("repeated pairs", f"{self.repeats:,} rows ({self.duplicates})"))
        extra = [name for name, on in (("weights", self.weighted), ("time", self.timed)) if on]
        rows += [
            (learns, f"{self.ratings:,}" + (f" with {' and '.join(extra)}" if extra else "")),
            ("users × items", f"{self.users:,} × {self.items:,} ({self.density:.2%} observed)"),
        ]
        counted = "" if learns == "interactions" else " ratings"
        rows += [
            (
                f"{side}'s{counted}" if counted else f"of {side}",
                "{:,} to {:,}, median {:,}".format(*_spread(of)),
            )
            for side, of in (("a user", self.per_user), ("an item", self.per_item))
        ]
        scale = f"{self.lowest:g} to {self.highest:g}, mean {self.mean:.4g}"
        if learns == "ratings":
            return [*rows, ("scale", scale)]
        return [*rows, ("counts", "all 1" if self.lowest == self.highest == 1 else scale)]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        lines = [f"{label:<{width}}  {text}" for label, text in rows]
        return "\n".join([*lines, *self.bars(width)])

    def bars(self, indent: int = 0) -> list[str]:
        """The distribution as lines of text: a bar for each level of the scale."""
        if self.distribution_kind == "quantiles":
            text = ", ".join(f"{q:.0%} ≤ {value:g}" for q, value in self.distribution)
            return [f"{'quantiles':<{indent}}  {text}"]
        top = max(count for _, count in self.distribution)
        return [
            f"{level:>{max(indent, 6)}g}  {'█' * round(32 * count / top)} "
            f"{count / self.ratings:.1%}"
            for level, count in self.distribution
        ]


def _spread(least_median_most: tuple[int, int, int]) -> tuple[int, int, int]:
    least, median, most = least_median_most
    return least, most, median


def summarize(ratings: Ratings) -> Summary:
    """The facts of `Summary`, counted."""
    values = ratings.by_user.values
    # float32 values print as the shortest decimal that names them: 4.2, not 4.199999809
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) <= _MOST_LEVELS:
        kind = "levels"
        pairs = tuple(
            (float(str(v)), float(c)) for v, c in zip(levels, counts.tolist(), strict=True)
        )
    else:
        kind = "quantiles"
        marks = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
        position = np.searchsorted(np.cumsum(counts), np.array(marks) * (len(values) - 1), "right")
        pairs = tuple((q, float(str(levels[p]))) for q, p in zip(marks, position, strict=True))
    low, high = ratings.scale()
    return Summary(
        **ratings.facts(),
        notes=tuple(ratings.report.source.notes),
        density=ratings.density,
        mean=ratings.mean(),
        lowest=low,
        highest=high,
        per_user=_counts(np.diff(ratings.by_user.indptr)),
        per_item=_counts(np.diff(ratings.by_item.indptr)),
        distribution_kind=kind,
        distribution=pairs,
    )


def _counts(per_row: Array) -> tuple[int, int, int]:
    return int(per_row.min()), int(np.median(per_row)), int(per_row.max())
