"""Reads a response with which the service, or an intermediary, refuses a request of the Socket.IO client."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import aiohttp

MAX_BODY_BYTES: Final = 65_536
BODY_TIMEOUT_S: Final = 2.0
"""Maximum seconds to read the body of a refusal: its status alone is worth more than a complete body."""


class RefusedResponse(aiohttp.ClientConnectionError):
    """The response to a request was HTTP 4xx or 5xx. `body`: the text of the response, at most MAX_BODY_BYTES."""

    def __init__(self, status: int, headers: dict[str, str], body: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


async def read_refusal(response: aiohttp.ClientResponse) -> RefusedResponse:
    """Read the refusal and close its connection. If only a part of the body can be read, the refusal contains that
    part."""
    body = bytearray()
    try:
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while len(body) < MAX_BODY_BYTES and (part := await response.content.readany()):
                    body += part
    finally:
        response.close()
    text = bytes(body[:MAX_BODY_BYTES]).decode(_encoding(response), "replace")
    return RefusedResponse(response.status, dict(response.headers), text)


def _encoding(response: aiohttp.ClientResponse) -> str:
    # Only these encodings: `decode` raises an error for an unknown name, and a service may declare any.
    encoding = (response.charset or "utf-8").lower()
    return encoding if encoding in ("utf-8", "latin-1", "iso-8859-1", "windows-1252", "big5", "gbk") else "utf-8"


__all__ = ["RefusedResponse", "read_refusal"]
