"""What kind of text a file holds: encoding, separator, header, from its first 64 KiB.

The rules, in order:

1. Encoding: a byte-order mark decides; else UTF-8 if the bytes are valid, else Latin-1.
2. Leading lines that begin with # or % and do not look like the rows below are comments.
3. Separator: of tab, ::, ; | and comma the one that cuts all lines into the same number of fields (the
   most fields win); else runs of blanks.
4. Header: the first line, if its cells name known columns, or if none of them is a number in columns
   whose other cells all are.

A detected fact is noted, so that the user can see it and overrule it with an argument.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from halfstep.data.columns import known_role
from halfstep.errors import ParameterError, ReadError

__all__ = ["BLANKS", "SAMPLE", "Dialect", "guess_encoding", "parse_separator", "sniff"]

SAMPLE = 1 << 16
"""Bytes that are looked at."""

BLANKS = "blanks"
"""The separator that is any run of spaces and tabs."""

_LINES = 500
_CANDIDATES = ("\t", "::", ";", "|", ",")
_QUOTING = (",", ";", "|")
_NAMES = {"\t": "tab", " ": "space", BLANKS: "blanks"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
_TAB_FIELD = r'(?:"(?:[^"]|"")*"|[^"\t][^\t]*|)'
_TAB_LINE = re.compile(rf"{_TAB_FIELD}(?:\t{_TAB_FIELD})*")
_CLEAN_LINE = re.compile(r'[^"]*|\s*"[^"]*"(\W+"[^"]*")*\s*')
_NOTHING = frozenset({"", "na", "n/a", "nan", "null", "none", "inf", "-inf", "?", "-", "\\n"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the rows of a text file are written.

    Attributes
    ----------
    sep : one to four characters, or `BLANKS`
    quoted : whether "…" protects separators inside a field
    newline : the line ending; "" where several are mixed
    skip : lines before the first row
    names : the header, or None
    width : fields in a row
    rows : rows in the sample (the file has at least so many)
    odd_skip : whether a quote in the skipped lines could be taken for an open field
    """

    sep: str
    quoted: bool
    newline: str
    skip: int
    names: tuple[str, ...] | None
    width: int
    rows: int
    odd_skip: bool
    notes: tuple[str, ...] = ()


def guess_encoding(head: bytes, complete: bool) -> tuple[str, str | None]:
    """The encoding of the bytes, and how it was found out (None where it is plain UTF-8)."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, f"encoding {encoding.removesuffix('-sig')} (byte-order mark)"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=complete)
    except UnicodeDecodeError as error:
        return "latin-1", latin_note(head[error.start], error.start)
    return "utf-8", None


def latin_note(byte: int, offset: int) -> str:
    return f"encoding latin-1 (detected: byte 0x{byte:02x} at offset {offset} is not UTF-8)"


def parse_separator(sep: str | None) -> str | None:
    """The separator that the user asked for, with the names a shell can pass."""
    if sep is None:
        return None
    named = {
        "tab": "\t",
        "\\t": "\t",
        "space": " ",
        "comma": ",",
        "semicolon": ";",
        "pipe": "|",
        "blanks": BLANKS,
        "\\s+": BLANKS,
        "whitespace": BLANKS,
    }
    found = named.get(sep.lower(), sep) if isinstance(sep, str) else sep
    if found == BLANKS:
        return found
    if not isinstance(found, str) or not 1 <= len(found.encode()) <= 4 or set(found) & set('"\r\n'):
        raise ParameterError(
            "sep",
            sep,
            "must be 1 to 4 characters other than quotes and line ends",
            'try sep=",", sep="::", sep="tab" or sep="blanks"',
        )
    return found


def sniff(
    text: str, complete: bool, file: str, *, sep: str | None = None, header: bool | None = None
) -> Dialect:
    """The dialect of a file that begins with `text` (`complete`: and ends with it)."""
    newline = _newline(text)
    whole = lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not complete and len(lines) > 1:
        lines.pop()  # cut in the middle
    skip, lines, notes = _leading(lines)
    if not any(line.strip() for line in lines):
        raise ReadError("path", file, "holds no rows", "pass a file with at least one rating")
    given = parse_separator(sep)
    if given is None:
        sep, quoted, rows = _separator(lines, file)
        notes.append(f"separator {_shown(sep)} (detected)")
    else:
        sep = given
        quoted, rows = _rows(lines, sep)
    widths = Counter(len(cells) for _, cells in (rows[1:] or rows))
    width = widths.most_common(1)[0][0]
    if width == 1:
        shown = "runs of blanks" if sep == BLANKS else f"separator {_shown(sep)}"
        raise ReadError(
            "path" if given is None else "sep",
            file if given is None else sep,
            f"{shown} cuts the lines into one field only, such as {_short(lines[0])!r}",
            'pass another sep= (",", ";", "|", "::", "tab", "blanks")',
        )
    first = rows[0][1]
    if first and first[0].startswith(("#", "%")) and len(first) == width:
        bare = [first[0].lstrip("#% "), *first[1:]]
        if header is not False and _is_header(bare, [cells for _, cells in rows[1:]]):
            first, header = bare, True  # "# user,item,rating": a header behind a comment sign
    if header is None:
        header = _is_header(first, [cells for _, cells in rows[1:]])
    if header and len(first) != width and len(rows) > 1:
        raise ReadError(
            "path",
            file,
            f"the header has {len(first)} fields and most lines below it have {width}: "
            f"{_short(lines[0])!r}",
            "mend the header, or pass header=False if that line is a row",
        )
    names = None
    count = len(rows)
    if header:
        names = tuple(name.strip() for name in first)
        skip += rows[0][0]
        count -= 1
    return Dialect(
        sep=sep,
        quoted=quoted,
        newline=newline,
        skip=skip,
        names=names,
        width=width,
        rows=count,
        odd_skip=quoted and not all(map(_CLEAN_LINE.fullmatch, whole[:skip])),
        notes=(*notes, "header" if header else "no header"),
    )


def _newline(text: str) -> str:
    crlf = text.count("\r\n")
    kinds = {
        "\r\n": crlf,
        "\n": text.count("\n") - crlf,
        "\r": text.rstrip("\r").count("\r") - crlf,
    }
    if text.endswith("\r") and not crlf and not kinds["\n"]:
        kinds["\r"] += 1
    used = [kind for kind, count in kinds.items() if count > 0]
    return "\n" if not used else used[0] if len(used) == 1 else ""


def _leading(lines: list[str]) -> tuple[int, list[str], list[str]]:
    """Number of lines before the table, the table's lines, and a note on the comments."""
    skip = 0
    while skip < len(lines) and not lines[skip].strip():
        skip += 1
    end = skip
    while end < len(lines) and (lines[end].startswith(("#", "%")) or not lines[end].strip()):
        end += 1
    if end == skip or end == len(lines):
        return skip, lines[skip:], []
    # The last such line may be the header, or the first row of ids like "#music": it is one if it
    # has as many fields as the lines below.
    below = [line for line in lines[end : end + 50] if line.strip()]
    last = max(k for k in range(skip, end) if lines[k].strip())
    if _same_shape(lines[last], below):
        end = last
    comments = sum(1 for line in lines[skip:end] if line.strip())
    notes = [f"{comments} comment line{'s' if comments > 1 else ''} skipped"] if comments else []
    return end, lines[end:], notes


def _same_shape(line: str, below: Sequence[str]) -> bool:
    for sep in _CANDIDATES:
        count = line.count(sep)
        if count and all(other.count(sep) == count for other in below):
            return True
    return False


def _shown(sep: str) -> str:
    return _NAMES.get(sep, repr(sep))


def _short(line: str) -> str:
    return line if len(line) <= 60 else line[:59] + "…"


def _separator(lines: list[str], file: str) -> tuple[str, bool, list[tuple[int, list[str]]]]:
    best: tuple[float, int, int] | None = None
    found: tuple[str, bool, list[tuple[int, list[str]]]] | None = None
    for order, sep in enumerate(_CANDIDATES):
        if not any(sep in line for line in lines[:_LINES]):
            continue
        quoted, rows = _rows(lines, sep)
        width, times = Counter(len(cells) for _, cells in rows).most_common(1)[0]
        if width < 2:
            continue
        share = times / len(rows)
        # A header may be short of a field; every other line must agree, or nearly all of many.
        if share < 1 and times < len(rows) - max(1, len(rows) // 20):
            continue
        key = (share if share > 0.99 else share - 1, width, -order)
        if best is None or key > best:
            best, found = key, (sep, quoted, rows)
    if found is not None:
        sep, quoted, rows = found
        spaced = [cell for _, cells in rows for cell in cells[1:]]
        if sep in _QUOTING and all(c.startswith(" ") and not c.startswith("  ") for c in spaced):
            quoted, rows = _rows(lines, sep + " ")  # "1, 2, 3": the blank belongs to the separator
            return sep + " ", quoted, rows
        return found
    quoted, rows = _rows(lines, BLANKS)
    width, times = Counter(len(cells) for _, cells in rows).most_common(1)[0]
    if width >= 2 and times >= 0.8 * len(rows):
        single = all(
            " ".join(line.split()) == line and "\t" not in line for line in lines if line.strip()
        )
        return (" " if single else BLANKS), False, rows
    raise ReadError(
        "path",
        file,
        f"no separator (tab, '::', ';', '|', ',', blanks) cuts its lines into columns: "
        f"{_short(lines[0])!r}",
        "pass sep=, or check that this is a table of ratings",
    )


def _rows(lines: list[str], sep: str) -> tuple[bool, list[tuple[int, list[str]]]]:
    """Whether fields are quoted, and (line number after it, cells) of each row of the sample."""
    chosen = lines[:_LINES]
    bare = sep.removesuffix(" ") or sep
    if bare in _QUOTING or (sep == "\t" and _has_quoted_field(chosen)):
        reader = csv.reader(
            (line + "\n" for line in chosen), delimiter=bare, skipinitialspace=bare != sep
        )
        rows = []
        try:
            for cells in reader:
                if cells:
                    rows.append((reader.line_num, cells))
        except csv.Error:
            return True, rows or [(1, chosen[0].split(sep))]
        if (
            len(rows) > 1
            and reader.line_num == len(chosen)
            and len(rows[-1][1]) != len(rows[-2][1])
        ):
            rows.pop()  # a quoted field that the end of the sample cuts
        return True, rows
    if sep == BLANKS:
        return False, [(k + 1, line.split()) for k, line in enumerate(chosen) if line.strip()]
    return False, [(k + 1, line.split(sep)) for k, line in enumerate(chosen) if line.strip()]


def _has_quoted_field(lines: list[str]) -> bool:
    """Whether quotes in tab-separated text protect fields; often they are plain characters."""
    quoted = re.compile(r'(^|\t)"')
    return any(quoted.search(line) for line in lines) and all(map(_TAB_LINE.fullmatch, lines))


def _is_header(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    if any(_NUMBER.fullmatch(cell) for cell in first if known_role(cell) is None):
        return False
    roles = {role for role in map(known_role, first) if role}
    if len(roles) >= 2:
        return True
    numeric = False
    for column, cell in enumerate(first):
        others = [
            row[column].strip()
            for row in below
            if column < len(row) and row[column].strip().lower() not in _NOTHING
        ]
        if others and all(_NUMBER.fullmatch(other) for other in others):
            numeric = numeric or cell.strip().lower() not in _NOTHING
    return numeric
