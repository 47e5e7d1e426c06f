"""The producer API: submit jobs and follow them.

    from tasks import submit
    handle = submit("/audio/call.wav", out_dir="/transcripts", formats=("json", "srt"))
    for segment in handle.commits():      # live, until the job has ended
        print(segment.start, segment.text)
    handle.status().state

`submit` and `submit_many` block and may be called from any thread, because the calls to Redis run on an event loop in
its own thread. `submit_async` and `submit_many_async` are for programs with an event loop; the methods of their handles
are coroutines. This module imports only the standard library; other modules are loaded by the first call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from tasks.client.job_options import BatchOptions, JobOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.client.producer import Producer
    from tasks.job_spec import BatchStatus, JobStatus
    from worker.ledger.ledger import JobState, StateChange
    from worker.settings import Settings
    from worker.transcript.model import Segment

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Base:
    id: str
    settings: Settings

    @property
    def _producer(self) -> Producer:
        from tasks.client.producer import shared_producer  # noqa: PLC0415

        return shared_producer(self.settings)


@dataclass(frozen=True, slots=True)
class _Job(_Base):
    before: JobState | None
    """The state of the job before the submission, or None for a new job."""


@dataclass(frozen=True, slots=True)
class JobHandle(_Job):
    """A submitted job. All methods raise LedgerUnavailable if Redis does not answer."""

    def status(self) -> JobStatus:
        """Return the current state of the job. Raises KeyError if the job has expired."""
        return _run_blocking(self._producer.status(self.id))

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Wait until the job has ended, in any state. Raises TimeoutError after `timeout_s` seconds, and KeyError if
        the job has expired."""
        _run_blocking(self._producer.wait([self.id], timeout_s))
        return self.status()

    def commits(self) -> Iterator[Segment]:
        """Yield each committed segment, from the first one on, until the job has ended."""
        from tasks.client.polling import poll_pause_s  # noqa: PLC0415
        from worker.transcript.model import Segment  # noqa: PLC0415

        after, idle = "0", 0
        while True:
            entries, ended = _run_blocking(self._producer.commits_after(self.id, after))
            for entry in entries:
                after = entry.stream_id
                yield Segment.model_validate_json(entry.segment)
            if ended:
                return
            idle = 0 if entries else idle + 1
            _run_blocking(self._producer.wait_for_commit(self.id, after, poll_pause_s(idle)))

    def transcript(self) -> str | None:
        """Return the finished transcript as JSON. Returns None if the job has not ended yet, or if the transcript has
        expired."""
        return _run_blocking(self._producer.ledger.transcript(self.id))


@dataclass(frozen=True, slots=True)
class AsyncJobHandle(_Job):
    """A `JobHandle` whose methods are coroutines, for a program with an event loop."""

    async def status(self) -> JobStatus:
        return await _run_async(self._producer.status(self.id))

    async def wait(self, timeout_s: float | None = None) -> JobStatus:
        await _run_async(self._producer.wait([self.id], timeout_s))
        return await self.status()

    async def commits(self) -> AsyncIterator[Segment]:
        from tasks.client.polling import poll_pause_s  # noqa: PLC0415
        from worker.transcript.model import Segment  # noqa: PLC0415

        after, idle = "0", 0
        while True:
            entries, ended = await _run_async(self._producer.commits_after(self.id, after))
            for entry in entries:
                after = entry.stream_id
                yield Segment.model_validate_json(entry.segment)
            if ended:
                return
            idle = 0 if entries else idle + 1
            await _run_async(self._producer.wait_for_commit(self.id, after, poll_pause_s(idle)))

    async def transcript(self) -> str | None:
        return await _run_async(self._producer.ledger.transcript(self.id))


@dataclass(frozen=True, slots=True)
class BatchHandle(_Base):
    """A submitted batch. All methods raise LedgerUnavailable if Redis does not answer."""

    jobs: tuple[JobHandle, ...]

    def status(self) -> BatchStatus:
        return _run_blocking(_batch_status(self))

    def wait(self, timeout_s: float | None = None) -> BatchStatus:
        """Wait until all jobs have ended. Raises TimeoutError."""
        _run_blocking(self._producer.wait([job.id for job in self.jobs], timeout_s))
        return self.status()


@dataclass(frozen=True, slots=True)
class AsyncBatchHandle(_Base):
    """A `BatchHandle` whose methods are coroutines, for a program with an event loop."""

    jobs: tuple[AsyncJobHandle, ...]

    async def status(self) -> BatchStatus:
        return await _run_async(_batch_status(self))

    async def wait(self, timeout_s: float | None = None) -> BatchStatus:
        await _run_async(self._producer.wait([job.id for job in self.jobs], timeout_s))
        return await self.status()


def submit(
    source: str | Path,
    *,
    force: bool = False,
    idempotency_key: str | None = None,
    settings: Settings | None = None,
    **options: Unpack[JobOptions],
) -> JobHandle:
    """Queue one audio file and return. Blocks while the file is hashed, because its sha256 is part of the job's id.

    `options` are the other fields of `JobSpec`, with the types of `tasks.client.job_options.JobOptions`. Two
    submissions of the same content with the same options are one job; a finished job is not repeated unless `force` is
    set. An `idempotency_key` (letters, digits, `._-`) replaces the computed id, and the file is not read. Raises
    BadJob, SourceError, QueueFull, LedgerUnavailable, SettingsError.
    """
    settings = settings or _load()
    created = _run_blocking(_submit(settings, source, force, idempotency_key, options))
    return JobHandle(created.job_id, settings, created.before)


async def submit_async(
    source: str | Path,
    *,
    force: bool = False,
    idempotency_key: str | None = None,
    settings: Settings | None = None,
    **options: Unpack[JobOptions],
) -> AsyncJobHandle:
    """Queue one audio file as `submit` does, for a program with an event loop."""
    settings = settings or _load()
    created = await _run_async(_submit(settings, source, force, idempotency_key, options))
    return AsyncJobHandle(created.job_id, settings, created.before)


def submit_many(
    sources: Iterable[str | Path],
    *,
    batch: str | None = None,
    batch_webhook: str | None = None,
    force: bool = False,
    settings: Settings | None = None,
    **options: Unpack[BatchOptions],
) -> BatchHandle:
    """Queue many files as one batch, all with the same `options`.

    `batch_webhook` is notified once, when all jobs of the batch have ended. The option `webhook` is notified of the end
    of each job. Raises the same errors as `submit`; errors of a file are raised before any job is queued. After
    QueueFull some of the jobs may be queued: repeat the call later to queue the rest.
    """
    settings = settings or _load()
    name, created = _run_blocking(_submit_many(settings, sources, batch, batch_webhook, force, options))
    return BatchHandle(name, settings, tuple(JobHandle(job.job_id, settings, job.before) for job in created))


async def submit_many_async(
    sources: Iterable[str | Path],
    *,
    batch: str | None = None,
    batch_webhook: str | None = None,
    force: bool = False,
    settings: Settings | None = None,
    **options: Unpack[BatchOptions],
) -> AsyncBatchHandle:
    """Queue many files as `submit_many` does, for a program with an event loop."""
    settings = settings or _load()
    name, created = await _run_async(_submit_many(settings, sources, batch, batch_webhook, force, options))
    return AsyncBatchHandle(name, settings, tuple(AsyncJobHandle(job.job_id, settings, job.before) for job in created))


async def _submit(
    settings: Settings, source: str | Path, force: bool, key: str | None, options: JobOptions
) -> StateChange:
    from tasks.client.producer import make_spec, shared_producer  # noqa: PLC0415

    spec = make_spec(source, **options)
    return await shared_producer(settings).submit(spec, force=force, idempotency_key=key)


async def _submit_many(
    settings: Settings,
    sources: Iterable[str | Path],
    batch: str | None,
    webhook: str | None,
    force: bool,
    options: BatchOptions,
) -> tuple[str, list[StateChange]]:
    from tasks.client.producer import make_spec, new_batch_id, shared_producer  # noqa: PLC0415
    from worker.storage.address import parse  # noqa: PLC0415

    name = batch or new_batch_id()
    specs = [make_spec(source, **options, batch=name) for source in sources]
    url = None if webhook is None else parse(webhook)
    return name, await shared_producer(settings).submit_many(specs, batch=name, force=force, webhook=url)


async def _batch_status(batch: BatchHandle | AsyncBatchHandle) -> BatchStatus:
    from tasks.job_spec import BatchStatus  # noqa: PLC0415

    records = await batch._producer.ledger.get_many([job.id for job in batch.jobs])
    view = await batch._producer.queue_view.read(records)
    return BatchStatus.of(batch.id, records, view.waiting)


def _load() -> Settings:
    from worker.settings import load  # noqa: PLC0415

    return load()


def _run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the shared loop; blocks the calling thread."""
    from tasks.event_loop import shared_loop  # noqa: PLC0415

    return shared_loop().call(work)


async def _run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the shared loop without blocking the caller's loop."""
    import asyncio  # noqa: PLC0415

    from tasks.event_loop import shared_loop  # noqa: PLC0415

    return await asyncio.wrap_future(shared_loop().submit(work))


__all__ = [
    "AsyncBatchHandle",
    "AsyncJobHandle",
    "BatchHandle",
    "JobHandle",
    "submit",
    "submit_async",
    "submit_many",
    "submit_many_async",
]
