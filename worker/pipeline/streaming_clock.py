"""Measures how long a job streams: the time in which at least one of its sessions is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.realtime.slots import Slots


class StreamingClock:
    """The slots of one job, with a clock that only runs while the job has a slot.

    A job waits for slots, reads its source and composes its transcript. None of this belongs to the speed of its
    streaming. Implements `Slots`."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._open = 0
        self._since = 0.0
        self._total_s = 0.0

    @property
    def streaming_s(self) -> float:
        """Seconds in which at least one session was open. Sessions at the same time count once."""
        return self._total_s + (self._loop.time() - self._since if self._open else 0.0)

    @asynccontextmanager
    async def slot(self, job_id: str) -> AsyncIterator[None]:
        """Context with a slot, see `Slots.slot`. The clock runs while the slot is used."""
        async with self._slots.slot(job_id):
            if not self._open:
                self._since = self._loop.time()
            self._open += 1
            try:
                yield
            finally:
                self._open -= 1
                if not self._open:
                    self._total_s += self._loop.time() - self._since

    async def busy(self) -> None:
        """Report to the slots of the process that the service is at its limit."""
        await self._slots.busy()

    async def pause(self, seconds: float) -> None:
        """Report to the slots of the process that the service demands a pause."""
        await self._slots.pause(seconds)

    async def succeeded(self, job_id: str) -> None:
        """Report to the slots of the process that a session has succeeded."""
        await self._slots.succeeded(job_id)

    @property
    def key_accepted(self) -> bool:
        return self._slots.key_accepted

    def make_room(self, job_id: str) -> bool:
        """Whether a session of this job should end at the current pause, see `Slots.make_room`."""
        return self._slots.make_room(job_id)
