"""Locks on directories, between processes of one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mamtra.errors import MamTraError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def directory_lock(directory: Path, user: str) -> Iterator[None]:
    """Hold a directory, made where it does not exist; a process that ends in whatever way lets go of it.

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
    handle, held = os.open(directory, os.O_RDONLY), False
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MamTraError(
                f"{directory} is in use by another {user}; wait for it to end or use another folder."
            ) from error
        held = True
        yield
    finally:
        if held and created and not any(directory.iterdir()):
            directory.rmdir()  # while it is held, so that nobody else has taken it
        os.close(handle)
