"""Which column is the user, which the item, the rating, the time, the weight.

given by name or position → known names in the header → positions (no header) → a named error
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from halfstep.data.ids import MISSING, Encoded, encode
from halfstep.data.report import Source
from halfstep.errors import ReadError

__all__ = [
    "ARGUMENT",
    "ROLES",
    "Choice",
    "Extracted",
    "Given",
    "choose",
    "choose_id",
    "describe",
    "encode_masked",
    "is_id_name",
    "known_role",
]

Array = npt.NDArray[Any]

ROLES = ("user", "item", "rating", "time", "weight")

ARGUMENT = {
    "id": "id",
    "user": "users",
    "item": "items",
    "rating": "ratings",
    "time": "time",
    "weight": "weight",
}
"""What `assemble` calls the column of each role."""

Given = Mapping[str, str | int | None]
"""role → name, position, None (find it) or, where the column is optional, False (there is none)."""

Choice = dict[str, int]
"""role → position of its column."""

# Names without case, spaces and punctuation; within a line the first is preferred. Names of different
# lines in one table are different things, so that only the first line may win over the others.
_USER = [
    "userid user uid users usr",
    "customerid customer",
    "reviewerid reviewer",
    "memberid member",
    "accountid account",
    "visitorid visitor",
    "clientid client",
    "personid person",
    "listenerid listener",
    "raterid rater",
]
_ITEM = [
    "itemid item iid items",
    "movieid movie filmid film",
    "productid product asin parentasin sku",
    "bookid book isbn",
    "trackid track songid song",
    "artistid artist",
    "animeid anime",
    "gameid game",
    "businessid business",
    "articleid article",
    "videoid video",
    "venueid venue locationid location poi",
]
_RATING = [
    "rating ratings score scores stars star overall value userrating rate r",
    "plays playcount count counts quantity",
]
_TIME = ["timestamp unixtimestamp unixtime unixreviewtime time ts datetime date reviewtime ratedat"]
_WEIGHT = ["weight weights confidence sampleweight w"]

_RATING_ENDS = ("rating", "score", "stars")

_KNOWN = {
    "user": [line.split() for line in _USER],
    "item": [line.split() for line in _ITEM],
    "rating": [line.split() for line in _RATING],
    "time": [line.split() for line in _TIME],
    "weight": [line.split() for line in _WEIGHT],
}
_ROLE_OF = {name: role for role, lines in _KNOWN.items() for line in lines for name in line}


@dataclass(slots=True)
class Extracted:
    """The columns of a table as arrays; a value that could not be read is NaN or `MISSING`.

    `bad_text(argument, row)` is the text that stands there.
    """

    users: Encoded
    items: Encoded
    ratings: Array | None
    time: Array | None
    weight: Array | None
    source: Source
    bad_text: Callable[[str, int], str] | None = None


def known_role(name: str) -> str | None:
    """The role that a column of this name usually has."""
    return _ROLE_OF.get(_plain(name))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def choose(
    names: Sequence[str] | None, count: int, given: Given, table: str, *, hint: str = ""
) -> Choice:
    """The position of the column of each role; optional roles without a column are absent.

    Parameters
    ----------
    names : the header, or None where the table has none
    count : the number of columns
    given : what the caller asked for
    table : description of the table, for the error
    hint : what else might be wrong, appended to a remedy (such as another separator)
    """
    if names is not None and _are_positions(names):
        names = None
    chosen: Choice = {}
    for role in ROLES:
        wanted = given.get(role)
        if wanted is None or _refuses(role, wanted):
            continue
        chosen[role] = _find(role, wanted, names, count)
    for role, position in chosen.items():
        other = next((r for r, p in chosen.items() if p == position and r != role), None)
        if other is not None:
            raise ReadError(
                other,
                given[other],
                f"is the same column as {role}={given[role]!r}",
                f"name two different columns of {_listed(names, count)}",
            )
    if names is None and count > 4:
        unsaid = [r for r in ("user", "item", "rating") if given.get(r) is None]
        if unsaid:
            raise ReadError(
                unsaid[0],
                None,
                f"{table} has {count} columns and no header, so nothing tells what they hold",
                f"pass {', '.join(f'{r}=' for r in unsaid)} as positions from 0 (rating=False: none)"
                f"{hint}",
            )
    for position, role in enumerate(ROLES):
        if role in chosen or given.get(role) is False:
            continue
        if names is None:
            free = position < min(count, 4) and position not in chosen.values()
            found = position if free else None
        else:
            found = _by_known_name(role, names, set(chosen.values()))
        if found is not None:
            chosen[role] = found
        elif role in ("user", "item"):
            raise ReadError(
                role,
                None,
                f"no column of {table} is known to hold the {role}s: {_listed(names, count)}",
                f"pass {role}= with the name or position of that column{hint}",
            )
    return chosen


def choose_id(
    names: Sequence[str] | None,
    count: int,
    given: str | int | None,
    table: str,
    side: str | None = None,
) -> int:
    """The position of the column that names the rows of a table of users or of items.

    `given` by name or position; else a column with a usual name of a user or an item (of `side`, where
    it is known), or `id`; without a header the first column.
    """
    if names and _are_positions(names):
        names = None
    if not count:
        raise ReadError("table", table, "has no columns", "pass one of ids and one of features")
    if given is not None:
        if isinstance(given, bool):
            raise ReadError(
                "id", given, "must be the name or the position of a column", "pass id=<name>"
            )
        return _find("id", given, names, count)
    if names is None:
        return 0
    roles = ("user", "item") if side is None else (side,)
    found = {role: _by_known_name(role, names, set(), "id") for role in roles}
    known = [position for position in found.values() if position is not None]
    if not known:
        known = [
            k
            for k, name in enumerate(names)
            if (is_id_name(name) if side is None else _plain(name) == "id")
        ]
    if len(known) == 1:
        return known[0]
    if known:
        rule = f"columns {' and '.join(repr(names[k]) for k in known)} could both name the rows"
    else:
        whose = "its rows" if side is None else f"{side}s"
        rule = f"no column of {table} is known to name {whose}: {_listed(names, count)}"
    raise ReadError("id", None, rule, "pass id= with the name or position of that column")


def is_id_name(name: str) -> bool:
    """Whether a column of this name usually holds the ids of users or of items."""
    return known_role(name) in ("user", "item") or _plain(name) == "id"


def _are_positions(names: Sequence[str]) -> bool:
    """Whether the names only count: 0, 1, 2 or column_0, column_1 (arrays made into frames)."""
    return any(
        list(names) == [f"{prefix}{k + first}" for k in range(len(names))]
        for prefix, first in (("", 0), ("column_", 0), ("column", 0), ("f", 0), ("column_", 1))
    )


def _refuses(role: str, wanted: object) -> bool:
    if isinstance(wanted, bool):
        if wanted or role in ("user", "item"):
            raise ReadError(
                role, wanted, "must be the name or the position of a column", f"pass {role}=<name>"
            )
        return True
    return False


def _find(role: str, wanted: str | int, names: Sequence[str] | None, count: int) -> int:
    there = _listed(names, count)
    if isinstance(wanted, (int, np.integer)):
        if not 0 <= wanted < count:
            raise ReadError(
                role,
                wanted,
                f"is not a position in a table of {count} columns",
                f"choose from 0 to {count - 1}: {there}",
            )
        return int(wanted)
    if not isinstance(wanted, str):
        raise ReadError(
            role, wanted, "must be the name or the position of a column", f"choose from {there}"
        )
    if names is None:
        raise ReadError(
            role,
            wanted,
            "the table has no header, so its columns have no names",
            f"pass a position from 0 to {count - 1}, or header=True if its first line is a header",
        )
    hits = [k for k, name in enumerate(names) if name == wanted]
    if not hits:
        hits = [k for k, name in enumerate(names) if name.strip().lower() == wanted.strip().lower()]
    if not hits:
        raise ReadError(role, wanted, "is not a column of the table", f"choose from {there}")
    if len(hits) > 1:
        raise ReadError(
            role,
            wanted,
            f"is the name of {len(hits)} columns",
            f"pass one of the positions {', '.join(map(str, hits))}",
        )
    return hits[0]


def _by_known_name(
    role: str, names: Sequence[str], taken: set[int], argument: str | None = None
) -> int | None:
    argument = role if argument is None else argument
    plain = [_plain(name) for name in names]
    found: list[int] = []
    for line in _KNOWN[role]:
        for known in line:
            hits = [k for k, name in enumerate(plain) if name == known and k not in taken]
            if len(hits) > 1:
                raise ReadError(
                    argument,
                    None,
                    f"columns {' and '.join(repr(names[k]) for k in hits)} could both be it",
                    f"pass {argument}= with a name or position",
                )
            if hits:
                found.append(hits[0])
                break
        if found and line is _KNOWN[role][0]:
            break
    if not found and role == "rating":  # Book-Rating, review_score
        found = [
            k for k, name in enumerate(plain) if name.endswith(_RATING_ENDS) and k not in taken
        ]
    if len(found) > 1:
        raise ReadError(
            argument,
            None,
            f"columns {' and '.join(repr(names[k]) for k in found)} could all be it",
            f"pass {argument}= with the name of one",
        )
    return found[0] if found else None


def _listed(names: Sequence[str] | None, count: int) -> str:
    if names is None:
        return f"{count} column{'s' if count != 1 else ''} without names"
    shown = [repr(name) for name in names[:30]]
    return ", ".join(shown) + (f", … ({len(names)} in all)" if len(names) > 30 else "")


def describe(chosen: Choice, names: Sequence[str] | None) -> str:
    """`columns: user=userId, item=movieId, no rating`, for the report."""
    told = [
        f"{role}={chosen[role] if names is None else names[chosen[role]]}"
        for role in ROLES
        if role in chosen
    ]
    if "rating" not in chosen:
        told.append("no rating (every row counts 1)")
    return "columns: " + ", ".join(told)


def encode_masked(values: Array, name: str) -> Encoded:
    """`encode` of an array whose masked values, where it is a masked one, are missing ids."""
    if not isinstance(values, np.ma.MaskedArray):
        return encode(values, name)
    missing = np.ma.getmaskarray(values)
    present = encode(values.data[~missing], name)
    codes = np.full(len(values), MISSING, dtype=np.uint32)
    codes[~missing] = present.codes
    return Encoded(present.ids, codes)
