"""The reaper: in every worker, it finds the jobs nobody is at work on any more and sends them again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from worker import metrics
from worker.backoff import jittered
from worker.errors import LedgerUnavailable
from worker.ledger.event_stream import EventStream
from worker.ledger.ledger import Ledger
from worker.settings import Settings

logger = structlog.get_logger(__name__)


class Reaper:
    """`run` works until it is cancelled. `reap.lua` finds the jobs."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        wake: Callable[[Sequence[str]], None],
        events: EventStream | None = None,
    ) -> None:
        """`wake` sends a message for each job; it may block, and raise LedgerUnavailable."""
        self._events = events
        self._settings = settings
        self._ledger = ledger
        self._wake = wake

    async def run(self) -> None:
        """Every STT_REAP_INTERVAL_S seconds, with jitter, so that workers started together do not search together."""
        loop = asyncio.get_running_loop()
        pause_s = jittered(self._settings.reap_interval_s / 2, spread=1.0)  # anywhere in the first interval
        while True:
            asleep = loop.time()
            await asyncio.sleep(pause_s)
            pause_s = jittered(0.9 * self._settings.reap_interval_s, spread=0.1)  # never longer than the setting
            if loop.time() - asleep > self._settings.lease_s + pause_s:
                # This process itself was stopped. So may others have been, with the whole machine: who is still alive
                # renews first.
                pause_s = self._settings.lease_renew_s
                continue
            try:
                await self.once()
            except LedgerUnavailable as exc:
                # The same when Redis was away: no lease could be renewed.
                logger.warning("no search for lost jobs", error=str(exc))
                pause_s = max(pause_s, 1.5 * self._settings.lease_renew_s)
            except Exception:
                logger.exception("the search for lost jobs failed; it goes on")

    async def once(self) -> int:
        """Search and send; how many were sent. Raises LedgerUnavailable."""
        settings = self._settings
        await self._ledger.check_schema()
        found = await self._ledger.reap(settings.queue, tries=settings.job_attempts, delay_s=settings.job_backoff_s)
        metrics.REAPED.labels("failed").inc(len(found.given_up))
        metrics.REAPED.labels("requeued").inc(len(found.send))
        for job_id in found.given_up:
            logger.warning("job given up: worker after worker stopped in the middle of it", job=job_id)
            if self._events is not None:
                await self._events.publish("failed", job_id, code="attempts")
        for job_id in found.unreadable:
            logger.error("job dropped from the queue: its key contains no record of a job", job=job_id)
        if found.send:
            logger.info("jobs sent again", jobs=len(found.send), first=found.send[0])
            # Lost here, they are sent when their patience is over: the ledger has them down as sent.
            await asyncio.to_thread(self._wake, found.send)
        return len(found.send)
