"""A chart as a PNG or SVG file: altair describes it, vl-convert draws it without a browser."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from halfstep.errors import InputError
from halfstep.files import replace_file

__all__ = ["check_picture", "write_picture"]

_NEEDED = {"altair": "altair", "vl_convert": "vl-convert-python"}
_ENDINGS = (".png", ".svg")


def check_picture(path: Path) -> None:
    """Raise `InputError` where no picture of that name could be drawn here."""
    if path.suffix.lower() not in _ENDINGS:
        raise InputError(
            "path", str(path), "is neither PNG nor SVG", f"end the name in {' or '.join(_ENDINGS)}"
        )
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise InputError(
            "path",
            str(path),
            f"drawing a picture needs {' and '.join(missing)}",
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
