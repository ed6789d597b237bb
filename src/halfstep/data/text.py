"""Text files as one DuckDB relation: every column text, every option explicit.

DuckDB reads UTF-8 with a fixed separator. What it cannot read (other encodings, runs of blanks, mixed
line ends) is first written to a temporary file that it can: slower, and noted.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from halfstep.data.duck import Connection, file_literal, literal, read_errors
from halfstep.data.fetch import Column, Relation
from halfstep.data.files import File
from halfstep.data.sniff import BLANKS, Dialect, guess_encoding, latin_note, sniff
from halfstep.errors import ParameterError, ReadError

__all__ = ["TextTable", "Written", "open_text"]

_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Written:
    """How the user says that a text file is written; None is found out."""

    sep: str | None = None
    header: bool | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One file: what is in it, and the (perhaps rewritten) file that DuckDB reads."""

    file: File
    encoding: str
    note: str | None
    dialect: Dialect
    readable: str
    compression: str


@dataclass(slots=True)
class TextTable:
    """Text files with the same columns, one after the other."""

    connection: Connection
    folder: Path
    parts: list[Part]
    description: str
    written: Written

    @property
    def names(self) -> tuple[str, ...] | None:
        """The header."""
        return self.parts[0].dialect.names

    def relation(self) -> Relation:
        """The files as something to select from."""
        dialect = self.parts[0].dialect
        notes = list(dialect.notes)
        notes[:0] = [part.note for part in self.parts if part.note is not None][:3]
        return Relation(
            self.connection,
            f"({self._sql()})",
            [Column.loose(f"c{k}") for k in range(dialect.width)],
            dialect.names,
            self.description,
            decimal_comma=dialect.sep.strip() != ",",
            notes=notes,
        )

    def _sql(self) -> str:
        groups: list[tuple[tuple[object, ...], list[Part]]] = []
        for part in self.parts:
            d = part.dialect
            key = (d.sep, d.quoted, d.newline, d.skip, d.width, part.compression)
            if groups and groups[-1][0] == key:
                groups[-1][1].append(part)
            else:
                groups.append((key, [part]))
        return " UNION ALL ".join(f"SELECT * FROM {_read_csv(parts)}" for _, parts in groups)

    def mended(self, error: Exception) -> bool:
        """Whether another reading of the files may succeed after this error; if so, prepare it."""
        text = str(error)
        for k, part in enumerate(self.parts):
            if "unicode" in text and part.encoding == "utf-8" and self.written.encoding is None:
                bad = _first_bad_byte(part.file)
                if bad is not None:
                    self.parts[k] = self._rewritten(part, "latin-1", latin_note(*bad))
                    return True
            if part.readable != part.file.path:
                continue
            if "Expected Number of Columns" in text and part.dialect.sep == " ":
                spaced = replace(part.dialect, sep=BLANKS)
                self.parts[k] = self._rewritten(replace(part, dialect=spaced), part.encoding, None)
                return True
            if "invalid state" in text and _mixed_line_ends(part.file):
                self.parts[k] = self._rewritten(part, part.encoding, "mixed line ends")
                return True
        return False

    @property
    def least_rows(self) -> int:
        """The files hold at least so many rows."""
        return sum(part.dialect.rows for part in self.parts)

    def require_rows(self, rows: int) -> None:
        """Raise `ReadError` where fewer rows were read than the first lines of the files hold."""
        if rows < self.least_rows:
            raise ReadError(
                "path",
                self.description,
                f"{rows} rows were found where its first lines hold "
                f'{self.least_rows}: a quote (") is not closed, or the line ends are mixed',
                'mend the quotes (a quote inside a quoted field is written "")',
            )

    def originals(self) -> dict[str, str]:
        """The user's file of each file that DuckDB reads."""
        return {part.readable: part.file.path for part in self.parts}

    def prepare(self) -> None:
        """Rewrite the files that DuckDB cannot read as they are."""
        for k, part in enumerate(self.parts):
            plain = part.encoding in ("utf-8", "utf-8-sig")
            d = part.dialect
            if not plain or d.sep == BLANKS or not d.newline or d.odd_skip:
                self.parts[k] = self._rewritten(part, part.encoding, part.note)

    def _rewritten(self, part: Part, encoding: str, note: str | None) -> Part:
        target = self.folder / f"{len(list(self.folder.iterdir()))}.txt"
        dialect = part.dialect
        blanks = dialect.sep == BLANKS
        edit = _blanks_to_tabs if blanks else _as_is
        _rewrite(part.file, encoding, target, edit, dialect.skip)
        sep = "\t" if blanks else dialect.sep
        dialect = replace(dialect, sep=sep, newline="\n", skip=0)
        return replace(
            part,
            encoding=encoding,
            note=note,
            dialect=dialect,
            readable=str(target),
            compression="none",
        )


def open_text(
    connection: Connection,
    folder: Path,
    files: Sequence[File],
    description: str,
    written: Written,
) -> TextTable:
    """Find out how the files are written, and that they agree."""
    parts = [_part(file, written) for file in files]
    first = parts[0].dialect
    for part in parts[1:]:
        other = part.dialect
        if other.width != first.width:
            raise ReadError(
                "path",
                part.file.path,
                f"has {other.width} columns, {parts[0].file.path} has {first.width}",
                "read them one at a time",
            )
        if other.names == first.names or (other.names is None and written.header is None):
            continue  # a file that was split has its header in the first part only
        raise ReadError(
            "path",
            part.file.path,
            f"has columns {_listed(other.names)}, {parts[0].file.path} has {_listed(first.names)}",
            "read them one at a time",
        )
    if len({part.dialect.names for part in parts}) > 1:
        notes = (*first.notes, "header in the first file only")
        parts[0] = replace(parts[0], dialect=replace(first, notes=notes))
    table = TextTable(connection, folder, parts, description, written)
    table.prepare()
    return table


def _listed(names: Sequence[str] | None) -> str:
    return "no header" if names is None else ", ".join(names)


def _known_encoding(encoding: str | None) -> str | None:
    if encoding is None:
        return None
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, TypeError):
        raise ParameterError(
            "encoding", encoding, "is not an encoding", "try utf-8, latin-1, cp1252 or utf-16"
        ) from None
    return {"iso8859-1": "latin-1", "utf-8-sig": "utf-8"}.get(name, name)


def _part(file: File, written: Written) -> Part:
    note, encoding = None, _known_encoding(written.encoding)
    if encoding is None:
        encoding, note = guess_encoding(file.head, file.complete)
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        text = decoder.decode(file.head, final=file.complete).removeprefix("\ufeff")
    except (UnicodeDecodeError, UnicodeError) as error:
        raise _undecodable(file, encoding, str(error)) from None
    dialect = sniff(text, file.complete, file.path, sep=written.sep, header=written.header)
    return Part(file, encoding, note, dialect, file.path, file.compression)


def _undecodable(file: File, encoding: str, reason: str) -> ReadError:
    return ReadError(
        "encoding", encoding, f"{file.path} is not in it ({reason})", "pass another encoding="
    )


def _read_csv(parts: Sequence[Part]) -> str:
    d = parts[0].dialect
    files = ", ".join(file_literal(part.readable) for part in parts)
    columns = ", ".join(f"'c{k}': 'VARCHAR'" for k in range(d.width))
    quote = "'\"'" if d.quoted else "''"
    newline = {"\n": "\\n", "\r\n": "\\r\\n", "\r": "\\r"}[d.newline]
    # What is not listed keeps its default (strict, no padding, errors raised). Do not spell out
    # strict_mode=true: beside new_line='\\r\\n', DuckDB 2.0 then loses the rows of a short file.
    return (
        f"read_csv([{files}], auto_detect = false, delim = {literal(d.sep)}, quote = {quote}, "
        f"escape = {quote}, new_line = '{newline}', header = false, skip = {d.skip}, "
        f"columns = {{{columns}}}, compression = '{parts[0].compression}', encoding = 'utf-8')"
    )


# ------------------------------------------------------------------------ rewriting


def _as_is(text: str) -> str:
    return text


def _blanks_to_tabs(text: str) -> str:
    """Every run of blanks one tab, none at the ends of a line; `text` holds whole lines."""
    return re.sub(r"^\t|\t$", "", re.sub(r"[ \t]+", "\t", text), flags=re.MULTILINE)


def _rewrite(
    file: File, encoding: str, target: Path, edit: Callable[[str], str], skip: int
) -> None:
    """Write the file as UTF-8 with `\\n` line ends, the first `skip` lines blank.

    The number of lines stays, so that errors name the user's lines.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    rest = ""
    try:
        with file.open() as source, open(target, "w", encoding="utf-8", newline="\n") as out:
            first = True
            while True:
                chunk = source.read(_CHUNK)
                text = rest + decoder.decode(chunk, final=not chunk)
                if first:
                    text, first = text.removeprefix("\ufeff"), False
                # Whole lines only; a "\r" at the end may be half of a line end.
                cut = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
                if not chunk:
                    cut = len(text)
                rest = text[cut:]
                whole = text[:cut].replace("\r\n", "\n").replace("\r", "\n")
                while skip and whole:
                    _, _, whole = whole.partition("\n")
                    out.write("\n")
                    skip -= 1
                out.write(edit(whole))
                if not chunk:
                    break
    except UnicodeError as error:
        raise _undecodable(file, encoding, str(error)) from None
    except ModuleNotFoundError:
        raise ReadError(
            "path",
            file.path,
            "this text needs to be converted, and Python before 3.14 cannot unpack zstd",
            "unpack it first (zstd -d)",
        ) from None
    except (EOFError, OSError) as error:
        raise ReadError("path", file.path, str(error), "check that the file is whole") from None


def _first_bad_byte(file: File) -> tuple[int, int] | None:
    """(byte, offset) of the first byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    try:
        with file.open() as source:
            while True:
                pending = len(decoder.getstate()[0])
                chunk = source.read(_CHUNK)
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    return error.object[error.start], offset - pending + error.start
                if not chunk:
                    return None
                offset += len(chunk)
    except ModuleNotFoundError:
        with read_errors("path", file.path):
            raise ReadError(
                "path", file.path, "is not UTF-8", "unpack it first (zstd -d)"
            ) from None


def _mixed_line_ends(file: File) -> bool:
    crlf = lf = cr = 0
    last = b""
    try:
        with file.open() as source:
            while chunk := source.read(_CHUNK):
                chunk = last + chunk
                last = chunk[-1:] if chunk.endswith(b"\r") else b""
                body = chunk[: len(chunk) - len(last)]
                pairs = body.count(b"\r\n")
                crlf, lf, cr = (
                    crlf + pairs,
                    lf + body.count(b"\n") - pairs,
                    cr + body.count(b"\r") - pairs,
                )
    except ModuleNotFoundError:
        return False
    return sum(count > 0 for count in (crlf, lf, cr)) > 1
