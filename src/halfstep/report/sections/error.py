"""How large the error on held-out ratings is: against baselines, by user and by item."""

from __future__ import annotations

from collections.abc import Mapping
from halfstep.evaluation import baseline_rmse, error_by_activity, error_by_popularity
from halfstep.evaluation.breakdowns import ErrorTable
from halfstep.report.parts import Figure, Missing, Section
from halfstep.report.subject import Held, Subject
from halfstep.report.theme import COLOURS, INK, chart, framed
from halfstep.wording import percent

__all__ = ["Errors", "error_section", "errors_of"]

Errors = Mapping[str, tuple[float, float | None]]
"""RMSE and MAE (None where it is not known) by the name of the model."""

MODEL = "this model"
_GROUPS = 8


def errors_of(held: Held) -> dict[str, tuple[float, float | None]]:
    """The errors of the baselines and of the model on the held-out ratings."""
    found: dict[str, tuple[float, float | None]] = {
        name: (rmse, None) for name, rmse in baseline_rmse(held.train, held.test).items()
    }
    return {**found, MODEL: (held.model.rmse(held.test), held.model.mae(held.test))}


def error_section(subject: Subject, errors: Errors | None) -> Section:
    """The error of the model beside those of the baselines, and where it is large."""
    section = Section("error", "The error on held-out ratings")
    if not isinstance(subject.held, Held) or errors is None:
        section.parts.append(Missing("baselines", "Against baselines", f"{subject.held}."))
        return section
    held = subject.held
    model, train, test = held.model, held.train, held.test
    parts = [
        _against(errors),
        _by_group(error_by_activity(model, test, train=train, bins=_GROUPS), "user", errors),
        _by_group(error_by_popularity(model, test, train=train, bins=_GROUPS), "item", errors),
    ]
    return Section(section.id, section.title, [*parts], held.how)


def _against(errors: Errors) -> Figure:
    import altair as alt

    order = sorted(errors, key=lambda name: -errors[name][0])
    rows = [
        {"name": name, "x": errors[name][0], "told": f"{errors[name][0]:.4f}"} for name in order
    ]
    worst = rows[0]["x"]
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
    sentence = f"The model's RMSE is {rmse:.4f}"
    if mae is not None:
        sentence += f" (MAE {mae:.4f})"
    if others:
        best = min(others, key=lambda name: others[name])
        gain = 1 - rmse / others[best]
        sentence += (
            f", {percent(gain)} below that of the best baseline, {best} ({others[best]:.4f})"
            if gain > 0
            else f": the baseline «{best}» ({others[best]:.4f}) is as good or better"
        )
    height = 90 + 44 * len(rows)
    return Figure(
        "baselines",
        "Against baselines",
        f"{sentence}.",
        f"The RMSE of {', '.join(order)} on the held-out ratings, the worst being {worst:.4f}.",
        framed(picture, height=max(220, height)),
    )


def _by_group(table: ErrorTable, side: str, errors: Errors) -> Figure:
    import altair as alt

    spans = [
        f"{low:,}" if low == high else f"{low:,}–{high:,}"
        for low, high in zip(table.lowest.tolist(), table.highest.tolist(), strict=True)
    ]
    rmse = table.rmse.tolist()
    rows = [{"group": span, "y": value} for span, value in zip(spans, rmse, strict=True)]
    x = alt.X("group:N", sort=None, title=f"training ratings of the {side}").axis(
        labelAngle=-35, labelLimit=120
    )
    y = alt.Y("y:Q", title="RMSE", scale=alt.Scale(zero=False, padding=12)).axis(format=".3~f")
    picture = chart(rows).mark_line(
        color=COLOURS[0], point=alt.OverlayMarkDef(size=60, filled=True, color=COLOURS[0])
    )
    picture = picture.encode(x=x, y=y)
    whole = chart([{"y": errors[MODEL][0]}]).mark_rule(strokeDash=[4, 4], color=INK, opacity=0.6)
    picture += whole.encode(y="y:Q")
    first, last = rmse[0], rmse[-1]
    who = {"user": ("Users", "activity of the user"), "item": ("Items", "popularity of the item")}
    few, by = who[side]
    told = f"{few} with {spans[0]} training ratings have RMSE {first:.3f}"
    if len(rows) > 1:
        told += f", those with {spans[-1]} have {last:.3f}"
        worst = max(range(len(rmse)), key=lambda g: rmse[g])
        if worst not in (0, len(rmse) - 1):
            told += f", and those with {spans[worst]} the largest, {rmse[worst]:.3f}"
    return Figure(
        f"error-by-{side}",
        f"By {by}",
        f"{told}.",
        f"The RMSE of about equally large groups of held-out ratings, by how many training ratings the "
        f"{side} has; the dashed line is the RMSE of all.",
        framed(picture),
    )
