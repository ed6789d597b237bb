"""What a report is made of: sections of figures and tables, each with the one sentence to read first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Figure", "Missing", "Part", "Section", "Table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture. `shown` says what is drawn, `sentence` what to see in it.

    Attributes
    ----------
    id : str
        Its anchor in the page.
    title, sentence, shown : str
    chart : altair chart
    narrow : altair chart, optional
        Of the same, for a narrow screen; `chart` then takes the whole width of a wide one.
    """

    id: str
    title: str
    sentence: str
    shown: str
    chart: Any
    narrow: Any = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text. A cell that is a list has one line for each of its entries.

    `right` are the columns of numbers.
    """

    id: str
    title: str
    sentence: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | list[str]]]
    right: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Missing:
    """What these ratings or this model leave nothing to draw of, and why."""

    id: str
    title: str
    why: str


Part = Figure | Table | Missing


@dataclass(frozen=True, slots=True)
class Section:
    """One question and the parts that answer it; `lead` is what holds for all of them."""

    id: str
    title: str
    parts: list[Part] = field(default_factory=list)
    lead: str = ""
