"""Renews the leases of a worker process's running jobs, and stops an attempt whose lease was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import structlog

from worker import metrics
from worker.errors import LedgerUnavailable
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import Settings

logger = structlog.get_logger(__name__)
T = TypeVar("T")
WRITE_EVERY_S: Final = 0.5
"""Seconds between two writes of progress to the ledger. Each write also detects lost leases, so a cancelled job stops
within this time."""
# Tasks are cancelled several times, because the client of Redis was seen to lose a cancellation.
STOP_TRIES: Final = 3


class LeaseRenewer:
    """Renews leases, writes progress and detects lost leases.

    One round trip to Redis every WRITE_EVERY_S seconds serves all jobs together. A separate round trip for each report
    of each job would need more processor time than streaming."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._leases: set[Lease] = set()
        self._writing: asyncio.Task[None] | None = None

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Until the `with` block ends, regularly write the progress of the lease's job. Sets the event `lease.lost`
        when the lease was lost."""
        self._leases.add(lease)
        metrics.JOBS_RUNNING.inc()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        try:
            yield
        finally:
            self._leases.discard(lease)
            metrics.JOBS_RUNNING.dec()

    async def run(self, lease: Lease, attempt: Coroutine[Any, Any, T]) -> T:
        """Run `attempt`, and renew the lease until the attempt has ended. Returns the result of the attempt. If the
        lease is lost, stops the attempt and raises LeaseLost."""
        running = asyncio.create_task(attempt)
        # Each progress write extends the lease as well (`_write`). This task is for the case that Redis does not
        # answer: it ends the attempt before another worker can acquire the job.
        renewing = asyncio.create_task(lease.renew_every(self._settings.lease_renew_s))
        try:
            await asyncio.wait((running, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                # `renew_every` only ends with an error.
                renewing.result()
            return await running
        finally:
            await self._stop(running, renewing)

    async def renew_all(self) -> None:
        """Renew all leases and write progress. Raises LedgerUnavailable."""
        leases = tuple(self._leases)
        if not leases:
            return
        # Before the call: Redis counts the term of the leases from a moment during the call, not after it.
        now = time.monotonic()
        lost = set(await self._ledger.write_progress(leases))
        for lease in leases:
            if lease in lost:
                lease.lost.set()
            else:
                lease.renewed_at = now

    async def _write(self) -> None:
        while self._leases:
            await asyncio.sleep(WRITE_EVERY_S)
            # This metric is for an alert: if the age of the last write is high, leases are about to expire.
            oldest = min((lease.renewed_at for lease in self._leases), default=None)
            metrics.LEASE_AGE.set(0.0 if oldest is None else time.monotonic() - oldest)
            try:
                await self.renew_all()
            except LedgerUnavailable as exc:
                # Log no warning, because `renew_every` logs one and decides when the lease is lost.
                logger.debug("progress of the running jobs not written", error=str(exc))
        metrics.LEASE_AGE.set(0.0)

    async def _stop(self, *tasks: asyncio.Task[Any]) -> None:
        """Cancel the tasks and wait until they have ended. If they have not ended after the time that closing a session
        takes, cancel them again, up to STOP_TRIES times, because a library may swallow a cancellation."""
        for _ in range(STOP_TRIES):
            pending = [task for task in tasks if not task.done()]
            if not pending:
                break
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=self._settings.close_timeout_s + 0.5)
        for task in tasks:
            if not task.done():
                logger.error("a pipeline does not stop", task=task.get_name())
            elif not task.cancelled() and task.exception() is not None:
                logger.debug("ended while it was stopped", error=repr(task.exception()))
