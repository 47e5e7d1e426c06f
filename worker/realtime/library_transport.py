"""Accesses the transport inside python-socketio: the websocket, the queue of messages, and the socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

import aiohttp
import socketio


def free_websocket(sio: socketio.AsyncClient) -> aiohttp.ClientWebSocketResponse | None:
    """Return the websocket if the library's queue is empty: a direct write then cannot overtake a queued message.

    Returns None while messages are queued, over polling, and without a connection."""
    eio = sio.eio
    return eio.ws if sio.connected and eio.transport() == "websocket" and eio.queue.empty() else None


async def written(eio: Any) -> bool:
    """Wait until the library has written all queued messages. Returns False if its write loop ended before that."""
    if eio.write_loop_task is None:
        return False
    joined = asyncio.ensure_future(eio.queue.join())
    try:
        await asyncio.wait({joined, eio.write_loop_task}, return_when=asyncio.FIRST_COMPLETED)
        return bool(joined.done())
    finally:
        joined.cancel()


def abort(websocket: Any) -> None:
    """Shut down the socket of a websocket whose peer reads nothing; a regular close would wait for the peer."""
    sock = websocket.get_extra_info("socket") if websocket is not None else None
    if sock is None:
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(sock.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


__all__ = ["abort", "free_websocket", "written"]
