"""The record of every job in Redis: the truth that messages only point at.

Keys, below the prefix of the settings:

| key                  | type   | holds                                                                     |
|----------------------|--------|---------------------------------------------------------------------------|
| `job:ID`             | hash   | the fields of `records.FIELDS`                                            |
| `job:ID:commits`     | stream | one entry per commit, `epoch` and `segment` (JSON), as they come          |
| `job:ID:transcript`  | string | the finished transcript, JSON                                             |
| `batch:ID:jobs`      | set    | ids of the jobs of a batch                                                |
| `jobs`, `batches`    | zset   | the newest ids, scored by creation time in ms                             |
| `outputs`            | hash   | name of an output -> id of the job that wrote it last (`stt-batch run`)   |
| `leases`             | zset   | ids of running jobs, scored by the end of their lease in ms               |

Every key has a TTL: `result_ttl` from the end of the job, and while it is not at its end `UNFINISHED_TTL` (or
`result_ttl` when that is longer) from the last write. Transitions are Lua scripts on the server's clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from worker.settings import Settings
from worker.storage.connection import Connection
from worker.storage.lease import JobKeys, Lease
from worker.storage.records import FIELDS, JobRecord, JobState, read_record

UNFINISHED_TTL: Final = timedelta(days=30)
INDEX_ENTRIES: Final = 100_000
"""Most ids kept in `jobs` and in `batches`."""
# How kombu names the lists of a queue, by priority.
_PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
READ_AT_ONCE: Final = 500
"""Records read in one round trip."""


class Refusal(StrEnum):
    """Why a job cannot be acquired."""

    MISSING = "missing"
    ENDED = "ended"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Created:
    """`before`: the state an earlier submission had left, None for a new job; `state`: what it is now."""

    job_id: str
    before: JobState | None
    state: JobState


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit in a job's stream; `segment` is JSON."""

    stream_id: str
    epoch: int
    segment: str


class Ledger:
    """All methods raise LedgerUnavailable when Redis does not answer. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings.redis_url)
        self._prefix = settings.redis_prefix
        self._lease_s = settings.lease_s
        self._result_ttl = settings.result_ttl
        self._unfinished_ttl = max(UNFINISHED_TTL, settings.result_ttl)

    async def close(self) -> None:
        await self._connection.close()

    # -- writing ---------------------------------------------------------------------------------------------------

    async def create(self, job_id: str, spec: str, *, batch: str | None = None, again: bool = False) -> Created:
        """Record a job as queued. One that is queued, running or done is left as it is; `again` redoes a done one."""
        keys = self._keys(job_id)
        before, state = await self._connection.script(
            "create",
            (
                keys.job,
                keys.commits,
                keys.transcript,
                self._key("jobs"),
                self._key("batches"),
                self._batch(batch or ""),
            ),
            (job_id, spec, batch or "", int(again), _ms(self._unfinished_ttl), INDEX_ENTRIES),
        )
        return Created(job_id, JobState(before) if before else None, JobState(state))

    async def acquire(self, job_id: str, owner: str) -> Lease | Refusal:
        """Take a job that is queued, or whose owner's lease has lapsed. `owner` names one worker process."""
        keys = self._keys(job_id)
        answer = await self._connection.script(
            "acquire",
            (keys.job, keys.commits, keys.leases),
            (job_id, owner, int(self._lease_s * 1000), _ms(self._unfinished_ttl)),
        )
        if answer[0] != "acquired":
            return Refusal(answer[0])
        _, epoch, spec, attempts, commits = answer
        return Lease(
            self._connection,
            keys,
            job_id=job_id,
            epoch=epoch,
            spec=spec,
            attempts=int(attempts),
            commits=int(commits),
            lease_s=self._lease_s,
            unfinished_ttl=self._unfinished_ttl,
            result_ttl=self._result_ttl,
        )

    async def cancel(self, job_id: str) -> Created | None:
        """End a job that waits or runs; its worker stops at its next write. None when there is no such job."""
        keys = self._keys(job_id)
        before, state = await self._connection.script(
            "cancel", (keys.job, keys.commits, keys.leases), (job_id, _ms(self._result_ttl))
        )
        return Created(job_id, JobState(before), JobState(state)) if before else None

    async def take_back(self, job_id: str) -> None:
        """Put a running job back to queued whoever holds it: for one who knows that no worker is left."""
        keys = self._keys(job_id)
        await self._connection.script(
            "release", (keys.job, keys.commits, keys.leases), (job_id, "", _ms(self._unfinished_ttl))
        )

    async def expire_content(self, job_id: str, after: timedelta) -> None:
        """Let the transcript and the commits of a job go early; its record stays."""
        keys = self._keys(job_id)
        ttl_ms = _ms(after)
        await self._connection.many(lambda p: (p.pexpire(keys.commits, ttl_ms), p.pexpire(keys.transcript, ttl_ms)))

    async def claim_output(self, name: str, job_id: str) -> bool:
        """Note that `job_id` writes the output `name` from now on. Whether it was the last one to say so before."""
        key, ttl_ms = self._key("outputs"), _ms(self._unfinished_ttl)
        before, *_ = await self._connection.many(
            lambda p: (p.hget(key, name), p.hset(key, name, job_id), p.pexpire(key, ttl_ms))
        )
        return bool(before == job_id)

    async def forget_queue(self, queue: str) -> None:
        """Delete the Celery messages of a queue: for one who knows that no worker is left and sends new ones."""
        keys = [*(f"{queue}{priority}" for priority in _PRIORITIES), "unacked", "unacked_index", "unacked_mutex"]
        await self._connection.call(lambda redis: redis.delete(*keys))

    # -- reading ---------------------------------------------------------------------------------------------------

    async def get(self, job_id: str) -> JobRecord | None:
        (record,) = await self.get_many([job_id])
        return record

    async def get_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """The records in the order asked for; None where there is no such job."""
        records: list[JobRecord | None] = []
        for first in range(0, len(job_ids), READ_AT_ONCE):
            ids = job_ids[first : first + READ_AT_ONCE]

            def read(pipeline: Any, ids: Sequence[str] = ids) -> None:
                for job_id in ids:
                    pipeline.hmget(self._keys(job_id).job, FIELDS)

            answers = await self._connection.many(read)
            records += [
                read_record(job_id, dict(zip(FIELDS, values, strict=True)))
                for job_id, values in zip(ids, answers, strict=True)
            ]
        return records

    async def transcript(self, job_id: str) -> str | None:
        """The finished transcript, JSON; None when there is none (any more)."""
        text: str | None = await self._connection.call(lambda redis: redis.get(self._keys(job_id).transcript))
        return text

    async def commits(self, job_id: str, *, after: str = "0") -> AsyncIterator[Entry]:
        """The commits that are there now, oldest first, from the one after the stream id `after`."""
        key = self._keys(job_id).commits
        while True:
            start = f"({after}"
            page = await self._connection.call(
                lambda redis, start=start: redis.xrange(key, min=start, count=READ_AT_ONCE)  # type: ignore[misc]
            )
            for stream_id, fields in page:
                yield Entry(stream_id, int(fields["epoch"]), fields["segment"])
            if len(page) < READ_AT_ONCE:
                return
            after = page[-1][0]

    async def batch(self, batch_id: str) -> list[str]:
        """Ids of the jobs of a batch; empty when there is no such batch."""
        return sorted(await self._connection.call(lambda redis: redis.smembers(self._batch(batch_id))))

    async def recent_jobs(self, limit: int = 20) -> list[str]:
        """Ids of the newest jobs, newest first."""
        return await self._newest("jobs", limit)

    async def recent_batches(self, limit: int = 20) -> list[str]:
        return await self._newest("batches", limit)

    async def running(self, limit: int = 10_000) -> list[str]:
        """Ids of the jobs that workers hold, or held when they died."""
        ids: list[str] = await self._connection.call(lambda redis: redis.zrange(self._key("leases"), 0, limit - 1))
        return ids

    async def ping(self) -> None:
        await self._connection.call(lambda redis: redis.ping())

    async def _newest(self, index: str, limit: int) -> list[str]:
        ids: list[str] = await self._connection.call(lambda redis: redis.zrevrange(self._key(index), 0, limit - 1))
        return ids

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _batch(self, batch_id: str) -> str:
        return self._key(f"batch:{batch_id}:jobs")

    def _keys(self, job_id: str) -> JobKeys:
        job = self._key(f"job:{job_id}")
        return JobKeys(job, f"{job}:commits", f"{job}:transcript", self._key("leases"))


def _ms(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)


__all__ = ["Created", "Entry", "JobRecord", "JobState", "Ledger", "Refusal"]
