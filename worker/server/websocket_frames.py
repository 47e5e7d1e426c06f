"""Checks the frames of a websocket, and ends websockets whose client does not read.

python-engineio 4.15 decodes each frame outside of its error handling. Without this check, an invalid frame ends the
task that reads the connection. Then nothing detects that the client has disconnected, and its session occupies a place
until the ping timeout, up to 45 s later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

import engineio.async_drivers.aiohttp as driver
from aiohttp import WSCloseCode
from engineio.packet import Packet

from worker.server.client_packets import ENGINE_TYPES

_CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds to wait for the answer to the close frame. aiohttp waits for 10 s, during which the session would last."""
SEND_TIMEOUT_S: Final = 20.0
"""Maximum seconds to send a message. A client that does not read for so long does not answer a ping in time either. A
call waits only if the buffers of both computers are full."""


class CheckedWebSocket(driver.WebSocket):  # type: ignore[misc]  # it ships no types
    """The websocket of python-engineio, with these changes: after an invalid frame, and after the end of the Engine.IO
    connection, it is closed in an orderly way; packets that a client may not send are ignored; no call waits forever
    for a client that does not read."""

    def __init__(self, handler: Any, server: Any) -> None:
        super().__init__(handler, server)
        # python-engineio passes a method of the connection.
        self._connection = handler.__self__
        self._transport: Any = None

    async def __call__(self, environ: Any) -> Any:
        self._transport = environ["aiohttp.request"].transport
        return await super().__call__(environ)

    async def wait(self) -> str | bytes:
        """Return the next frame. Raises OSError after the last frame, and for a frame that is not a packet."""
        while True:
            frame = await self._next()
            kind = await self._packet_type(frame)
            # The packets of an upgrade have other types, which python-engineio checks.
            if kind in ENGINE_TYPES or not self._connection.upgraded:
                return frame
            # Otherwise many ignored frames would occupy the event loop.
            await asyncio.sleep(0)

    async def _next(self) -> str | bytes:
        """Return the next frame. Raises OSError if the connection is closed before or afterwards."""
        # python-engineio would read a closed connection until the client closes the websocket.
        if not self._connection.closed:
            frame: str | bytes = await super().wait()
            if not self._connection.closed:
                return frame
        raise OSError("the Engine.IO connection has ended")

    async def _packet_type(self, frame: str | bytes) -> int:
        """Return the type of the packet in `frame`. If it is not a packet, closes the websocket and raises OSError."""
        try:
            return int(Packet(encoded_packet=frame).packet_type)
        except Exception as exc:
            closing = self._sock.close(code=WSCloseCode.PROTOCOL_ERROR, message=b"a frame is no Engine.IO packet")
            with suppress(TimeoutError):
                await self._or_abort(closing, _CLOSE_TIMEOUT_S)
            raise OSError(f"a frame is no Engine.IO packet: {exc}") from exc

    async def send(self, message: str | bytes) -> None:
        """Send a frame. Raises TimeoutError, and ends the connection, if the client does not read."""
        await self._or_abort(super().send(message), SEND_TIMEOUT_S)

    async def close(self) -> None:
        """Close the websocket after its last message, in any case within `SEND_TIMEOUT_S` seconds."""
        with suppress(TimeoutError):
            await self._or_abort(super().close(), SEND_TIMEOUT_S)

    async def _or_abort(self, call: Awaitable[Any], timeout_s: float) -> None:
        """Wait for `call`. After `timeout_s` seconds, abort the TCP connection and raise TimeoutError."""
        try:
            async with asyncio.timeout(timeout_s):
                await call
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()
            raise


def check_frames(sio: Any) -> None:
    """Make the Socket.IO server `sio` check every frame of its websockets."""
    # The dictionary is shared by all servers of the process, so it is replaced, not changed.
    sio.eio._async = {**sio.eio._async, "websocket": CheckedWebSocket}
