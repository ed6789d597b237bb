"""A chart as a PNG or SVG file: altair describes it, vl-convert draws it without a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from halfstep.errors import InputError
from halfstep.files import replace_file

__all__ = ["check_drawing", "check_picture", "write_picture"]

_NEEDED = {"altair": "altair", "vl_convert": "vl-convert-python"}
_ENDINGS = (".png", ".svg")


def check_picture(path: Path) -> None:
    """Raise `InputError` where no picture of that name could be drawn here."""
    check_drawing(path, _ENDINGS)


def check_drawing(path: Path, endings: Sequence[str], more: Mapping[str, str] = {}) -> None:
    """Raise `InputError` where the name has another ending, or what drawing needs is not installed.

    `more` are modules that are needed beside those of a picture, with the packages that hold them.
    """
    if path.suffix.lower() not in endings:
        named = [ending[1:].upper() for ending in endings]
        rule = f"is neither {', '.join(named[:-1])} nor {named[-1]}"
        ways = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise InputError("path", str(path), rule, f"end the name in {ways}")
    needed = {**_NEEDED, **more}
    missing = [package for module, package in needed.items() if find_spec(module) is None]
    if missing:
        raise InputError(
            "path",
            str(path),
            f"drawing it needs {' and '.join(missing)}",
            "install it by pip install 'halfstep[report]', or ask for no picture",
        )


def write_picture(chart: Any, path: Path) -> Path:
    """Draw an altair chart into that file, whole or not at all; its ending says PNG or SVG."""
    check_picture(path)
    import vl_convert

    described = chart.to_json()
    if path.suffix.lower() == ".svg":
        drawn = vl_convert.vegalite_to_svg(described).encode("utf-8")
    else:
        drawn = vl_convert.vegalite_to_png(described, scale=2.0)
    return replace_file(path, lambda temporary: Path(temporary).write_bytes(drawn))
