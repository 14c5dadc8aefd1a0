"""Bodies of bounded size that arrive in bounded time, read before anything looks at them."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mamtra.serve.errors import ApiError
from mamtra.serve.settings import ServeSettings

UPLOAD = "/v1/audio/voices"
_FORM = 64 * 1024
"""Bytes of an upload beside its recording."""


class BoundedBody:
    """ASGI middleware.

    Args:
        app: what gets the bodies.
        settings: of the server.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then pass it on; a request that broke off is not answered."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS", "DELETE"):
            await self._app(scope, receive, send)
            return
        most = self._settings.most_upload + _FORM if scope["path"] == UPLOAD else self._settings.most_body
        try:
            body = await asyncio.wait_for(_read(Headers(scope=scope), receive, most), self._settings.body_seconds)
        except asyncio.TimeoutError:
            await ApiError(408, "The body of the request came too slowly.").response()(scope, receive, send)
            return
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if body is None:
            return
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


async def _read(headers: Headers, receive: Receive, most: int) -> bytes | None:
    """The body; None where the client left before its end.

    Raises:
        ApiError: it is too large.
    """
    too_large = ApiError(
        413, f"The request is larger than {most:,} bytes.", code="request_too_large", headers={"Connection": "close"}
    )
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > most:
        raise too_large
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise too_large
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)
