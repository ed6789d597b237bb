"""How good the lists of a model of interactions are: against baselines, and by activity of the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.baselines import fit_ranking_baselines, preferences
from halfstep.errors import DataError
from halfstep.evaluation import Evaluation, evaluate
from halfstep.report.parts import Figure, Missing, Part, Section
from halfstep.report.subject import Held, Subject
from halfstep.report.theme import COLOURS, INK, chart, framed
from halfstep.wording import counted, metric_title

__all__ = ["MODEL", "Rankings", "rankings_of", "rankings_section"]

MODEL = "this model"
_METRICS = ("ndcg@10", "recall@20")
_MOST_OPERATIONS = 500_000_000  # of a baseline: some seconds
_GROUPS, _FEWEST = 8, 20


@dataclass(frozen=True)
class Rankings:
    """The metrics of every model, by name; the baselines that would take too long."""

    found: dict[str, Evaluation]
    left_out: list[str]

    @property
    def mine(self) -> Evaluation:
        """Those of the model."""
        return self.found[MODEL]

    def values(self) -> dict[str, dict[str, float]]:
        """As plain numbers."""
        return {
            name: {metric: figure.value for metric, figure in one.items()}
            for name, one in self.found.items()
        }


def rankings_of(held: Held) -> Rankings | None:
    """The figures on the held-out part; None where it holds nothing that a list could hit."""
    try:
        wanted = preferences(held.test)
    except DataError:
        return None
    baselines = fit_ranking_baselines(held.train, most_operations=_MOST_OPERATIONS)
    models: dict[str, Any] = {**baselines.models, MODEL: held.model}
    found = {
        name: evaluate(one, wanted, _METRICS, train=held.train) for name, one in models.items()
    }
    if not len(found[MODEL][_METRICS[0]].ids):
        return None
    return Rankings(found, list(baselines.left_out))


def rankings_section(subject: Subject, lists: Rankings | None) -> Section:
    """The metrics beside those of the baselines, with intervals, and where they are high."""
    section = Section("rankings", "How good the lists are")
    if not isinstance(subject.held, Held) or lists is None:
        why = "Nothing that was held out could be recommended"
        if isinstance(subject.held, str):
            why = subject.held
        section.parts.append(Missing("ranking-baselines", "Against baselines", f"{why}."))
        return section
    parts: list[Part] = [_against(lists, metric) for metric in _METRICS]
    parts.append(_by_activity(subject.held, lists))
    return Section(section.id, section.title, parts, subject.held.how)


def _against(lists: Rankings, metric: str) -> Figure:
    import altair as alt

    figures = {name: one[metric] for name, one in lists.found.items()}
    order = sorted(figures, key=lambda name: figures[name].value)
    title = metric_title(metric)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "x": figures[name].value,
            "low": _or(figures[name].lower, figures[name].value),
            "high": _or(figures[name].upper, figures[name].value),
            "told": f"{figures[name].value:.4f}",
        }
        for name in order
    ]
    most = max(row["high"] for row in rows) or 1.0
    y = alt.Y("name:N", sort=order, title=None).axis(
        labelColor=INK, labelLimit=170, labelPadding=10, grid=True
    )
    x = alt.X("x:Q", title=title, scale=alt.Scale(domain=[0, 1.1 * most], nice=True))
    mine = alt.when(f"datum.name === '{MODEL}'").then(alt.value(COLOURS[0]))
    colour = mine.otherwise(alt.value(COLOURS[1]))
    picture = chart(rows).mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y, color=colour)
    dots = chart(rows).mark_point(filled=True, size=90, opacity=1)
    picture += dots.encode(x=x, y=y, color=colour)
    picture += chart(rows).mark_text(dy=-13).encode(x=x, y=y, text="told:N")
    own = figures[MODEL]
    told = f"The model's {title} is {own.value:.4f}"
    if own.lower == own.lower:
        told += f" (95% interval {own.lower:.4f} to {own.upper:.4f})"
    others = {name: one.value for name, one in figures.items() if name != MODEL}
    best = max(others, key=lambda name: others[name])
    if own.value > others[best]:
        times = f", {own.value / others[best]:.3g} times" if others[best] > 0 else ", above"
        told += f"{times} that of the best baseline, {best} ({others[best]:.4f})"
    else:
        told += f": the baseline «{best}» ({others[best]:.4f}) is as good or better"
    beside = ""
    if lists.left_out:
        beside = f" Left out, for the time it takes: {', '.join(lists.left_out)}."
    what = {
        "ndcg@10": "the first ten places count, the first of them most",
        "recall@20": "the share of what was held out of a user that is among the first twenty",
    }[metric]
    return Figure(
        metric.replace("@", "-"),
        f"{title} against baselines",
        f"{told}.",
        f"{title} on the held-out part ({what}): the further to the right, the better; the lines are "
        f"95% intervals by resampling {counted(len(own.ids), 'user')}.{beside}",
        framed(picture, height=max(220, 90 + 44 * len(rows))),
    )


def _or(value: float, instead: float) -> float:
    return value if value == value else instead


def _by_activity(held: Held, lists: Rankings) -> Part:
    import altair as alt

    where = ("ranking-by-user", "By activity of the user")
    own = lists.mine[_METRICS[0]]
    rows_of = held.train.users.lookup(own.ids)
    sizes = np.diff(held.train.by_user.indptr)[rows_of]
    groups = min(_GROUPS, len(own.ids) // _FEWEST)
    if groups < 2 or sizes.min() == sizes.max():
        return Missing(*where, "Too few users, or all of them are equally active.")
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, groups + 1)))
    place = np.clip(np.searchsorted(edges, sizes, "right") - 1, 0, max(len(edges) - 2, 0))
    rows: list[dict[str, Any]] = []
    for group in np.unique(place).tolist():
        there = place == group
        low, high = int(sizes[there].min()), int(sizes[there].max())
        mean = float(np.mean(own.values[there]))
        error = 2 * float(np.std(own.values[there]) / np.sqrt(np.count_nonzero(there)))
        name = f"{low:,}" if low == high else f"{low:,}–{high:,}"
        rows.append({"group": name, "y": mean, "low": max(mean - error, 0.0), "high": mean + error})
    title = metric_title(own.name)
    x = alt.X("group:N", sort=None, title="training interactions of the user").axis(
        labelAngle=-35, labelLimit=120, labelOverlap=False
    )
    y = alt.Y("y:Q", title=title, scale=alt.Scale(zero=True)).axis(format=".3~f")
    dots = alt.OverlayMarkDef(size=60, filled=True, color=COLOURS[0])
    picture = chart(rows).mark_rule(color=COLOURS[0]).encode(x=x, y="low:Q", y2="high:Q")
    picture += chart(rows).mark_line(color=COLOURS[0], point=dots).encode(x=x, y=y)
    whole = chart([{"y": own.value}]).mark_rule(strokeDash=[4, 4], color=INK, opacity=0.6)
    picture += whole.encode(y="y:Q")
    first, last = rows[0], rows[-1]
    return Figure(
        *where,
        f"Users with {first['group']} training interactions have {title} {first['y']:.4f}, those with "
        f"{last['group']} have {last['y']:.4f}.",
        f"{title} of about equally large groups of users, with two standard errors to each side; the "
        "dashed line is that of all.",
        framed(picture),
    )
