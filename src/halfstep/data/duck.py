"""DuckDB as a reader that decides nothing: connections, quoting, and errors a person can use.

DuckDB guesses well, but a guess on a sample is not good enough for ids («007» after the sample becomes
7, «1 3 4» a timestamp). So files are opened with every option explicit and all columns as text, and
what a column holds is decided over all of its values (`fetch.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from halfstep.errors import ReadError
from halfstep.threads import get_num_threads

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "Connection",
    "connected",
    "file_literal",
    "literal",
    "name_literal",
    "read_errors",
    "translated",
]

Connection = Any  # duckdb.DuckDBPyConnection, without importing duckdb


@contextmanager
def connected(database: str | None = None) -> Iterator[tuple[Connection, Path]]:
    """A DuckDB connection of our own and a private folder for temporary files; both end here."""
    import duckdb

    with TemporaryDirectory(prefix="halfstep-", ignore_cleanup_errors=True) as folder:
        config: dict[str, Any] = {
            "temp_directory": str(Path(folder) / "spill"),
            "threads": get_num_threads(),
            "preserve_insertion_order": True,  # the position of a row has a meaning
            "autoinstall_known_extensions": False,  # reading a file never goes to the network
        }
        if database is None:
            connection = duckdb.connect(":memory:", config=config)
        else:
            with read_errors("path", database):
                # DuckDB shares one instance of a file within a process, with one configuration
                connection = duckdb.connect(database, read_only=True, config=config)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection, Path(folder)
        finally:
            connection.close()


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def name_literal(name: str) -> str:
    """A name of a column or table as SQL."""
    return '"' + name.replace('"', '""') + '"'


def file_literal(path: str) -> str:
    """A file name as SQL that DuckDB does not take for a pattern."""
    return literal(re.sub(r"([*?\[])", r"[\1]", path))


@contextmanager
def read_errors(
    argument: str, value: str, names: Mapping[str, str] | None = None
) -> Iterator[None]:
    """DuckDB's errors as `ReadError`s about this argument.

    `names` maps a file that DuckDB read to the one that the user knows.
    """
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.Error as error:
        raise translated(argument, value, error, names) from None


def translated(
    argument: str, value: str, error: duckdb.Error, names: Mapping[str, str] | None = None
) -> ReadError:
    """The `ReadError` that says what this error of DuckDB's means."""
    text = str(error)
    at = re.search(r"CSV Error on Line: (\d+)\nOriginal Line: ?(.*)", text)
    file = re.search(r"^\s*file = (.*)$", text, re.MULTILINE)
    if file is not None and at is not None and argument == "path":
        value = (names or {}).get(file[1], file[1])
    line = f"line {at[1]} ({_cut(at[2])!r})" if at is not None else "a line"
    width = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if width is not None:
        return ReadError(
            argument,
            value,
            f"{line} has {width[2]} field{'s' * (width[2] != '1')}, the others have {width[1]}",
            "mend that line, or pass sep= if the separator is another",
        )
    if "unterminated quote" in text or "invalid state" in text:
        return ReadError(
            argument,
            value,
            f'{line} has a quote (") that is not closed, or text after a closed one',
            'mend that line: a quote inside a quoted field is written ""',
        )
    if "Maximum line size" in text:
        return ReadError(argument, value, f"{line} is longer than 2 MB", "mend that line")
    if "GZIP" in text.upper() or "ZSTD" in text.upper():
        return ReadError(
            argument,
            value,
            "the compressed file is truncated or damaged",
            "download or pack it again",
        )
    if "Invalid unicode" in text:
        return ReadError(
            argument, value, f"{line} is not UTF-8", "pass the encoding, such as encoding='latin-1'"
        )
    if "Malformed JSON" in text:
        return ReadError(
            argument, value, "is not JSON throughout", "write one object per line, or one array"
        )
    if "already attached" in text or "lock on file" in text:
        return ReadError(
            argument,
            value,
            "is open for writing elsewhere",
            "close it there, or pass that connection's relation to Ratings.from_table",
        )
    kind, _, rest = text.partition(": ")
    first = (rest or kind).strip().split("\n")[0].rstrip(".!")
    if type(error).__name__ == "OutOfMemoryException":
        return ReadError(
            argument, value, f"does not fit into memory ({first})", "read fewer columns or rows"
        )
    remedies = {
        "query": "check the SQL",
        "path": "check that the file is whole and of the format that its name says",
    }
    return ReadError(argument, value, first, remedies.get(argument, "check the table"))


def _cut(line: str) -> str:
    return line if len(line) <= 60 else line[:59] + "…"
