"""What is recommended: how much of the catalogue, and how popular it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.report.parts import Figure, Missing, Section
from halfstep.report.subject import Subject
from halfstep.report.theme import COLOURS, MUTED, chart, framed, series
from halfstep.wording import counted, percent

__all__ = ["catalogue_section"]

_N = 10
_USERS = 20_000  # whose lists are made; of more, as many at even steps
_POINTS = 160
_BINS = 10


def catalogue_section(subject: Subject) -> Section:
    """Coverage and concentration of the lists, and where they stand in the order of popularity."""
    section = Section("catalogue", "What is recommended")
    history = subject.model._whole_history("report")
    users = np.flatnonzero(np.diff(history.indptr))
    if len(users) > _USERS:
        users = users[np.linspace(0, len(users) - 1, _USERS).astype(np.int64)]
    ids = subject.model.factors_.user_ids
    found = subject.model.recommend(ids.take(users), n=_N)
    rows = subject.model.factors_.item_ids.lookup(found.found)
    listed = np.bincount(rows, minlength=len(subject.item_counts))
    if not listed.sum():
        section.parts.append(Missing("coverage", "Coverage", "The users have had every item."))
        return section
    lead = f"The lists of {_N} items of {counted(len(users), 'user')}, without what they have had."
    parts = [_concentration(subject.item_counts, listed), _popularity(subject.item_counts, listed)]
    return Section(section.id, section.title, [*parts], lead)


def _concentration(had: Array, listed: Array) -> Figure:
    import altair as alt

    names = {"recommended": COLOURS[0], "in the table": COLOURS[1]}
    rows: list[dict[str, Any]] = []
    half: dict[str, float] = {}
    for name, counts in zip(names, (listed, had), strict=True):
        of = np.sort(counts)[::-1]
        cumulated = np.concatenate([[0], np.cumsum(of)]) / of.sum()
        half[name] = float(np.searchsorted(cumulated, 0.5)) / len(of)
        along = np.searchsorted(cumulated, np.linspace(0, 1, _POINTS))
        across = np.linspace(0, len(of), _POINTS)
        places = np.unique(np.concatenate([along, across]).astype(np.int64).clip(0, len(of)))
        rows += [
            {"series": name, "x": int(p) / len(of), "y": float(cumulated[p])}
            for p in places.tolist()
        ]
    share = {"scale": alt.Scale(domain=[0, 1])}
    x = alt.X("x:Q", title="share of the items, most frequent first", **share).axis(
        format="%", tickCount=6
    )
    y = alt.Y("y:Q", title="their share of all places", axis=alt.Axis(format="%"), **share)
    equal = chart([{"x": 0, "y": 0}, {"x": 1, "y": 1}]).mark_line(
        color=MUTED, strokeDash=[2, 4], strokeWidth=1
    )
    colour = series(list(names), tuple(names.values()))
    curves = chart(rows).mark_line().encode(x=x, y=y, color=colour)
    covered = float(np.count_nonzero(listed)) / len(listed)
    return Figure(
        "coverage",
        "Coverage",
        f"The lists name {percent(covered)} of the items, and half of their places go to "
        f"{percent(half['recommended'])} of them; half of the interactions go to "
        f"{percent(half['in the table'])}.",
        "The share of all places in the lists (of all interactions) that the most frequent items have. "
        "The dotted diagonal is what equal shares would be.",
        framed(equal.encode(x="x:Q", y="y:Q") + curves),
    )


def _popularity(had: Array, listed: Array) -> Figure:
    import altair as alt

    order = np.argsort(-had, kind="stable")
    bins = min(_BINS, len(order))
    of_items = np.array_split(order, bins)
    rows: list[dict[str, Any]] = []
    for number, items in enumerate(of_items):
        begin, end = round(100 * number / bins), round(100 * (number + 1) / bins)
        for name, counts in (("recommended", listed), ("in the table", had)):
            share = float(counts[items].sum() / counts.sum())
            rows.append({"series": name, "group": f"{begin}–{end}%", "y": share})
    x = alt.X("group:N", sort=None, title="items by popularity, the most popular first").axis(
        labelAngle=-35, labelOverlap=False
    )
    y = alt.Y("y:Q", title="share of the places", axis=alt.Axis(format="%"))
    names = ["recommended", "in the table"]
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=names, range=list(COLOURS[:2])),
        legend=alt.Legend(symbolType="square", symbolStrokeWidth=0),
    )
    bars = (
        chart(rows)
        .mark_bar()
        .encode(x=x, y=y, color=colour, xOffset=alt.XOffset("series:N", sort=None))
    )
    return Figure(
        "popularity",
        "Popularity",
        f"The most popular {percent(1 / bins)} of the items have {percent(rows[1]['y'])} of the "
        f"interactions and {percent(rows[0]['y'])} of the places in the lists.",
        "The share of the places in the lists, and of the interactions, of equally many items each, "
        "from the most popular ones to the least.",
        framed(bars),
    )
