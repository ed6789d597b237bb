"""How sure the model is, and whether rightly: intervals by level, PIT, and by what is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, SingularSystemError
from halfstep.evaluation.breakdowns import groups_of, span
from halfstep.evaluation.grouped import summed
from halfstep.evaluation.residuals import intervals_of, normals_of, weights_of
from halfstep.models.base import FactorModel
from halfstep.models.bayesian import BayesianMF
from halfstep.models.calibration import Calibration, calibrated, features, rows_of
from halfstep.report.parts import Figure, Missing, Part, Section
from halfstep.report.sections.predictions import MOST_LEVELS
from halfstep.report.subject import Held
from halfstep.report.theme import COLOURS, INK, MUTED, chart, framed, series
from halfstep.wording import counted, percent

__all__ = ["certainty_section"]

_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_MOST_MEASURED = 6_000  # ratings of each half of the intervals' test
_MOST_ASKED = 20_000  # ratings whose standard deviation is asked for
_TENTHS = 10
_GROUPS = 8
_FEWEST = 20  # ratings of a group
_INTERVALS = ("coverage", "Intervals")


def certainty_section(held: Held, seed: int) -> Section:
    """Intervals that hold what they promise or not, PIT, and the standard deviation by what is known."""
    section = Section("certainty", "How sure it is")
    if getattr(held.model.objective_, "nonnegative", False):
        why = "Rows of non-negative factors have no formula for their variance."
        section.parts.append(Missing(*_INTERVALS, why))
        return section
    test = held.test
    if len(test) > _MOST_ASKED:
        test = test.select(np.random.default_rng(seed).permutation(len(test))[:_MOST_ASKED])
    try:
        bayesian = isinstance(held.model, BayesianMF)
        section.parts.append(_believed_intervals(held, test) if bayesian else _coverage(held, seed))
        believed = _Believed(test, *normals_of(held.model, test))
    except SingularSystemError:
        why = "Without regularization the variance of a row of few ratings is infinite."
        section.parts.append(Missing(*_INTERVALS, why))
        return section
    except DataError:
        why = "The model believes that some ratings cannot be other than predicted."
        section.parts.append(Missing("pit", "Where ratings fall", why))
        return section
    section.parts.append(_pit(believed, np.unique(held.train.by_user.values)))
    section.parts.extend(_by_known(believed, held, side) for side in ("user", "item"))
    if isinstance(held.model, BayesianMF):
        section.parts.append(_width(held, test))
    return section


@dataclass(frozen=True)
class _Believed:
    """Held-out ratings, and the mean and standard deviation that the model believes of them."""

    test: Ratings
    mean: Array
    std: Array

    @property
    def observed(self) -> Array:
        r: Array = self.test.by_user.values.astype(np.float64)
        return r


# --------------------------------------------------------------------------------------- PIT


def _pit(believed: _Believed, levels: Array) -> Part:
    import altair as alt

    shares = tenths(
        believed.observed, believed.mean, believed.std, weights_of(believed.test), levels
    )
    rows = [
        {"left": (k + 0.02) / _TENTHS, "right": (k + 0.98) / _TENTHS, "foot": 0, "y": share}
        for k, share in enumerate(shares.tolist())
    ]
    x = alt.X(
        "left:Q",
        title="share of the forecast below the rating",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format="%", tickCount=6),
    )
    top = 1.15 * max(0.12, *shares.tolist())
    y = alt.Y(
        "y:Q",
        title="ratings",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(format="%", tickCount=5),
    )
    bars = chart(rows).mark_rect(color=COLOURS[1], opacity=0.55)
    picture = bars.encode(x=x, x2="right:Q", y=y, y2="foot:Q")
    level = chart([{"y": 1 / _TENTHS}]).mark_rule(strokeDash=[4, 4], color=INK, opacity=0.6)
    picture += level.encode(y="y:Q")
    outer, middle = float(shares[0] + shares[-1]), float(shares[4] + shares[5])
    told = (
        f"{percent(outer)} of the ratings fall into the outer two tenths of their forecasts and "
        f"{percent(middle)} into the middle two, where 20% belong into each"
    )
    lean = float(np.sum(shares[:5]) - np.sum(shares[5:]))
    if abs(lean) > 0.05:
        side = "lower" if lean > 0 else "upper"
        told += f"; {percent(0.5 + abs(lean) / 2)} fall into the {side} half"
    rounded = (
        " A rating stands for all that rounds to it (Czado, Gneiting and Held 2009)."
        if len(levels) <= MOST_LEVELS
        else ""
    )
    return Figure(
        "pit",
        "Where ratings fall",
        f"{told}.",
        "How many ratings fall into each tenth of the normal distribution that the model believed in "
        "(the probability integral transform), before any calibration. Even bars on the dashed line "
        "are an honest forecast; a hollow in the middle means too sure, a hill too cautious, a slope "
        f"off the mark.{rounded}",
        framed(picture),
    )


def tenths(r: Array, mean: Array, std: Array, c: Array, levels: Array) -> Array:
    """The share of the ratings r in each tenth of N(mean, std²), weighted by c.

    Of few `levels` (ascending) a rating is what lies between the middles to its neighbours, and is
    spread over the tenths as its normal distribution is there; the outermost go on without end.
    """
    from scipy.special import ndtr

    total = np.add.reduce(c)
    found: Array
    if len(levels) > MOST_LEVELS or len(levels) < 2:
        place = np.minimum((ndtr((r - mean) / std) * _TENTHS).astype(np.int64), _TENTHS - 1)
        found = summed(place, c, _TENTHS) / total
        return found
    middles = (levels[1:].astype(np.float64) + levels[:-1]) / 2
    ends = np.concatenate([[-np.inf], middles, [np.inf]])
    place = np.searchsorted(middles, r, "right")
    low, high = (ndtr((ends[place + k] - mean) / std) for k in (0, 1))
    width = np.maximum(high - low, 1e-300)
    edges = np.arange(1, _TENTHS) / _TENTHS
    below = [np.add.reduce(c * np.clip((edge - low) / width, 0, 1)) for edge in edges]
    found = np.diff(np.array([0.0, *below, total])) / total
    return found


# ---------------------------------------------------------------------------- what is known


def _by_known(believed: _Believed, held: Held, side: str) -> Part:
    import altair as alt

    test, c = believed.test, weights_of(believed.test)
    where = (f"certainty-by-{side}", f"By what is known of the {side}")
    group, lowest, highest = groups_of(held.model, test, held.train, _GROUPS, side, "the report")
    count = len(lowest)
    sizes = np.bincount(group, minlength=count)
    kept = np.flatnonzero(sizes >= _FEWEST).tolist()
    if not kept:
        return Missing(*where, f"{counted(len(test), 'held-out rating')}: too few to group them.")
    total = summed(group, c, count)
    said = np.sqrt(summed(group, c * believed.std**2, count) / total)
    was = np.sqrt(summed(group, c * (believed.observed - believed.mean) ** 2, count) / total)
    names = ["believed", "observed"]
    order = [span(lowest[g], highest[g]) for g in kept]
    rows: list[dict[str, Any]] = [
        {"series": name, "group": span(lowest[g], highest[g]), "y": float(values[g])}
        for name, values in zip(names, (said, was), strict=True)
        for g in kept
    ]
    x = alt.X("group:N", sort=order, title=f"training ratings of the {side}").axis(
        labelAngle=-35, labelLimit=120, labelOverlap=False
    )
    y = alt.Y("y:Q", title="standard deviation, RMSE", scale=alt.Scale(zero=False, padding=12))
    picture = chart(rows).mark_line(point=alt.OverlayMarkDef(size=60, filled=True))
    picture = picture.encode(
        x=x, y=y.axis(format=".3~f"), color=series(names, (COLOURS[1], COLOURS[0]))
    )
    first, last = kept[0], kept[-1]
    told = (
        f"For {side}s with {_to(lowest[first], highest[first])} training ratings the model believes "
        f"to be off by {said[first]:.3g}, and is off by {was[first]:.3g}"
    )
    if first != last:
        told += (
            f"; for those with {_to(lowest[last], highest[last])} it believes {said[last]:.3g}, "
            f"and it is {was[last]:.3g}"
        )
    return Figure(
        *where,
        f"{told}.",
        "The standard deviation of a rating around its prediction, noise included: what the model "
        f"believes, and the RMSE that was observed, by how many training ratings the {side} has.",
        framed(picture),
    )


def _width(held: Held, test: Ratings) -> Part:
    """The standard deviation of r̂ itself over the draws, by what is known of the user and the item."""
    import altair as alt

    assert isinstance(held.model, BayesianMF)
    where = ("width", "What more ratings would tell")
    users, items = rows_of(held.model, test)
    own = held.model._mean_std(users, items, "the report", "native")
    names = {"user": "ratings of the user", "item": "ratings of the item"}
    rows: list[dict[str, Any]] = []
    for side, name in names.items():
        group, lowest, highest = groups_of(
            held.model, test, held.train, _GROUPS, side, "the report"
        )
        sizes = np.bincount(group, minlength=len(lowest))
        squares = np.bincount(group, own**2, len(lowest))
        for g in np.flatnonzero(sizes >= _FEWEST).tolist():
            rows.append(
                {
                    "series": name,
                    "x": max(float(np.sqrt(max(lowest[g], 1) * max(highest[g], 1))), 1.0),
                    "y": float(np.sqrt(squares[g] / sizes[g])),
                }
            )
    if not rows:
        return Missing(*where, f"{counted(len(test), 'held-out rating')}: too few to group them.")
    sigma = float(np.mean(held.model.record_.sigma))
    x = alt.X("x:Q", title="training ratings", scale=alt.Scale(type="log", nice=False, padding=12))
    y = alt.Y("y:Q", title="standard deviation of r̂").axis(format=".2~f")
    picture = chart(rows).mark_line(point=alt.OverlayMarkDef(size=60, filled=True))
    picture = picture.encode(
        x=x.axis(format="~s"), y=y, color=series(list(names.values()), (COLOURS[1], COLOURS[0]))
    )
    few = max(rows, key=lambda row: row["y"])
    told = (
        f"The prediction itself is known to ±{float(np.sqrt(np.mean(own**2))):.2g} (noise comes on top, "
        f"σ = {sigma:.2g}); it is least known, ±{few['y']:.2g}, at about {few['x']:.0f} {few['series']}"
    )
    return Figure(
        *where,
        f"{told}.",
        "The standard deviation of r̂ over the draws, without the noise of a rating, by how many "
        "training ratings the user and the item have: what more ratings could still lower.",
        framed(picture),
    )


def _to(lowest: int, highest: int) -> str:
    return span(lowest, highest).replace(" – ", " to ")


# -------------------------------------------------------------------------------- intervals


def _coverage(held: Held, seed: int) -> Part:
    model, where = held.model, _INTERVALS
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
    what = "that neither the fit nor the calibration has seen"
    return _drawn(where, rows, len(test), 1 / len(test) + 1 / sum(calibration.counts), what)


def _believed_intervals(held: Held, test: Ratings) -> Part:
    """Those of a posterior distribution, which no held-out rating has calibrated."""
    r = test.by_user.values.astype(np.float64)
    rows = []
    for level in _LEVELS:
        lower, upper = intervals_of(held.model, test, level)
        inside = (r >= lower) & (r <= upper)
        rows.append(
            {"x": level, "y": float(np.mean(inside)), "width": float(np.mean(upper - lower))}
        )
    return _drawn(_INTERVALS, rows, len(test), 1 / len(test), "that the fit has not seen")


def _drawn(
    where: tuple[str, str], rows: list[dict[str, float]], count: int, parts: float, what: str
) -> Figure:
    """Shares by level; `parts` is the sum of 1/n of the samples behind a share."""
    import altair as alt

    domain = alt.Scale(domain=[0, 1], nice=False)
    share = {"scale": domain, "axis": alt.Axis(format="%", tickCount=6)}
    at = alt.X("x:Q", title="asked for", **share)
    y = alt.Y("y:Q", title="ratings in their interval", **share)
    equal = chart([{"x": v, "y": v} for v in (0, 1)])
    picture = equal.mark_line(color=MUTED, strokeDash=[2, 4], strokeWidth=1).encode(x=at, y=y)
    dots = chart(rows).mark_point(filled=True, size=60, opacity=1, color=COLOURS[0])
    picture += dots.encode(x=at, y=y)
    told = rows[-2] if len(rows) == len(_LEVELS) else rows[-1]
    chance = 2 * float(np.sqrt(told["x"] * (1 - told["x"]) * parts))
    return Figure(
        *where,
        f"Intervals that were asked to hold {told['x']:.0%} of the ratings hold {told['y']:.1%} "
        f"(±{chance:.1%}) of {count:,} {what}; they are {told['width']:.3g} wide on average.",
        "The share of held-out ratings that lie in their interval, against the level that was asked "
        "for; on the dotted diagonal intervals hold what they promise.",
        framed(picture),
    )
