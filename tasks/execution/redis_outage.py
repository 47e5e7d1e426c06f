"""Ensures that outages of Redis do not count as attempts of a job. An outage can lose the answer to an acquisition, or
the renewal of a lease."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Final

import structlog

from worker.errors import LeaseLost, LedgerUnavailable
from worker.ledger.command_limit import command_limit
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger, Refusal

logger = structlog.get_logger(__name__)
POLL_S: Final = 1.0
"""Seconds between two tries to release a job whose attempt ended because Redis did not answer."""
MAX_OUTAGE_S: Final = 3600.0
"""Maximum seconds of these tries. After that, the reaper requeues the job, which counts as an attempt."""
RELEASE_TIMEOUT_S: Final = 2.0
"""Maximum seconds to release a job. A worker that stops waits no longer, even if Redis hangs."""
MAX_UNANSWERED: Final = 1000
"""Maximum number of acquisitions without an answer that a worker remembers."""


class Acquirer:
    """Acquires jobs for one worker process. `name`: name of the process, unique among all workers."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger, self._name = ledger, name
        self._unanswered: deque[str] = deque(maxlen=MAX_UNANSWERED)
        """Owners whose acquisition got no answer. Redis may nevertheless have given them a job."""

    async def acquire(self, job_id: str) -> Lease | Refusal:
        """Take the lease of the first job of the queue, or of `job_id` if the queue is empty. Raises as
        `Ledger.acquire_next`.

        Each acquisition has a new owner. But after an outage, the owner of an acquisition without an answer is used
        again, because the same owner gets the same job (`acquire.lua`). Without this, that job would wait until its
        lease expires, and the lost answer would count as an attempt."""
        while True:
            again = bool(self._unanswered)
            owner = self._unanswered.pop() if again else f"{self._name}:{token_hex(4)}"
            try:
                answer = await self._ledger.acquire_next(job_id, owner)
            except LedgerUnavailable:
                self._unanswered.append(owner)
                raise
            # Another worker may have that job by now. The message must then start another job of the queue.
            if isinstance(answer, Lease) or not again:
                return answer


async def release_after_outage(
    lease: Lease, wait: Callable[[float], Awaitable[object]], stopping: Callable[[], bool]
) -> bool:
    """Release the lease of an attempt that ended because Redis did not answer, as soon as Redis answers. Returns
    whether the job is in the queue again.

    Without this, the lease would expire and count as an attempt, and several outages in a row would fail the job. After
    an outage, the reapers of all workers ignore expired leases for STT_LEASE_S (`reap.lua`). `wait`: waits for a number
    of seconds, or less when the worker stops. `stopping`: whether the worker stops."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + MAX_OUTAGE_S
    while loop.time() < deadline and not stopping():
        try:
            with command_limit(RELEASE_TIMEOUT_S):
                await lease.release()
        except LeaseLost:
            return False  # another worker has the job, or a failover of Redis has lost this acquisition
        except LedgerUnavailable:
            await wait(POLL_S)
        else:
            logger.info("job released after an outage of Redis", job=lease.job_id)
            return True
    return False


__all__ = ["RELEASE_TIMEOUT_S", "Acquirer", "release_after_outage"]
