"""Safetensors files: written whole or not at all, checked on reading, optionally mapped.

Layout (any safetensors reader can open it): 8 bytes of little-endian header length, a JSON header of
dtypes, shapes and byte ranges, then the arrays in C order.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.errors import InputError, ModelFileError, ReadError

__all__ = ["read_tensors", "replace_file", "write_tensors"]

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U32": np.dtype("<u4"),
    "U8": np.dtype("u1"),
}
_LONGEST_NAME = 200  # bytes: most file systems allow 255, and the temporary name is longer
_LARGEST_HEADER = 100_000_000  # the format's own limit


def write_tensors(path: str | Path, tensors: Mapping[str, Array], metadata: dict[str, str]) -> Path:
    """Write arrays and metadata; a crash at any moment leaves the old file or the new one.

    Raises `InputError` where the folder does not exist or cannot be written (a full disk too).
    """
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return replace_file(path, lambda temporary: save_file(whole, temporary, metadata=metadata))


def replace_file(path: str | Path, write: Any) -> Path:
    """Call `write(temporary)` beside `path`, sync it to the disk, and rename it to `path`."""
    target = Path(path)
    folder = target.parent
    if len(os.fsencode(target.name)) > _LONGEST_NAME:
        raise InputError("path", str(path), "has a file name that is too long", "choose another")
    if os.path.isdir(target):
        raise InputError("path", str(path), "is a folder", "name a file")
    if not os.path.isdir(folder):
        raise InputError(
            "path", str(path), f"the folder {folder} does not exist", "create it first"
        )
    temporary = ""
    try:
        # like mkstemp, but with the permissions that the user's umask gives a new file
        candidate = str(folder / f".{target.name}.{secrets.token_hex(8)}.tmp")
        handle = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        temporary = candidate
        mode = os.fstat(handle).st_mode & 0o777
        os.close(handle)
        write(temporary)
        os.chmod(temporary, mode)  # a writer may have made a file of its own there
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
        _sync_folder(folder)
    except BaseException as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise InputError(
                "path", str(path), f"cannot be written ({error})", "check the folder and the disk"
            ) from None
        raise
    return target


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_tensors(
    path: str | Path, *, mmap: bool = False
) -> tuple[dict[str, Array], dict[str, str]]:
    """(arrays by name, metadata). With `mmap` the arrays are read-only views of the file.

    Raises `ReadError` where there is no such file, `ModelFileError` where it is not whole.
    """
    source = Path(path)
    try:
        if os.path.isdir(source):
            raise ReadError("path", str(path), "is a folder", "name a model file")
        size = source.stat().st_size
        with open(source, "rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(size - 8, _LARGEST_HEADER):
                raise _broken(path, "is truncated or not a safetensors file")
            text = file.read(length)
    except FileNotFoundError:
        raise ReadError("path", str(path), "does not exist", "check the name") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise ReadError("path", str(path), f"cannot be read ({reason})", "check the name") from None
    try:
        header = json.loads(text.decode("utf-8"))
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise _broken(path, "has metadata that is not text")
        views = _views(path, header, 8 + length, size)
    except ModelFileError:
        raise
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError):
        raise _broken(path, "is not a safetensors file, or its header is damaged") from None
    buffer: Array
    if mmap:
        buffer = np.memmap(source, dtype=np.uint8, mode="r")
    else:
        buffer = np.fromfile(source, dtype=np.uint8)
    if len(buffer) != size:
        raise _broken(path, "changed while it was read")
    arrays = {}
    for name, (dtype, shape, begin, end) in views.items():
        try:
            view = buffer[begin:end].view(dtype).reshape(shape)
        except ValueError:  # more dimensions than numpy has
            raise _broken(path, f"has an entry {name!r} whose shape makes no sense") from None
        # a file of another writer may place an array where the kernels cannot read it
        arrays[name] = np.asarray(view) if mmap and view.flags.aligned else view.copy()
    return arrays, metadata


def _views(
    path: str | Path, header: dict[str, Any], data: int, size: int
) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]]:
    """Dtype, shape and byte range of every array; together they must fill the file exactly."""
    views: dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]] = {}
    ranges = []
    for name, entry in header.items():
        dtype = _DTYPES.get(entry["dtype"])
        shape, offsets = entry["shape"], entry["data_offsets"]
        numbers = [*shape, *offsets]
        if dtype is None or not all(type(v) is int and 0 <= v < 2**63 for v in numbers):
            raise _broken(path, f"has a damaged entry {name!r}")
        begin, end = offsets
        if (
            end - begin != math.prod(shape) * dtype.itemsize
            or math.prod(filter(None, shape)) >= 2**60
        ):
            raise _broken(path, f"has an entry {name!r} whose size does not fit its shape")
        ranges.append((begin, end))
        views[name] = (dtype, tuple(shape), data + begin, data + end)
    position = 0
    for begin, end in sorted(ranges):
        if begin != position:
            raise _broken(path, "has gaps or overlaps between its arrays")
        position = end
    if data + position != size:
        raise _broken(path, "is truncated or has bytes after its end")
    return views


def _broken(path: str | Path, rule: str) -> ModelFileError:
    return ModelFileError("path", str(path), rule, "save the model again or restore a copy")
