"""What the features say: how each moves the bias of a user or an item."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.models.base import FactorModel
from halfstep.objectives import SIDES, Side
from halfstep.report.lettering import shortened
from halfstep.report.parts import Figure, Missing, Part, Section
from halfstep.report.theme import COLOURS, INK, MUTED, chart, framed
from halfstep.wording import counted

__all__ = ["features_section", "has_features"]

_SHOWN = 16
_LETTERS = 12
_WIDTH = 150  # pixels of a name


def has_features(model: FactorModel) -> bool:
    """Whether any side has some."""
    return model.features_.user is not None or model.features_.item is not None


def features_section(model: FactorModel) -> Section:
    """The largest effects of each side, with two standard deviations where the model has them."""
    section = Section(
        "features",
        "What the features say",
        lead="An effect is what a column adds to the bias of a row whose value in it is 1: of a level "
        "or an entry of a list that it has it, of a number one standard deviation.",
    )
    for side in SIDES:
        if model.features_.side(side) is not None:
            section.parts.append(_effects(model, side))
    return section


def _effects(model: FactorModel, side: Side) -> Part:
    import altair as alt

    where = (f"effects-{side}", f"Features of the {side}s")
    found = model.feature_effects(side)
    groups = np.array(found.groups)
    bias = np.asarray(found.bias, dtype=np.float64)
    shown = np.flatnonzero(groups != "implicit")
    if not len(shown):
        count = counted(len(groups), "implicit feature")
        return Missing(*where, f"The {side}s have {count} alone, one for each of the other side.")
    if not bias[shown].any():
        return Missing(*where, "The model has no biases that features could move.")
    sd = found.bias_std
    # a level that few have may be large by chance: what is clear comes first where that is known
    weight = np.abs(bias) if sd is None else np.abs(bias) / np.maximum(sd, np.finfo(float).tiny)
    order = shown[np.argsort(-weight[shown], kind="stable")][:_SHOWN]
    first = int(order[0])
    order = order[np.argsort(-bias[order], kind="stable")]
    names = [shortened(found.names[k], _WIDTH, _LETTERS) for k in order]
    if len(set(names)) < len(names):  # a row of the figure for each
        names = [found.names[k] for k in order]
    rows: list[dict[str, Any]] = []
    for name, k in zip(names, order.tolist(), strict=True):
        row = {"name": name, "x": float(bias[k])}
        if sd is not None:
            row |= {"low": float(bias[k] - 2 * sd[k]), "high": float(bias[k] + 2 * sd[k])}
        rows.append(row)
    y = alt.Y("name:N", sort=names, title=None).axis(
        labelColor=INK, labelLimit=_WIDTH + 20, labelPadding=8
    )
    x = alt.X("x:Q", title="effect on the bias").axis(format="+.2~f", tickCount=6)
    picture = chart([{"x": 0}]).mark_rule(color=MUTED, strokeWidth=1).encode(x="x:Q")
    picture += chart(rows).mark_bar(color=COLOURS[1], opacity=0.55, height=9).encode(x=x, y=y)
    which = "largest" if sd is None else "clearest"
    told = f"The {which} is that of «{found.names[first]}», {bias[first]:+.2g}"
    beside = ""
    if sd is not None:
        whiskers = chart(rows).mark_rule(color=INK, strokeWidth=1.6)
        picture += whiskers.encode(x="low:Q", x2="high:Q", y=y)
        told += f" ± {sd[first]:.1g}"
        clear = int(np.count_nonzero(np.abs(bias[shown]) > 2 * np.asarray(sd)[shown]))
        told += f"; {clear} of {len(shown)} are further than two standard deviations from 0"
        beside = " The lines are two standard deviations to each side."
    return Figure(
        *where,
        f"{told}.",
        f"The {len(order)} {which} effects on the bias of {side}s, of {len(shown)} columns.{beside}",
        framed(picture, height=70 + 20 * len(order)),
    )
