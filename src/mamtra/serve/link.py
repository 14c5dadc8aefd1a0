"""Messages between the process with the model and a front process: JSON objects with bytes, over a socket of this machine."""

from __future__ import annotations

import json
import socket
import struct
import threading
from typing import Any, NamedTuple

_LENGTH = struct.Struct("<I")
_BUFFER = 2**18


class Message(NamedTuple):
    """What one side tells the other.

    Attributes:
        content: names and values.
        parts: bytes that go with it.
    """

    content: dict[str, Any]
    parts: list[bytes]


class Link:
    """One end. Any thread may send; one thread receives.

    Args:
        end: connected to the other process.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket, self._sending = end, threading.Lock()
        self._file = end.makefile("rb", _BUFFER)

    def send(self, content: dict[str, Any], *parts: bytes) -> None:
        """Send a message; does nothing once the other process has gone, which `receive` tells."""
        head = json.dumps({**content, "sizes": [len(part) for part in parts]}).encode()
        frame = b"".join((_LENGTH.pack(len(head)), head, *parts))
        try:
            with self._sending:  # messages of two threads must not mix
                self._socket.sendall(frame)
        except OSError:
            self.close()

    def receive(self) -> Message | None:
        """The next message; waits for it. None once the other process has gone."""
        try:
            length = self._file.read(_LENGTH.size)
            content = json.loads(self._file.read(*_LENGTH.unpack(length)))
            return Message(content, [self._file.read(size) for size in content.pop("sizes")])
        except (OSError, ValueError, struct.error):  # it broke off, perhaps within a message
            return None

    def close(self) -> None:
        """Both sides receive nothing more; may be called more than once."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is closed
