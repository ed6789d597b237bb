"""Which files are meant, and what kind each is by its first bytes (its name decides nothing)."""

from __future__ import annotations

import glob
import gzip
import importlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any

from halfstep.data.sniff import SAMPLE
from halfstep.errors import ParameterError, ReadError

__all__ = ["FORMATS", "File", "find", "inspect"]

FORMATS = ("text", "parquet", "json", "sqlite", "duckdb")

_ALIASES = {
    "csv": "text",
    "tsv": "text",
    "txt": "text",
    "dat": "text",
    "jsonl": "json",
    "ndjson": "json",
    "db": "duckdb",
}
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_FOREIGN = {
    b"PK\x03\x04": ("a zip archive (or an Excel sheet)", "unpack it, or save the sheet as CSV"),
    b"BZh": ("bzip2", "unpack it, or pack it with gzip or zstd"),
    b"\xfd7zXZ\x00": ("xz", "unpack it, or pack it with gzip or zstd"),
    b"\x89HDF": ("an HDF5 file", "convert it to Parquet or CSV"),
    b"\x93NUMPY": ("a numpy array", "load it and use Ratings.from_arrays"),
    b"ARROW1": ("an Arrow file", "open it with pyarrow or polars and use Ratings.from_table"),
    b"ORC": ("an ORC file", "convert it to Parquet or CSV"),
    b"Obj\x01": ("an Avro file", "convert it to Parquet or CSV"),
    b"%%MatrixMarket": (
        "a Matrix Market file",
        "read it with scipy.io.mmread and use Ratings.from_scipy",
    ),
    b"%PDF": ("a PDF", "pass a table of ratings"),
}


@dataclass(frozen=True, slots=True)
class File:
    """One file: its kind, how it is compressed, and the first bytes of what is inside."""

    path: str
    kind: str  # one of FORMATS
    compression: str  # none, gzip, zstd
    head: bytes
    complete: bool  # whether `head` is all of it

    def open(self) -> IO[bytes]:
        """A stream of the bytes inside."""
        return _open(self.path, self.compression)


def find(path: Any) -> list[str]:
    """The files that a path, a pattern, or a list of them means; sorted within a pattern."""
    if isinstance(path, (str, os.PathLike)):
        return _find_one(os.fspath(path))
    if isinstance(path, Iterable) and not isinstance(path, (bytes, bytearray)):
        found = [file for one in path for file in find(one)]
        if not found:
            raise ReadError("path", path, "is an empty list", "pass at least one file")
        return found
    raise ReadError(
        "path",
        type(path).__name__,
        "must be a path, a pattern or a list of them",
        'try path="*.csv"',
    )


def _find_one(path: Any) -> list[str]:
    if not isinstance(path, str):
        raise ReadError("path", path, "must be text", "decode it with os.fsdecode")
    if "://" in path and not os.path.exists(path):
        raise ReadError("path", path, "is an address, not a file", "download it first")
    expanded = os.path.expanduser(path)
    if os.path.isdir(expanded):
        raise ReadError(
            "path", path, "is a folder", f"pass its files, such as {os.path.join(path, '*.csv')}"
        )
    if os.path.isfile(expanded):
        return [expanded]
    if os.path.exists(expanded):
        raise ReadError(
            "path", path, "is not a regular file (files are read twice)", "write it to a file first"
        )
    if not glob.has_magic(expanded):
        raise ReadError("path", path, "no such file", "check the name and the current folder")
    found = sorted(name for name in glob.glob(expanded, recursive=True) if os.path.isfile(name))
    if not found:
        raise ReadError("path", path, "no file matches the pattern", "check it with ls")
    return found


def inspect(path: str, format: str | None = None) -> File:
    """Look at the first bytes of a file.

    Raises `ReadError` where it cannot be opened, is empty, or holds no table.
    """
    wanted = None if format is None else _ALIASES.get(format, format)
    if wanted is not None and wanted not in FORMATS:
        raise ParameterError(
            "format", format, "is not a format", f"choose one of {', '.join([*FORMATS, *_ALIASES])}"
        )
    try:
        head, complete = _head(path, "none")
        compression = next((c for magic, c in _PACKED.items() if head.startswith(magic)), "none")
        if compression != "none":
            head, complete = _head(path, compression)
    except PermissionError:
        raise ReadError("path", path, "may not be read", "check its permissions") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ReadError(
            "path", path, "the compressed file is truncated or damaged", "download or pack it again"
        ) from None
    except OSError as error:
        raise ReadError("path", path, error.strerror or str(error), "check the file") from None
    if not head:
        raise ReadError("path", path, "is empty", "pass a file with at least one rating")
    return File(path, wanted or _kind(path, head), compression, head, complete)


def _kind(path: str, head: bytes) -> str:
    for magic, (what, remedy) in _FOREIGN.items():
        if head.startswith(magic) and not (magic in (b"ORC", b"BZh") and b"\0" not in head):
            raise ReadError("path", path, f"is {what}, not a table of ratings", remedy)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"SQLite format 3\0"):
        return "sqlite"
    if head[8:12] == b"DUCK":
        return "duckdb"
    if _is_binary(head):
        raise ReadError(
            "path",
            path,
            "is not text, Parquet, JSON lines, SQLite or DuckDB",
            'pass a table of ratings, or encoding="utf-16" if it is text in that encoding',
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{") or (start.startswith(b"[") and start[1:].lstrip().startswith(b"{")):
        return "json"
    return "text"


def _is_binary(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        return False  # UTF-16 or UTF-32
    control = sum(head.count(bytes([code])) for code in range(32) if code not in (1, 9, 10, 12, 13))
    return b"\0" in head or control > len(head) // 50


def _open(path: str, compression: str) -> IO[bytes]:
    if compression == "gzip":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if compression == "zstd":
        zstd: Any = importlib.import_module("compression.zstd")  # Python 3.14 or newer
        stream: IO[bytes] = zstd.open(path, "rb")
        return stream
    return open(path, "rb")


def _head(path: str, compression: str) -> tuple[bytes, bool]:
    if compression == "zstd":
        return _head_by_duckdb(path)
    with _open(path, compression) as stream:
        head = stream.read(SAMPLE)
        return head, len(head) < SAMPLE or not stream.read(1)


def _head_by_duckdb(path: str) -> tuple[bytes, bool]:
    """The first lines of a file that only DuckDB can unpack."""
    import duckdb

    from halfstep.data.duck import connected, file_literal, read_errors

    lines = 1000
    with connected() as (connection, _):
        for encoding in ("utf-8", "latin-1"):
            query = (
                f"SELECT line FROM read_csv({file_literal(path)}, compression = 'zstd', "
                f"encoding = '{encoding}', auto_detect = false, header = false, delim = '\x01', "
                f"quote = '', escape = '', columns = {{'line': 'VARCHAR'}}) LIMIT {lines}"
            )
            try:
                rows = connection.execute(query).fetchall()
                break
            except duckdb.InvalidInputException:
                if encoding == "latin-1":
                    with read_errors("path", path):
                        raise
    text = "".join((line or "") + "\n" for (line,) in rows)
    return text.encode(encoding), len(rows) < lines
