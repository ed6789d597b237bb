"""How large the error on held-out ratings is: against baselines, by user and by item."""

from __future__ import annotations

from halfstep.baselines import compare_baselines
from halfstep.evaluation import error_by_activity, error_by_popularity
from halfstep.evaluation.breakdowns import ErrorTable
from halfstep.report.parts import Figure, Missing, Section
from halfstep.report.subject import Held, Subject
from halfstep.report.theme import COLOURS, INK, chart, framed
from halfstep.wording import error_text, percent

__all__ = ["Errors", "error_section", "errors_of"]

Errors = dict[str, tuple[float, float | None]]
"""RMSE and MAE (None where it is not known) by the name of the model."""

MODEL = "this model"
_GROUPS = 8
_FEW = 0.01
_MOST_OPERATIONS = 100_000_000  # of a baseline: some seconds


def errors_of(held: Held) -> tuple[Errors, list[str]]:
    """The errors of the baselines and of the model; and the baselines that would take too long."""
    measured = compare_baselines(held.train, held.test, most_operations=_MOST_OPERATIONS)
    found: Errors = {
        name: (error.rmse, error.mae) for name, error in measured.items() if error.rmse is not None
    }
    found[MODEL] = (held.model.rmse(held.test), held.model.mae(held.test))
    return found, [name for name in measured if name not in found]


def error_section(subject: Subject, errors: Errors | None, left_out: list[str]) -> Section:
    """The error of the model beside those of the baselines, and where it is large."""
    section = Section("error", "The error on held-out ratings")
    if not isinstance(subject.held, Held) or errors is None:
        section.parts.append(Missing("baselines", "Against baselines", f"{subject.held}."))
        return section
    held = subject.held
    model, train, test = held.model, held.train, held.test
    parts = [
        _against(errors, left_out),
        _by_group(error_by_activity(model, test, train=train, bins=_GROUPS), "user", errors),
        _by_group(error_by_popularity(model, test, train=train, bins=_GROUPS), "item", errors),
    ]
    return Section(section.id, section.title, [*parts], held.how)


def _against(errors: Errors, left_out: list[str]) -> Figure:
    import altair as alt

    order = sorted(errors, key=lambda name: -errors[name][0])
    rows = [
        {"name": name, "x": errors[name][0], "told": error_text(errors[name][0])} for name in order
    ]
    y = alt.Y("name:N", sort=order, title=None).axis(
        labelColor=INK, labelLimit=170, labelPadding=10, grid=True
    )
    x = alt.X("x:Q", title="RMSE", scale=alt.Scale(zero=False, nice=True, padding=26))
    mine = alt.when(f"datum.name === '{MODEL}'").then(alt.value(COLOURS[0]))
    colour = mine.otherwise(alt.value(COLOURS[1]))
    dots = chart(rows).mark_point(filled=True, size=110, opacity=1)
    told = chart(rows).mark_text(dy=-13)
    picture = dots.encode(x=x, y=y, color=colour)
    picture += told.encode(x=x, y=y, text="told:N")
    rmse, mae = errors[MODEL]
    others = {name: pair[0] for name, pair in errors.items() if name != MODEL}
    sentence = f"The model's RMSE is {error_text(rmse)}"
    if mae is not None:
        sentence += f" (MAE {error_text(mae)})"
    if others:
        best = min(others, key=lambda name: others[name])
        low = f"({error_text(others[best])})"
        if rmse < others[best]:
            gain = percent(1 - rmse / others[best])
            sentence += f", {gain} below that of the best baseline, {best} {low}"
        else:
            equal = rmse == others[best]
            sentence += f": the baseline «{best}» {low} is {'as good' if equal else 'better'}"
    beside = f" Left out, for the time it takes: {', '.join(left_out)}." if left_out else ""
    height = 90 + 44 * len(rows)
    return Figure(
        "baselines",
        "Against baselines",
        f"{sentence}.",
        f"The RMSE on the held-out ratings: the further to the left, the better.{beside}",
        framed(picture, height=max(220, height)),
    )


def _by_group(table: ErrorTable, side: str, errors: Errors) -> Figure:
    import altair as alt

    lows, highs, sizes, rmse = (
        column.tolist() for column in (table.lowest, table.highest, table.ratings, table.rmse)
    )
    # the few ratings of rows that training does not know would set the scale for all others
    aside = lows[0] == highs[0] == 0 and len(rmse) > 1 and sizes[0] < _FEW * sum(sizes)
    groups = range(1 if aside else 0, len(rmse))
    rows = [{"group": _span(lows[g], highs[g], "–"), "y": rmse[g]} for g in groups]
    x = alt.X("group:N", sort=None, title=f"training ratings of the {side}").axis(
        labelAngle=-35, labelLimit=120, labelOverlap=False
    )
    y = alt.Y("y:Q", title="RMSE", scale=alt.Scale(zero=False, padding=12)).axis(format=".3~f")
    picture = chart(rows).mark_line(
        color=COLOURS[0], point=alt.OverlayMarkDef(size=60, filled=True, color=COLOURS[0])
    )
    picture = picture.encode(x=x, y=y)
    whole = chart([{"y": errors[MODEL][0]}]).mark_rule(strokeDash=[4, 4], color=INK, opacity=0.6)
    picture += whole.encode(y="y:Q")
    few, by = {
        "user": ("Users", "activity of the user"),
        "item": ("Items", "popularity of the item"),
    }[side]
    spans = {g: _span(lows[g], highs[g], " to ") for g in groups}
    first, last = groups[0], groups[-1]
    told = f"{few} with {spans[first]} training ratings have RMSE {rmse[first]:.3g}"
    if first != last:
        told += f", those with {spans[last]} have {rmse[last]:.3g}"
        worst = max(groups, key=lambda g: rmse[g])
        if worst not in (first, last):
            told += f", and those with {spans[worst]} the largest, {rmse[worst]:.3g}"
    if aside:
        told += f"; without any, for {sizes[0]:,} of the held-out ratings, it is {rmse[0]:.3g}"
    return Figure(
        f"error-by-{side}",
        f"By {by}",
        f"{told}.",
        f"The RMSE of about equally large groups of held-out ratings, by how many training ratings the "
        f"{side} has; the dashed line is the RMSE of all.",
        framed(picture),
    )


def _span(lowest: int, highest: int, dash: str) -> str:
    return f"{lowest:,}" if lowest == highest else f"{lowest:,}{dash}{highest:,}"
