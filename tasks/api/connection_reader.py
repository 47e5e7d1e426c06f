"""Reads connections through one shared buffer, so that many uploads at once need little memory."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final

from tasks.api.http_protocol import LimitedHttpProtocol

READ_BYTES: Final = 1 << 16
"""Maximum bytes of one read. Each upload has about four reads in memory: one in the parser's queue, one in the form
reader, and one or two in the block that is being written. The event loop's own reads have 256,000 bytes, which adds up
to 100 MB with a hundred uploads."""


class _ThreadBuffer(threading.local):
    """A buffer per thread, because each event loop runs in a thread of its own."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_BYTES))


_shared: Final = _ThreadBuffer()


class ConnectionReader(asyncio.BufferedProtocol):
    """Passes everything to an HTTP protocol. The parser copies what it needs before the next read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._http = LimitedHttpProtocol(*args, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._http.connection_made(transport)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()

    def eof_received(self) -> None:
        self._http.eof_received()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _shared.view

    def buffer_updated(self, nbytes: int) -> None:
        self._http.data_received(_shared.view[:nbytes])


__all__ = ["ConnectionReader"]
