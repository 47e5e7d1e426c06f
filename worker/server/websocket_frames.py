"""Closes a websocket on which a client sends a frame that is not an Engine.IO packet.

python-engineio 4.15 decodes each frame outside of its error handling. Without this check, an invalid frame ends the
task that reads the connection. Then nothing detects that the client has disconnected, and its session occupies a place
until the ping timeout, up to 45 s later.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import engineio.async_drivers.aiohttp as driver
from aiohttp import WSCloseCode
from engineio.packet import Packet

_CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds to wait for the answer to the close frame. aiohttp waits for 10 s, during which the session would last."""


class CheckedWebSocket(driver.WebSocket):  # type: ignore[misc]  # it ships no types
    """The websocket of python-engineio, with one change: after an invalid frame, it is closed in an orderly way."""

    async def wait(self) -> str | bytes:
        """Return the next frame. Raises OSError after the last frame, and for a frame that is not a packet."""
        frame: str | bytes = await super().wait()
        try:
            Packet(encoded_packet=frame)
        except Exception as exc:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await self._sock.close(code=WSCloseCode.PROTOCOL_ERROR, message=b"a frame is no Engine.IO packet")
            raise OSError(f"a frame is no Engine.IO packet: {exc}") from exc
        return frame


def check_frames(sio: Any) -> None:
    """Make the Socket.IO server `sio` check every frame of its websockets."""
    # The dictionary is shared by all servers of the process, so it is replaced, not changed.
    sio.eio._async = {**sio.eio._async, "websocket": CheckedWebSocket}
