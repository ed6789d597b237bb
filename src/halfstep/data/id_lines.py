"""Files of one user a line, followed by the user's items: numbers, read without a loop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from halfstep.backends.base import Array
from halfstep.errors import ReadError

__all__ = ["Lines", "read_lines"]

_DIGITS = 18  # of the longest number that int64 surely holds
# Possessive throughout: one pass, however long a line is, up to the first that is not as it must be.
_FORMS = {
    "user item item …": re.compile(rb"(?:\d{1,18}+(?: ++\d{1,18}+)*+[ \t]*+\r?+\n|[ \t\r]*+\n)*+"),
    "(user,item)\tnegative\tnegative…": re.compile(
        rb"(?:\(\d{1,18}+,\d{1,18}+\)(?:\t\d{1,18}+)*+[ \t]*+\r?+\n|[ \t\r]*+\n)*+"
    ),
}


@dataclass(frozen=True, slots=True)
class Lines:
    """What heads each line, and the ids behind it.

    Attributes
    ----------
    heads : array (lines, 1 or 2), int64
        The user, or the user and the item.
    indptr : array (lines + 1), int64
    ids : array, int64
        The ids of line l are `ids[indptr[l]:indptr[l + 1]]`.
    """

    heads: Array
    indptr: Array
    ids: Array

    def take(self, order: Array) -> Lines:
        """These lines, in this order."""
        sizes = np.diff(self.indptr)[order]
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        place = np.arange(indptr[-1]) + np.repeat(self.indptr[order] - indptr[:-1], sizes)
        return Lines(self.heads[order], indptr, self.ids[place])


def read_lines(path: Path, form: str) -> Lines:
    """The lines of a file of one of the known forms; empty lines are none.

    Raises
    ------
    ReadError
        With the number of the first line that is malformed.
    """
    data = path.read_bytes()
    data = data if data.endswith(b"\n") else data + b"\n"
    found = _FORMS[form].match(data)
    assert found is not None  # of no lines
    if found.end() < len(data):
        line = data.count(b"\n", 0, found.end()) + 1
        text = data[found.end() : data.index(b"\n", found.end())].decode(errors="replace")
        raise ReadError(
            "path",
            str(path),
            f"line {line} ({text if len(text) <= 60 else text[:59] + '…'!r}) is not «{form}», "
            f"of numbers of at most {_DIGITS} digits",
            "mend that line",
        )
    heads = 2 if form.startswith("(") else 1
    characters = np.frombuffer(data, dtype=np.uint8)
    digit = (characters >= ord("0")) & (characters <= ord("9"))
    starts = np.flatnonzero(digit & np.append(True, ~digit[:-1]))
    numbers = np.fromstring(data.translate(_BLANKS), dtype=np.int64, sep=" ")
    ends = np.flatnonzero(characters == ord("\n"))
    bounds = np.concatenate([[0], np.searchsorted(starts, ends)])
    bounds = np.unique(bounds)  # without empty lines
    if len(bounds) < 2:
        raise ReadError("path", str(path), "holds no lines", "pass the whole file")
    first = bounds[:-1]
    rest = np.ones(len(numbers), dtype=bool)
    for place in range(heads):
        rest[first + place] = False
    indptr = bounds - heads * np.arange(len(bounds))
    return Lines(numbers[first[:, None] + np.arange(heads)], indptr, numbers[rest])


_BLANKS = bytes(c if chr(c).isdigit() and c < 128 else 32 for c in range(256))
