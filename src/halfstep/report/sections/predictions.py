"""What is predicted for what was observed: the spread and the calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.report.parts import Figure, Missing, Part, Section
from halfstep.report.subject import Held, Subject
from halfstep.report.theme import COLOURS, INK, MUTED, chart, framed
from halfstep.wording import counted

__all__ = ["MOST_LEVELS", "predictions_section"]

MOST_LEVELS = 11
_BINS = 16
_FEWEST = 10  # ratings of a bin


def predictions_section(subject: Subject) -> Section:
    """Predictions by observed rating, and the mean observed rating by prediction."""
    section = Section("predictions", "Predicted and observed")
    held = subject.held
    if not isinstance(held, Held):
        section.parts.append(Missing("spread", "Predictions by observed rating", f"{held}."))
        return section
    section.parts.extend([_spread(held), _calibration(held)])
    return section


# ------------------------------------------------------------------- predictions by rating


def _spread(held: Held) -> Figure:
    import altair as alt

    r, p = held.observed, held.predicted
    rows: list[dict[str, Any]] = []
    for name, at, own in _by_rating(r):
        q = np.quantile(p[own], (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
        rows.append({"x": name, "r": at, **{f"q{i}": v for i, v in enumerate(q)}})
    low, high = held.model.scale_
    room = 0.04 * ((high - low) or 1.0)
    bottom = min(low, min(row["q0"] for row in rows)) - room
    top = max(high, max(row["q4"] for row in rows)) + room
    scale = alt.Scale(domain=[bottom, top], nice=False, zero=False)
    x = alt.X("x:N", sort=None, title="observed rating", axis=alt.Axis(labelAngle=0))
    thin = chart(rows).mark_rule(color=COLOURS[1], strokeWidth=1.6)
    wide = chart(rows).mark_bar(color=COLOURS[1], width=22, opacity=0.55)
    middle = chart(rows).mark_tick(color=INK, thickness=2.5, width=22)
    target = chart(rows).mark_point(shape="diamond", size=75, color=COLOURS[0], strokeWidth=2)
    picture = thin.encode(x=x, y=alt.Y("q0:Q", title="predicted rating", scale=scale), y2="q4:Q")
    picture += wide.encode(x=x, y="q1:Q", y2="q3:Q")
    picture += middle.encode(x=x, y="q2:Q") + target.encode(x=x, y="r:Q")
    first, last = rows[0], rows[-1]
    told = (
        f"The middle prediction for a rating of {first['x']} is {first['q2']:.3g}, for "
        f"{last['x']} it is {last['q2']:.3g}: predictions have a standard deviation of "
        f"{np.std(p):.3g}, ratings one of {np.std(r):.3g}"
    )
    return Figure(
        "spread",
        "Predictions by observed rating",
        f"{told}.",
        "For every observed rating the predictions: the bar holds the middle half of them, the line "
        "nine tenths, the tick is the median; the diamond is the rating itself.",
        framed(picture),
    )


def _by_rating(r: Array) -> list[tuple[str, float, Array]]:
    """(name, middle, which cells) of every level of the scale, or of bins where there are many."""
    levels = np.unique(r)
    if len(levels) <= MOST_LEVELS:
        # float32 values print as the shortest decimal that names them
        return [(f"{float(str(np.float32(v))):g}", float(v), r == v) for v in levels]
    edges = np.unique(np.quantile(r, np.linspace(0, 1, 9)))
    place = np.clip(np.searchsorted(edges, r, "right") - 1, 0, len(edges) - 2)
    groups = [(k, place == k) for k in range(len(edges) - 1)]
    return [
        (f"{edges[k]:.3g}–{edges[k + 1]:.3g}", float(np.mean(r[own])), own)
        for k, own in groups
        if own.any()
    ]


# ------------------------------------------------------------------------------ calibration


def _calibration(held: Held) -> Part:
    import altair as alt

    where = ("calibration", "Calibration")
    r, c = held.observed, held.weights
    low, high = held.model.scale_
    p = np.clip(held.predicted, low, high)
    bins = max(1, min(_BINS, len(p) // _FEWEST))
    place = np.clip(((p - low) / ((high - low) or 1.0) * bins).astype(np.int64), 0, bins - 1)
    rows: list[dict[str, float]] = []
    for k in range(bins):
        own = place == k
        count = int(np.count_nonzero(own))
        if count < _FEWEST:
            continue
        mean = float(np.average(r[own], weights=c[own]))
        error = float(np.std(r[own])) / np.sqrt(count)
        at = float(np.average(p[own], weights=c[own]))
        rows.append(
            {"x": at, "y": mean, "low": mean - 2 * error, "high": mean + 2 * error, "n": count}
        )
    if len(rows) < 2:
        return Missing(*where, f"{counted(len(r), 'held-out rating')}: too few for it.")
    domain = [
        min(low, min(row["low"] for row in rows)),
        max(high, max(row["high"] for row in rows)),
    ]
    scale = alt.Scale(domain=domain, nice=False, zero=False)
    x = alt.X("x:Q", title="predicted rating", scale=scale)
    y = alt.Y("y:Q", title="mean observed rating", scale=scale)
    equal = chart([{"x": v, "y": v} for v in domain])
    picture = equal.mark_line(color=MUTED, strokeDash=[2, 4], strokeWidth=1).encode(x=x, y=y)
    bars = chart(rows).mark_rule(color=COLOURS[0], strokeWidth=1.6)
    picture += bars.encode(x="x:Q", y="low:Q", y2="high:Q")
    dots = chart(rows).mark_point(filled=True, size=60, opacity=1, color=COLOURS[0])
    picture += dots.encode(x="x:Q", y="y:Q")
    gaps = np.array([row["y"] - row["x"] for row in rows])
    sizes = np.array([row["n"] for row in rows])
    typical = float(np.sum(np.abs(gaps) * sizes) / np.sum(sizes))
    worst = rows[int(np.argmax(np.abs(gaps)))]
    return Figure(
        *where,
        f"What is predicted is observed on average to within {typical:.2g}; the largest gap is at "
        f"predictions of about {worst['x']:.3g}, where the mean rating is {worst['y']:.3g}.",
        "The mean observed rating against the predicted one, with two standard errors to each side; on "
        "the dotted diagonal they are equal.",
        framed(picture),
    )
