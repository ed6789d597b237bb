"""What items and users are called in a report: by title where there is one, else by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from halfstep.errors import ParameterError
from halfstep.wording import printable

__all__ = ["Names"]

_LONGEST = 80


class Names:
    """Titles by item id. They come from files: what is not printable is replaced, what is long cut."""

    def __init__(self, titles: Mapping[Any, str] | None) -> None:
        if titles is not None and not isinstance(titles, Mapping):
            raise ParameterError(
                "titles", titles, "must be a mapping of item ids to titles", "pass read_titles(…)"
            )
        self._titles = {str(key): str(title) for key, title in (titles or {}).items()}

    def item(self, item: Any) -> str:
        """«Heat (1995)»; where it has no title «item 17», or the id that is a text."""
        title = printable(self._titles.get(str(item), "")).strip()
        return _cut(title) or _by_id("item", item)

    @staticmethod
    def user(user: Any) -> str:
        """«user 17», or the id that is a text."""
        return _by_id("user", user)


def _by_id(side: str, known: Any) -> str:
    return _cut(printable(known)) if isinstance(known, str) else f"{side} {known}"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1].rstrip()}…"
