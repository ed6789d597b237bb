"""How wide a text is, cutting and wrapping it. No font is opened: widths are by kind of letter."""

from __future__ import annotations

from unicodedata import east_asian_width

__all__ = ["shortened", "text_width", "wrapped"]

_NARROW, _SLIM = frozenset("ijl'|.,:;!I "), frozenset('ftr()[]-/"')
_BROAD = frozenset("mwMW@%—…")


def text_width(text: str, size: float) -> float:
    """About the width of a text in a font of that size, rather more than less."""
    return size * sum(map(_em, text))


def _em(letter: str) -> float:
    if letter in _NARROW:
        return 0.29
    if letter in _SLIM:
        return 0.36
    if letter in _BROAD:
        return 0.95
    if east_asian_width(letter) in "WF":
        return 1.0
    return 0.72 if letter.isupper() else 0.56


def shortened(text: str, width: float, size: float) -> str:
    """The text, or so much of its beginning as fits, and «…»."""
    if text_width(text, size) <= width:
        return text
    kept = text
    while kept and text_width(kept + "…", size) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def wrapped(text: str, width: float, size: float) -> list[str]:
    """The text as lines of at most that width (a single word may be wider)."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
