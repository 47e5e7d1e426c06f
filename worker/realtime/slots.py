"""Slots: permission to open a session. `worker.ledger.session_limiter` limits them for each API key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol


class Slots(Protocol):
    """Hands out slots. A session holds one slot while it is open."""

    def slot(self, job_id: str) -> AbstractAsyncContextManager[None]:
        """Waits for a slot, holds it while the body runs, and releases it on every way out.

        Raises SessionLost out of the body when the slot was lost meanwhile: Redis was away, or this process stood
        still, for longer than a slot lives. The session must end, since another one may have the slot now.
        """

    async def busy(self) -> None:
        """Report that the service is at its limit (HTTP 429, `rate_limited`, no free session)."""

    def make_room(self, job_id: str) -> bool:
        """Whether a session of this job should end at the current pause, because a job with fewer sessions waits.

        True once per waiting session; the caller must then release its slot.
        """
        ...


class UnlimitedSlots:
    """Slots without a limit and without Redis."""

    @asynccontextmanager
    async def slot(self, job_id: str) -> AsyncIterator[None]:
        yield

    async def busy(self) -> None:
        """Nothing to limit."""

    def make_room(self, job_id: str) -> bool:
        return False
