"""The asyncio core of the producer API: records jobs in the ledger, sends messages to the queue, and follows jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import lru_cache
from secrets import token_hex
from typing import Final

from tasks.client import celery_message
from tasks.client.identities import Identities
from tasks.client.new_spec import make_spec
from tasks.client.polling import poll_pause_s
from tasks.event_loop import LoopThread, shared_loop
from tasks.job_spec import JobSpec, JobStatus, checked_key
from worker.errors import LedgerRefused, QueueFull, SourceNotFound
from worker.ledger.commit_wait import wait_for_commit
from worker.ledger.connection import RedisConnection
from worker.ledger.event_stream import EventStream
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.keys import Keys
from worker.ledger.ledger import CommitEntry, JobState, Ledger, StateChange
from worker.ledger.waiting import QueueViewReader
from worker.settings import Settings
from worker.storage.address import Address
from worker.webhooks.deliverable import WebhookCheck
from worker.webhooks.outbox import Outbox

AT_ONCE: Final = 500
"""Maximum number of jobs, messages or commits in one round trip to Redis."""
MAX_FOLLOWING: Final = 16
"""Maximum number of followers of one producer that wait in Redis; further followers poll."""
SUBMITTED_HASH_TTL: Final = timedelta(days=1)
"""How long workers may use the hash of a file that a producer computed. Later they hash the file themselves."""


class Producer:
    """Submits and follows jobs. Belongs to one event loop; call `close` at the end. Methods raise LedgerUnavailable if
    Redis does not answer."""

    def __init__(self, settings: Settings, identified: Identities | None = None) -> None:
        self.settings = settings
        self.identified = Identities() if identified is None else identified
        self._read = self.identified.files
        self.ledger = Ledger(settings)
        self._connection = RedisConnection(settings.redis_url)
        self.events = EventStream(settings, self._connection)
        self.hash_cache = self.ledger.hash_cache
        self._following = 0  # followers that wait in Redis
        self.queue_view = QueueViewReader(settings, self._connection)
        self._webhooks = WebhookCheck(settings, self._connection)

    async def close(self) -> None:
        await self.ledger.close()
        await self._connection.close()

    # -- submitting ------------------------------------------------------------------------------------------------

    async def identify(self, spec: JobSpec, *, scope: str = "") -> str:
        """Return the job's id. To compute the id, a file is hashed; for an address, the server is asked for values that
        identify the content. Raises SourceError if this machine cannot read the source."""
        return (await self.identify_many([spec], scope=scope))[0]

    async def identify_many(self, specs: Sequence[JobSpec], *, scope: str = "") -> list[str]:
        return await self.identified.identify_many(specs, self.settings, scope=scope)

    async def record(self, identity: str, spec: JobSpec, *, force: bool = False) -> StateChange:
        """Record a job in the ledger, regardless of STT_QUEUE_MAX. Sends no message to the workers; see `wake`."""
        await self._cache_hashes([spec])
        content = self.identified.contents.get(identity, "")
        return await self.ledger.create(
            identity, spec.model_dump_json(), batch=spec.batch, force=force, content=content
        )

    def note_read(self, path: str, stamp: str, content: str) -> None:
        """Remember the hash of a file that another part of this process computed. It is published with the job of the
        file, so that workers need not hash the file again."""
        self.identified.note_file(path, stamp, content)

    async def _cache_hashes(self, specs: Sequence[JobSpec]) -> None:
        """Publish the hashes that this process computed, so that workers with the same files need not hash them
        again."""
        paths = (spec.source.text for spec in specs)
        read = {path: self._read.pop(path) for path in paths if path in self._read}
        if read:
            await self.hash_cache.put(read, ttl=SUBMITTED_HASH_TTL)

    async def wake(self, job_ids: Sequence[str]) -> None:
        """Send a message for each waiting job in `job_ids`, so that a worker runs the job. A superfluous message does
        no harm."""
        elements = [celery_message.message(identity, self.settings.queue) for identity in job_ids]
        messages = Keys(self.settings.redis_prefix).celery(self.settings.queue)
        for first in range(0, len(elements), AT_ONCE):
            some = elements[first : first + AT_ONCE]
            await self._connection.pipeline(
                lambda pipeline, some=some: (pipeline.lpush(messages, *some), pipeline.expire(messages, UNFINISHED_TTL))  # type: ignore[misc]
            )

    async def submit(self, spec: JobSpec, *, force: bool = False, idempotency_key: str | None = None) -> StateChange:
        """Record one job and wake the workers. Raises BadJob, SourceError, QueueFull."""
        if idempotency_key is not None:
            identity = checked_key(idempotency_key)
        else:
            try:
                identity = await self.identify(spec)
            except SourceNotFound as exc:
                raise SourceNotFound(f"{exc}; for a file that only workers can read, give an idempotency_key") from None
        (created,) = await self.enqueue([(identity, spec)], batch=spec.batch, force=force)
        return created

    async def submit_many(
        self, specs: Sequence[JobSpec], *, batch: str | None, force: bool = False, webhook: Address | None = None
    ) -> list[StateChange]:
        """Record the jobs of one batch and wake the workers. `webhook` is notified when the whole batch has ended.

        Errors of a file are raised before any job is queued. QueueFull may be raised after some jobs were queued;
        repeat the call to queue the other jobs.
        """
        if webhook is not None:
            await self.check_webhooks([webhook])
        identities = await self.identify_many(specs)
        created = await self.enqueue(list(zip(identities, specs, strict=True)), batch=batch, force=force)
        if batch is not None and webhook is not None:
            await self.watch_batch(batch, webhook)
        return created

    async def check_webhooks(self, urls: Iterable[Address]) -> None:
        """Raise BadJob for an address to which no worker that is alive can deliver webhooks."""
        await self._webhooks.check(urls)

    async def watch_batch(self, batch: str, webhook: Address) -> None:
        """Request that `webhook` is notified when all jobs of a batch have ended. Call this after the jobs were
        queued."""
        await Outbox(self.settings, self._connection).watch_batch(batch, webhook)

    async def enqueue(
        self,
        jobs: Sequence[tuple[str, JobSpec]],
        *,
        batch: str | None,
        force: bool = False,
        producer: str = "",
        claim: str = "",
    ) -> list[StateChange]:
        """Record jobs with the given ids and wake the workers. Raises QueueFull, and BadJob for a webhook that no
        worker can deliver. `producer`: name of a producer with its own intake stream or HTTP key. Such a
        producer may only change jobs that it queued; BadJob is raised for other jobs. `claim`: see
        `worker.ledger.claims`."""
        await self.check_webhooks({spec.webhook for _, spec in jobs if spec.webhook is not None})
        created: list[StateChange] = []
        announcements: list[asyncio.Task[None]] = []
        try:
            for first in range(0, len(jobs), AT_ONCE):
                some = jobs[first : first + AT_ONCE]
                try:
                    new = await self._record_many(some, batch, force=force, producer=producer, claim=claim)
                except QueueFull:
                    await self.wake([identity for identity, _ in some])  # some of these jobs may be recorded
                    raise
                # Send messages and events while the next jobs are recorded.
                announcements.append(asyncio.create_task(self._announce(new, batch)))
                created += new
        finally:
            if announcements:
                await asyncio.wait(announcements)
        for task in announcements:
            task.result()
        return created

    async def _record_many(
        self, jobs: Sequence[tuple[str, JobSpec]], batch: str | None, *, force: bool, producer: str, claim: str
    ) -> list[StateChange]:
        await self._cache_hashes([spec for _, spec in jobs])
        specs = [(identity, spec.model_dump_json()) for identity, spec in jobs]
        contents = {identity: self.identified.contents.get(identity, "") for identity, _ in jobs}
        created = await self.ledger.create_many(
            specs,
            batch=batch,
            force=force,
            max_waiting=self.settings.queue_max,
            contents=contents,
            producer=producer,
            claim=claim,
        )
        for identity in contents:
            self.identified.contents.pop(identity, None)
        return created

    async def _announce(self, created: Sequence[StateChange], batch: str | None) -> None:
        """Send messages and publish events for jobs that were just recorded."""
        await self.wake([job.job_id for job in created if not job.state.ended])
        new = (job for job in created if job.state is JobState.QUEUED and job.before is not JobState.QUEUED)
        await self.events.publish_many(("queued", job.job_id, {"batch": batch}) for job in new)

    # -- status and results ----------------------------------------------------------------------------------------

    async def status(self, identity: str) -> JobStatus:
        """Return the current state of a job. Raises KeyError if it does not exist or has expired."""
        record = await self.ledger.get(identity)
        if record is None:
            raise KeyError(identity)
        if record.state.ended:
            return JobStatus.of(record)
        return JobStatus.of(record, (await self.queue_view.read([record])).waiting(record))

    async def wait(self, identities: Sequence[str], timeout_s: float | None) -> None:
        """Wait until all jobs have ended or expired. Raises TimeoutError."""
        left, idle = list(dict.fromkeys(identities)), 0
        async with asyncio.timeout(timeout_s):
            while True:
                # Poll the first AT_ONCE jobs only: jobs end approximately in the order of the queue.
                (*records,) = await self.ledger.get_many(left[:AT_ONCE])
                ended = {i for i, record in zip(left, records, strict=False) if record is None or record.state.ended}
                left = [identity for identity in left if identity not in ended]
                if not left:
                    return
                if not ended:
                    await asyncio.sleep(poll_pause_s(idle))
                    idle += 1

    async def commits_after(self, identity: str, after: str) -> tuple[list[CommitEntry], bool]:
        """Return at most AT_ONCE commits of a job after the stream id `after`. Also returns whether these are the last
        commits of the job."""
        record = await self.ledger.get(identity)
        entries: list[CommitEntry] = []
        async for entry in self.ledger.commits(identity, after=after):
            entries.append(entry)
            if len(entries) == AT_ONCE:
                return entries, False
        return entries, record is None or record.state.ended

    async def wait_for_commit(self, identity: str, after: str, timeout_s: float) -> None:
        """Wait for a commit of a job after the stream id `after`, at most `timeout_s` seconds.

        The wait is in Redis, which answers when the commit is stored: a pause between two queries would delay it."""
        # Each waiting follower occupies a connection of the pool, so only some of them wait in Redis.
        if self._following >= MAX_FOLLOWING:
            await asyncio.sleep(timeout_s)
            return
        self._following += 1
        try:
            await wait_for_commit(self._connection, Keys(self.settings.redis_prefix), identity, after, timeout_s)
        except LedgerRefused:  # the user of STT_REDIS_URL may not have the right to XREAD
            await asyncio.sleep(timeout_s)
        finally:
            self._following -= 1


def new_batch_id() -> str:
    return f"batch-{token_hex(5)}"


def shared_producer(settings: Settings) -> Producer:
    """Return the producer of this process for these settings. It runs on the shared event loop."""
    return _producer_of(shared_loop(), settings)


@lru_cache(maxsize=8)
def _producer_of(_loop: LoopThread, settings: Settings) -> Producer:
    """Create one producer per event loop, because a forked process has a new loop and needs a new producer."""
    return Producer(settings)


__all__ = ["Identities", "Producer", "make_spec", "new_batch_id", "shared_producer"]
