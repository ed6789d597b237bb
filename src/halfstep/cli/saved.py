"""What the commands that ask a saved model share: the model, titles of items, lists of ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from halfstep.cli.output import Column
from halfstep.data.ids import IdMap
from halfstep.errors import InputError, ParameterError

__all__ = ["ModelFile", "Titles", "TitlesFile", "ids_given", "read_ids"]

ModelFile = Annotated[Path, Parameter(name="MODEL", help="A model file that `halfstep fit` wrote.")]
TitlesFile = Annotated[
    Path | None,
    Parameter(
        name="--items",
        help="A table of item ids and titles, to show titles (such as MovieLens' movies.dat).",
    ),
]
_MOST_MATCHES = 8


class Titles:
    """Titles by item id, where a table of them is given."""

    def __init__(self, table: Path | Mapping[Any, str] | None) -> None:
        self._of: dict[str, str] = {}
        if isinstance(table, Path):
            from halfstep.data.titles import read_titles

            table = read_titles(table)
        if table is not None:
            self._of = {str(item): str(title) for item, title in table.items()}
        self.given = table is not None

    def of(self, item: object) -> str:
        """The title, or nothing."""
        return self._of.get(str(item), "")

    def column(self) -> list[Column]:
        """The column of the titles, where there are any."""
        return [Column("title", flexible=True)] if self.given else []

    def cell(self, item: object) -> list[str]:
        """The cell of that column."""
        return [self.of(item)] if self.given else []

    def entry(self, item: object) -> dict[str, str | None]:
        """The entry of a JSON document."""
        return {"title": self.of(item) or None} if self.given else {}

    def named(self, item: object) -> str:
        """«item 50, Star Wars (1977)»."""
        title = self.of(item)
        return f"item {item}, {title}" if title else f"item {item}"

    def find(self, text: str, items: IdMap) -> str:
        """The id that `text` is, or of the one title that it is (a part of)."""
        if items.lookup([text])[0] >= 0 or not self.given:
            return text
        wanted = text.casefold()
        known = {i: t for i, t in self._of.items() if items.lookup([i])[0] >= 0}
        found = [i for i, title in known.items() if title.casefold() == wanted]
        found = found or [i for i, title in known.items() if wanted in title.casefold()]
        if len(found) == 1:
            return found[0]
        if not found:
            raise ParameterError(
                "item", text, "is no id and no part of a title", "check the spelling"
            )
        listed = "; ".join(f"{i} {known[i]}" for i in found[:_MOST_MATCHES])
        more = f"; and {len(found) - _MOST_MATCHES} more" if len(found) > _MOST_MATCHES else ""
        raise ParameterError(
            "item", text, f"is part of {len(found)} titles", f"pass the id of one: {listed}{more}"
        )


def read_ids(path: Path) -> list[str]:
    """One id on each line; empty lines are left out."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("path", str(path), "does not exist", "check the name") from None
    except UnicodeDecodeError:
        raise InputError("path", str(path), "is not UTF-8 text", "write one id on a line") from None
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise InputError("path", str(path), "holds no ids", "write one id on a line")
    return ids


def ids_given(values: list[str] | None) -> list[str] | None:
    """`1,2` and `@file` as ids, from a flag that may stand several times."""
    if not values:
        return None
    ids: list[str] = []
    for value in values:
        if value.startswith("@"):
            ids += read_ids(Path(value[1:]))
        else:
            ids += [part.strip() for part in value.split(",") if part.strip()]
    return ids
