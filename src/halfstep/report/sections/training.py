"""What the fit did: J and the errors, sweep by sweep."""

from __future__ import annotations

from typing import Any

from halfstep.models.base import FactorModel
from halfstep.models.bayesian import BayesianMF
from halfstep.report.parts import Figure, Missing, Part, Section
from halfstep.report.sections.sampling import sampling_parts
from halfstep.report.subject import Held, Subject
from halfstep.report.theme import COLOURS, INK, chart, framed, series
from halfstep.training import TraceRow
from halfstep.wording import counted, error_text, metric_title, percent

__all__ = ["training_section"]

_WHY = {
    "converged": "because the last sweep gained next to nothing",
    "max_iter": "at the most allowed",
    "validation": "because the validation part was no longer answered better",
    "budget": "as the time was up",
    "callback": "at the request of a callback",
    "interrupted": "interrupted",
}


def training_section(subject: Subject) -> Section:
    """The trace of the model, or that of the model it was tried with, if that was validated."""
    model = subject.model
    validated = isinstance(subject.held, Held) and _validated(subject.held.model)
    if validated and not _validated(model) and isinstance(subject.held, Held):
        model = subject.held.model
    section = Section("training", "Training")
    if isinstance(model, BayesianMF):
        section.parts.extend(sampling_parts(model))
        return section
    rows = list(model.trace_)
    if not rows:
        section.parts.append(Missing("objective", "The objective", "The model has no trace."))
        return section
    by_sweep = _errors if model.learns == "ratings" else _scores
    section.parts.extend([_objective(model, rows), by_sweep(model, rows)])
    return section


def _validated(model: FactorModel) -> bool:
    return any(row.held_out_loss is not None for row in model.trace_)


def _sweep(rows: list[TraceRow]) -> Any:
    import altair as alt

    last = rows[-1].sweep
    domain = [rows[0].sweep, max(last, rows[0].sweep + 1)]
    return alt.X("sweep:Q", title="sweep", scale=alt.Scale(domain=domain, nice=False)).axis(
        format="d", tickMinStep=1, tickCount=8
    )


def _objective(model: FactorModel, rows: list[TraceRow]) -> Figure:
    import altair as alt

    values = [{"sweep": row.sweep, "y": row.objective} for row in rows]
    y = alt.Y("y:Q", title="J", scale=alt.Scale(zero=False)).axis(
        format="~s" if rows[-1].objective >= 100 else ".3~g"
    )
    line = chart(values).mark_line(color=COLOURS[1], point=_points(rows, COLOURS[1]))
    why = _WHY.get(model.stopped_, model.stopped_)
    if model.stopped_ == "max_iter" and model.selection_ is not None and model.selection_.sweeps:
        why = "as many as were best on held-out ratings"
    stop = f"The fit ended after {counted(rows[-1].sweep, 'sweep')}, {why}"
    fell = ""
    if len(rows) > 1:
        last = (rows[-2].objective - rows[-1].objective) / (abs(rows[-2].objective) or 1.0)
        whole = rows[0].objective - rows[-1].objective
        verb = f"lowered J by {percent(last)}" if last >= 0 else f"raised J by {percent(-last)}"
        fell = f"; the last sweep {verb}"
        if whole > 0:
            most = next(
                row.sweep for row in rows if rows[0].objective - row.objective >= 0.9 * whole
            )
            fell += f", and 90% of the fall since the first was done by sweep {most}"
    return Figure(
        "objective",
        "The objective",
        f"{stop}{fell}.",
        "The objective J after every sweep.",
        framed(line.encode(x=_sweep(rows), y=y)),
    )


def _errors(model: FactorModel, rows: list[TraceRow]) -> Figure:
    import altair as alt

    names = ["training"] + (["validation"] if _validated(model) else [])
    values = [{"series": "training", "sweep": row.sweep, "y": row.train_rmse} for row in rows]
    values += [
        {"series": "validation", "sweep": row.sweep, "y": row.validation_rmse}
        for row in rows
        if row.validation_rmse is not None
    ]
    colours = (COLOURS[1], COLOURS[0])
    y = alt.Y("y:Q", title="RMSE", scale=alt.Scale(zero=False)).axis(format=".3~f")
    lines = chart(values).mark_line(point=_points(rows, None))
    lines = lines.encode(x=_sweep(rows), y=y, color=series(names, colours))
    first, last = rows[0].train_rmse, rows[-1].train_rmse
    told = f"The training RMSE falls from {error_text(first)} to {error_text(last)}"
    if len(names) == 1:
        told += "; no validation part was watched in this fit"
    else:
        by_sweep = {row.sweep: row.validation_rmse for row in rows}
        best = by_sweep.get(model.best_iter_)
        if best is not None:
            told += (
                f"; the validation RMSE is lowest, {error_text(best)}, after sweep {model.best_iter_} "
                "(ringed), whose factors are kept"
            )
            ring = chart([{"sweep": model.best_iter_, "y": best}])
            lines += ring.mark_point(size=190, color=INK, strokeWidth=2).encode(
                x="sweep:Q", y="y:Q"
            )
    return Figure(
        "errors-by-sweep",
        "Errors by sweep",
        f"{told}.",
        f"The RMSE of the {' and of the '.join(f'{name} part' for name in names)} after every sweep.",
        framed(lines),
    )


def _scores(model: FactorModel, rows: list[TraceRow]) -> Part:
    import altair as alt

    where = ("scores-by-sweep", "Validation by sweep")
    values = [
        {"sweep": row.sweep, "y": row.validation_score}
        for row in rows
        if row.validation_score is not None
    ]
    if not values:
        return Missing(*where, "No validation part was watched in this fit.")
    title = metric_title(str(model._fitted_params["metric"]))
    y = alt.Y("y:Q", title=title, scale=alt.Scale(zero=False)).axis(format=".3~f")
    line = chart(values).mark_line(color=COLOURS[0], point=_points(rows, COLOURS[0]))
    picture = line.encode(x=_sweep(rows), y=y)
    best = next(row["y"] for row in values if row["sweep"] == model.best_iter_)
    ring = chart([{"sweep": model.best_iter_, "y": best}])
    picture += ring.mark_point(size=190, color=INK, strokeWidth=2).encode(x="sweep:Q", y="y:Q")
    return Figure(
        *where,
        f"{title} on the validation part is highest, {best:.4f}, after sweep {model.best_iter_} "
        "(ringed), whose factors are kept.",
        f"{title} of the lists for the users of the validation part after every sweep.",
        framed(picture),
    )


def _points(rows: list[TraceRow], colour: str | None) -> Any:
    import altair as alt

    if len(rows) > 60:
        return False
    named = {} if colour is None else {"color": colour}
    return alt.OverlayMarkDef(size=30, filled=True, **named)
