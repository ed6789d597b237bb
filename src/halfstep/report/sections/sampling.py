"""What a sampler did: J, the noise and the errors sweep by sweep, and whether its chains agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.models.bayesian import BayesianMF
from halfstep.report.parts import Figure, Missing, Part, Table
from halfstep.report.theme import COLOURS, GRID, chart, framed, series
from halfstep.wording import counted, error_text

__all__ = ["sampling_parts"]

_SHOWN = 8
_POINTS = 400  # of a line


def sampling_parts(model: BayesianMF) -> list[Part]:
    """The chains: J with burn-in marked, σ, the errors, and the table of convergence."""
    parts: list[Part] = []
    if model.trace_:
        parts += [_objective(model), _errors(model)]
    else:
        parts.append(Missing("objective", "The objective", "The model has no trace."))
    return [*parts, _noise(model), _convergence(model)]


def _sizes(model: BayesianMF) -> tuple[int, int]:
    """(burn_in, sweeps of a chain) of the fit."""
    fitted = model._fitted_params
    return int(fitted["burn_in"]), int(fitted["burn_in"]) + int(fitted["samples"])


def _chain(number: int) -> str:
    return f"chain {number + 1}"


def _rows(model: BayesianMF, figure: str) -> list[dict[str, Any]]:
    """One figure of the trace by the sweep of its chain."""
    sweeps = _sizes(model)[1]
    step = max(1, len(model.trace_) // _POINTS)
    return [
        {
            "series": _chain((row.sweep - 1) // sweeps),
            "sweep": (row.sweep - 1) % sweeps + 1,
            "y": getattr(row, figure),
        }
        for row in model.trace_[::step]
        if getattr(row, figure) is not None
    ]


def _axis(first: int, last: int) -> Any:
    import altair as alt

    domain = [first, max(last, first + 1)]
    return alt.X("sweep:Q", title="sweep", scale=alt.Scale(domain=domain, nice=False)).axis(
        format="d", tickMinStep=1, tickCount=8
    )


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["series"] for row in rows))


def _burn_in(model: BayesianMF) -> Any:
    """A band over the sweeps whose draws are not used."""
    burn_in, sweeps = _sizes(model)
    rows = [{"sweep": 1, "x2": min(burn_in + 0.5, sweeps)}] if burn_in else []
    band = chart(rows).mark_rect(color=GRID, opacity=0.8)
    return band.encode(x=_axis(1, sweeps), x2="x2:Q")


def _objective(model: BayesianMF) -> Figure:
    import altair as alt

    burn_in, sweeps = _sizes(model)
    rows = _rows(model, "objective")
    late = [row["y"] for row in rows if row["sweep"] > burn_in / 3]  # the start would set the scale
    room = 0.05 * (max(late) - min(late)) or 1.0
    scale = alt.Scale(domain=[min(late) - room, max(late) + room], nice=False)
    y = alt.Y("y:Q", title="J", scale=scale).axis(format="~s")
    lines = chart(rows).mark_line(strokeWidth=1.4, clip=True)
    lines = lines.encode(x=_axis(1, sweeps), y=y, color=series(_names(rows), COLOURS[1:]))
    record = model.record_.objective
    told = f"{counted(record.shape[1], 'draw')} after {counted(burn_in, 'sweep')} of burn-in"
    if record.shape[0] > 1:
        told = f"{record.shape[0]} chains of {told}"
    return Figure(
        "objective",
        "The chains",
        f"{told}; {_drift(record)}.",
        "J, minus the logarithm of the posterior density, of every sweep; the grey band is burn-in, "
        "whose draws are not used. After it J should only tremble.",
        framed(_burn_in(model) + lines),
    )


def _drift(record: Array) -> str:
    """Whether J still moves: its means in the first and the last third of the draws."""
    third = max(1, record.shape[1] // 3)
    first, last = record[:, :third], record[:, -third:]
    spread = float(np.sqrt((np.var(first) + np.var(last)) / 2))
    moved = float(np.mean(last) - np.mean(first))
    if abs(moved) <= 2 * spread:
        return "J stands still over them"
    way = "falls" if moved < 0 else "rises"
    return f"J still {way} over them, by {abs(moved):,.4g}: a longer burn-in would be better"


def _errors(model: BayesianMF) -> Figure:
    import altair as alt

    _, sweeps = _sizes(model)
    drawn, means = (
        [row for row in _rows(model, figure) if row["series"] == _chain(0)]
        for figure in ("train_rmse", "validation_rmse")
    )
    rows = [{**row, "series": "a draw, training"} for row in drawn]
    rows += [{**row, "series": "mean of the draws, validation"} for row in means]
    y = alt.Y("y:Q", title="RMSE", scale=alt.Scale(zero=False)).axis(format=".3~f")
    lines = chart(rows).mark_line(strokeWidth=1.6)
    colours = (COLOURS[1], COLOURS[0])
    lines = lines.encode(x=_axis(1, sweeps), y=y, color=series(_names(rows), colours))
    last = model.trace_[-1]
    told = f"The last draw has a training RMSE of {error_text(last.train_rmse)}"
    if last.validation_rmse is not None:
        told += f", the mean of all draws a validation RMSE of {error_text(last.validation_rmse)}"
    else:
        told += "; no validation part was watched in this fit"
    return Figure(
        "errors-by-sweep",
        "Errors by sweep",
        f"{told}.",
        "The RMSE of single draws on the ratings that they were drawn from (of the first chain)"
        + (", and of the mean of the draws so far on the validation part." if means else ".")
        + " A draw is no best fit: its error is that of the noise.",
        framed(_burn_in(model) + lines),
    )


def _noise(model: BayesianMF) -> Figure:
    import altair as alt

    burn_in, sweeps = _sizes(model)
    sigma = model.record_.sigma
    step = max(1, sigma.shape[1] // _POINTS)
    rows = [
        {"series": _chain(number), "sweep": burn_in + 1 + k * step, "y": value}
        for number, chain in enumerate(sigma)
        for k, value in enumerate(chain[::step].tolist())
    ]
    y = alt.Y("y:Q", title="σ", scale=alt.Scale(zero=False)).axis(format=".3~f")
    lines = chart(rows).mark_line(strokeWidth=1.4)
    x = _axis(burn_in + 1, sweeps)
    lines = lines.encode(x=x, y=y, color=series(_names(rows), COLOURS[1:]))
    low, high = np.quantile(sigma, (0.025, 0.975)).tolist()
    return Figure(
        "noise",
        "The noise of a rating",
        f"The noise σ of a rating, which no model of these ratings predicts, is "
        f"{float(np.mean(sigma)):.4g}; 95% of the draws lie between {low:.4g} and {high:.4g}.",
        "σ of every draw that is used (where every user has a noise of their own, that of a user in "
        "the middle).",
        framed(lines),
    )


def _convergence(model: BayesianMF) -> Table:
    summary = model.chain_summary()
    worst = summary.worst(len(summary))
    order = [
        *worst.names[:_SHOWN],
        *(name for name in ("σ", "J") if name not in worst.names[:_SHOWN]),
    ]
    columns = summary.to_dict()
    rows: list[list[str | list[str]]] = []
    for name in order:
        place = summary.names.index(name)
        at = {key: float(columns[key][place]) for key in columns if key != "name"}
        rows.append(
            [
                name,
                f"{at['mean']:.4g}",
                f"{at['sd']:.2g}",
                f"{at['mcse']:.2g}",
                *(f"{at[key]:,.0f}" for key in ("ess_bulk", "ess_tail")),
                f"{at['rhat']:.3f}",
            ]
        )
    told = summary.verdict
    return Table(
        "convergence",
        "Have the chains converged?",
        f"{told[0].upper()}{told[1:]}. Of {len(summary)} quantities those furthest from it, and σ "
        "and J.",
        ("", "mean", "sd", "MCSE", "ESS bulk", "ESS tail", "R̂"),
        rows,
        frozenset(range(1, 7)),
    )
