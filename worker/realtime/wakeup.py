"""What one task waits on until it is rung or a time has come: an `asyncio.Event` with a deadline and one waiter.

A session waits several times a second, and a process holds a thousand of them: an event and a timer beside it cost
twice as much.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Rung before it is waited for, the wait ends at once. Each ring ends one wait."""

    __slots__ = ("_loop", "_rung", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, until: float | None = None) -> None:
        """Until it is rung or the loop's clock shows `until`."""
        if not self._rung:
            self._waiter = self._loop.create_future()
            timer = None if until is None else self._loop.call_at(until, self.ring)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._rung = False
