"""What is predicted for what was observed: the spread, the calibration, the intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError
from halfstep.models.base import FactorModel
from halfstep.models.calibration import Calibration, calibrated, features, rows_of
from halfstep.report.parts import Figure, Missing, Part, Section
from halfstep.report.subject import Held, Subject
from halfstep.report.theme import COLOURS, INK, MUTED, chart, framed
from halfstep.wording import counted

__all__ = ["predictions_section"]

_MOST_LEVELS = 11
_BINS = 16
_FEWEST = 10  # ratings of a bin
_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_MOST_MEASURED = 6_000  # ratings of each half of the intervals' test


def predictions_section(subject: Subject) -> Section:
    """Predictions by observed rating, the mean observed rating by prediction, coverage by level."""
    section = Section("predictions", "Predicted and observed")
    held = subject.held
    if not isinstance(held, Held):
        section.parts.append(Missing("spread", "Predictions by observed rating", f"{held}."))
        return section
    section.parts.extend([_spread(held), _calibration(held), _coverage(held, subject.seed)])
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
    if len(levels) <= _MOST_LEVELS:
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


# -------------------------------------------------------------------------------- intervals


def _coverage(held: Held, seed: int) -> Part:
    where = ("coverage", "Intervals")
    model = held.model
    if model.objective_.nonnegative:
        return Missing(*where, "Rows of non-negative factors have no formula for their variance.")
    half = min(len(held.test) // 2, _MOST_MEASURED)
    order = np.random.default_rng(seed).permutation(len(held.test))
    test = held.test.select(order[:half])
    try:
        calibration = model.calibration_
        if calibration is None:
            calibration = calibrated(
                model, held.test.select(order[half : 2 * half]), None, seed, "native"
            )
    except DataError:
        held_out = counted(len(held.test), "held-out rating")
        return Missing(*where, f"{held_out}: too few to calibrate intervals and to test them.")
    return _covered(where, model, calibration, test)


def _covered(
    where: tuple[str, str], model: FactorModel, calibration: Calibration, test: Ratings
) -> Part:
    import altair as alt

    x, fitted = features(model, *rows_of(model, test), "native")
    gap = np.abs(test.by_user.values - fitted)
    feasible = [v for v in _LEVELS if all((n + 1) * v <= n for n in calibration.counts)]
    rows = []
    for level in feasible:
        half = calibration.half_width(x, level)
        rows.append(
            {"x": level, "y": float(np.mean(gap <= half)), "width": 2 * float(np.mean(half))}
        )
    if not rows:
        return Missing(*where, "The calibration had too few held-out ratings.")
    domain = alt.Scale(domain=[0, 1], nice=False)
    share = {"scale": domain, "axis": alt.Axis(format="%", tickCount=6)}
    at = alt.X("x:Q", title="asked for", **share)
    y = alt.Y("y:Q", title="ratings in their interval", **share)
    equal = chart([{"x": v, "y": v} for v in (0, 1)])
    picture = equal.mark_line(color=MUTED, strokeDash=[2, 4], strokeWidth=1).encode(x=at, y=y)
    dots = chart(rows).mark_point(filled=True, size=60, opacity=1, color=COLOURS[0])
    picture += dots.encode(x=at, y=y)
    told = rows[-2] if len(rows) == len(_LEVELS) else rows[-1]
    parts = 1 / len(test) + 1 / sum(calibration.counts)  # both are samples
    chance = 2 * float(np.sqrt(told["x"] * (1 - told["x"]) * parts))
    return Figure(
        *where,
        f"Intervals that were asked to hold {told['x']:.0%} of the ratings hold {told['y']:.1%} "
        f"(±{chance:.1%}) of {len(test):,} that neither the fit nor the calibration has seen; they are "
        f"{told['width']:.3g} wide on average.",
        "The share of held-out ratings that lie in their interval, against the level that was asked "
        "for; on the dotted diagonal intervals hold what they promise.",
        framed(picture),
    )
