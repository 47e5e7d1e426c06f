"""A wake-up primitive with a deadline, for one waiter: an event that each wait resets.

A session waits several times per second, and a process runs a thousand sessions. An `asyncio.Event` with a timeout
takes twice the time for each wait.
"""

from __future__ import annotations

import asyncio


class Wakeup:
    """A wake-up signal. `set` ends the current wait. If nothing waits, the next wait ends at once. Several calls of
    `set` before a wait end only that one wait."""

    __slots__ = ("_is_set", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, until: float | None = None) -> None:
        """Wait until `set` is called or the loop's clock reaches `until`, in seconds."""
        if not self._is_set:
            self._waiter = self._loop.create_future()
            timer = None if until is None else self._loop.call_at(until, self.set)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._is_set = False
