"""Error responses: problem documents (RFC 9457), and the HTTP status of each error of this project."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from worker.errors import (
    BadJob,
    JobNewer,
    LedgerUnavailable,
    OutputError,
    QueueFull,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    SttError,
    WorkerShortage,
)
from worker.validation_errors import describe_details, dotted

_log: Final = structlog.get_logger(__name__)
MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
"""Seconds after which a client may repeat a request that failed because Redis is away or the queue is full."""
_STATUS: Final[tuple[tuple[type[SttError], int], ...]] = (
    (QueueFull, 429),
    (LedgerUnavailable, 503),
    (WorkerShortage, 503),
    (SourceUnavailable, 503),
    (SourceRefused, 403),
    (OutputError, 403),
    (SourceError, 422),
    (BadJob, 422),
    (JobNewer, 409),
)
"""The HTTP status of each error. The first class that contains the error applies."""
_CODES: Final = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid",
}


class Problem(Exception):
    """An error with a problem document as its response. `code`: a stable name for programs; `detail`: what failed, why,
    and what to do."""

    def __init__(
        self, status: int, detail: str, *, code: str = "", headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.code = code or _CODES.get(status, "error")
        self.headers = dict(headers or {})
        self.more = more


class OpenAiError(BaseModel):
    """The error in the form of OpenAI's API, whose clients read it."""

    message: str
    type: str
    code: str
    param: str | None = None


class ProblemDocument(BaseModel):
    """An error response (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:stt-batch:problem:` and the code", examples=["urn:stt-batch:problem:not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="what failed, why, and what to do", examples=["job 8c0f3a: no such job"])
    code: str = Field(description="stable name of the error", examples=["not_found"])
    error: OpenAiError | None = Field(default=None, description="only on the paths of OpenAI's API")


def to_problem(error: SttError) -> Problem:
    """Convert an error of this project to a problem."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    return Problem(status, str(error), code=error.code, headers=headers)


def response_of(problem: Problem, path: str = "") -> Response:
    """Return the response for a problem. On the paths of OpenAI's API it also contains the error in OpenAI's form."""
    document: dict[str, Any] = {
        "type": f"urn:stt-batch:problem:{problem.code}",
        "title": _title(problem.status),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        **problem.more,
    }
    if path.startswith(("/v1/audio", "/v1/models")):
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(problem.status, "invalid_request_error")
        kind = "server_error" if problem.status >= 500 else kind
        param = problem.more.get("param")
        document["error"] = {"message": problem.detail, "type": kind, "code": problem.code, "param": param}
    return Response(_utf8(document), problem.status, problem.headers, MEDIA_TYPE)


def _utf8(document: Any) -> bytes:
    # The text may quote input with half of a surrogate pair, which UTF-8 cannot encode.
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def too_many(detail: str, code: str, retry_after_s: float) -> Problem:
    """Return the problem for a limit that a key has reached."""
    return Problem(429, detail, code=code, headers={"Retry-After": str(max(1, math.ceil(retry_after_s)))})


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _methods(routes: Iterable[BaseRoute], request: Request) -> list[str]:
    """Return the methods that the path of a request supports; HEAD is supported wherever GET is (see `head_requests`).
    If several routes match, for example that of an action and that of a batch with the same name, only the first one
    counts."""
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    same = [route for route in matching if getattr(route, "path", "") == getattr(matching[0], "path", "")]
    methods = {method for route in same for method in getattr(route, "methods", None) or ()}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make every error response of the application a problem document. `routes`: all routes of the application."""

    @app.exception_handler(Problem)
    async def of_problem(request: Request, exc: Problem) -> Response:
        return response_of(exc, request.url.path)

    @app.exception_handler(SttError)
    async def of_error(request: Request, exc: SttError) -> Response:
        problem = to_problem(exc)
        if problem.status >= 500:
            _log.warning("request failed", code=exc.code, error=str(exc))
        return response_of(problem, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def of_validation(request: Request, exc: RequestValidationError) -> Response:
        found = exc.errors()
        reason = describe_details(found, lambda location: dotted(location[1:], str(location[0])))
        unreadable = any(one["type"] == "json_invalid" for one in found)
        return response_of(Problem(400 if unreadable else 422, reason), request.url.path)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, exc: HTTPException) -> Response:
        detail, headers = str(exc.detail), dict(exc.headers or {})
        if exc.status_code == 405:
            headers["Allow"] = ", ".join(_methods(routes, request))
            detail = f"{request.method} is not possible here; use {headers['Allow']}"
        if exc.status_code == 404:
            detail = f"{request.url.path}: no such path; /docs lists all paths"
        return response_of(Problem(exc.status_code, detail, headers=headers), request.url.path)

    @app.exception_handler(Exception)
    async def of_bug(request: Request, exc: Exception) -> Response:
        _log.error("request failed on an unexpected error", exc_info=exc)
        return response_of(Problem(500, f"unexpected {type(exc).__name__}", code="internal"), request.url.path)


__all__ = ["MEDIA_TYPE", "Problem", "ProblemDocument", "install", "response_of", "to_problem", "too_many"]
