"""Finds the reason why each unfinished job waits, see `worker.ledger.records.WaitsFor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from worker.errors import JobNewer
from worker.ledger.connection import RedisConnection
from worker.ledger.key_breaker import KeyState, paused_keys
from worker.ledger.keys import Keys
from worker.ledger.records import JobRecord, JobState, Waiting, WaitsFor
from worker.ledger.worker_registry import WorkerFacts, WorkerRegistry
from worker.settings import Settings

NO_WORKER: Final = "no worker is alive; start one: stt-batch worker"
WAITS_FOR_TEXTS: Final = {
    WaitsFor.WORKER: "a worker",
    WaitsFor.SLOT: "a free session",
    WaitsFor.RETRY: "the next attempt",
    WaitsFor.PAUSE: "`stt-batch resume`",
    WaitsFor.KEY: "the API key",
    WaitsFor.NEWER_VERSION: "a worker of a newer version",
}
"""Text of each reason to wait, for a sentence such as `3 jobs wait for a worker`."""
SAMPLED_DELAYED: Final = 500
"""Maximum number of delayed jobs whose reason `count_waiting` reads; for the others it assumes a retry."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """The state of the queue at one moment, as far as it explains why jobs wait."""

    workers: tuple[WorkerFacts, ...] = ()
    paused_keys: tuple[KeyState, ...] = ()
    now: float = 0.0
    """Seconds since 1970 on the clock of Redis."""
    places: Mapping[str, int] = field(default_factory=dict)
    """Number of jobs before each queued job, by job id."""
    due_at: Mapping[str, float] = field(default_factory=dict)
    """Time at which each delayed job joins the queue, by job id."""
    unregistered: int = 0
    """Running jobs with a valid lease while no worker is registered: older workers, which do not register, run them."""

    @property
    def no_worker(self) -> bool:
        return not self.workers and not self.unregistered

    @property
    def key_paused(self) -> KeyState | None:
        """The paused key, if no worker has another one."""
        paused = {state.name: state for state in self.paused_keys}
        if not paused or any(worker.key not in paused for worker in self.workers):
            return None
        return paused[self.workers[0].key] if self.workers else self.paused_keys[0]

    def waiting(self, record: JobRecord) -> Waiting | None:
        """Return why a job waits. None if it has ended, or if a worker processes it."""
        if record.state.ended:
            return None
        if record.state is JobState.RUNNING:
            return self._running(record)
        if record.paused:
            return Waiting(WaitsFor.PAUSE, f"paused; to continue: stt-batch resume {record.id}")
        if self.no_worker:
            return Waiting(WaitsFor.WORKER, NO_WORKER)
        return self._queued(record)

    def _queued(self, record: JobRecord) -> Waiting:
        if record.error_code == JobNewer.code:
            return Waiting(WaitsFor.NEWER_VERSION, f"a worker of a newer version; {record.error}")
        if (key := self.key_paused) is not None:
            return Waiting(WaitsFor.KEY, f"the API key {key.name} is paused: {key.reason}")
        if (due := self.due_at.get(record.id)) is not None:
            at = datetime.fromtimestamp(due).astimezone()
            reason = f": {record.error}" if record.error else ""
            return Waiting(WaitsFor.RETRY, f"next attempt at {at:%H:%M:%S}{reason}")
        before = self.places.get(record.id)
        free = any(worker.jobs < worker.max_sessions for worker in self.workers)
        busy = "" if free or not self.workers else ", and all workers are busy"
        return Waiting(
            WaitsFor.WORKER, "a worker" if before is None else f"a worker; {before} jobs are before it{busy}"
        )

    def _running(self, record: JobRecord) -> Waiting | None:
        if any(record.id in worker.waiting for worker in self.workers):
            return Waiting(WaitsFor.SLOT, "a free session of its worker or of the API key")
        if record.lease_until < self.now:
            text = NO_WORKER if self.no_worker else "its worker stopped; another one continues it"
            return Waiting(WaitsFor.WORKER, text)
        return None


class QueueViewReader:
    """Reads the state of the queue. Belongs to one event loop. Raises LedgerUnavailable."""

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._settings = settings
        self._connection = connection
        self._registry = WorkerRegistry(connection, Keys(settings.redis_prefix))
        self._keys = Keys(settings.redis_prefix)

    async def read(self, records: Sequence[JobRecord | None] = ()) -> QueueView:
        """Read the workers and paused keys, and the positions of the queued jobs among `records`."""
        workers = await self._registry.alive()
        paused = await paused_keys(self._settings, self._connection)
        queued = [one.id for one in records if one is not None and one.state is JobState.QUEUED]
        leases, queue, delayed = self._keys.pending
        seconds, micros = await self._connection.call(lambda redis: redis.time())
        now = int(seconds) + int(micros) / 1e6

        def ask(pipeline: object) -> None:
            pipeline.zcount(leases, now * 1000, "+inf")  # type: ignore[attr-defined]
            for job_id in queued:
                pipeline.zrank(queue, job_id)  # type: ignore[attr-defined]
                pipeline.zscore(delayed, job_id)  # type: ignore[attr-defined]

        leased, *answers = await self._connection.pipeline(ask)
        ranks, dues = answers[::2], answers[1::2]
        return QueueView(
            workers=tuple(workers),
            paused_keys=tuple(paused),
            now=now,
            places={one: rank for one, rank in zip(queued, ranks, strict=True) if rank is not None},
            due_at={one: due / 1000 for one, due in zip(queued, dues, strict=True) if due is not None},
            unregistered=0 if workers else leased,
        )

    async def count_waiting(self, view: QueueView) -> dict[WaitsFor, int]:
        """Return the number of waiting jobs of the whole queue for each reason."""
        _, queue, delayed = self._keys.pending
        queued, later, paused, some = await self._connection.pipeline(
            lambda p: (
                p.zcard(queue),
                p.zcard(delayed),
                p.zcard(self._keys["paused"]),
                p.zrange(delayed, 0, SAMPLED_DELAYED - 1),
            )
        )
        codes = await self._connection.pipeline(
            lambda p: [p.hget(self._keys.job(one), "error_code") for one in some], each=True
        )
        newer = codes.count(JobNewer.code)
        counts = Counter({WaitsFor.PAUSE: paused, WaitsFor.NEWER_VERSION: newer, WaitsFor.RETRY: later - newer})
        counts[WaitsFor.KEY if view.key_paused is not None and not view.no_worker else WaitsFor.WORKER] += queued
        counts[WaitsFor.SLOT] = sum(len(worker.waiting) for worker in view.workers)
        return {reason: counts[reason] for reason in WaitsFor}


__all__ = ["NO_WORKER", "WAITS_FOR_TEXTS", "QueueView", "QueueViewReader"]
