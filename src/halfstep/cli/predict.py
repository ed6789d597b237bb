"""`halfstep predict`: the rating of one pair, or of a table of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from halfstep.backends.base import Array
from halfstep.cli.features import FeatureFiles
from halfstep.cli.options import FileOptions, check_writable
from halfstep.cli.output import Column, Json, Output, note
from halfstep.cli.saved import ModelFile, Titles, TitlesFile
from halfstep.data.ids import MISSING
from halfstep.errors import DataError, HalfstepError, ParameterError
from halfstep.models.base import FactorModel
from halfstep.models.saving import load

__all__ = ["predict"]

_MOST_ROWS = 20


def predict(
    model_file: ModelFile,
    pairs: Annotated[
        Path | None, Parameter(name="PAIRS", help="A table of users and items (CSV, Parquet, …).")
    ] = None,
    /,
    *,
    user: Annotated[str | None, Parameter(help="A user's id, with --item.")] = None,
    item: Annotated[str | None, Parameter(help="An item's id, with --user.")] = None,
    titles: TitlesFile = None,
    unknown: Annotated[
        Literal["bias", "nan", "error"],
        Parameter(
            help="What an unknown user or item gives: the biases that are known, no number, or an "
            "error."
        ),
    ] = "bias",
    clip: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Clip to the scale of the ratings."),
    ] = False,
    std: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Add the standard deviation of the rating around the prediction.",
        ),
    ] = False,
    interval: Annotated[
        float | None,
        Parameter(
            help="Add the ends of an interval that holds the rating with this probability, such as "
            "0.9: of a Bayesian model, or of one that is calibrated."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="Write a file (.csv, .parquet, .jsonl)."),
    ] = None,
    user_column: Annotated[str | None, Parameter(help="Column of the users in PAIRS.")] = None,
    item_column: Annotated[str | None, Parameter(help="Column of the items in PAIRS.")] = None,
    known_of: FeatureFiles | None = None,
    reading: FileOptions | None = None,
    as_json: Json = False,
) -> None:
    """Predict the rating of one pair, or of a table of pairs.

    A table is answered row by row, in its own order. Other columns (a rating) may
    stand beside the users and the items. Users and items that the model does not know
    are answered by their features, where the model was fitted with some and a table
    has theirs. A model of interactions gives a score: about 1 for what a user has had,
    near 0 for what does not fit; it orders, and is no rating and no probability.

    For example:
        halfstep predict movies.safetensors --user 1 --item 318
        halfstep predict movies.safetensors --user 1 --item 318 --interval 0.9
        halfstep predict movies.safetensors pairs.csv -o predictions.csv
    """
    out = Output(as_json)
    features = known_of or FeatureFiles()
    single = user is not None and item is not None
    if single == (pairs is not None) or (user is None) != (item is None):
        raise HalfstepError("name one pair (--user ID --item ID) or a table of pairs (PAIRS)")
    if output is not None:
        from halfstep.cli.export import check_kind

        check_kind(output)
        check_writable(output, model_file, pairs, titles, *features.paths)
    if std and interval is not None:
        raise ParameterError(
            "std", True, f"cannot be asked together with interval={interval}", "ask twice"
        )
    named = Titles(titles)
    model = features.told(load(model_file))
    scores = model.learns == "interactions"
    for name, asked in (("std", std), ("interval", interval is not None)):
        if scores and asked:
            raise ParameterError(
                name,
                True if name == "std" else interval,
                "is of models of ratings: scores of interactions order items and have no noise",
                "drop it",
            )
    users: Any
    items: Any
    if user is not None and item is not None:
        users, items = [user], [named.find(item, model.factors_.item_ids)]
    else:
        assert pairs is not None
        users, items = _read(pairs, reading or FileOptions(), user_column, item_column)
    found = model.predict(users, items, unknown=unknown, clip=clip, std=std, interval=interval)
    first = "score" if scores else "prediction"
    names = [first, *(["std"] * std), *(["lower", "upper"] if interval is not None else [])]
    parts = found if isinstance(found, tuple) else (found,)
    answers = {name: np.atleast_1d(part) for name, part in zip(names, parts, strict=True)}
    rows = len(answers[first])
    known = (model.factors_.user_ids.lookup(users) >= 0, model.factors_.item_ids.lookup(items) >= 0)
    users, items = _as_the_model(model, users, items)
    document: dict[str, Any] = {"command": "predict", "model": str(model_file)}
    if output is not None:
        from halfstep.cli.export import write_table

        write_table(output, {"user": users, "item": items, **answers})
        out.facts([("saved", f"{output}: {rows:,} {first}s")])
        out.document({**document, "output": str(output), "rows": rows})
    else:
        _show(out, users, items, answers, named)
        out.document(
            {
                **document,
                "predictions": [
                    {
                        "user": u,
                        "item": i,
                        **named.entry(i),
                        **dict(zip(names, map(float, answer), strict=True)),
                        "user_known": bool(known_user),
                        "item_known": bool(known_item),
                    }
                    for u, i, known_user, known_item, *answer in zip(
                        users, items, *known, *answers.values(), strict=True
                    )
                ],
            }
        )
    partly = int(np.count_nonzero(~(known[0] & known[1])))
    if partly and not as_json:
        what = "the sum of the biases that are known" if unknown == "bias" else "no number"
        if scores and unknown == "bias" and model.factors_.item_bias is None:
            what = "0"
        sides = [s for s, one in zip(("user", "item"), known, strict=True) if not one.all()]
        which = (
            f"the {' and the '.join(sides)} {'are' if len(sides) > 1 else 'is'} not known"
            if rows == 1
            else (f"the user or item of {partly:,} of {rows:,} pairs is not known")
        )
        note(f"{which} to the model: the {first} is {what}")


def _read(
    path: Path, options: FileOptions, user_column: str | None, item_column: str | None
) -> tuple[Array, Array]:
    """The users and items of a table, in its own order."""
    users, items = options.read_pairs(path, user_column, item_column)
    present = (users.codes != MISSING) & (items.codes != MISSING)
    if not present.all() and options.invalid == "error":
        row = int(np.argmin(present))
        side = "item" if users.codes[row] != MISSING else "user"
        raise DataError(
            side,
            None,
            f"missing id in row {row + 1} of {path}",
            'pass invalid="drop" to leave it out',
        )
    if not present.any():
        raise DataError("table", str(path), "holds no pairs", "pass at least one")
    return users.ids.take(users.codes[present]), items.ids.take(items.codes[present])


def _as_the_model(model: FactorModel, users: Any, items: Any) -> tuple[list[Any], list[Any]]:
    """Known ids as the model writes them, unknown ones as they were given."""
    sides = []
    for given, ids in ((users, model.factors_.user_ids), (items, model.factors_.item_ids)):
        rows = ids.lookup(given)
        listed = given if isinstance(given, list) else given.tolist()
        own = ids.take(np.maximum(rows, 0)).tolist()
        sides.append([o if row >= 0 else g for o, g, row in zip(own, listed, rows, strict=True)])
    return sides[0], sides[1]


def _show(
    out: Output, users: list[Any], items: list[Any], answers: dict[str, Array], titles: Titles
) -> None:
    shown = [answer[:_MOST_ROWS].tolist() for answer in answers.values()]
    out.table(
        [
            Column("user"),
            Column("item"),
            *titles.column(),
            *(Column(name, right=True) for name in answers),
        ],
        [
            [u, i, *titles.cell(i), *("–" if a != a else f"{a:.3f}" for a in found)]
            for u, i, *found in zip(users[:_MOST_ROWS], items[:_MOST_ROWS], *shown, strict=True)
        ],
    )
    if len(users) > _MOST_ROWS:
        out.say(f"… and {len(users) - _MOST_ROWS:,} more; -o FILE writes them all")
