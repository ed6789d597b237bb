"""Where a table came from, and what became of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Report", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table came from: a description, its number of rows, and what was found out."""

    description: str
    rows: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the rows of a table.

    `dropped` counts rows by reason, `repeats` the rows beyond the first of their (user, item) pair,
    `policy` what was done with those.
    """

    source: Source
    dropped: dict[str, int]
    repeats: int
    policy: str
