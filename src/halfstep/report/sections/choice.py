"""How rank and λ were chosen: the held-out error of every setting that was tried."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from halfstep.report.parts import Figure, Section, Table
from halfstep.report.subject import Held, Subject
from halfstep.report.theme import COLOURS, GRID, chart, framed, ramp, ticks
from halfstep.selection import Selection, Trial
from halfstep.wording import error_text

__all__ = ["choice_section", "selection_of", "surface_chart"]

_MOST_RANKS = 6
_SHOWN = 8
_MOST_TICKS = 8
_WORST = 1.04
"""The figure ends at this multiple of the lowest error (and 12 standard errors above it)."""


def selection_of(subject: Subject) -> Selection | None:
    """What the model, or the one that was measured for it, has tried."""
    models = [subject.model]
    if isinstance(subject.held, Held):
        models.append(subject.held.model)
    found = (getattr(model, "selection_", None) for model in models)
    return next((selection for selection in found if isinstance(selection, Selection)), None)


def choice_section(selection: Selection) -> Section:
    """RMSE against λ_w with a line for each rank, for each scaling; and the best trials as a table."""
    tried = len(selection.trials)
    sampled = sum(trial.ratings < selection.best.ratings for trial in selection.trials)
    lead = f"{tried} settings were tried, each measured on held-out ratings ({selection.held_out:,}"
    lead += ")." if selection.folds == 1 else f" in {selection.folds} parts, one after the other)."
    if sampled:
        lead += (
            f" {sampled} of them were fitted to a sample of the users (hollow points, thin lines)."
        )
    scalings = dict.fromkeys(trial.reg_scaling for trial in selection.trials)
    parts = [_surface(selection, scaling, len(scalings) > 1) for scaling in scalings]
    return Section("choice", "The choice of rank and λ", [*parts, _best(selection)], lead)


def surface_chart(selection: Selection) -> Any:
    """The figures of all scalings beside one another, as a picture of its own."""
    import altair as alt

    figures = [part for part in choice_section(selection).parts if isinstance(part, Figure)]
    panels = []
    for figure in figures:
        panel = figure.chart.properties(title=figure.title)
        panel.autosize = panel.padding = alt.Undefined  # of the whole picture only
        panels.append(panel)
    return alt.hconcat(*panels, spacing=40).resolve_scale(color="independent")


def _surface(selection: Selection, scaling: str, several: bool) -> Figure:
    import altair as alt

    trials = [trial for trial in selection.trials if trial.reg_scaling == scaling]
    best, chosen = selection.best, selection.chosen
    se = best.standard_error
    ranks = _shown_ranks(trials, chosen)
    lowest_here = min(trial.rmse for trial in trials)
    low = min(lowest_here, best.rmse) - max(se, 1e-3 * best.rmse)
    limit = max(best.rmse + 12 * se, _WORST * best.rmse, chosen.rmse + 2 * se, lowest_here + 2 * se)
    high = min(max(trial.rmse for trial in trials), limit)
    high += 0.05 * (high - low)
    shown = [trial for trial in trials if trial.rank in ranks and trial.reg.user > 0]
    left = len(trials) - sum(trial.rmse <= high for trial in shown)
    # of settings with the same rank and λ_w, the line takes the best
    lowest: dict[tuple[int, float, bool], float] = defaultdict(lambda: float("inf"))
    for trial in shown:
        key = (trial.rank, trial.reg.user, _whole(trial, selection))
        lowest[key] = min(lowest[key], trial.rmse)
    lines = [
        {"series": f"K = {rank}", "x": reg, "y": rmse, "whole": whole}
        for (rank, reg, whole), rmse in sorted(lowest.items())
    ]
    dots: list[dict[str, Any]] = [
        {"series": f"K = {t.rank}", "x": t.reg.user, "y": t.rmse, "whole": _whole(t, selection)}
        for t in shown
    ]
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=[f"K = {rank}" for rank in ranks], range=list(ramp(len(ranks)))),
        legend=alt.Legend(symbolType="stroke", columns=3),
    )
    places = sorted({row["x"] for row in dots}) or [1.0]
    domain = [places[0] / 1.25, places[-1] * 1.25]
    x = alt.X("x:Q", title="λ of the users", scale=alt.Scale(type="log", domain=domain, nice=False))
    y = alt.Y(
        "y:Q",
        title="held-out RMSE",
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(format=".4~g"),
    )
    x = x.axis(format=".2~g", values=_ticks(places), labelOverlap="greedy")
    band = chart([{"y": best.rmse - se, "y2": min(best.rmse + se, high)}])
    picture = band.mark_rect(color=GRID, opacity=0.8).encode(y=y, y2="y2:Q")
    for whole in (True, False):
        rows = [row for row in lines if row["whole"] is whole]
        points = [row for row in dots if row["whole"] is whole]
        line = {"strokeWidth": 2.2} if whole else {"strokeWidth": 1.2, "strokeDash": [3, 3]}
        mark = {"filled": True, "size": 42} if whole else {"filled": False, "size": 30}
        picture += chart(rows).mark_line(clip=True, **line).encode(x=x, y=y, color=colour)
        drawn = chart(points).mark_point(opacity=1, clip=True, **mark)
        picture += drawn.encode(x=x, y=y, color=colour)
    if chosen.reg_scaling == scaling and chosen.reg.user > 0:
        ring = chart([{"x": chosen.reg.user, "y": chosen.rmse}])
        picture += ring.mark_point(size=260, color=COLOURS[0], strokeWidth=2.5).encode(x=x, y=y)
    beyond = f" {left} of its {len(trials)} settings lie beyond the figure." if left else ""
    return Figure(
        f"surface-{scaling}",
        f"Error by rank and λ, λ per {'rating' if scaling == 'count' else 'row'}"
        if several
        else "Error by rank and λ",
        _told(selection, scaling),
        "The held-out RMSE against λ of the users, one line for each rank; the band is one standard "
        f"error around the lowest error of all, the ring is the choice.{beyond}",
        framed(picture),
    )


def _told(selection: Selection, scaling: str) -> str:
    best, chosen = selection.best, selection.chosen
    if chosen.reg_scaling != scaling:
        own = min(
            (trial for trial in selection.trials if trial.reg_scaling == scaling),
            key=lambda trial: trial.rmse,
        )
        return (
            f"The lowest RMSE with this scaling is {error_text(own.rmse)} (K = {own.rank}, "
            f"λ = {own.reg.user:g}), against {error_text(best.rmse)} with the other."
        )
    reason = selection.reason.rstrip(".")
    whole = [t for t in selection.trials if t.ratings == best.ratings]
    near = sum(trial.rmse <= best.rmse + best.standard_error for trial in whole)
    what = "is the only one" if near == 1 else f"is one of {near}"
    return (
        f"{reason}. K = {chosen.rank} with λ = {chosen.reg.user:g} has RMSE {error_text(chosen.rmse)} ± "
        f"{error_text(chosen.standard_error)} and {what} within one standard error of the best, "
        f"{error_text(best.rmse)}."
    )


def _whole(trial: Trial, selection: Selection) -> bool:
    return trial.ratings == selection.best.ratings


def _shown_ranks(trials: list[Trial], chosen: Trial) -> list[int]:
    """The ranks of the lowest errors, and the chosen one, ascending."""
    order = sorted(trials, key=lambda trial: (trial is not chosen, trial.rmse))
    return sorted(list(dict.fromkeys(trial.rank for trial in order))[:_MOST_RANKS])


def _ticks(places: list[float]) -> list[float]:
    """What was tried, where that is not much; else the numbers step · 10^k."""
    if len(places) <= _MOST_TICKS:
        return places
    return ticks(places[0] / 1.25, places[-1] * 1.25, (1, 2, 5))


def _best(selection: Selection) -> Table:
    order = sorted(selection.trials, key=lambda t: (not _whole(t, selection), t.rmse))
    kept = order[:_SHOWN]
    if not any(trial is selection.chosen for trial in kept):
        kept[-1] = selection.chosen
    rows: list[list[str | list[str]]] = [
        [
            f"{trial.rank}{' (chosen)' if trial is selection.chosen else ''}",
            " / ".join(f"{v:.3g}" for v in (trial.reg.user, trial.reg.item, trial.reg.bias)),
            trial.reg_scaling,
            f"{trial.sweeps}",
            f"{error_text(trial.rmse)} ± {error_text(trial.standard_error)}",
        ]
        for trial in kept
    ]
    how = "; its time was up" if selection.stopped == "budget" else ""
    told = f"The {len(rows)} best of the {len(order)} settings of the search{how}."
    columns = ("K", "λ of users / items / biases", "scaling", "sweeps", "held-out RMSE")
    return Table("trials", "The best settings", told, columns, rows, frozenset({3, 4}))
