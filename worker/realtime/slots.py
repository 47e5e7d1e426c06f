"""Slots limit the number of open sessions: a session may only be open while it has a slot.
`worker.ledger.session_limiter` limits the slots of each API key, and `worker.realtime.fair_pool` those of each
process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf
from typing import Protocol


class Slots(Protocol):
    """Grants slots. A session needs one slot while it is open."""

    def slot(self, job_id: str) -> AbstractAsyncContextManager[None]:
        """Context with a slot: waits for it at the start and releases it at the end.

        Raises SessionLost in the body of the `async with` if the slot expires, because Redis was unavailable or this
        process was suspended for too long. The session must then end, since another session may have the slot.
        """

    async def busy(self) -> None:
        """Report that the service is at its limit (HTTP 429, `rate_limited`, no free session), so that fewer sessions
        are opened."""

    async def pause(self, seconds: float) -> None:
        """Report that the service demands a pause (`Retry-After`): no slot is granted for that time."""

    async def succeeded(self, job_id: str) -> None:
        """Report that a session of the job has succeeded or has received a commit. This shows that the service accepts
        the API key."""

    @property
    def key_accepted(self) -> bool:
        """Whether a session with the API key has succeeded before."""
        ...

    def make_room(self, job_id: str) -> bool:
        """Whether a session of this job should end at the current pause, because a job with fewer sessions waits.

        True once per waiting session; the caller must then release its slot.
        """
        ...


class UnlimitedSlots:
    """Slots without a limit and without Redis."""

    def __init__(self) -> None:
        self._paused_until = -inf
        self.key_accepted = False

    @asynccontextmanager
    async def slot(self, job_id: str) -> AsyncIterator[None]:
        await asyncio.sleep(self._paused_until - asyncio.get_running_loop().time())
        yield

    async def busy(self) -> None:
        """Do nothing: there is no limit to lower."""

    async def pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)

    async def succeeded(self, job_id: str) -> None:
        self.key_accepted = True

    def make_room(self, job_id: str) -> bool:
        return False
