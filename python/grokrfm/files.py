"""Files that are there whole or not at all, known by their checksum, in folders with one writer."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_DIGITS = 64  # of a SHA-256 in hexadecimal
_HEADER = "header"  # member with the description of the arrays, JSON
_LOCK = ".lock"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Raises
    ------
    OSError
        That names the path, if it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with _named(path):
            with temporary.open("x+b") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: str) -> None:
    """Append a line of text; OSError, which names the path, if that cannot be done."""
    with _named(path), path.open("a") as file:
        file.write(line + "\n")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the system name the path; a full disk does not by itself."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def remove_parts(folder: Path) -> None:
    """Remove what writers that were killed have left. Only for the one who has the lock."""
    for temporary in folder.glob("*.part"):
        temporary.unlink(missing_ok=True)


def is_unused(folder: Path) -> bool:
    """Whether nothing was written whole to a folder."""
    return all(path.name == _LOCK or path.suffix == ".part" for path in folder.iterdir())


def digest(values: Any) -> str:
    """Return the SHA-256 of values that JSON can hold, in hexadecimal."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> None:
    """Write named arrays and their description, as JSON, to a .npz that ends with its SHA-256.

    The checksum is the comment of the zip archive: `numpy.load` reads the file as any other, the
    description is its array "header".

    Raises
    ------
    OSError
        That names the path, if it cannot be written.
    """
    members: dict[str, Any] = {_HEADER: np.array(json.dumps(header)), **arrays}

    def write(file: BinaryIO) -> None:
        np.savez(file, **members)
        # The length of the comment, so far 0, stands at the end.
        file.seek(-2, os.SEEK_END)
        file.write(_DIGITS.to_bytes(2, "little"))
        file.write(_sha256(file, file.tell()))

    write_atomically(path, write)


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return header and arrays of a file of `write_arrays`; nothing is taken from a damaged one.

    The checksum is compared before anything else is read. Members are stored as they are, hence
    never larger than the file.

    Raises
    ------
    ValueError
        That names the path, if the file is damaged or another one.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END) - _DIGITS
        if length < 0 or _sha256(file, length) != file.read(_DIGITS):
            raise ValueError(
                f"{path}: expected a file that ends with its checksum, got a damaged or foreign one"
            )
        file.seek(0)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if sum(max(each.file_size, each.compress_size) for each in members) > length:
                    raise ValueError("members larger than the file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                arrays = dict(stored)
            header = json.loads(str(arrays.pop(_HEADER)))
            if not isinstance(header, dict):
                raise ValueError("a header that is no mapping")
        except MemoryError as error:
            raise MemoryError(f"{path}: too little memory to read it") from error
        except Exception as error:  # of zip, NumPy and JSON, for content made to mislead them
            raise ValueError(f"{path}: expected arrays with a header, got {error}") from error
    return header, arrays


def _sha256(file: BinaryIO, length: int) -> bytes:
    """Digest of the first bytes of a file, in hexadecimal; the file then stands behind them."""
    sha256 = hashlib.sha256()
    file.seek(0)
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        sha256.update(block)
        length -= len(block)
    return sha256.hexdigest().encode()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write to a folder; the system unlocks it when a process dies.

    Raises
    ------
    BlockingIOError
        That names the folder, if another process has it.
    OSError
        If the folder cannot be written.
    """
    with (folder / _LOCK).open("a+b") as file:
        if not _lock(file):
            raise BlockingIOError(errno.EAGAIN, "in use by another process", str(folder))
        yield


def _lock(file: BinaryIO) -> bool:
    """Lock a file until it is closed; whether no other process has it.

    A file system without locks lets everyone in.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        lock = partial(msvcrt.locking, file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        lock = partial(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        lock()
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True
