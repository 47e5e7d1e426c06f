"""Reads bodies of polling requests within limits of size, time and total memory."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Final

from aiohttp import web
from engineio.packet import packet_names
from engineio.payload import Payload

from worker.server.client_packets import ENGINE_TYPES
from worker.text_escaping import printable

MAX_BODY_BYTES: Final = 8_000_000
"""Maximum size of one body. A body may contain several messages, each with at most 1 MB of PCM (1.34 MB as base64)."""
MAX_ALL_BODIES_BYTES: Final = 32_000_000
"""Maximum total size of all bodies that are being received at the same time."""
BODY_TIMEOUT_S: Final = 30.0
"""Maximum time to receive a body, in seconds."""


class BodyRefused(Exception):
    """The body is refused. `status` is the HTTP status of the response, and the text is its error message."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class BodyReader:
    """Reads bodies and limits the total memory of all of them. Must be used on one event loop only."""

    def __init__(self, timeout_s: float = BODY_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._buffered_bytes = 0

    async def read(self, request: web.Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """Read the whole body of `request`. Raises BodyRefused if it is compressed, too large, too slow or invalid."""
        # A compressed body could become larger than the limit when it is expanded.
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise BodyRefused(415, "a body must not be compressed")
        declared = request.content_length
        if declared is not None and declared > max_bytes:
            raise BodyRefused(413, f"a body must have at most {max_bytes} bytes; this one has {declared}")
        body = bytearray()
        try:
            # The size is checked during the reading as well, because a chunked body does not declare its length.
            async with asyncio.timeout(self._timeout_s):
                while chunk := await request.content.readany():
                    body += chunk
                    self._buffered_bytes += len(chunk)
                    self._check(len(body), max_bytes)
        except TimeoutError:
            raise BodyRefused(408, f"the body did not arrive within {self._timeout_s:g} s") from None
        except web.RequestPayloadError as exc:
            raise BodyRefused(400, f"the body is invalid: {exc}") from None
        finally:
            self._buffered_bytes -= len(body)
        return bytes(body)

    def _check(self, body_bytes: int, max_bytes: int) -> None:
        if body_bytes > max_bytes:
            raise BodyRefused(413, f"a body must have at most {max_bytes} bytes")
        if self._buffered_bytes > MAX_ALL_BODIES_BYTES:
            raise BodyRefused(503, "the server receives too many large bodies at once; try again later")


def problem_with_packets(body: bytes) -> str | None:
    """Return the reason why `body` is not a valid list of Engine.IO packets of a client, or None if it is valid."""
    try:
        packets = Payload(encoded_payload=body.decode()).packets
    except Exception as exc:  # noqa: BLE001  the library raises errors of many kinds for an invalid packet
        return printable(str(exc))[:200] or type(exc).__name__
    # For a type that a client may not send, python-engineio would process only the packets before it, and close the
    # session.
    wrong = next((one.packet_type for one in packets if one.packet_type not in ENGINE_TYPES), None)
    if wrong is None:
        return None
    if wrong >= len(packet_names):
        return f"there is no packet of type {wrong}"
    return f"a client may not send a packet of type {packet_names[wrong]}"


def with_body(request: web.Request, body: bytes) -> SimpleNamespace:
    """Return an object with the attributes of `request` that python-engineio uses, and with the complete `body`.

    This is needed because python-engineio calls `content.read` only once. On a real request, one call returns only the
    bytes that have been received so far.
    """

    class _Body:
        async def read(self, limit: int) -> bytes:
            return body[:limit]

    headers = request.headers.copy()
    headers["Content-Length"] = str(len(body))
    return SimpleNamespace(
        content=_Body(),
        headers=headers,
        method=request.method,
        query_string=request.query_string,
        path=request.path,
        path_qs=request.path_qs,
        version=request.version,
    )
