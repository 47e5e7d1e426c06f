"""The sessions of one worker process, shared fairly between its jobs.

A long file takes what is free; when another job comes that has fewer sessions, it is the first to get the next one, and
the long file ends one of its sessions at the next pause to make room.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from worker.realtime.slots import Slots


class FairPool:
    """At most `most` sessions at once; each waits for one of the `shared` slots too. Belongs to one event loop."""

    def __init__(self, most: int, shared: Slots) -> None:
        self._most = most
        self._shared = shared
        self._open: Counter[str] = Counter()
        self._leaving: Counter[str] = Counter()
        self._waiting: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._numbers = count()

    @asynccontextmanager
    async def slot(self, job_id: str) -> AsyncIterator[None]:
        """See `Slots`."""
        await self._enter(job_id)
        try:
            async with self._shared.slot(job_id):
                yield
        finally:
            self._leave(job_id)

    async def busy(self) -> None:
        """See `Slots`."""
        await self._shared.busy()

    def make_room(self, job_id: str) -> bool:
        """See `Slots`."""
        mine = self._open[job_id] - self._leaving[job_id]
        poorer = sum(self._open[other] < mine - 1 for other, _ in self._waiting.values())
        if self._leaving.total() >= poorer:
            return False
        self._leaving[job_id] += 1
        return True

    async def _enter(self, job_id: str) -> None:
        if self._open.total() < self._most and not self._waiting:
            self._open[job_id] += 1
            return
        number, turn = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = (job_id, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came in the same moment
                self._leave(job_id)
            raise
        finally:
            self._waiting.pop(number, None)

    def _leave(self, job_id: str) -> None:
        for counts in (self._open, self._leaving):
            counts[job_id] -= 1
            if counts[job_id] <= 0:
                del counts[job_id]
        while self._waiting and self._open.total() < self._most:
            number = min(self._waiting, key=lambda n: (self._open[self._waiting[n][0]], n))
            job, turn = self._waiting.pop(number)
            if not turn.done():
                self._open[job] += 1
                turn.set_result(None)


__all__ = ["FairPool"]
