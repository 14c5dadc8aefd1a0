"""Sockets that the server listens on: connections that would leave too few file descriptors for everything else wait."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable

log = logging.getLogger("mamtra.serve")
RESERVED = 16
"""File descriptors for voices, uploads and encoders."""
EVENT_LOOP = 8
"""File descriptors of the event loop and of one connection, at most."""
MOST_FILES = 65_536
"""What a process is allowed to open at most, where it may choose."""
ACCEPTED_AT_ONCE = 64
"""Connections that asyncio takes before it does anything else."""
WAITING = 2048
"""Connections that wait in the system until they are accepted."""
_QUIET_SECONDS = 60.0
Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]
"""Of the exceptions of an event loop."""
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def listen(host: str, port: int, stall_seconds: float) -> list[socket.socket]:
    """Sockets at all addresses of a host; the process is allowed more open files where the system lets it.

    Args:
        host: a name or an address.
        port: 0 for one that is free.
        stall_seconds: after which Linux ends a connection whose other side takes nothing, whatever is left to be sent on it.

    Raises:
        MamTraError: it cannot listen there, or may open too few files.
    """
    most = raise_file_limit()
    found: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            found.append(Listener(most, family, kind, protocol))
            if os.name == "posix":
                found[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                limit = max(1, min(2**31 - 1, round(1000 * stall_seconds)))
                found[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit)
            if family == socket.AF_INET6:
                found[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            found[-1].bind(address)
    except OSError as error:
        for each in found:
            each.close()
        if error.errno in _SHORT:
            raise
        what = printable(error.strerror or str(error))
        raise MamTraError(f"The server cannot listen at {printable(host)}, port {port}: {what}.") from error
    least = found[-1].fileno() + EVENT_LOOP + RESERVED
    if most is not None and most < least:
        for each in found:
            each.close()
        raise MamTraError(f"The server needs at least {least} open files, and {most} are allowed (ulimit -n).")
    return found


def raise_file_limit() -> int | None:
    """Let this process open as many files as it may; returns how many, None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            return soft
        return most
    return None if soft == resource.RLIM_INFINITY else soft


class Listener(socket.socket):
    """Accepts a connection only while `RESERVED` file descriptors remain.

    Args:
        most: open files that the process may have; None for no limit.
        arguments: of `socket.socket`.
    """

    def __init__(self, most: int | None, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._most = most

    def listen(self, backlog: int = WAITING) -> None:
        """See `socket.socket.listen`; asyncio's backlog is how many it accepts at once."""
        super().listen(WAITING)

    def accept(self) -> tuple[socket.socket, Any]:
        """See `socket.socket.accept`.

        Raises:
            OSError: EMFILE, too few file descriptors remain.
        """
        if self._most is not None:
            lowest = os.dup(self.fileno())  # the system gives the lowest one that is free
            os.close(lowest)
            if lowest + RESERVED >= self._most:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def say_once(clock: Callable[[], float] = time.monotonic) -> Handler:
    """An exception handler of an event loop that tells in one line, and not again for a minute, that connections wait.

    asyncio asks again every second, and tells of every single attempt.
    """
    quiet_until = clock()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal quiet_until
        error = context.get("exception")
        if isinstance(error, ValueError) and "Invalid file descriptor" in str(error):
            return  # the listener was closed before asyncio asked it again
        if not isinstance(error, OSError) or error.errno not in _SHORT:
            loop.default_exception_handler(context)
        elif clock() >= quiet_until:
            quiet_until = clock() + _QUIET_SECONDS
            log.warning("Connections wait: %s; allow more with ulimit -n.", (error.strerror or str(error)).lower())

    return handle
