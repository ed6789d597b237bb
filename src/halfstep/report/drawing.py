"""Charts as SVG texts that can stand side by side in one page: no two share an id."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from halfstep.report.theme import CONFIG

__all__ = ["inner_size", "svg_of"]

_TAG = re.compile(r"<[^>]*>")  # a text has no bare < or >
_IDLE = re.compile(r' (?:role|class|pointer-events|aria-[a-z]+|xmlns:xlink)="[^"]*"')
_ID = re.compile(r'(\bid="|url\(#)(\w+)')


def svg_of(chart: Any, name: str, told: str) -> str:
    """The chart as an SVG element; `told` is what a reader hears who does not see it."""
    import vl_convert

    described = chart.to_json(indent=None, validate=False)
    drawn = vl_convert.vegalite_to_svg(described, config=CONFIG, allowed_base_urls=[])
    numbers: dict[str, int] = {}

    def renamed(found: re.Match[str]) -> str:
        # vega numbers its clips as the process goes on: here they are numbered by figure
        return f"{found[1]}{name}-{numbers.setdefault(found[2], len(numbers))}"

    drawn = _TAG.sub(lambda tag: _ID.sub(renamed, _IDLE.sub("", tag[0])), drawn)
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{escape(told)}" ', 1)


def inner_size(svg: str) -> tuple[float, float]:
    """Width and height of an SVG element."""
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if found is None:
        raise ValueError("an SVG element without a viewBox")
    return float(found[1]), float(found[2])
