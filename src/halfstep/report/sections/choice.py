"""How rank and λ were chosen: the held-out error, or score, of every setting that was tried."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from halfstep.report.lettering import wrapped
from halfstep.report.parts import Figure, Section, Table
from halfstep.report.subject import Held, Subject
from halfstep.report.theme import (
    COLOURS,
    CONFIG,
    GRID,
    PAPER,
    WIDTH,
    chart,
    framed,
    ramp,
    ticks,
)
from halfstep.selection import Selection, Trial
from halfstep.selection.result import lowest
from halfstep.wording import counted, error_text, metric_title

__all__ = ["choice_section", "selection_of", "surface_chart"]

_MOST_RANKS = 8
_SHOWN = 8
_MOST_TICKS = 8
_WORST = 1.04
"""The figure ends at this multiple of the lowest error (and 12 standard errors above it), and of a score
as much below."""


def selection_of(subject: Subject) -> Selection | None:
    """What the model, or the one that was measured for it, has tried."""
    models = [subject.model]
    if isinstance(subject.held, Held):
        models.append(subject.held.model)
    found = (getattr(model, "selection_", None) for model in models)
    return next((selection for selection in found if isinstance(selection, Selection)), None)


def choice_section(selection: Selection) -> Section:
    """RMSE against λ_w with a line for each rank, for each scaling; and the best trials as a table."""
    sampled = sum(not _whole(trial, selection) for trial in selection.trials)
    tried = len(selection.trials)
    held = f"{selection.held_out:,} held-out {_learns(selection)}"
    if selection.folds > 1:
        held += f" ({selection.folds} parts, one after the other)"
    finals = sum(_decides(trial, selection) for trial in selection.trials)
    if finals:
        lead = (
            f"{counted(tried - finals, 'trial')} of a few sweeps each, from the factors of a neighbour, "
            "show where to look. What came out of them was fitted again from random factors, as the "
            f"model is, and measured on all {held}: {counted(finals, 'final fit')}, which decide."
        )
    else:
        lead = f"{counted(tried, 'setting')} {'was' if tried == 1 else 'were'} tried on {held}."
    if sampled:
        lead += f" {sampled} of the trials were fitted to a sample of the users (hollow, thin)."
    scalings = dict.fromkeys(trial.reg_scaling for trial in selection.trials)
    colours = _colours(selection)
    parts = [_surface(selection, scaling, colours, len(scalings) > 1) for scaling in scalings]
    what = "rank and λ" if _of_ratings(selection) else "rank, α₀ and λ"
    return Section("choice", f"The choice of {what}", [*parts, _best(selection)], lead)


def surface_chart(selection: Selection) -> Any:
    """The figures of all scalings beside one another, as a picture of its own."""
    import altair as alt

    figures = [part for part in choice_section(selection).parts if isinstance(part, Figure)]
    panels = []
    for figure in figures:
        below = wrapped(figure.shown, WIDTH, 12)
        title = alt.TitleParams(figure.title, subtitle=below, anchor="start", frame="group")
        panel = figure.chart.properties(title=title)
        panel.autosize = panel.padding = alt.Undefined  # of the whole picture only
        panels.append(panel)
    whole = alt.hconcat(*panels, spacing=40).resolve_scale(color="independent")
    return whole.properties(padding=12).configure(**CONFIG | {"background": PAPER})


def _surface(selection: Selection, scaling: str, colours: dict[int, str], several: bool) -> Figure:
    import altair as alt

    trials = [trial for trial in selection.trials if trial.reg_scaling == scaling]
    finite = [trial.loss for trial in trials if math.isfinite(trial.loss)]
    best, chosen = selection.best, selection.chosen
    se, size = best.standard_error, abs(best.loss)
    lowest_here = min([*finite, best.loss])
    low = lowest_here - max(se, 1e-3 * size)
    own = min(finite, default=best.loss)
    limit = max(
        best.loss + 12 * se,
        best.loss + (_WORST - 1) * size,
        chosen.loss + 2 * se,
        own + 2 * se,
    )
    high = min(max([*finite, best.loss]), limit)
    high += 0.05 * (high - low)
    sign = 1.0 if _of_ratings(selection) else -1.0  # of the score in the loss
    drawable = [t for t in trials if t.rank in colours and math.isfinite(t.loss)]
    # an axis of logarithms has no 0; where λ = 0 was given, it is all there is
    shown = [t for t in drawable if t.reg.user > 0] or drawable
    left = len(trials) - sum(trial.loss <= high for trial in shown)
    # of settings with the same rank and λ_w, the line takes the best
    lowest_at: dict[tuple[int, float, bool], float] = defaultdict(lambda: math.inf)
    for trial in shown:
        if not _decides(trial, selection):
            key = (trial.rank, trial.reg.user, _whole(trial, selection))
            lowest_at[key] = min(lowest_at[key], trial.loss)
    lines = [
        {"series": f"K = {rank}", "x": reg, "y": sign * loss, "whole": whole}
        for (rank, reg, whole), loss in sorted(lowest_at.items())
    ]
    dots: list[dict[str, Any]] = [
        {
            "series": f"K = {t.rank}",
            "x": t.reg.user,
            "y": t.score,
            "whole": _whole(t, selection),
            "final": _decides(t, selection),
        }
        for t in shown
    ]
    here = sorted({trial.rank for trial in shown})
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(
            domain=[f"K = {rank}" for rank in here], range=[colours[rank] for rank in here]
        ),
        legend=alt.Legend(symbolType="stroke", columns=4),
    )
    places = sorted({row["x"] for row in dots}) or [1.0]
    if places[-1] > 0:
        scale = alt.Scale(type="log", domain=[places[0] / 1.25, places[-1] * 1.25], nice=False)
    else:
        scale = alt.Scale(domain=[-1, 1], nice=False)
    x = alt.X("x:Q", title="λ of the users", scale=scale)
    y = alt.Y(
        "y:Q",
        title=f"held-out {metric_title(selection.metric)}",
        scale=alt.Scale(domain=sorted([sign * low, sign * high]), nice=False, zero=False),
        axis=alt.Axis(format=".4~g"),
    )
    x = x.axis(format=".2~g", values=_ticks(places), labelOverlap="greedy", labelSeparation=6)
    band = chart([{"y": sign * (best.loss - se), "y2": sign * min(best.loss + se, high)}])
    picture = band.mark_rect(color=GRID, opacity=0.8).encode(y=y, y2="y2:Q")
    for whole in (True, False):
        rows = [row for row in lines if row["whole"] is whole]
        points = [row for row in dots if row["whole"] is whole and not row["final"]]
        line = {"strokeWidth": 2.2} if whole else {"strokeWidth": 1.2, "strokeDash": [3, 3]}
        mark = {"filled": True, "size": 42} if whole else {"filled": False, "size": 30}
        picture += chart(rows).mark_line(clip=True, **line).encode(x=x, y=y, color=colour)
        drawn = chart(points).mark_point(opacity=1, clip=True, **mark)
        picture += drawn.encode(x=x, y=y, color=colour)
    finals = chart([row for row in dots if row["final"]])
    diamond = {"shape": "diamond", "size": 130, "stroke": PAPER, "strokeWidth": 1.2}
    drawn = finals.mark_point(filled=True, opacity=1, clip=True, **diamond)
    picture += drawn.encode(x=x, y=y, color=colour)
    if chosen.reg_scaling == scaling and chosen in shown:
        ring = chart([{"x": chosen.reg.user, "y": chosen.score}])
        picture += ring.mark_point(size=260, color=COLOURS[0], strokeWidth=2.5, opacity=1).encode(
            x=x, y=y
        )
    what = "Error" if _of_ratings(selection) else "Lists"
    title = f"{what} by rank and λ"
    if several:
        title += f", λ per {'rating' if scaling == 'count' else 'row'}"
    return Figure(
        f"surface-{scaling}",
        title,
        _told(selection, scaling),
        _shown(selection, trials, left),
        framed(picture),
    )


def _shown(selection: Selection, trials: list[Trial], left: int) -> str:
    """What is drawn of the trials of one scaling."""
    told = (
        f"The held-out {metric_title(selection.metric)} against λ of the users, one line for each rank; "
        f"points {'above' if _of_ratings(selection) else 'below'} a line have another "
        f"{'λ of the biases' if _of_ratings(selection) else 'α₀'}."
    )
    lowest_of = f"the {_extreme(selection)} of all"
    if _decides(selection.best, selection):
        lowest_of = "the lowest final fit"
        if any(trial.final for trial in trials):
            told += (
                " Diamonds are the final fits: from another start and on all held-out parts, they "
                "need not lie on their line."
            )
    told += f" The band is one standard error around {lowest_of}"
    told += ", the ring is the choice." if selection.chosen in trials else "."
    return told + (f" {left} of its {len(trials)} trials are not drawn." if left else "")


def _told(selection: Selection, scaling: str) -> str:
    best, chosen = selection.best, selection.chosen
    if chosen.reg_scaling != scaling:
        own = lowest([trial for trial in selection.trials if trial.reg_scaling == scaling])
        if not math.isfinite(own.loss):
            return "No fit with this scaling succeeded."
        others = [
            trial.rmse
            for trial in selection.trials
            if trial.reg_scaling != scaling and _kind(trial) == _kind(own)
        ]
        against = f", against {error_text(min(others))} with the other" if others else ""
        return (
            f"The lowest RMSE with this scaling is {error_text(own.rmse)} (K = {own.rank}, "
            f"λ = {own.reg.user:g}){against}."
        )
    alike = [trial for trial in selection.trials if _kind(trial) == _kind(best)]
    near = sum(trial.loss <= best.loss + best.standard_error for trial in alike)
    what = "final fits" if _decides(best, selection) else "settings"
    within = (
        f" {_of(near, len(alike))} {what} {'lies' if near == 1 else 'lie'} within one standard error of "
        f"the {'lowest' if _of_ratings(selection) else 'highest'}."
        if len(alike) > 1
        else ""
    )
    return f"{selection.reason.rstrip('.')}.{within}"


def _of(some: int, of: int) -> str:
    if some == of == 2:
        return "Both"
    return f"All {of}" if some == of else f"{some} of the {of}"


def _kind(trial: Trial) -> tuple[bool, int]:
    """Errors of one kind are measured alike."""
    return trial.final, trial.ratings


def _of_ratings(selection: Selection) -> bool:
    """Whether an error measured, of which lower is better."""
    return selection.metric == "rmse"


def _learns(selection: Selection) -> str:
    return "ratings" if _of_ratings(selection) else "interactions"


def _extreme(selection: Selection) -> str:
    return "lowest error" if _of_ratings(selection) else "highest score"


def _decides(trial: Trial, selection: Selection) -> bool:
    """Whether it is one of the final fits, of a search that had others before."""
    return trial.final and _of_ratings(selection)


def _whole(trial: Trial, selection: Selection) -> bool:
    return trial.ratings == selection.best.ratings


def _colours(selection: Selection) -> dict[int, str]:
    """A colour for the ranks of the lowest errors, the chosen one, and the best of either scaling."""
    first = [selection.chosen]
    for scaling in dict.fromkeys(trial.reg_scaling for trial in selection.trials):
        first.append(lowest([t for t in selection.trials if t.reg_scaling == scaling]))
    order = [*first, *sorted(selection.trials, key=lambda trial: trial.loss)]
    ranks = sorted(list(dict.fromkeys(trial.rank for trial in order))[:_MOST_RANKS])
    return dict(zip(ranks, ramp(len(ranks)), strict=True))


def _ticks(places: list[float]) -> list[float]:
    """What was tried, where that is not much; else the numbers step · 10^k."""
    if len(places) <= _MOST_TICKS:
        return places
    return ticks(places[0] / 1.25, places[-1] * 1.25, (1, 2, 5))


def _best(selection: Selection) -> Table:
    order = sorted(selection.trials, key=lambda t: (not t.final, not _whole(t, selection), t.loss))
    kept = order[:_SHOWN]
    if not any(trial is selection.chosen for trial in kept):
        kept[-1] = selection.chosen
    same = all(trial.reg.user == trial.reg.item for trial in kept)
    sides = ("user", "bias") if same else ("user", "item", "bias")
    rows: list[list[str | list[str]]] = [
        [
            f"{trial.rank}{_mark(trial, selection)}",
            " / ".join(f"{getattr(trial.reg, side):.3g}" for side in sides),
            trial.reg_scaling if trial.alpha0 is None else f"{trial.alpha0:g}",
            f"{trial.sweeps}",
            f"{error_text(trial.score)} ± {_spread(trial)}",
        ]
        for trial in kept
    ]
    how = "; its time was up" if selection.stopped == "budget" else ""
    finals = sum(_decides(trial, selection) for trial in kept)
    told = f"The {len(rows)} best of the {len(order)} settings of the search{how}."
    if finals:
        told = f"{'The final fit' if finals == 1 else f'The {finals} best final fits'}"
        if len(kept) > finals:
            others = sum(not trial.final for trial in order)
            told += f", and the {len(kept) - finals} best of the {others} trials before"
        told += f"{how}."
    reg = "λ of users / items / biases" if len(sides) > 2 else "λ / λ of biases"
    third = "scaling" if _of_ratings(selection) else "α₀"
    columns = ("K", reg, third, "sweeps", f"held-out {metric_title(selection.metric)}")
    return Table("trials", "The best settings", told, columns, rows, frozenset({3, 4}))


def _spread(trial: Trial) -> str:
    """The standard error, with as many decimals as the error beside it."""
    told = trial.standard_error
    return f"{told:.4f}" if 0.01 <= trial.score < 10 else f"{told:.2g}"


def _mark(trial: Trial, selection: Selection) -> str:
    if trial is selection.chosen:
        return " (chosen)"
    return " (final)" if _decides(trial, selection) else ""
