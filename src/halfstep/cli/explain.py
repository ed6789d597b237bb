"""`halfstep explain`: the share of each of a user's ratings (or interactions) in a score."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from halfstep.cli.output import Column, Json, Output
from halfstep.cli.saved import ModelFile, Titles, TitlesFile
from halfstep.errors import ParameterError
from halfstep.models.explanation import Explanation
from halfstep.models.saving import load

__all__ = ["explain", "show"]


def explain(
    model_file: ModelFile,
    /,
    *,
    user: Annotated[str, Parameter(help="The user's id.")],
    item: Annotated[
        str, Parameter(help="The item's id; with --items, a title or a part of one will do.")
    ],
    n: Annotated[int, Parameter(name=["-n", "--count"], help="How many shares to show.")] = 10,
    titles: TitlesFile = None,
    as_json: Json = False,
) -> None:
    """Why a user's predicted rating of an item is what it is.

    The score is a sum: the mean and the item's bias, and one share for each rating
    of the user (of a model of interactions: for each item that the user had). The
    largest shares are shown, up or down.

    For example:
        halfstep explain movies.safetensors --user 1 --item 318 --items movies.dat
    """
    out = Output(as_json)
    if n < 1:
        raise ParameterError("n", n, "must be at least 1", "try n=10")
    named = Titles(titles)
    model = load(model_file)
    told = model.explain(user, named.find(item, model.factors_.item_ids))
    told_user = model.factors_.user_ids.id_at(int(model.factors_.user_ids.lookup([user])[0]))
    out.document(
        {
            "command": "explain",
            "model": str(model_file),
            **show(out, told, told_user, named, n, model.learns),
        }
    )


def show(
    out: Output,
    told: Explanation,
    user: Any,
    titles: Titles,
    n: int,
    learns: Literal["ratings", "interactions"] = "ratings",
) -> dict[str, Any]:
    """The sum as a table; the same, with all shares, as a document."""
    rated = learns == "ratings"
    what = "predicted rating" if rated else "score"
    out.heading(f"user {user}, {titles.named(told.item)}: {what} {told.score:.3f}")
    largest = np.argsort(-np.abs(told.contributions), kind="stable")[:n]
    shown = [list(told)[i] for i in np.sort(largest).tolist()]
    rest = float(told.contributions.sum()) - sum(share for _, _, share in shown)
    blank = [""] if titles.given else []
    rows: list[list[object]] = []
    if rated or told.baseline:
        base = "mean and bias of the item" if rated else "bias of the item"
        rows.append([f"{told.baseline:+.3f}", base, "", *blank])
    rows += [
        [
            f"{share:+.3f}",
            f"{'rated' if rated else 'had'} item {item}",
            f"{rating:g}",
            *titles.cell(item),
        ]
        for item, rating, share in shown
    ]
    others = len(told.items) - len(shown)
    if others:
        rows.append([f"{rest:+.3f}", f"{others:,} other {learns}", "", *blank])
    out.table(
        [
            Column("share", right=True),
            Column("from"),
            Column("rating" if rated else "count", right=True),
            *titles.column(),
        ],
        rows,
    )
    if not told.exact:
        out.say("(the score is that of the user folded in from these ratings)")
    return {
        "user": user,
        "item": told.item,
        **titles.entry(told.item),
        "score": told.score,
        "baseline": told.baseline,
        "exact": told.exact,
        "contributions": [
            {"item": item, **titles.entry(item), "rating": rating, "contribution": share}
            for item, rating, share in told
        ],
    }
