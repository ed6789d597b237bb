"""What a command prints: text and tables for a person, or one JSON document for a machine."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from halfstep.wording import printable, size

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["LABEL", "Column", "Json", "Output", "duration", "note", "printable", "size", "watched"]

Json = Annotated[
    bool,
    Parameter(
        name="--json",
        negative="",
        show_default=False,
        help="Print one JSON document and nothing else.",
    ),
]

_WIDTH_OF_A_PIPE = 100
LABEL = 17  # as wide as the labels of the data summary


@dataclass(frozen=True)
class Column:
    """A column of a table; the one that is `flexible` is cut where the terminal is too narrow."""

    title: str
    right: bool = False
    flexible: bool = False


class Output:
    """Where a command's answer goes. With `as_json`, all but `document` is silent."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def console(self) -> Console:
        from rich.console import Console

        class Pipe(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # for `main`; rich would exit with code 1

        width = None
        if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
            width = _WIDTH_OF_A_PIPE
        return Pipe(width=width, markup=False, emoji=False, highlight=False, soft_wrap=False)

    def say(self, text: str = "", style: str | None = None) -> None:
        """A sentence or lines of their own; what is too long goes on in the next line."""
        if not self.as_json:
            self.console.print(printable(text, lines=True), style=style)

    def command(self, text: str) -> None:
        """A command line, whole, so that it can be copied."""
        if not self.as_json:
            self.console.print(f"$ {printable(text)}", style="cyan", soft_wrap=True)

    def lines(self, text: str) -> None:
        """Lines that are cut rather than continued."""
        if not self.as_json:
            for line in text.splitlines():
                self.console.print(_cut(printable(line), self.console.width))

    def heading(self, text: str) -> None:
        """A line that begins a part."""
        self.say(text, style="bold")

    def facts(self, rows: Iterable[tuple[str, str]]) -> None:
        """Labels on the left, what there is to say on the right."""
        if self.as_json:
            return
        from rich.table import Table

        rows = list(rows)
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, min_width=LABEL)
        grid.add_column(overflow="fold")
        for label, text in rows:
            grid.add_row(printable(label), printable(text))
        self.console.print(grid)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
        """A table without lines, each row on one line."""
        if self.as_json:
            return
        for number, line in enumerate(aligned(columns, list(rows), self.console.width)):
            self.console.print(
                line, style=None if number else "bold", no_wrap=True, overflow="ellipsis"
            )

    def document(self, document: dict[str, Any]) -> None:
        """The answer for machines."""
        if self.as_json:
            print(json.dumps(_plain(document), ensure_ascii=False, allow_nan=False))


def note(text: str) -> None:
    """A line beside the answer, on the error stream."""
    print(f"halfstep: {printable(text)}", file=sys.stderr)


def aligned(columns: Sequence[Column], rows: list[Sequence[object]], width: int) -> list[str]:
    """The header and the rows of a table as lines of at most `width` cells."""
    from rich.cells import cell_len

    cells = [[printable(str(value)) for value in row] for row in rows]
    widths = [
        max(cell_len(text) for text in (column.title, *(row[i] for row in cells)))
        for i, column in enumerate(columns)
    ]
    excess = sum(widths) + 2 * (len(widths) - 1) - width
    for i, column in enumerate(columns):
        if column.flexible and excess > 0:
            widths[i] = max(8, widths[i] - excess)
    lines = []
    for row in [[column.title for column in columns], *cells]:
        parts = []
        for text, column, wanted in zip(row, columns, widths, strict=True):
            text = _cut(text, wanted)
            space = " " * (wanted - cell_len(text))
            parts.append(space + text if column.right else text + space)
        lines.append("  ".join(parts).rstrip())
    return lines


def _cut(text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def duration(seconds: float) -> str:
    """«0.42 s», «3 min 20 s»."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _plain(value: Any) -> Any:
    """Values that JSON has: NaN and infinities are null, numpy's numbers are numbers."""
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value)


def watched(out: Output) -> bool:
    """Whether somebody is there to see a progress line."""
    return sys.stderr.isatty() and not out.as_json
