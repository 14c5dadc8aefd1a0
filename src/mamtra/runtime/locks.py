"""Locks on directories and files, between processes of one machine; a process that ends in whatever way lets go of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.files import check_destination

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def directory_lock(directory: Path, user: str) -> Iterator[None]:
    """Hold a directory, made where it does not exist.

    Args:
        directory: to be used by one process.
        user: what it is used for, for the message.

    Raises:
        MamTraError: another process holds it.
    """
    created = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = _take(directory, os.O_RDONLY)
    if handle is None:
        raise _in_use(directory, user, "folder")
    try:
        yield
    finally:
        if created and not any(directory.iterdir()):
            directory.rmdir()  # while it is held, so that nobody else has taken it
        os.close(handle)


@contextmanager
def file_lock(path: Path, user: str) -> Iterator[None]:
    """Hold a file that is written bit by bit, whether it exists or not.

    What is held is `.NAME.lock` beside it, as the file itself is replaced when it is rewritten; it is removed at the end.

    Args:
        path: the file.
        user: what it is used for, for the message.

    Raises:
        MamTraError: another process holds it, or it cannot be written.
    """
    check_destination(path)
    if fcntl is None:
        yield
        return
    path = path.resolve()
    lock = path.with_name(f".{path.name[:50]}.lock")
    while True:
        handle = _take(lock, os.O_RDWR | os.O_CREAT)
        if handle is None:
            raise _in_use(path, user, "file")
        if lock.exists() and os.path.samestat(lock.stat(), os.fstat(handle)):
            break
        os.close(handle)  # of a process that removed it in between
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held
        os.close(handle)


def _take(path: Path, flags: int) -> int | None:
    """A handle that holds `path`; None where another one does."""
    handle = os.open(path, flags, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError as error:  # file systems of a network may have no locks
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return handle


def _in_use(path: Path, user: str, kind: str) -> MamTraError:
    return MamTraError(f"{path} is in use by another {user}; wait for it to end or use another {kind}.")
