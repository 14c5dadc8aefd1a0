"""Files and directories that are whole or not there at all, and hashes of files.

Everything is written to a sibling of the destination, `.NAME.HOST-PID-TOKEN.partial`, flushed to the disk and renamed. A failure
removes the sibling; what a killed process left is removed by the next one that writes to the same destination.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from mamtra.errors import MamTraError

SUFFIX = ".partial"
TEXT = 256 * 2**20
"""Bytes of a text file that is read as a whole."""
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_OWNER = re.compile(r"([0-9a-f]{8})-(\d+)-[0-9a-f]{8}" + re.escape(SUFFIX))
_NAME_LENGTH = 50
"""Characters of the destination's name that its partial's name repeats: file systems allow 255 bytes."""


@contextmanager
def atomic_file(path: str | os.PathLike, size: int | None = None) -> Iterator[Path]:
    """Give a path to write a file to; without an error it becomes `path` at the end, replacing a file that is there.

    A link is followed and stays a link. A device or a pipe is written directly.

    Args:
        path: destination, in a directory that exists.
        size: bytes that will be written, for the message where the disk is full.

    Raises:
        MamTraError: the destination cannot be written or the disk is full; the destination is unchanged.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        try:
            yield path
        except Exception as error:
            _explain(error, path, path, size)
        return
    with _partial(path, size) as partial:
        yield partial
        _flush(partial)
        os.replace(partial, path)


@contextmanager
def atomic_directory(path: str | os.PathLike, *, replace: bool = False, size: int | None = None) -> Iterator[Path]:
    """Give an empty directory to fill; without an error it becomes `path` at the end.

    Args:
        path: destination: absent or an empty directory, or any directory with `replace`.
        replace: remove the directory that is there once the new one is complete.
        size: bytes that will be written, for the message where the disk is full.

    Raises:
        MamTraError: the destination cannot be written or the disk is full; the destination is unchanged.
    """
    path = Path(path).absolute()
    with _partial(path, size) as partial:
        partial.mkdir()
        yield partial
        for written in (*partial.rglob("*"), partial):
            _flush(written)
        if not replace or not path.exists():
            os.replace(partial, path)  # replaces an empty directory too
            return
        with _partial(path, size) as previous:  # removed on leaving
            os.replace(path, previous)
            try:
                os.replace(partial, path)
            except OSError:
                os.replace(previous, path)
                raise


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to a file as `atomic_file` does; `-` is standard output.

    Raises:
        MamTraError: the destination cannot be written.
    """
    if str(path) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    check_destination(path)
    with atomic_file(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def check_destination(path: str | os.PathLike) -> None:
    """Refuse early what could not be written later.

    Raises:
        MamTraError: the path is a directory, or its parent is missing or read-only.
    """
    if str(path) == "-":
        return
    path = Path(path)
    if path.is_dir():
        raise MamTraError(f"{path} is a folder; name a file in it.")
    check_parent(path)


def check_parent(path: Path) -> None:
    """Refuse early a place in a folder that is missing or read-only.

    Raises:
        MamTraError: it is.
    """
    if not path.parent.is_dir():
        raise MamTraError(f"The folder {path.parent} does not exist; create it first.")
    if not os.access(path.parent, os.W_OK):
        raise MamTraError(f"The folder {path.parent} is read-only; choose another place.")


def check_folder(folder: str | os.PathLike) -> None:
    """Refuse early a folder that could not be made or filled.

    Raises:
        MamTraError: it, or what it is to be in, is a file or read-only.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise MamTraError(f"{place} is a file; name a folder.")
    if not os.access(place, os.W_OK):
        raise MamTraError(f"The folder {place} is read-only; choose another place.")


def check_regular(path: str | os.PathLike, largest: int = TEXT) -> None:
    """Refuse what cannot be read as a whole: a pipe or a device may block or never end. What is not there passes.

    Raises:
        MamTraError: it is a folder, a pipe or a device, or has more than `largest` bytes.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise MamTraError(f"{path} is {'a folder' if path.is_dir() else 'a pipe or a device'}; name a file.")
    if path.is_file() and path.stat().st_size > largest:
        raise MamTraError(f"{path} has {path.stat().st_size / 2**20:,.0f} MiB; at most {largest >> 20} MiB are read.")


def check_readable(path: str | os.PathLike) -> None:
    """Refuse a file that may not be read, before a library says that it is missing or damaged. What is not there passes.

    Raises:
        MamTraError: it belongs to another user.
    """
    if os.path.exists(path) and not os.access(path, os.R_OK):
        raise MamTraError(f"{path} cannot be read: permission denied.")


def is_file(path: str | os.PathLike) -> bool:
    """Whether there is such a file; there is none of a name that no file can have."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that the disk or the user's quota is full."""
    while error is not None:
        number = getattr(error, "errno", None)
        # safetensors (Rust) has an exception class of its own without an errno
        if number in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error) or "No space left" in str(error):
            return True
        error = error.__cause__
    return False


def hash_files(*paths: str | os.PathLike) -> str:
    """SHA-256 of the bytes of files one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def _partial(path: Path, size: int | None) -> Iterator[Path]:
    """A name beside `path` that no other writer has; whatever has it at the end is removed."""
    prefix = f".{path.name[:_NAME_LENGTH]}."
    _sweep(path.parent, prefix)
    partial = path.with_name(f"{prefix}{_HOST}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}")
    try:
        yield partial
    except Exception as error:
        _explain(error, path, partial, size)
    finally:
        _remove(partial)


def _explain(error: Exception, path: Path, partial: Path, size: int | None) -> NoReturn:
    """Raise what went wrong, as a user's mistake where the destination is the reason."""
    if disk_is_full(error):
        needs = f"{path} needs {size / 1e9:.2f} GB" if size else f"{path} was not written"
        raise MamTraError(f"The disk is full: {needs}; nothing was left behind, make room and try again.") from error
    if isinstance(error, OSError):
        names = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        if not names or any(name == path or name.is_relative_to(partial) for name in names):
            what = (error.strerror or str(error)).lower()
            raise MamTraError(f"{path} cannot be written: {what}; nothing was left behind.") from error
    raise error


def _sweep(folder: Path, prefix: str) -> None:
    """Remove the partials of processes of this machine that have ended."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(prefix)]
    except OSError:  # missing or unreadable: writing will say so
        return
    for name in names:
        owner = _OWNER.fullmatch(name, len(prefix))
        if owner and owner[1] == _HOST and not _is_running(int(owner[2])):
            _remove(folder / name)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the disk hold what was written, so that a power cut leaves no empty file behind a finished name."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
