"""The leases a worker process holds, looked after together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from worker import metrics
from worker.errors import LedgerUnavailable
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger

_LOG: Final = logging.getLogger(__name__)
LOOK_S: Final = 0.5
"""Between two looks: within this time the ledger shows how far a job is, and one that was cancelled stops."""


class Held:
    """While there are leases, one round trip for all of them writes down how far their jobs are and finds those that
    were taken away. (A round trip for each job and report would cost more than streaming does.)"""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._leases: set[Lease] = set()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        self._leases.add(lease)
        metrics.JOBS_HELD.inc()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self._leases.discard(lease)
            metrics.JOBS_HELD.dec()

    async def _look(self) -> None:
        while self._leases:
            await asyncio.sleep(LOOK_S)
            oldest = min((lease.renewed for lease in self._leases), default=None)
            metrics.LEASE_AGE.set(0.0 if oldest is None else time.monotonic() - oldest)
            try:
                lost = await self._ledger.look_after(tuple(self._leases))
            except LedgerUnavailable as exc:
                _LOG.debug("not looked after the running jobs: %s", exc)
                continue
            for lease in lost:
                lease.lost.set()
        metrics.LEASE_AGE.set(0.0)
