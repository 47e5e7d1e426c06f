"""The reaper: finds jobs whose lease has expired and sends new messages for them. Runs in every worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from worker import metrics
from worker.backoff import jittered
from worker.errors import LedgerRefused, LedgerUnavailable
from worker.ledger.event_stream import EventStream
from worker.ledger.ledger import Ledger
from worker.settings import Settings

logger = structlog.get_logger(__name__)


class Reaper:
    """Searches at intervals for jobs whose lease has expired. The script `reap.lua` does the search."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        wake: Callable[[Sequence[str]], None],
        renew: Callable[[], Awaitable[None]],
        events: EventStream | None = None,
    ) -> None:
        """`wake`: sends a message for each of the given job ids; may block. `renew`: renews the leases of the jobs that
        this process runs. Both may raise LedgerUnavailable."""
        self._events = events
        self._settings = settings
        self._ledger = ledger
        self._wake = wake
        self._renew = renew
        self._may_adopt = True

    async def run(self) -> None:
        """Search every STT_REAP_INTERVAL_S seconds until cancelled. The pauses vary randomly, so that workers that
        started together do not search at the same time."""
        loop = asyncio.get_running_loop()
        # Start at a random time within the first interval.
        pause_s = jittered(self._settings.reap_interval_s / 2, spread=1.0)
        while True:
            asleep = loop.time()
            await asyncio.sleep(pause_s)
            # 0.9 with a spread of 0.1, so that the pause is never longer than the setting.
            pause_s = jittered(0.9 * self._settings.reap_interval_s, spread=0.1)
            if loop.time() - asleep > self._settings.lease_s + pause_s:
                # This process was suspended, possibly together with all other workers of the machine. Wait, so that the
                # workers can renew their leases before the search.
                pause_s = self._settings.lease_renew_s
                continue
            try:
                await self.once()
            except LedgerUnavailable as exc:
                # While Redis is unreachable, no worker can renew its leases. Wait, so that the workers can renew them
                # before the next search.
                logger.warning("search for lost jobs skipped", error=str(exc))
                pause_s = max(pause_s, 1.5 * self._settings.lease_renew_s)
            except Exception:
                logger.exception("search for lost jobs failed; it will be repeated")

    async def once(self) -> int:
        """Search once and send messages. Returns the number of messages. Raises LedgerUnavailable."""
        settings = self._settings
        await self._ledger.check_schema()
        # An overloaded worker renews late. Its running jobs would lose their progress, and five such losses in a row
        # would fail a job, although no worker stopped.
        await self._renew()
        await self._adopt()
        found = await self._ledger.reap(settings.queue, tries=settings.job_attempts, delay_s=settings.job_backoff_s)
        metrics.REAPED.labels("failed").inc(len(found.given_up))
        metrics.REAPED.labels("requeued").inc(len(found.expired))
        for job_id in found.given_up:
            logger.warning("job failed: several workers in a row stopped while they ran it", job=job_id)
            if self._events is not None:
                await self._events.publish("failed", job_id, code="attempts")
        for job_id in found.unreadable:
            logger.error("job dropped from the queue: its key contains no record of a job", job=job_id)
        if found.expired:
            logger.info("jobs of stopped workers requeued", jobs=len(found.expired), first=found.expired[0])
        if found.lost_messages:
            logger.info("lost messages of queued jobs sent again", messages=found.lost_messages)
        if found.send:
            # Most of these jobs waited for another attempt, or for a paused key: no event worth a line.
            logger.debug("messages sent for jobs", jobs=len(found.send), first=found.send[0])
            # If the messages are lost here, a later search sends them: the ledger has recorded when they were sent.
            await asyncio.to_thread(self._wake, found.send)
        return len(found.send)

    async def _adopt(self) -> None:
        """Take over messages from the lists that earlier versions used. Raises LedgerUnavailable."""
        if not self._may_adopt:
            return
        try:
            if moved := await self._ledger.old_messages.adopt(self._settings.queue):
                logger.info("messages moved from the queue without a prefix", messages=moved)
        except LedgerRefused:
            # The user of Redis has no right to read those lists, so no message of this fleet can be in them.
            self._may_adopt = False
