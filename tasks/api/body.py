"""Reads the body of a request with a maximum length and a maximum time between two chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from tasks.api.problems import Problem

IDLE_S: Final = 60.0
"""Maximum seconds between two chunks of a request."""
MAX_JSON_BYTES: Final = 2 << 20
"""Maximum length of a body that FastAPI parses."""


def media_type(request: Request) -> str:
    """Return the media type of the body, such as `application/json`."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def chunks_of(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises Problem 400 if the client goes away, and 408 after IDLE_S without data."""
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


async def read_body(request: Request, max_bytes: int, too_long: str = "the body") -> bytes:
    """Return the whole body. `too_long`: what is too long, in the text of Problem 413. Raises the same as
    `chunks_of`."""
    body = bytearray()
    async for chunk in chunks_of(request):
        body += chunk
        if len(body) > max_bytes:
            raise Problem(413, f"{too_long} has more than {max_bytes} bytes; send several requests")
    return bytes(body)


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


__all__ = ["JsonRoute", "chunks_of", "media_type", "read_body"]
