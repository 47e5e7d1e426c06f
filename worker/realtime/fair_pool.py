"""Shares the sessions of one worker process fairly between its jobs.

A long file uses all free sessions. When a job with fewer sessions arrives, that job gets the next session first, and
the long file ends one of its sessions at the next pause to make room.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count

from worker.realtime.slots import Slots


class FairPool:
    """Limits the open sessions of this process to `max_sessions`. Each session also needs one of the `shared` slots.

    Implements `Slots`. For use on one event loop."""

    def __init__(self, max_sessions: int, shared: Slots) -> None:
        self._max_sessions = max_sessions
        self._shared = shared
        self._open: Counter[str] = Counter()
        self._leaving: Counter[str] = Counter()  # open sessions that will end because `make_room` returned True
        self._waiting: dict[int, tuple[str, asyncio.Future[None]]] = {}  # job id and wake-up, by order of arrival
        self._requested: Counter[str] = Counter()  # sessions that wait for a slot, of this process or a shared one
        self._granted: Counter[str] = Counter()  # sessions with both slots
        self._numbers = count()

    @asynccontextmanager
    async def slot(self, job_id: str) -> AsyncIterator[None]:
        """Context with a slot of this process and a shared slot, see `Slots.slot`."""
        with _counted(self._requested, job_id) as requested:
            await self._enter(job_id)
            try:
                async with self._shared.slot(job_id):
                    requested.close()
                    with _counted(self._granted, job_id):
                        yield
            finally:
                self._leave(job_id)

    def waiting_jobs(self) -> list[str]:
        """Return the ids of the jobs that wait for their first session."""
        return [job_id for job_id in self._requested if job_id not in self._granted]

    async def busy(self) -> None:
        """Report to the shared slots that the service is at its limit."""
        await self._shared.busy()

    async def pause(self, seconds: float) -> None:
        """Report to the shared slots that the service demands a pause."""
        await self._shared.pause(seconds)

    async def succeeded(self, job_id: str) -> None:
        """Report to the shared slots that a session has succeeded."""
        await self._shared.succeeded(job_id)

    @property
    def key_accepted(self) -> bool:
        return self._shared.key_accepted

    def make_room(self, job_id: str) -> bool:
        """Whether a session of this job should end at the current pause, because a job with fewer sessions waits.

        True once per waiting session; the caller must then end its session, which releases the slot."""
        # Sessions that are about to end are not counted. Otherwise the job would end too many sessions.
        remaining = self._open[job_id] - self._leaving[job_id]
        # Jobs with only one session fewer are ignored, because the two jobs would only swap their numbers of sessions.
        waiting = sum(self._open[other] < remaining - 1 for other, _ in self._waiting.values())
        if self._leaving.total() >= waiting:
            return False
        self._leaving[job_id] += 1
        return True

    async def _enter(self, job_id: str) -> None:
        # Even if a slot is free, a new session must not overtake waiting ones.
        if self._open.total() < self._max_sessions and not self._waiting:
            self._open[job_id] += 1
            return
        number, turn = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = (job_id, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot was granted at the same moment
                self._leave(job_id)
            raise
        finally:
            self._waiting.pop(number, None)

    def _leave(self, job_id: str) -> None:
        for counts in (self._open, self._leaving):
            counts[job_id] -= 1
            if counts[job_id] <= 0:
                del counts[job_id]
        while self._waiting and self._open.total() < self._max_sessions:
            # The job with the fewest open sessions is next; among equal jobs, the session that came first.
            number = min(self._waiting, key=lambda n: (self._open[self._waiting[n][0]], n))
            job, turn = self._waiting.pop(number)
            if not turn.done():
                self._open[job] += 1
                turn.set_result(None)


def _counted(counts: Counter[str], job_id: str) -> ExitStack:
    """Return a context that counts the job while it is open. Its method `close` ends the counting earlier."""

    def end() -> None:
        counts[job_id] -= 1
        if counts[job_id] <= 0:
            del counts[job_id]

    counts[job_id] += 1
    stack = ExitStack()
    stack.callback(end)
    return stack


__all__ = ["FairPool"]
