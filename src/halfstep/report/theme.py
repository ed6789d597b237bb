"""How figures look: one palette on white and on black, one font, one set of axes.

A figure is drawn once, on white. On a dark screen the style sheet of the page puts another colour in the
place of each of these (`ROLES`), by the very text of the attribute, so every figure must use them alone.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "COLOURS",
    "CONFIG",
    "FONT",
    "GRID",
    "HEIGHT",
    "INK",
    "MUTED",
    "PAPER",
    "ROLES",
    "WIDTH",
    "chart",
    "framed",
    "ramp",
    "series",
    "ticks",
    "unchecked",
]

INK, MUTED, GRID, PAPER = "#1f2328", "#59626c", "#e3e6ea", "#ffffff"
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by all kinds of eyes."""
_RAMP = (
    "#6ece58",
    "#35b779",
    "#1f9e89",
    "#26828e",
    "#31688e",
    "#3e4a89",
    "#482878",
    "#440154",
)
"""Viridis from its green to its darkest, for what is more or less."""

ROLES = {
    "ink": (INK, "#e6e9ed"),
    "muted": (MUTED, "#a5afba"),
    "grid": (GRID, "#30363d"),
    "paper": (PAPER, "#14171b"),
    **{
        f"colour-{number}": pair
        for number, pair in enumerate(
            zip(
                COLOURS,
                ("#F0873B", "#56A8DC", "#2DBE92", "#DD92BC", "#F0B429", "#8AD0F5", "#f6f8fa"),
                strict=True,
            )
        )
    },
    **{
        f"ramp-{number}": pair
        for number, pair in enumerate(
            zip(
                _RAMP,
                (
                    "#3d7ba6",
                    "#2a8b9c",
                    "#1f9e89",
                    "#35b779",
                    "#6ece58",
                    "#9fda3a",
                    "#d2e21b",
                    "#fde725",
                ),
                strict=True,
            )
        )
    },
}
"""The colour of each role on white, and on a dark screen."""

WIDTH, HEIGHT = 440, 300
FONT = "Arial, Helvetica, Liberation Sans, sans-serif"

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": MUTED,
        "titleColor": MUTED,
        "gridColor": GRID,
        "domainColor": MUTED,
        "tickColor": MUTED,
        "tickSize": 4,
        "titlePadding": 8,
        "labelPadding": 4,
        "labelOverlap": True,
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False, "tickCount": 6},
    "legend": {
        "orient": "top",
        "title": None,
        "labelFontSize": 12,
        "labelColor": INK,
        "titleColor": MUTED,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "symbolStrokeWidth": 3,
        "labelLimit": 220,
        "columnPadding": 14,
    },
    "line": {"strokeWidth": 2.2},
    "text": {"fontSize": 12, "color": INK},
}


def unchecked() -> Any:
    """A context in which altair does not hold every row of data against its schema: it takes seconds."""
    from altair.utils import schemapi

    return schemapi.debug_mode(False)


def chart(rows: list[dict[str, Any]]) -> Any:
    """An altair chart of these rows."""
    import altair

    return altair.Chart(altair.Data(values=rows))


def framed(layers: Any, *, width: int = WIDTH, height: int = HEIGHT) -> Any:
    """The chart at its size, axes and legend included."""
    import altair

    fit = altair.AutoSizeParams(type="fit", contains="padding")
    return layers.properties(width=width, height=height, padding=6, autosize=fit)


def series(names: list[str], colours: tuple[str, ...] = COLOURS, **legend: Any) -> Any:
    """The colour of each name of the field `series`; the legend above the figure says which."""
    import altair

    return altair.Color(
        "series:N",
        scale=altair.Scale(domain=names, range=list(colours[: len(names)])),
        legend=altair.Legend(symbolType="stroke", **legend) if len(names) > 1 else None,
    )


def ramp(count: int) -> tuple[str, ...]:
    """So many colours for what is more and more, the last one the strongest."""
    last = len(_RAMP) - 1
    if count == 1:
        return (_RAMP[last],)
    return tuple(_RAMP[round(last * min(i, last) / min(count - 1, last))] for i in range(count))


def ticks(low: float, high: float, steps: tuple[int, ...]) -> list[float]:
    """The numbers step · 10^k from `low` to `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(f"{step}e{power}") for power in powers for step in steps]
    return [tick for tick in found if low <= tick <= high]
