"""`halfstep recommend`: the best items for users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from halfstep.cli.features import FeatureFiles
from halfstep.cli.options import check_writable
from halfstep.cli.output import Column, Json, Output, note
from halfstep.cli.saved import ModelFile, Titles, TitlesFile, ids_given, read_ids
from halfstep.errors import HalfstepError
from halfstep.models.base import FactorModel
from halfstep.models.ranked import Ranked
from halfstep.models.saving import load
from halfstep.wording import counted

__all__ = ["MIN_RATINGS", "recommend", "show"]

MIN_RATINGS = 5
"""Of an item that is recommended, where nobody says otherwise."""


def recommend(
    model_file: ModelFile,
    /,
    *,
    user: Annotated[
        list[str] | None, Parameter(negative="", help="A user's id; may stand several times.")
    ] = None,
    users: Annotated[
        Path | None, Parameter(help="A text file with one user's id on each line.")
    ] = None,
    everyone: Annotated[
        bool,
        Parameter(name="--all", negative="", show_default=False, help="Every user of the model."),
    ] = False,
    n: Annotated[int, Parameter(name=["-n", "--count"], help="How many for each user.")] = 10,
    titles: TitlesFile = None,
    allow: Annotated[
        list[str] | None,
        Parameter(negative="", help="Only these items: 1,2,3 or @file (one id on a line)."),
    ] = None,
    deny: Annotated[
        list[str] | None, Parameter(negative="", help="Never these items: 1,2,3 or @file.")
    ] = None,
    min_ratings: Annotated[
        int,
        Parameter(
            help="Only items with at least so many ratings (or interactions): of others too little is "
            "known."
        ),
    ] = MIN_RATINGS,
    include_seen: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Also the items that the user has rated (or had); by default they are left out.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        Parameter(
            name=["--output", "-o"], help="Write a file (.csv, .parquet, .jsonl), print no table."
        ),
    ] = None,
    known_of: FeatureFiles | None = None,
    as_json: Json = False,
) -> None:
    """The best items for a user, for some users, or for all.

    The items of the highest predicted rating (of a model of interactions: of the
    highest score), without those that the user has rated (or had already). New users
    and items are known by their features, where the model was fitted with some and a
    table has theirs.

    For example:
        halfstep recommend movies.safetensors --user 1 --items movies.dat
        halfstep recommend movies.safetensors --user 1 --user 7 -n 5
        halfstep recommend movies.safetensors --all -o recommendations.parquet
    """
    out = Output(as_json)
    features = known_of or FeatureFiles()
    if sum((bool(user), users is not None, everyone)) != 1:
        raise HalfstepError(
            "name the users in one way: --user ID (several times for several), --users FILE or --all"
        )
    if output is not None:
        from halfstep.cli.export import check_kind

        check_kind(output)
        check_writable(output, model_file, users, titles, *features.paths)
    named = Titles(titles)
    model = features.told(load(model_file))
    asked = user or (read_ids(users) if users is not None else None)
    allowed, denied = ids_given(allow), ids_given(deny)
    for flag, ids in (("--allow", allowed), ("--deny", denied)):
        missing = [] if ids is None else _unknown(model, ids)
        if missing:
            note(f"{flag}: the model does not know {len(missing):,} of the items ({missing[0]}, …)")
    if model.history_ is None:
        min_ratings = 1  # a model saved without history does not know the counts
    ranked = model.recommend(
        asked,
        n,
        exclude_seen=not include_seen,
        allow=allowed,
        deny=denied,
        min_ratings=min_ratings,
    )
    document: dict[str, Any] = {"command": "recommend", "model": str(model_file), "n": n}
    if output is not None:
        from halfstep.cli.export import write_table

        columns: dict[str, Any] = dict(ranked.to_dict())
        if named.given:
            score = columns.pop("score")
            columns["title"] = [named.of(item) for item in columns["item"].tolist()]
            columns["score"] = score
        write_table(output, columns)
        rows = len(ranked.found)
        users_of = "1 user" if len(ranked) == 1 else f"{len(ranked):,} users"
        out.facts([("saved", f"{output}: {rows:,} rows for {users_of}")])
        out.document({**document, "output": str(output), "rows": rows})
        return
    out.document({**document, "users": show(out, ranked, model, named)})


def show(out: Output, ranked: Ranked, model: FactorModel, titles: Titles) -> list[dict[str, Any]]:
    """A table for each user; the same as entries of a document."""
    document = []
    asked, found, scores = ranked.asked.tolist(), ranked.found.tolist(), ranked.scores.tolist()
    bounds = ranked.offsets.tolist()
    columns = [
        Column("rank", right=True),
        Column("item"),
        *titles.column(),
        Column("score", right=True),
    ]
    for number, user in enumerate(asked):
        part = slice(bounds[number], bounds[number + 1])
        best = list(enumerate(zip(found[part], scores[part], strict=True), 1))
        if number:
            out.say()
        out.heading(f"user {user}{_history_of(model, user)}")
        if best:
            out.table(
                columns,
                [[rank, item, *titles.cell(item), f"{score:.3f}"] for rank, (item, score) in best],
            )
        else:
            out.say(
                f"no item is left to recommend (--min-ratings 1 allows those with few {model.learns})"
            )
        document.append(
            {
                "user": user,
                "items": [
                    {"rank": rank, "item": item, **titles.entry(item), "score": score}
                    for rank, (item, score) in best
                ],
            }
        )
    return document


def _history_of(model: FactorModel, user: Any) -> str:
    history = model.history_
    if history is None:
        return ""
    row = int(model.factors_.user_ids.lookup([user])[0])
    count = int(history.indptr[row + 1] - history.indptr[row])
    return f" ({counted(count, model.learns.removesuffix('s'))})"


def _unknown(model: FactorModel, items: list[str]) -> list[str]:
    rows = model.factors_.item_ids.lookup(items)
    return [item for item, row in zip(items, rows.tolist(), strict=True) if row < 0]
