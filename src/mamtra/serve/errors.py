"""Every error in the form that OpenAI's clients read: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match

from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable

log = logging.getLogger("mamtra.serve")
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer other than success.

    Args:
        status: of HTTP.
        message: one sentence for the user.
        param: the field that is to blame.
        code: for programs.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON body."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The answer."""
        return JSONResponse(self.body, self.status, self.headers)


class ListenerLeft(Exception):
    """Nobody waits for the answer any more."""


def as_api_error(error: Exception) -> ApiError:
    """The answer to anything that went wrong. What is not the client's fault is logged and not told."""
    if isinstance(error, ApiError):
        return error
    if is_users(error):
        return ApiError(400, str(error))
    log.error("A request failed.", exc_info=error)
    return ApiError(500, "The server failed on this request; its log says more.", code="internal_error")


def is_users(error: Exception) -> bool:
    """Whether who asks can correct it."""
    return isinstance(error, MamTraError) and not isinstance(error.__cause__, MemoryError | RuntimeError | OSError)


def install_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer every error in OpenAI's form.

    Args:
        app: that answers.
        routes: all of its own.
    """

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(ListenerLeft)
    async def left(request: Request, error: ListenerLeft) -> Response:
        return Response(status_code=499)  # for the log; nobody reads it

    @app.exception_handler(MamTraError)
    async def user_error(request: Request, error: MamTraError) -> Response:
        return as_api_error(error).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _invalid(error).response()

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        method, path = request.method, printable(request.url.path)
        sentences = {
            400: "The body of the request cannot be read.",
            404: f"There is nothing at {path}.",
            405: f"{path} does not answer {method}.",
        }
        message = sentences.get(error.status_code, f"{error.detail}.")
        headers = _methods(request, routes) if error.status_code == 405 else error.headers
        return ApiError(error.status_code, message, headers=headers).response()

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return ApiError(500, "The server failed on this request; its log says more.", code="internal_error").response()


def _methods(request: Request, routes: Sequence[BaseRoute]) -> dict[str, str]:
    """What a path answers, over all its routes."""
    matching = [route for route in routes if route.matches(request.scope)[0] is Match.PARTIAL]
    return {"Allow": ", ".join(sorted({method for route in matching for method in getattr(route, "methods", ())}))}


def _invalid(error: RequestValidationError) -> ApiError:
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"][1:] if not str(part).startswith(("function-", "constrained-"))]
    if problem["type"] == "json_invalid":
        return ApiError(400, "The body is not valid JSON.", code="invalid_json")
    field = place[0] if place else None
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    where = f"{printable(field)}: " if field else "The body: "
    return ApiError(400, f"{where}{printable(message, 300)}.", param=field, code="invalid_value")
