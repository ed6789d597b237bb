"""What the ratings look like: who rates how much, on which scale, and when."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.report.parts import Figure, Missing, Part, Section
from halfstep.report.subject import Subject
from halfstep.report.theme import COLOURS, GRID, MUTED, chart, framed, series, ticks
from halfstep.wording import counted, percent

__all__ = ["ratings_section"]

_MOST_LEVELS = 20  # a scale of more values is drawn in bins
_BINS = 30
_MOST_SPANS = 72
_POINTS = 160
_FEW = 10
_SIDES = {"items": COLOURS[0], "users": COLOURS[1]}


def ratings_section(subject: Subject) -> Section:
    """The long tail, the counts behind it, the scale, the activity over time."""
    ratings = subject.ratings
    counts = {
        "items": _descending(np.diff(ratings.by_item.indptr)),
        "users": _descending(np.diff(ratings.by_user.indptr)),
    }
    m, n = ratings.shape
    noun = subject.noun
    lead = (
        f"{counted(len(ratings), noun)} of {counted(n, 'item')} by {counted(m, 'user')}: "
        f"{percent(ratings.density)} of all pairs."
    )
    parts: list[Part] = [_long_tail(counts, noun), _counts(counts, noun)]
    low, high = ratings.scale()
    if noun == "rating" or low < high:
        parts.append(_scale(ratings, noun))
    parts.append(_activity(ratings, noun))
    return Section("ratings", f"The {noun}s", parts, lead)


def _descending(counts: Array) -> Array:
    return np.sort(counts)[::-1]


def _colour() -> Any:
    return series(list(_SIDES), tuple(_SIDES.values()))


# ---------------------------------------------------------------------------- the long tail


def _long_tail(counts: dict[str, Array], noun: str) -> Figure:
    rows: list[dict[str, Any]] = []
    half: dict[str, float] = {}
    for name, of in counts.items():
        cumulated = np.concatenate([[0], np.cumsum(of)]) / of.sum()
        half[name] = float(np.searchsorted(cumulated, 0.5)) / len(of)
        # evenly along both axes, so that the steep beginning is a curve too
        along = np.searchsorted(cumulated, np.linspace(0, 1, _POINTS))
        across = np.linspace(0, len(of), _POINTS)
        places = np.unique(np.concatenate([along, across]).astype(np.int64).clip(0, len(of)))
        rows += [
            {"series": name, "x": int(p) / len(of), "y": float(cumulated[p])}
            for p in places.tolist()
        ]
    import altair as alt

    share = {"scale": alt.Scale(domain=[0, 1])}
    x = alt.X("x:Q", title=f"share of the items or users, most {noun}s first", **share)
    x = x.axis(format="%", tickCount=6)
    y = alt.Y("y:Q", title=f"their share of all {noun}s", axis=alt.Axis(format="%"), **share)
    equal = chart([{"x": 0, "y": 0}, {"x": 1, "y": 1}]).mark_line(
        color=MUTED, strokeDash=[2, 4], strokeWidth=1
    )
    curves = chart(rows).mark_line().encode(x=x, y=y, color=_colour())
    marks = [{"series": name, "x": at, "y": 0.5} for name, at in half.items()]
    points = chart(marks).mark_point(filled=True, size=70, opacity=1)
    points = points.encode(x="x:Q", y="y:Q", color=_colour())
    items, users = (percent(half[name]) for name in ("items", "users"))
    return Figure(
        "long-tail",
        "The long tail",
        f"Half of the {noun}s go to {items} of the items, and half come from {users} of the users.",
        f"The share of all {noun}s that the items with most of them have, and that the most active "
        "users have. The dotted diagonal is what equal shares would be.",
        framed(equal.encode(x="x:Q", y="y:Q") + curves + points),
    )


def _counts(counts: dict[str, Array], noun: str) -> Figure:
    import altair as alt

    rows: list[dict[str, Any]] = []
    for name, of in counts.items():
        of = of[of > 0]
        ranks = np.unique(np.geomspace(1, len(of), _POINTS).round().astype(np.int64))
        rows += [{"series": name, "x": rank, "y": int(of[rank - 1])} for rank in ranks.tolist()]
    log = alt.Scale(type="log", nice=False)
    x = alt.X("x:Q", title="rank of the item or user", scale=log).axis(
        format="~s", values=_decades(max(row["x"] for row in rows)), grid=False
    )
    y = alt.Y("y:Q", title=f"{noun}s", scale=alt.Scale(type="log")).axis(
        format="~s", values=_decades(max(row["y"] for row in rows))
    )
    items = counts["items"]
    few = int(np.count_nonzero(items < _FEW))
    middle = {name: int(np.median(of)) for name, of in counts.items()}
    rare = "no item has" if not few else f"{percent(few / len(items))} of the items have"
    return Figure(
        "counts",
        f"{noun.capitalize()}s of each",
        f"The {'most rated' if noun == 'rating' else 'most popular'} item has "
        f"{counted(int(items[0]), noun)}, the median item "
        f"{middle['items']:,} and the median user {middle['users']:,}; {rare} fewer than {_FEW}.",
        f"The number of {noun}s of every item and of every user, from the largest to the smallest, both "
        "axes logarithmic.",
        framed(chart(rows).mark_line().encode(x=x, y=y, color=_colour())),
    )


def _decades(most: float) -> list[float]:
    return ticks(1.0, max(most, 1.0), (1,) if most >= 100 else (1, 2, 5))


# -------------------------------------------------------------------------------- the scale


def _scale(ratings: Ratings, noun: str) -> Figure:
    import altair as alt

    values = ratings.by_user.values
    levels, counts = np.unique(values, return_counts=True)
    mean = ratings.mean()
    value = "rating" if noun == "rating" else "count"
    colour = COLOURS[1]
    count = alt.Y("share:Q", title=f"share of the {noun}s", axis=alt.Axis(format="%"))
    if len(levels) <= _MOST_LEVELS:
        # float32 values print as the shortest decimal that names them: 4.2, not 4.199999809
        rows = [
            {
                "x": f"{float(str(level)):g}",
                "share": c / len(values),
                "told": percent(c / len(values)),
            }
            for level, c in zip(levels, counts.tolist(), strict=True)
        ]
        x = alt.X("x:N", title=value, sort=None, axis=alt.Axis(labelAngle=0))
        bars = chart(rows).mark_bar(color=colour).encode(x=x, y=count)
        if len(levels) <= 11:
            bars += chart(rows).mark_text(dy=-7).encode(x=x, y="share:Q", text="told:N")
        most = rows[int(np.argmax(counts))]
        what = f"The most frequent {value} is {most['x']} ({most['told']})"
    else:
        numbers, edges = np.histogram(values.astype(np.float64), bins=_BINS)
        rows = [
            {"x": float(a), "x2": float(b), "share": c / len(values)}
            for a, b, c in zip(edges[:-1], edges[1:], numbers.tolist(), strict=True)
        ]
        x = alt.X("x:Q", title=value, scale=alt.Scale(zero=False, nice=False))
        bars = chart(rows).mark_bar(color=colour, stroke=GRID, strokeWidth=0.5)
        bars = bars.encode(x=x, x2="x2:Q", y=count, y2=alt.datum(0))
        low, middle, high = np.quantile(values.astype(np.float64), (0.25, 0.5, 0.75)).tolist()
        what = (
            f"Half of the {value}s lie between {low:.4g} and {high:.4g}, the median is {middle:.4g}"
        )
    spread = float(np.std(values, dtype=np.float64))
    told = ", the error of a model that knows nothing else" if noun == "rating" else ""
    return Figure(
        "scale",
        "The scale" if noun == "rating" else "The counts",
        f"{what}; the mean is {mean:.3g} and the standard deviation {spread:.3g}{told}.",
        f"A histogram of the {value}s.",
        framed(bars),
    )


# --------------------------------------------------------------------------------- the time


def _activity(ratings: Ratings, noun: str) -> Part:
    where = ("activity", "Activity over time")
    if ratings.time is None:
        return Missing(*where, f"The {noun}s have no times.")
    seconds = _as_seconds(ratings.time)
    if seconds is None or seconds.max() == seconds.min():
        return Missing(*where, f"The times of the {noun}s are all the same, or no dates.")
    return _over_time(where, seconds, noun)


def _as_seconds(time: Array) -> Array | None:
    """Seconds since 1970, where the numbers can be that (in s, ms, µs or ns)."""
    low, high = float(time.min()), float(time.max())
    for unit in (1.0, 1e3, 1e6, 1e9):
        if low / unit > 86_400 * 365 and high / unit < 86_400 * 365.25 * 130:
            return np.floor(time.astype(np.float64) / unit).astype(np.int64)
    return None


_DAY = "{day} %B %Y"
_SPANS = (
    ("h", "hour", "{day} %B %Y, %H:00"),
    ("D", "day", _DAY),
    ("W", "week", _DAY),
    ("M", "month", "%B %Y"),
    ("Y", "year", "%Y"),
)


def _spans(seconds: Array) -> tuple[str, str, Array, Array]:
    """(name, format, the span of every rating, the first moments of all spans and of one more)."""
    moments = seconds.astype("datetime64[s]")
    for span in _SPANS:  # the finest that is not too fine
        unit = span[0]
        if unit == "W":  # from Monday to Sunday; numpy's begin on Thursday
            number = (moments.astype("datetime64[D]").astype(np.int64) + 3) // 7
        else:
            number = moments.astype(f"datetime64[{unit}]").astype(np.int64)
        first, last = int(number.min()), int(number.max())
        if last - first < _MOST_SPANS:
            break
    edges = np.arange(first, last + 2)
    if unit == "W":
        starts = (edges * 7 - 3).astype("datetime64[D]")
    else:
        starts = edges.astype(f"datetime64[{unit}]")
    return span[1], span[2], number - first, starts.astype("datetime64[s]")


def _over_time(where: tuple[str, str], seconds: Array, noun: str) -> Figure:
    import altair as alt

    name, form, place, starts = _spans(seconds)
    spans = len(starts) - 1
    counts = np.bincount(place, minlength=spans)
    moments = (starts.astype(np.int64) * 1000).tolist()
    rows = [{"x": moments[k], "x2": moments[k + 1], "y": int(counts[k])} for k in range(spans)]
    x = alt.X("x:T", title=None, scale=alt.Scale(type="utc", nice=False)).axis(
        tickCount=6, labelOverlap=True
    )
    y = alt.Y("y:Q", title=f"{noun}s in a {name}", axis=alt.Axis(format="~s"))
    bars = chart(rows).mark_bar(color=COLOURS[1], stroke=GRID, strokeWidth=0.5)
    most = int(np.argmax(counts))
    busiest = _dated(starts[most], form)
    often = counts[most] / float(np.median(counts[counts > 0]))
    more = f", {often:.2g} times the median {name}" if often >= 1.05 else ""
    of = f"the week of {busiest}" if name == "week" else busiest
    return Figure(
        *where,
        f"{noun.capitalize()}s run from {_dated(seconds.min(), _DAY)} to {_dated(seconds.max(), _DAY)}; "
        f"the busiest {name} ({of}) has {percent(counts[most] / len(seconds))} of them{more}.",
        f"The number of {noun}s in every {name}.",
        framed(bars.encode(x=x, x2="x2:T", y=y, y2=alt.datum(0))),
    )


def _dated(moment: Any, form: str) -> str:
    from datetime import UTC, datetime

    seconds = int(np.int64(np.asarray(moment).astype(np.int64)))
    moment = datetime.fromtimestamp(seconds, UTC)
    return str(moment.strftime(form)).format(day=moment.day)
