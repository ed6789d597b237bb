"""What the factors are about: the canonical axes, how much each carries, and the items along them."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.models.base import FactorModel
from halfstep.report.lettering import shortened
from halfstep.report.parts import Figure, Missing, Section, Table
from halfstep.report.placing import placed
from halfstep.report.subject import Subject
from halfstep.report.theme import COLOURS, INK, MUTED, PAPER, chart, framed
from halfstep.wording import counted, percent

__all__ = ["axes_section"]

_WIDE, _NARROW = (860, 520), (330, 380)
_CELL = 9  # pixels of a bin of the map
_LETTERS = 11
_TITLE = 170  # pixels of a label
_POPULAR = 40  # items that may be labelled because they are known
_ENDS = 4  # items at each end of an axis
_AXES = 4


def axes_section(subject: Subject) -> Section:
    """Singular values; the map of the items; the items at the ends of each axis."""
    section = Section("axes", "What the factors are about")
    if subject.model.objective_.nonnegative:
        why = "Non-negative factors have axes of their own: a rotation would break W, Z ≥ 0."
        section.parts.append(Missing("map", "The map of the items", why))
        return section
    canonical = subject.model.canonical()
    values = subject.model.singular_values()
    least = subject.well_known
    known = np.flatnonzero(subject.item_counts >= max(least, 1))
    if values[0] > 0:
        section.parts.append(_spectrum(values))
    Z = canonical.factors_.item_factors.astype(np.float64)
    if len(values) < 2 or not values[1] > 0 or len(known) < 3:
        why = "A map needs two factors that are not 0, and three items."
        section.parts.append(Missing("map", "The map of the items", why))
    else:
        section.parts.append(_map(subject, canonical, Z, known, values))
    if values[0] > 0 and len(known) >= 2:
        section.parts.append(_ends(subject, canonical, Z, known, values))
    lead = (
        "The factors are rotated so that the axes are uncorrelated and ordered by what they carry; "
        "predictions do not change by it. Figures and tables show the "
        f"{counted(len(known), 'item')} of at least {counted(least, subject.noun)}."
    )
    return Section(section.id, section.title, section.parts, lead)


def _shares(values: Array) -> Array:
    total = float(np.sum(values**2))
    return values**2 / total if total > 0 else np.zeros(len(values))


def _spectrum(values: Array) -> Figure:
    import altair as alt

    shares = _shares(values)
    rows = [{"k": k + 1, "y": value} for k, value in enumerate(shares.tolist())]
    last = max(len(rows), 2)
    x = alt.X("k:Q", title="axis", scale=alt.Scale(domain=[1, last], nice=False)).axis(
        format="d", tickMinStep=1
    )
    y = alt.Y("y:Q", title="share of Σ σ²", scale=alt.Scale(zero=True)).axis(format="%")
    dots = alt.OverlayMarkDef(size=30, filled=True, color=COLOURS[1])
    picture = chart(rows).mark_line(color=COLOURS[1], point=dots if last <= 60 else False)
    enough = min(int(np.searchsorted(np.cumsum(shares), 0.9)) + 1, len(values))
    told = "The only axis carries all that the factors explain"
    if len(values) > 1:
        first, two = percent(float(shares[0])), percent(float(shares[:2].sum()))
        told = f"Of {len(values)} axes the first carries {first} of what the factors explain, "
        told += f"the first two {two}, and 90% takes {enough}"
    return Figure(
        "spectrum",
        "What each axis carries",
        f"{told}.",
        "The share of each axis in the sum of the squared singular values, decreasing.",
        framed(picture.encode(x=x, y=y)),
    )


# --------------------------------------------------------------------------------- the map


def _map(subject: Subject, model: FactorModel, Z: Array, known: Array, values: Array) -> Figure:
    at = Z[known, :2]
    order = _most_telling(at, subject.item_counts[known])
    names = [subject.names.item(model.factors_.item_ids.id_at(int(known[k]))) for k in order]
    shares = _shares(values)
    ends = [names[0], names[1]] if len(names) > 1 else [names[0], names[0]]
    charts = [_drawn(at, order, names, width, height, shares) for width, height in (_WIDE, _NARROW)]
    return Figure(
        "map",
        "The map of the items",
        f"Axis 1 ({percent(float(shares[0]))}) leads from «{ends[1]}» on the left to «{ends[0]}» on the "
        "right, "
        f"axis 2 ({percent(float(shares[1]))}) from «{names[3 % len(names)]}» at the bottom to "
        f"«{names[2 % len(names)]}» at the top; items close together please the same users.",
        "The items in the first two canonical axes of the factors. Named are those at the ends of both "
        "axes and the most popular ones, as far as there is room; a larger spot stands for several "
        "items.",
        *charts,
    )


def _most_telling(at: Array, counts: Array) -> Array:
    """Which items are named: right, left, top and bottom, the next of each, then the most rated."""
    ends = [np.argsort(sign * at[:, axis], kind="stable") for axis in (0, 1) for sign in (-1, 1)]
    extremes = [int(end[k]) for k in range(min(_ENDS, len(at))) for end in ends]
    popular = np.argsort(-counts, kind="stable")[:_POPULAR].tolist()
    return np.array(list(dict.fromkeys([*extremes[:4], *popular, *extremes[4:]])))


def _drawn(
    at: Array, order: Array, names: list[str], width: int, height: int, shares: Array
) -> Any:
    import altair as alt

    low, high = at.min(axis=0), at.max(axis=0)
    room = 0.06 * np.where(high > low, high - low, 1.0)
    low, high = low - room, high + room
    pixels = np.column_stack(
        [
            (at[:, 0] - low[0]) / (high[0] - low[0]) * width,
            (high[1] - at[:, 1]) / (high[1] - low[1]) * height,
        ]
    )
    spots = _binned(pixels, width)
    named = pixels[order]
    texts = [shortened(name, _TITLE, _LETTERS) for name in names]
    labels = placed(named.tolist(), texts, width=width, height=height, size=_LETTERS)
    place = {"scale": None, "axis": None}
    x, y = alt.X("px:Q", **place), alt.Y("py:Q", **place)
    cloud = chart(spots).mark_point(filled=True, color=MUTED, opacity=0.3)
    size = alt.Size(
        "n:Q", scale=alt.Scale(type="linear", domain=[1, 9], range=[14, 110], clamp=True)
    )
    size = size.legend(None)
    points = chart(
        [{"px": float(named[label.of, 0]), "py": float(named[label.of, 1])} for label in labels]
    )
    rows = [{"px": label.x, "py": label.y, "text": label.text} for label in labels]
    letters = {"align": "left", "baseline": "middle", "fontSize": _LETTERS}
    halo = chart(rows).mark_text(**letters, color=PAPER, stroke=PAPER, strokeWidth=3, opacity=0.85)
    words = chart(rows).mark_text(**letters, color=INK)
    # the axes are those of a layer without marks to be seen: everything else is placed in pixels
    corners = chart(
        [{"x": float(low[0]), "y": float(low[1])}, {"x": float(high[0]), "y": float(high[1])}]
    )
    title = "axis {}, {} of what the factors explain"
    axis = {"tickCount": 5, "format": "~g", "grid": False}
    frame = corners.mark_point(opacity=0, color=MUTED).encode(
        x=alt.X(
            "x:Q", title=title.format(1, percent(float(shares[0]))), axis=alt.Axis(**axis)
        ).scale(domain=[float(low[0]), float(high[0])], nice=False),
        y=alt.Y(
            "y:Q", title=title.format(2, percent(float(shares[1]))), axis=alt.Axis(**axis)
        ).scale(domain=[float(low[1]), float(high[1])], nice=False),
    )
    layers = (
        frame
        + cloud.encode(x=x, y=y, size=size)
        + points.mark_point(filled=True, size=34, color=COLOURS[0], opacity=1).encode(x=x, y=y)
        + halo.encode(x=x, y=y, text="text:N")
        + words.encode(x=x, y=y, text="text:N")
    )
    return layers.resolve_scale(x="independent", y="independent", size="independent").properties(
        width=width, height=height, padding=6
    )


def _binned(pixels: Array, width: int) -> list[dict[str, float]]:
    """The points as spots: one in each cell of a grid, at the mean of those that lie in it."""
    cells = np.floor(pixels / _CELL).astype(np.int64)
    keys, place, counts = np.unique(
        cells[:, 1] * (width + 1) + cells[:, 0], return_inverse=True, return_counts=True
    )
    means = [np.bincount(place, pixels[:, axis], len(keys)) / counts for axis in (0, 1)]
    return [
        {"px": round(px, 1), "py": round(py, 1), "n": n}
        for px, py, n in zip(means[0].tolist(), means[1].tolist(), counts.tolist(), strict=True)
    ]


# --------------------------------------------------------------------------- ends of an axis


def _ends(subject: Subject, model: FactorModel, Z: Array, known: Array, values: Array) -> Table:
    shares = _shares(values)
    axes = [k for k in range(min(_AXES, model.rank_, len(values))) if values[k] > 0]
    most = min(_ENDS, len(known) // 2)
    rows: list[list[str | list[str]]] = []
    for axis in axes:
        order = known[np.argsort(-Z[known, axis], kind="stable")]
        name = [subject.names.item(model.factors_.item_ids.id_at(int(i))) for i in order]
        rows.append(
            [f"{axis + 1} ({percent(float(shares[axis]))})", name[::-1][:most], name[:most]]
        )
    low, high = rows[0][1][0], rows[0][2][0]
    return Table(
        "ends",
        "The ends of each axis",
        f"Axis 1, which carries the most, sets «{low}» against «{high}».",
        ("axis", "one end", "the other"),
        rows,
    )
