"""The traces of fits as curves against seconds: how far J is above the best, and the held-out error.

Seconds and the first panel's heights are logarithmic: solvers differ by factors, not by amounts. Every
curve's name stands at the right edge, in its colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from halfstep.report.theme import COLOURS, ticks

__all__ = ["Curve", "traces_chart"]

_WIDTH, _HEIGHT, _LINE = 380, 300, 15
_WORST = 1.15
"""The second panel ends at this multiple of the best error: what lies above is the start of a fit."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One fit: after so many seconds, J and (where there is one) the figure of the held-out part."""

    name: str
    seconds: Sequence[float]
    objective: Sequence[float]
    heldout: Sequence[float] | None = None


def traces_chart(curves: Sequence[Curve], title: str, figure: str = "held-out RMSE") -> Any:
    """An altair chart of the curves: one panel, or two where there are held-out errors."""
    import altair

    best = min(min(curve.objective) for curve in curves)
    above = {
        curve.name: [
            (t, (J - best) / (abs(best) or 1.0))
            for t, J in zip(curve.seconds, curve.objective, strict=True)
            if best < J < math.inf  # the best itself is at −∞
        ]
        for curve in curves
    }
    panels = [_panel(above, "J above the best reached, relative", log=True)]
    errors = {
        curve.name: list(zip(curve.seconds, curve.heldout, strict=True))
        for curve in curves
        if curve.heldout is not None
    }
    if errors:
        panels.append(_panel(errors, figure, log=False, whole="RMSE" not in figure))
    return (
        altair.hconcat(*panels, spacing=90)
        .properties(title=altair.TitleParams(title, anchor="start", fontSize=16))
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridOpacity=0.4
        )
        .properties(padding={"left": 10, "right": 80, "top": 10, "bottom": 10})
    )


def _panel(
    points: dict[str, list[tuple[float, float]]], title: str, *, log: bool, whole: bool = False
) -> Any:
    import altair

    shown = [pair for curve in points.values() for pair in curve if math.isfinite(pair[1])]
    low = min((y for _, y in shown), default=1.0)
    high = max((y for _, y in shown), default=10.0)
    if log:
        low, high = low / 1.5, high * 1.5
    else:
        if not whole:
            high = min(high, low * _WORST)
        low -= 0.05 * (high - low)
    if not low < high:  # one curve, one height
        low, high = low / 1.5, high * 1.5
    y_scale = altair.Scale(type="log" if log else "linear", domain=[low, high], nice=False)
    rows = [
        {"solver": name, "seconds": t, "y": y}
        for name, curve in points.items()
        for t, y in curve
        if math.isfinite(y)
    ]
    names = list(points)
    colour = altair.Color(
        "solver:N",
        scale=altair.Scale(
            domain=names, range=[COLOURS[i % len(COLOURS)] for i in range(len(names))]
        ),
        legend=None,
    )
    seconds = [t for curve in points.values() for t, _ in curve] or [1.0]
    first, last = 0.9 * max(min(seconds), 1e-6), 1.1 * max(seconds)
    x = altair.X(
        "seconds:Q",
        title="seconds",
        scale=altair.Scale(type="log", nice=False, domain=[first, last]),
        axis=altair.Axis(format="~g", values=ticks(first, last, (1, 2, 5))),
    )
    decades = ticks(low, high, (1,)) if log else []
    y_axis = altair.Axis(
        format=".0e" if log else ".3f", **({"values": decades} if len(decades) > 1 else {})
    )
    y = altair.Y("y:Q", title=title, scale=y_scale, axis=y_axis)
    lines = (
        altair.Chart(altair.Data(values=rows))
        .mark_line(clip=True, strokeWidth=2.2, point=altair.OverlayMarkDef(size=16, clip=True))
        .encode(x=x, y=y, color=colour)
    )
    labels = (
        altair.Chart(altair.Data(values=_labels(points, low, high, log)))
        .mark_text(align="left", dx=8, fontSize=13, fontWeight="bold")
        .encode(
            x=altair.value(_WIDTH),
            y=altair.Y("place:Q", scale=None, axis=None),
            text="solver:N",
            color=colour,
        )
    )
    return (lines + labels).resolve_scale(y="independent").properties(width=_WIDTH, height=_HEIGHT)


def _labels(
    points: dict[str, list[tuple[float, float]]], low: float, high: float, log: bool
) -> list[dict[str, Any]]:
    """The names in the height of the ends of their curves, pushed apart where they would touch."""

    def place(y: float) -> float:
        if log:
            y, bottom, top = math.log(y), math.log(low), math.log(high)
        else:
            bottom, top = low, high
        return _HEIGHT * (1 - (min(max(y, bottom), top) - bottom) / (top - bottom))

    ends = [
        (place(finite[-1]), name)
        for name, curve in points.items()
        if (finite := [y for _, y in curve if math.isfinite(y)])
    ]
    ends.sort()
    places: list[float] = []
    for wanted, _ in ends:
        places.append(max(wanted, places[-1] + _LINE) if places else wanted)
    floor = float(_HEIGHT)
    for i in reversed(range(len(places))):  # and back up, where they ran out at the bottom
        places[i] = min(places[i], floor)
        floor = places[i] - _LINE
    return [{"solver": name, "place": place} for (_, name), place in zip(ends, places, strict=True)]
