"""Who may come in: keys, hosts and origins, before anything is read; every answer carries the number of its request."""

from __future__ import annotations

import logging
import secrets
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mamtra.serve.errors import ApiError
from mamtra.serve.keys import find_key
from mamtra.serve.metrics import Metrics
from mamtra.serve.settings import ServeSettings, is_loopback

log = logging.getLogger("mamtra.serve")
OPEN = ("/", "/health/live", "/health/ready")
"""Paths without a key: the page, and what tells whether the server works."""


class Guard:
    """ASGI middleware; the key of a request is put into its scope.

    Args:
        app: what is guarded.
        settings: of the server.
        metrics: that are kept.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers, number, began = Headers(scope=scope), secrets.token_hex(8), time.monotonic()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = number
            await send(message)

        try:
            scope.setdefault("state", {})["key"] = self._admit(scope, headers)
        except ApiError as error:
            if scope["type"] == "websocket":
                await receive()
                # before the handshake is accepted this becomes HTTP status 403
                await send({"type": "websocket.close", "code": 1008, "reason": error.message})
                return
            await error.response()(scope, receive, answer)
        else:
            await self._app(scope, receive, answer)
        if scope["type"] == "http":
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(scope["method"], route, status)
            log.info("%s %s %s %d %.3f s", number, scope["method"], route, status, time.monotonic() - began)

    def _admit(self, scope: Scope, headers: Headers) -> object:
        """The key of the request; None where none is needed.

        Raises:
            ApiError: it may not come in.
        """
        host = _host_name(headers.get("host", ""))
        origin = headers.get("origin")
        known = origin is None or origin in self._settings.origins
        if not known and origin.partition("://")[2].lower() != headers.get("host", "").lower():
            raise ApiError(
                403, "Pages of other hosts may not use this server; allow them with --origin.", code="origin"
            )
        if not self._settings.keys:
            # a page elsewhere may point its own name at this machine, and would then count as the same host
            if self._settings.on_loopback and not is_loopback(host):
                raise ApiError(403, "This server is for this machine; call it by 127.0.0.1 or localhost.", code="host")
            return None
        found = find_key(self._settings.keys, headers)
        if found is None and scope["path"] not in OPEN:
            sentence = "The API key is missing or wrong; send it as `Authorization: Bearer KEY` or `xi-api-key: KEY`."
            raise ApiError(401, sentence, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        return found


def _host_name(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""
