"""The ledger: the record of every job in Redis. Celery messages only wake workers; the ledger decides which job runs.

Keys, below STT_REDIS_PREFIX:

| key                  | type   | contains                                                                  |
|----------------------|--------|---------------------------------------------------------------------------|
| `job:ID`             | hash   | the fields of `records.FIELDS`                                            |
| `job:ID:commits`     | stream | one entry per commit, `epoch` and `segment` (JSON), in order of arrival   |
| `job:ID:transcript`  | string | the finished transcript, JSON                                             |
| `batch:ID:jobs`      | set    | ids of the jobs of a batch                                                |
| `jobs`, `batches`    | zset   | the newest ids, scored by creation time in ms                             |
| `outputs`            | hash   | name of an output -> id of the job that wrote it last (`stt-batch run`)   |
| `leases`             | zset   | ids of running jobs, scored by the end of their lease in ms               |
| `queue`              | zset   | ids of jobs that wait for a worker, scored by their position              |
| `queue:turns`        | hash   | state of the round-robin over batches, and of the searches of the reapers |
| `queue:answer:OWNER` | string | id of the job that OWNER took, in case it repeats the same request        |
| `delayed`            | zset   | ids of jobs that join the queue later, scored by that time in ms          |
| `paused`             | zset   | ids of paused jobs, scored by the time of the pause in ms                 |
| `batch:ID:paused`    | string | exists while the batch is paused                                          |
| `schema`             | hash   | versions that can read these keys, see `worker.ledger.schema`             |
| `dead-letters`       | stream | refused messages, see `worker.ledger.dead_letters`                        |
| `speed:HASH`         | string | last speed of a service (multiple of real time), for an hour              |

Every key expires. The keys of a job that has ended expire STT_RESULT_TTL after its end; those of other jobs expire
UNFINISHED_TTL (or STT_RESULT_TTL if that is longer) after the last write. All changes of state are atomic Lua scripts.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from worker.errors import BadJob, LeaseLost, LedgerUnavailable, QueueFull
from worker.ledger import schema
from worker.ledger.connection import CALL_LIMIT_S, RedisConnection, WriteUnconfirmed
from worker.ledger.dead_letters import DeadLetters
from worker.ledger.durability import durability_warnings
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.hash_cache import HashCache
from worker.ledger.id_search import IdSearch
from worker.ledger.key_pause import KeyPause
from worker.ledger.keys import UNACKED, Keys
from worker.ledger.lease import SECTIONS, Lease
from worker.ledger.old_messages import OldMessages
from worker.ledger.readable_records import passable, readable
from worker.ledger.recent_text import RecentText
from worker.ledger.records import (
    FIELDS,
    CommitEntry,
    ContentRecord,
    JobRecord,
    JobState,
    ReapResult,
    Refusal,
    StateChange,
    state_changes,
)
from worker.ledger.speed_cache import SpeedCache
from worker.settings import Settings
from worker.transcript.model import SectionFacts

MAX_INDEX_ENTRIES: Final = 100_000
"""Maximum number of ids in `jobs` and in `batches`; the oldest are dropped."""
JOBS_PER_CALL: Final = 500
"""Maximum number of jobs in one round trip to Redis."""
LOST_MESSAGE_INTERVALS: Final = 1.0
"""Multiple of STT_REAP_INTERVAL_S. If the queue has had fewer Celery messages than jobs for that long, the missing ones
count as lost. Before that, a worker may be about to send them."""
MAX_DELAY: Final = timedelta(minutes=10)
"""Longest delay before the next attempt at a job whose workers died."""


class Ledger:
    """Reads and changes the records of all jobs. Belongs to one event loop. Methods raise LedgerUnavailable."""

    def __init__(self, settings: Settings, *, limit_s: float = CALL_LIMIT_S) -> None:
        """`limit_s`: maximum seconds of a call to Redis with all its retries."""
        self._connection = RedisConnection(settings.redis_url, replicas=settings.redis_replicas, limit_s=limit_s)
        self._keys = Keys(settings.redis_prefix)
        self.speed_cache = SpeedCache(self._connection, self._keys)
        self.hash_cache = HashCache(self._connection, self._keys)
        self.recent_text = RecentText(self._connection, self._keys)
        self.id_search = IdSearch(self._connection, self._keys)
        self.key_pause = KeyPause(self._connection, settings)
        self.dead_letters = DeadLetters(self._connection, self._keys, settings.result_ttl)
        self.old_messages = OldMessages(self._connection, self._keys)
        self._lease_s, self._result_ttl = settings.lease_s, settings.result_ttl
        self._unfinished_ttl = max(UNFINISHED_TTL, settings.result_ttl)
        self._lost_message_ms = int(settings.reap_interval_s * LOST_MESSAGE_INTERVALS * 1000)
        # An outage of this length can let leases expire. Two intervals, so that a late search does not count.
        longest_s = max(settings.lease_s - settings.lease_renew_s, 2 * settings.reap_interval_s)
        self._search_due_ms = int(longest_s * 1000)

    async def close(self) -> None:
        await self._connection.close()

    async def check_schema(self) -> None:
        """Register this version as a writer. Raises LedgerNewer if Redis contains records of a newer version that this
        one cannot read."""
        await schema.register(self._connection, self._keys, _ms(self._unfinished_ttl))

    # -- writing ---------------------------------------------------------------------------------------------------

    async def create(
        self, job_id: str, spec: str, *, batch: str | None = None, force: bool = False, content: str = ""
    ) -> StateChange:
        """Queue a job, or find the existing one with this id.

        A job that failed, was cancelled or is incomplete is queued again. With `force`, a job that is done is queued
        again too. A queued job only gets the new `spec`. All other jobs are not changed. `content`: the content from
        which the id was computed (see `content_of`), or empty for an id that the producer chose.
        """
        contents = {job_id: content}
        (created,) = await self.create_many([(job_id, spec)], batch=batch, force=force, contents=contents)
        return created

    async def create_many(
        self,
        jobs: Sequence[tuple[str, str]],
        *,
        batch: str | None = None,
        force: bool = False,
        max_waiting: int = 0,
        contents: Mapping[str, str] | None = None,
        producer: str = "",
        claim: str = "",
    ) -> list[StateChange]:
        """Queue several jobs, each as `create` does. `jobs`: pairs of id and spec. The results have the same order.

        `contents`: id -> content. `max_waiting`: maximum of waiting jobs, above which QueueFull is raised; 0: none.
        `producer`: see `JobRecord`. `claim`: see `claims`. Raises BadJob for a job of another producer."""
        name = batch or ""
        shared = (self._keys["jobs"], self._keys["batches"], self._keys.batch(name), self._keys.batch_paused(name))
        rest = (name, int(force), _ms(self._unfinished_ttl), MAX_INDEX_ENTRIES, max_waiting, *schema.WRITTEN)
        known = contents or {}
        calls = [
            ((*self._keys.script_keys(job_id), *shared), (job_id, spec, *rest, known.get(job_id, ""), producer, claim))
            for job_id, spec in jobs
        ]
        answers = await self._scripts("create", calls, durable=True)
        schema.raise_if_newer(answers)
        for (job_id, _), (_, state) in zip(jobs, answers, strict=True):
            if state == "other":
                raise BadJob(f"job {job_id} was queued by another producer: choose another key")
        if not all(state for _, state in answers):
            raise QueueFull(
                f"{max_waiting} jobs wait already (STT_QUEUE_MAX): submit it again when some of them have begun"
            )
        return [
            StateChange(job_id, JobState(before) if before else None, JobState(state))
            for (job_id, _), (before, state) in zip(jobs, answers, strict=True)
        ]

    async def acquire(self, job_id: str, owner: str) -> Lease | Refusal:
        """Take the lease of a job that is queued or whose lease has expired. `owner` identifies the caller.

        Returns a Refusal if the job cannot be taken. Raises LedgerNewer."""
        return await self._acquire(job_id, owner, "")

    async def acquire_next(self, job_id: str, owner: str) -> Lease | Refusal:
        """Take the lease of the first job of the queue, or of `job_id` if the queue is empty. Returns and raises the
        same as `acquire`.

        `owner` must be unique for each request. A request that is repeated with the same `owner`, because its answer
        was lost, gets the same job."""
        return await self._acquire(job_id, owner, self._keys.job(""))

    async def _acquire(self, job_id: str, owner: str, prefix: str) -> Lease | Refusal:
        args = (
            job_id,
            owner,
            int(self._lease_s * 1000),
            _ms(self._unfinished_ttl),
            prefix,
            schema.VERSION,
            schema.READER,
        )
        try:
            answer = await self._connection.script("acquire", self._keys.script_keys(job_id), args, durable=True)
        except WriteUnconfirmed as exc:
            # Otherwise the lease expires and counts as an attempt, and a missing replica fails each job in the queue.
            if isinstance(unused := self._lease_of(exc.answers[0], owner), Lease):
                with suppress(LedgerUnavailable, LeaseLost):
                    await unused.release()
            raise
        return self._lease_of(answer, owner)

    def _lease_of(self, answer: Any, owner: str) -> Lease | Refusal:
        schema.raise_if_newer([answer])
        if answer[0] != "acquired":
            return Refusal(answer[0])
        _, taken, epoch, spec, attempts, commits, tries, transcribed, unread, shortages, content = answer
        return Lease(
            self._connection,
            self._keys.script_keys(taken),
            job_id=taken,
            epoch=epoch,
            owner=owner,
            spec=spec,
            attempts=int(attempts),
            commits=int(commits),
            tries=int(tries),
            transcribed=transcribed == "1",
            unread=int(unread),
            shortages=int(shortages),
            content=ContentRecord.of(content),
            lease_s=self._lease_s,
            unfinished_ttl=self._unfinished_ttl,
            result_ttl=self._result_ttl,
        )

    async def cancel(self, job_id: str) -> StateChange | None:
        """End a queued or running job as cancelled. Returns None if there is no such job.

        Its worker stops at its next write. The commits are not deleted."""
        (cancelled,) = await self.cancel_many([job_id])
        return cancelled

    async def cancel_many(self, job_ids: Sequence[str]) -> list[StateChange | None]:
        """Cancel several jobs, each as `cancel` does. The results have the order of `job_ids`."""
        calls = [(self._keys.script_keys(job_id), (job_id, _ms(self._result_ttl))) for job_id in job_ids]
        return state_changes(job_ids, await self._scripts("cancel", calls))

    async def retry(self, job_id: str, *, keep_commits: bool = True) -> StateChange | None:
        """Queue a job that failed, is incomplete or was cancelled. Returns None if there is no such job.

        With `keep_commits`, the job continues after the last committed segment, or only writes missing output files
        from the stored transcript. Without it, or if the source has changed, the job starts over."""
        args = (int(keep_commits), _ms(self._unfinished_ttl))
        answers = await self._scripts("retry", [(self._keys.script_keys(job_id), (job_id, *args))])
        return state_changes([job_id], answers)[0]

    async def pause(self, job_ids: Sequence[str], *, batch: str | None = None, on: bool = True) -> list[str]:
        """Pause queued and running jobs, or resume them with `on=False`. Returns the ids of the jobs that changed.

        `batch`: jobs that are added to this batch later are also paused or, with `on=False`, not paused any more."""
        if batch is not None:
            key, ttl_ms = self._keys.batch_paused(batch), _ms(self._unfinished_ttl)
            await self._connection.call(lambda redis: redis.set(key, "1", px=ttl_ms) if on else redis.delete(key))
        args = (int(on), _ms(self._unfinished_ttl))
        answers = await self._scripts("pause", [(self._keys.script_keys(i), (i, *args)) for i in job_ids])
        return [job_id for job_id, (_, changed) in zip(job_ids, answers, strict=True) if changed == "1"]

    async def paused(self, batch_id: str) -> bool:
        """Whether a batch is paused."""
        return bool(await self._connection.call(lambda redis: redis.exists(self._keys.batch_paused(batch_id))))

    async def requeue(self, job_id: str) -> None:
        """Requeue a running job of any worker. Call this only if no worker runs any more."""
        args = (job_id, "", "", _ms(self._unfinished_ttl))
        await self._connection.script("release", self._keys.script_keys(job_id), args)

    async def reap(self, queue: str, *, tries: int, delay_s: float, limit: int = 500) -> ReapResult:
        """Requeue jobs whose lease has expired or whose delay is over, and find lost messages (see `reap.lua`).

        The caller must send a Celery message for each id in `ReapResult.send`. `queue`: name of the Celery queue;
        `tries`: attempts in a row without a commit after which a job fails; `delay_s`: first delay before another
        attempt, in seconds; `limit`: maximum number of jobs per call."""
        answer = await self._connection.script(
            "reap",
            (*self._keys.pending, *(lists := self._keys.queue_lists(queue)), *self._keys.celery_keys(queue)),
            (
                *(self._keys.job(""), limit, self._lost_message_ms, tries),
                *(int(delay_s * 1000), _ms(MAX_DELAY), _ms(self._result_ttl), _ms(self._unfinished_ttl)),
                random.random(),  # noqa: S311  jitter
                *(len(lists), int(self._lease_s * 1000), self._search_due_ms),
            ),
        )
        return ReapResult.of(answer)

    async def write_progress(self, leases: Sequence[Lease]) -> list[Lease]:
        """Renew leases and write the progress that `Lease.note` stored: one round trip for up to JOBS_PER_CALL leases.

        Returns the leases that were lost."""
        answers = await self._scripts("progress", [lease.progress_call() for lease in leases])
        return [lease for lease, answer in zip(leases, answers, strict=True) if answer != 1]

    async def expire_content(self, job_id: str, after: timedelta) -> None:
        """Let the transcript and the commits of a job expire `after` from now. Its record expires later, as usual."""
        commits, transcript, ttl_ms = self._keys.commits(job_id), self._keys.transcript(job_id), _ms(after)
        await self._connection.pipeline(lambda p: (p.pexpire(commits, ttl_ms), p.pexpire(transcript, ttl_ms)))

    async def claim_output(self, name: str, job_id: str) -> bool:
        """Record that `job_id` writes the output `name`. Returns whether the same job was recorded there before."""
        key, ttl_ms = self._keys["outputs"], _ms(self._unfinished_ttl)
        before, *_ = await self._connection.pipeline(
            lambda p: (p.hget(key, name), p.hset(key, name, job_id), p.pexpire(key, ttl_ms))
        )
        return bool(before == job_id)

    async def clear_queue(self, queue: str) -> None:
        """Delete the lists of running, queued and delayed jobs, and all Celery messages of `queue`. The records of the
        jobs are not deleted, and a job returns to the queue when it is submitted again.

        Only for a caller that knows that no worker runs any more."""
        ours = (*self._keys.pending, self._keys["queue:turns"])
        keys = [*self._keys.queue_lists(queue), *map(self._keys.celery, UNACKED), *ours]
        await self._connection.call(lambda redis: redis.delete(*keys))

    # -- reading ---------------------------------------------------------------------------------------------------

    async def get(self, job_id: str) -> JobRecord | None:
        """Return the record of one job, or None if there is no such job or its key does not contain a valid record.

        Raises LedgerNewer for a record that only a newer version can read."""
        (answer,) = await self._connection.pipeline(lambda p: p.hmget(self._keys.job(job_id), FIELDS), each=True)
        return readable(job_id, answer)

    async def get_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records of several jobs, in the order of `job_ids`.

        An element is None if there is no such job, its key does not contain a valid record, or only a newer version can
        read the record."""
        records: list[JobRecord | None] = []
        for first in range(0, len(job_ids), JOBS_PER_CALL):
            ids = job_ids[first : first + JOBS_PER_CALL]

            def read(pipeline: Any, ids: Sequence[str] = ids) -> None:
                for job_id in ids:
                    pipeline.hmget(self._keys.job(job_id), FIELDS)

            answers = await self._connection.pipeline(read, each=True)
            records += [passable(job_id, answer) for job_id, answer in zip(ids, answers, strict=True)]
        return records

    async def transcript(self, job_id: str) -> str | None:
        """Return the finished transcript as JSON, or None if the job has no transcript or it has expired."""
        text: str | None = await self._connection.call(lambda redis: redis.get(self._keys.transcript(job_id)))
        return text

    async def commits(self, job_id: str, *, after: str = "0") -> AsyncIterator[CommitEntry]:
        """Yield the commits that the job has so far, oldest first. `after`: skip commits up to this stream id."""
        key = self._keys.commits(job_id)
        while True:
            start = f"({after}"
            page = await self._connection.call(
                lambda redis, start=start: redis.xrange(key, min=start, count=JOBS_PER_CALL)  # type: ignore[misc]
            )
            for stream_id, fields in page:
                yield CommitEntry(stream_id, int(fields["epoch"]), fields["segment"])
            if len(page) < JOBS_PER_CALL:
                return
            after = page[-1][0]

    async def plan(self, job_id: str) -> tuple[str | None, dict[int, SectionFacts]]:
        """Return the recorded plans of the sections (JSON, or None if the source is not streamed in sections), and the
        finished sections by number."""
        plan, sections = await self._connection.call(
            lambda redis: redis.hmget(self._keys.job(job_id), "plan", "sections")
        )
        return plan, SECTIONS.validate_json(sections) if sections else {}

    async def batch(self, batch_id: str) -> list[str]:
        """Return the ids of the jobs of a batch, sorted; empty if there is no such batch."""
        return sorted(await self._connection.call(lambda redis: redis.smembers(self._keys.batch(batch_id))))

    async def recent_jobs(self, limit: int | None = 20) -> list[str]:
        """Return the ids of the newest `limit` jobs (None: of all jobs in the index), newest first."""
        return await self._newest("jobs", limit)

    async def recent_batches(self, limit: int = 20) -> list[str]:
        """Return the ids of the newest `limit` batches, newest first."""
        return await self._newest("batches", limit)

    async def running(self, limit: int = 10_000) -> list[str]:
        """Return the ids of running jobs, including jobs of dead workers that are not requeued yet."""
        return list(await self._connection.call(lambda redis: redis.zrange(self._keys["leases"], 0, limit - 1)))

    async def durability(self) -> list[str]:
        """Return warnings about Redis settings that can lose accepted jobs; empty if there are none."""
        answers = await self._connection.pipeline(lambda p: (p.info("persistence"), p.info("memory")))
        return durability_warnings(answers[0] | answers[1])

    async def ping(self) -> None:
        """Check that Redis answers. Raises LedgerUnavailable if it does not."""
        await self._connection.call(lambda redis: redis.ping())

    async def _newest(self, index: str, limit: int | None) -> list[str]:
        ids: list[str] = await self._connection.call(
            lambda redis: redis.zrevrange(self._keys[index], 0, limit - 1 if limit else -1)
        )
        return ids

    async def _scripts(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[str | int | float]]], *, durable: bool = False
    ) -> list[Any]:
        answers: list[Any] = []
        for first in range(0, len(calls), JOBS_PER_CALL):
            answers += await self._connection.script_many(name, calls[first : first + JOBS_PER_CALL], durable=durable)
        return answers


def _ms(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)


__all__ = ["CommitEntry", "JobRecord", "JobState", "Ledger", "ReapResult", "Refusal", "StateChange"]
