"""Observes the close of a websocket: python-socketio discards the code and the reason.

Before the connection is accepted, a close is a refusal."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, cast

import aiohttp

from worker.realtime.messages import close_text

_GRACE_S: Final = 0.05


class EarlyClose(aiohttp.ClientConnectionError):
    """The peer closed the websocket. `code` and `reason`: those of the close."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(close_text(code, reason))
        self.code = code
        self.reason = reason


class _ObservedWebsocket(aiohttp.ClientWebSocketResponse):
    """A websocket that reports a close by the peer in the future `closed`."""

    def __init__(self, *args: Any, closed: Future[EarlyClose], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._observed = closed

    async def receive(self, timeout: float | None = None) -> Any:
        message = await super().receive(timeout)
        if message.type is aiohttp.WSMsgType.CLOSE and not self._observed.done():
            self._observed.set_result(EarlyClose(int(message.data), str(message.extra or "")))
        return message


def observed_websocket(closed: Future[EarlyClose]) -> type[aiohttp.ClientWebSocketResponse]:
    """Return the constructor of a websocket that reports in `closed` a close by the peer.

    The library only calls it. A class for each connection would take 2.3 KB."""
    return cast("type[aiohttp.ClientWebSocketResponse]", partial(_ObservedWebsocket, closed=closed))


async def until_closed(connecting: Coroutine[Any, Any, None], closed: Future[EarlyClose]) -> None:
    """Wait for `connecting`. If the peer closes the websocket before it ends, end it and raise the EarlyClose: the
    library would wait until its timeout."""
    task = asyncio.ensure_future(connecting)
    try:
        either: set[Future[Any]] = {task, closed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        # A refusal or an acceptance before the close is perhaps still being processed.
        await asyncio.wait({task}, timeout=_GRACE_S if closed.done() else None)
        if task.done():
            await task
            return
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    raise closed.result()


__all__ = ["EarlyClose", "observed_websocket", "until_closed"]
