"""`halfstep similar`: items (or users) whose factors point the same way."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from halfstep.cli.output import Column, Json, Output
from halfstep.cli.saved import ModelFile, Titles, TitlesFile
from halfstep.errors import HalfstepError
from halfstep.models.saving import load

__all__ = ["similar"]


def similar(
    model_file: ModelFile,
    /,
    *,
    item: Annotated[
        str | None, Parameter(help="An item's id; with --items, a title or a part of one will do.")
    ] = None,
    user: Annotated[str | None, Parameter(help="A user's id, to find users.")] = None,
    n: Annotated[int, Parameter(name=["-n", "--count"], help="How many.")] = 10,
    titles: TitlesFile = None,
    as_json: Json = False,
) -> None:
    """The items (or users) most like a given one.

    Like means that the factors point the same way; the likeness is the cosine, and
    1 is the same direction.

    For example:
        halfstep similar movies.safetensors --item 50 --items movies.dat
        halfstep similar movies.safetensors --item "star wars" --items movies.dat
        halfstep similar movies.safetensors --user 1
    """
    out = Output(as_json)
    if (item is None) == (user is None):
        raise HalfstepError("ask about one item (--item ID) or one user (--user ID)")
    named = Titles(titles)
    model = load(model_file)
    if item is not None:
        ranked = model.similar_items(named.find(item, model.factors_.item_ids), n)
    else:
        ranked = model.similar_users(user, n)
    side = ranked.asked_name
    asked = ranked.asked.tolist()[0]
    if side == "user":
        named = Titles(None)
    answers = [(number, found, likeness) for number, (_, found, likeness) in enumerate(ranked, 1)]
    out.heading(f"most like {named.named(asked) if side == 'item' else f'user {asked}'}")
    if not answers:
        out.say(f"no {side} is comparable (it has no {model.learns})")
    else:
        out.table(
            [
                Column("rank", right=True),
                Column(side),
                *named.column(),
                Column("likeness", right=True),
            ],
            [[rank, found, *named.cell(found), f"{score:.3f}"] for rank, found, score in answers],
        )
    out.document(
        {
            "command": "similar",
            "model": str(model_file),
            side: asked,
            **named.entry(asked),
            "similar": [
                {"rank": rank, side: found, **named.entry(found), "likeness": score}
                for rank, found, score in answers
            ],
        }
    )
