"""Labels beside points that touch neither each other nor the edge: what finds no room is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from halfstep.report.lettering import text_width

__all__ = ["Label", "placed"]

_GAP = 7.0  # between a point and its label
_AIR = 2.0  # around every label
_DOT = 4.0  # half the size of a point


@dataclass(frozen=True, slots=True)
class Label:
    """A text whose left end is at (x, y), y its middle, in pixels from the upper left corner."""

    of: int
    text: str
    x: float
    y: float


def placed(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    width: float,
    height: float,
    size: float,
) -> list[Label]:
    """Labels for the points, the first ones first; `of` is the number of the point.

    A label stands to the right of its point, to the left, above or below, wherever it lies inside the
    frame and covers no label and no point that is there already.
    """
    labels: list[Label] = []
    texts_there: list[tuple[float, ...]] = []
    dots: list[tuple[float, ...]] = []
    for number, ((x, y), text) in enumerate(zip(points, texts, strict=True)):
        wide, half = text_width(text, size), 0.6 * size
        dot = (x - _DOT, y - _DOT, x + _DOT, y + _DOT)
        if any(_touch(dot, other) for other in texts_there):
            continue
        for left, middle in (
            (x + _GAP, y),
            (x - _GAP - wide, y),
            (x - wide / 2, y - half - _GAP),
            (x - wide / 2, y + half + _GAP),
        ):
            box = (left - _AIR, middle - half - _AIR, left + wide + _AIR, middle + half + _AIR)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
            if inside and not any(_touch(box, other) for other in [*texts_there, *dots]):
                labels.append(Label(number, text, left, middle))
                texts_there.append(box)
                dots.append(dot)
                break
    return labels


def _touch(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
