"""Reads the state of a queue, a batch, a job or a run from the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tasks.batches.summary import BatchSummary, JobLine, summarize
from tasks.cli.live_status.snapshot import Snapshot, lone_failures
from worker.errors import BadJob
from worker.ledger.connection import RedisConnection
from worker.ledger.key_breaker import paused_text
from worker.ledger.ledger import Ledger
from worker.ledger.queue_stats import QueueStatsReader
from worker.ledger.records import JobRecord, JobState
from worker.ledger.waiting import NO_WORKER, QueueViewReader
from worker.settings import Settings

QUERY_LIMIT_S: Final = 5.0
"""Maximum seconds of each query. Shorter than that of other commands, because the view tries again."""
RECENT_BATCHES: Final = 8
RECENT_JOBS: Final = 200
MAX_FILES_OF_RUN: Final = 20_000
MAX_RUNNING: Final = 100
"""Maximum number of running jobs that the view shows; no terminal has more lines."""


@dataclass(frozen=True, slots=True)
class Target:
    """The work to show. `name`: title of the view. `identity`: id of a batch or job, or None for the whole queue.
    `run`: the ledger is that of a run, whose files are shown as one batch."""

    name: str
    identity: str | None = None
    run: bool = False


class SnapshotReader:
    """Reads snapshots. Belongs to one event loop. Methods raise LedgerUnavailable."""

    def __init__(self, settings: Settings, target: Target) -> None:
        self._settings, self._target = settings, target
        self._ledger = Ledger(settings, limit_s=QUERY_LIMIT_S)
        self._connection = RedisConnection(settings.redis_url, limit_s=QUERY_LIMIT_S)
        self._stats = QueueStatsReader(settings, self._connection)
        self._queue = QueueViewReader(settings, self._connection)

    async def close(self) -> None:
        await self._ledger.close()
        await self._connection.close()

    async def complete(self) -> Target:
        """Complete an id of which only the beginning was given. Raises BadJob if several ids begin so."""
        target = self._target
        if target.identity is not None:
            identity = await self._ledger.id_search.complete(target.identity)
            self._target = target = Target(identity, identity, target.run)
        return target

    async def read(self) -> Snapshot:
        """Read the present state. Raises BadJob if the batch or job does not exist."""
        target, ledger = self._target, self._ledger
        stats = await self._stats.read()
        recent: Sequence[JobRecord | None] = ()
        if target.identity is not None:
            records: Sequence[JobRecord | None] = await self._records_of(target.identity)
            batches: tuple[BatchSummary, ...] = (_summary(target.identity, records),)
        else:
            recent = await ledger.get_many(await ledger.recent_jobs(MAX_FILES_OF_RUN if target.run else RECENT_JOBS))
            if target.run:
                batches, records = (_summary(target.name, recent),) if any(recent) else (), recent
            else:
                batches = await self._recent_batches()
                records = await ledger.get_many(await ledger.running(MAX_RUNNING))
        running = [one for one in records if one is not None and one.state is JobState.RUNNING]
        jobs = sorted(running, key=lambda job: (job.started_at or 0.0, job.id))
        texts = await ledger.recent_text.of([job.id for job in jobs[:MAX_RUNNING]])
        queue = await self._queue.read(jobs)
        notices = [paused_text(key) for key in queue.paused_keys]
        # The workers of a run start and end with it.
        if queue.no_worker and not target.run and stats.queued + stats.delayed + stats.running:
            notices.append(NO_WORKER)
        return Snapshot(
            title=target.name,
            waiting=stats.queued + stats.delayed,
            running=stats.running,
            batches=batches,
            jobs=tuple(jobs),
            texts=dict(zip([job.id for job in jobs], texts, strict=False)),
            lone_failures=() if target.run or target.identity else lone_failures(recent),
            notices=tuple(notices),
            queue=queue,
        )

    async def _records_of(self, identity: str) -> list[JobRecord | None]:
        record = await self._ledger.get(identity)
        if record is not None:
            return [record]
        ids = await self._ledger.batch(identity)
        if not ids:
            raise BadJob(f"{identity}: no such job or batch in this Redis, or it has expired; see `stt-batch list`")
        return await self._ledger.get_many(ids)

    async def _recent_batches(self) -> tuple[BatchSummary, ...]:
        found = []
        for name in await self._ledger.recent_batches(RECENT_BATCHES):
            if ids := await self._ledger.batch(name):
                found.append(_summary(name, await self._ledger.get_many(ids)))
        return tuple(found)


def _summary(name: str, records: Sequence[JobRecord | None]) -> BatchSummary:
    lines = [JobLine.of(record) for record in records if record is not None]
    return summarize(name, lines, now=time.time(), expired=records.count(None))
