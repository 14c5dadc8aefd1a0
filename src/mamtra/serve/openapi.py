"""The OpenAPI document: what can go wrong, and who may ask."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
    "example": {
        "error": {
            "message": "There is no voice 'x'; use one of clara, emily.",
            "type": "invalid_request_error",
            "param": "voice",
            "code": "voice_not_found",
        }
    },
}


def error_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions of answers with OpenAI's error body."""
    about = {
        400: "Something in the request is wrong.",
        401: "The API key is missing or wrong.",
        403: "Not allowed.",
        404: "There is no such thing.",
        408: "The body came too slowly.",
        409: "The name is taken.",
        413: "The request is too large.",
        429: "This key has as many streams as it may.",
        500: "The server failed.",
        503: "Too much to do; Retry-After tells when to come back.",
    }
    content = {"application/json": {"schema": _ERROR}}
    return {status: {"description": about[status], "content": content} for status in statuses}


ERRORS = error_answers(400, 401, 403, 404, 408, 413, 429, 500, 503)


def use_own_document(app: FastAPI) -> None:
    """Describe errors as they are answered, and the keys."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            for path in found["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)  # invalid requests are answered with 400
            schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes["bearer"] = {"type": "http", "scheme": "bearer"}
            schemes["xi-api-key"] = {"type": "apiKey", "in": "header", "name": "xi-api-key"}
            found["security"] = [{}, {"bearer": []}, {"xi-api-key": []}]
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
