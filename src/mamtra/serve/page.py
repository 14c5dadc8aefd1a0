"""The page at `/`: one file that loads nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from mamtra.runtime.pages import assemble
from mamtra.serve.speaker import Speaker

PAGE = Path(__file__).with_name("page.html")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes(speaker: Speaker) -> APIRouter:
    """The route."""
    router = APIRouter()
    content = assemble(PAGE)

    @router.get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(content, headers=_HEADERS)

    return router
