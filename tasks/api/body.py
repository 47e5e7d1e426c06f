"""Reads the body of a request with a maximum length and a maximum time between two chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from tasks.api.problems import Problem

IDLE_S: Final = 60.0
"""Maximum seconds between two chunks of a request."""
BODY_S: Final = 120.0
"""Maximum seconds for a whole body that is read into memory."""
MAX_JSON_BYTES: Final = 2 << 20
"""Maximum length of a body that FastAPI parses."""


def media_type(request: Request) -> str:
    """Return the media type of the body, such as `application/json`."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def chunks_of(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises Problem 400 if the client goes away, 408 after IDLE_S without data, and 415
    for a compressed body."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Problem(415, f"Content-Encoding: {coding[:40]!r} is not supported; send the body without compression")
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await anext(stream, b"")
        except TimeoutError:
            raise Problem(408, f"no data arrived for {IDLE_S:g} s; send the request again") from None
        except ClientDisconnect:
            raise Problem(400, "the client closed the connection before the end of the body") from None
        if not chunk:  # Starlette yields one empty chunk at the end of a body
            return
        yield chunk


async def read_body(request: Request, max_bytes: int, name: str = "the body") -> bytes:
    """Return the whole body. `name`: of the body, in error texts. Raises the problems of `chunks_of`, 408 for a body
    that needs more than BODY_S, and 413 for one with more than `max_bytes`."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in chunks_of(request):
                body += chunk
                if len(body) > max_bytes:
                    raise Problem(413, f"{name} has more than {max_bytes} bytes; send several requests")
    except TimeoutError:
        raise Problem(408, f"{name} did not arrive within {BODY_S:g} s; send the request again") from None
    return bytes(body)


def parse_json(text: str | bytes, name: str) -> Any:
    """Parse JSON. `name`: of the text, in error texts. Raises Problem 400."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (json.JSONDecodeError, UnicodeDecodeError, _NoNumber) as exc:
        reason = str(exc)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError:  # Python refuses to convert numbers of more than 4,300 digits
        reason = "it contains a number with too many digits"
    raise Problem(400, f"{name} is not JSON: {reason}")


class _NoNumber(Exception):
    pass


def _no_constant(name: str) -> None:
    raise _NoNumber(f"{name} is not a JSON number")


class JsonRoute(APIRoute):
    """A route with a body that FastAPI parses. FastAPI reads it as a whole before it checks the key, so without this
    limit any client could fill the memory."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def limited(request: Request) -> Response:
            body = await read_body(request, MAX_JSON_BYTES)

            async def receive() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(request.scope, receive))

        return limited


__all__ = ["JsonRoute", "chunks_of", "media_type", "parse_json", "read_body"]
