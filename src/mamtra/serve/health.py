"""Whether the server lives, whether it can speak, and its figures."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from mamtra.serve.errors import ApiError
from mamtra.serve.openapi import error_answers
from mamtra.serve.speaker import Speaker


def health_routes(speaker: Speaker) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live")
    async def live() -> dict[str, Any]:
        """The process answers."""
        return {"status": "live"}

    @router.get("/health/ready", responses=error_answers(503))
    async def ready() -> dict[str, Any]:
        """The model is warm and takes requests."""
        if speaker.admission.draining:
            raise ApiError(503, "The server is stopping.", code="stopping")
        if not speaker.ready:
            raise ApiError(503, "The model is not warm yet.", code="warming_up", headers={"Retry-After": "1"})
        return {"status": "ready", "model": speaker.tts.model.name, "voices": len(speaker.tts.voices)}

    @router.get("/metrics", responses=error_answers(401), response_class=Response)
    async def metrics() -> Response:
        """For Prometheus."""
        page = await asyncio.to_thread(speaker.metrics.page)  # of the whole server, which another process may have
        return Response(page, media_type=CONTENT_TYPE_LATEST)

    return router
