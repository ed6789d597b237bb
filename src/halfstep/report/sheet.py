"""The figures of a report on one sheet, as one SVG: what is drawn as PNG or PDF."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from halfstep.report.drawing import inner_size
from halfstep.report.lettering import wrapped
from halfstep.report.parts import Figure
from halfstep.report.theme import FONT, GRID, INK, MUTED, PAPER
from halfstep.report.write import Report

__all__ = ["sheet_of"]

_MARGIN, _GAP = 40.0, 40.0
_COLUMN = 440.0
_COLUMNS = 3
_WIDTH = 2 * _MARGIN + _COLUMNS * _COLUMN + (_COLUMNS - 1) * _GAP


@dataclass
class _Sheet:
    """What has been placed so far; `y` is where the next row begins."""

    y: float = _MARGIN
    elements: list[str] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        lines: list[str],
        size: float,
        colour: str = INK,
        bold: bool = False,
    ) -> float:
        """Lines from (x, y) downwards; the height they take."""
        weight = ' font-weight="bold"' if bold else ""
        step = 1.35 * size
        for number, line in enumerate(lines):
            self.elements.append(
                f'<text x="{x:g}" y="{y + size + number * step:g}" font-family="{FONT}" '
                f'font-size="{size:g}" fill="{colour}"{weight}>{escape(line)}</text>'
            )
        return step * len(lines)

    def rule(self) -> None:
        """A line over the whole width."""
        self.elements.append(
            f'<line x1="{_MARGIN:g}" x2="{_WIDTH - _MARGIN:g}" y1="{self.y:g}" y2="{self.y:g}" '
            f'stroke="{GRID}" stroke-width="2"/>'
        )


def sheet_of(report: Report, drawn: dict[str, str]) -> str:
    """The sheet: a heading, then every section's figures from left to right, each with its sentence."""
    sheet = _Sheet()
    whole = _WIDTH - 2 * _MARGIN
    sheet.y += sheet.text(_MARGIN, sheet.y, wrapped(report.title, whole, 30), 30, bold=True) + 6
    sheet.y += sheet.text(_MARGIN, sheet.y, wrapped(report.told, whole, 16), 16, MUTED) + 10
    for section in report.sections:
        figures = [part for part in section.parts if isinstance(part, Figure)]
        if not figures:
            continue
        sheet.y += 18
        sheet.rule()
        sheet.y += 10
        sheet.y += sheet.text(_MARGIN, sheet.y, [section.title], 22, bold=True)
        if section.lead:
            sheet.y += sheet.text(_MARGIN, sheet.y, wrapped(section.lead, whole, 14), 14, MUTED)
        sheet.y += 12
        for row in _rows(figures):
            _place(sheet, row, drawn)
    height = sheet.y + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:g}" height="{height:g}" '
        f'viewBox="0 0 {_WIDTH:g} {height:g}"><rect width="100%" height="100%" fill="{PAPER}"/>'
        + "".join(sheet.elements)
        + "</svg>"
    )


def _rows(figures: list[Figure]) -> list[list[Figure]]:
    """From left to right; a wide figure takes two columns."""
    rows: list[list[Figure]] = []
    free = 0
    for figure in figures:
        if _columns(figure) > free:
            rows.append([])
            free = _COLUMNS
        rows[-1].append(figure)
        free -= _columns(figure)
    return rows


def _columns(figure: Figure) -> int:
    return 1 if figure.narrow is None else 2


def _place(sheet: _Sheet, row: list[Figure], drawn: dict[str, str]) -> None:
    x, top = _MARGIN, sheet.y
    below = 0.0
    captions = []
    for figure in row:
        width = _columns(figure) * (_COLUMN + _GAP) - _GAP
        captions.append((figure, x, width, wrapped(figure.sentence, width, 14)))
        x += width + _GAP
    lines = max(len(told) for _, _, _, told in captions)
    for figure, x, width, told in captions:
        y = top + sheet.text(x, top, [figure.title], 16, bold=True)
        sheet.text(x, y, told, 14)
        y += 1.35 * 14 * lines + 10
        own, high = inner_size(drawn[figure.id])
        scale = min(1.0, width / own)
        sheet.elements.append(_nested(drawn[figure.id], x, y, own * scale, high * scale))
        below = max(below, y + high * scale)
    sheet.y = below + 26


def _nested(svg: str, x: float, y: float, width: float, height: float) -> str:
    """The drawn figure at that place: an SVG element within the other."""
    head, rest = svg.split(">", 1)
    view = head[head.index("viewBox=") :]
    return f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" {view}>{rest}'
