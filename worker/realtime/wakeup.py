"""A wake-up primitive with a deadline, for one waiter: an event that each wait resets.

A session waits several times per second, and a process runs a thousand sessions. An `asyncio.Event` with a timeout
takes twice the time for each wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from worker.realtime.timer_grid import MIN_WAIT_S, grid_of


class Wakeup:
    """A wake-up signal. `set` ends the current wait. If nothing waits, the next wait ends at once. Several calls of
    `set` before a wait end only that one wait."""

    __slots__ = ("_grid", "_is_set", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._grid = grid_of(loop)
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, until: float | None = None) -> None:
        """Wait until `set` is called or the loop's clock reaches `until`, in seconds. A wait of MIN_WAIT_S and more may
        end a slot of the timer grid later."""
        if not self._is_set:
            self._waiter = self._loop.create_future()
            cancel = None if until is None else self._set_at(until)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if cancel is not None:
                    cancel()
        self._is_set = False

    def _set_at(self, until: float) -> Callable[[], object]:
        """Call `set` at the loop's time `until`. Returns a function that cancels the call."""
        if until - self._loop.time() < MIN_WAIT_S:
            return self._loop.call_at(until, self.set).cancel
        call = self.set
        calls = self._grid.add(self._loop, call, until)
        return lambda: calls.pop(call, None)
