"""Answers that end with their listener: one who leaves or takes nothing any more has the speech cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mamtra.serve.errors import ListenerLeft
from mamtra.serve.live import TextFeed
from mamtra.serve.speaker import Order, Speaker
from mamtra.serve.speaking import Piece, Speaking

T = TypeVar("T")
log = logging.getLogger("mamtra.serve")


async def begin_speech(
    request: Request, speaker: Speaker, text: str | TextFeed, order: Order
) -> tuple[Speaking, Piece, AsyncExitStack]:
    """Speech with its first bytes, so that whatever is wrong with the text has a status of its own.

    Returns:
        The speech, its first piece, and what is to be closed at its end.

    Raises:
        ListenerLeft: nobody waits for it any more.
        ApiError: see `Speaker.speak` and `Speaker.first_piece`.
    """
    async with AsyncExitStack() as resources:

        async def begin() -> tuple[Speaking, Piece]:
            speaking = await resources.enter_async_context(speaker.speak(text, order, request.state.key))
            return speaking, await speaker.first_piece(speaking)

        speaking, first = await while_listening(request, begin())
        return speaking, first, resources.pop_all()


async def while_listening(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which is given up when the client leaves.

    Raises:
        ListenerLeft: it has left.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ListenerLeft
        return working.result()
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def pieces(first: Piece, speaking: Speaking) -> AsyncIterator[Piece]:
    """All pieces of some speech of which the first one was taken already."""
    yield first
    async for piece in speaking:
        yield piece


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class StreamedAnswer(Response):
    """Bytes as they come. If they break off with an error the connection does too, so that nobody takes them for complete.

    Args:
        parts: of the body.
        headers: of the answer.
        media_type: of the body.
        stall_seconds: a listener who takes nothing for so long is left.
        resources: closed at the end, however it comes.
    """

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        headers: Mapping[str, str],
        media_type: str,
        stall_seconds: float,
        resources: AsyncExitStack,
    ) -> None:
        super().__init__(None, headers=dict(headers), media_type=media_type)
        del self.headers["content-length"]
        self._parts, self._stall, self._resources = parts, stall_seconds, resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the listener leaves."""
        sending, leaving = asyncio.ensure_future(self._send(send)), asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._resources.aclose()

    async def _send(self, send: Send) -> None:
        async def within(message: dict[str, Any]) -> None:
            await asyncio.wait_for(send(message), self._stall)

        await within({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for part in self._parts:
                await within({"type": "http.response.body", "body": part, "more_body": True})
        except asyncio.TimeoutError:
            log.warning("A listener took nothing for %g s and was cut off.", self._stall)
        except Exception as error:
            log.error("Speech broke off.", exc_info=error)
        else:
            await within({"type": "http.response.body", "body": b"", "more_body": False})
