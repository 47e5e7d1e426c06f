"""Accesses the transport inside python-socketio: the websocket, the queue of messages, and the socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any, Final

import aiohttp
import socketio

_WEEK_S: Final = 7 * 24 * 3600.0


def free_websocket(sio: socketio.AsyncClient) -> aiohttp.ClientWebSocketResponse | None:
    """Return the websocket if the library's queue is empty: a direct write then cannot overtake a queued message.

    Returns None while messages are queued, over polling, and without a connection."""
    return sio.eio.ws if over_websocket(sio) and sio.eio.queue.empty() else None


def over_websocket(sio: socketio.AsyncClient) -> bool:
    """Whether the client is connected over a websocket."""
    return bool(sio.connected and sio.eio.transport() == "websocket")


def allow_idle_queue(sio: socketio.AsyncClient) -> None:
    """Prevent the library from closing a websocket because its own queue is empty. It still closes one without messages
    of the service.

    The library ends a websocket after `ping_interval + ping_timeout` without a message of the service, and also after
    `max(ping_interval, ping_timeout) + 5` seconds without a message in its queue. Frames bypass the queue, so a late
    ping would end a streaming session. This function makes the larger of the two times a week, and leaves their sum
    unchanged.

    A message through the queue every few seconds would also help. But the library's write loop stores the last message
    twice: 27 KB for each session, traced with `tracemalloc`."""
    eio = sio.eio
    if eio.transport() == "websocket":  # over polling, the larger time limits each request
        eio.ping_interval, eio.ping_timeout = eio.ping_interval + _WEEK_S, eio.ping_timeout - _WEEK_S


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


__all__ = ["abort", "allow_idle_queue", "free_websocket", "over_websocket", "written"]
