"""One WebSocket: JSON in, JSON and bytes out, within bounds of time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from mamtra.serve.errors import ApiError

NOT_TEXT, POLICY, TOO_LONG_SILENT = 1003, 1008, 1001
"""Codes that a connection is closed with: binary where text is due, a message out of order, nothing said for too long."""


class HungUp(Exception):
    """The connection is over.

    Args:
        code: to close with; None where the other side has closed it.
        reason: for the other side.
    """

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Line:
    """Messages of a connection. Several tasks may send.

    Args:
        socket: accepted already.
        stall_seconds: one who takes nothing for so long is hung up on.
    """

    def __init__(self, socket: WebSocket, stall_seconds: float) -> None:
        self._socket, self._stall = socket, stall_seconds
        self._sending = asyncio.Lock()

    async def receive(self, patience: float) -> dict[str, Any]:
        """The next message.

        Raises:
            HungUp: there is none within the time, the other side has gone, or it sent bytes.
            ApiError: it is no JSON object.
        """
        try:
            message = await asyncio.wait_for(self._socket.receive(), patience)
        except asyncio.TimeoutError as error:
            raise HungUp(TOO_LONG_SILENT, f"Nothing came for {patience:g} s.") from error
        if message["type"] == "websocket.disconnect":
            raise HungUp
        text = message.get("text")
        if text is None:
            raise HungUp(NOT_TEXT, "Messages have to be JSON text, not bytes.")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, "The message is not valid JSON.", code="invalid_json") from error
        if not isinstance(found, dict):
            raise ApiError(400, "The message has to be a JSON object.", code="invalid_json")
        return found

    async def send(self, content: dict[str, Any] | bytes) -> None:
        """Send a message.

        Raises:
            HungUp: the other side has gone, or takes nothing.
        """
        async with self._sending:
            try:
                if isinstance(content, bytes):
                    await asyncio.wait_for(self._socket.send_bytes(content), self._stall)
                else:
                    await asyncio.wait_for(self._socket.send_text(json.dumps(content)), self._stall)
            except (asyncio.TimeoutError, WebSocketDisconnect, RuntimeError) as error:
                raise HungUp from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it, if the other side has not."""
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is closed
            # a closing frame holds 123 bytes of a reason
            await self._socket.close(code, reason.encode()[:120].decode(errors="ignore"))
