"""The producer API: put jobs into the ledger, wake a worker, follow them.

    from tasks import submit
    handle = submit("/audio/call.wav", out_dir="/transcripts", formats=("json", "srt"))
    for segment in handle.commits():      # live, until the job has ended
        print(segment.start, segment.text)
    handle.status().state

Works in any thread and in any program: the calls to Redis run on an event loop in a thread of their own. The functions
block; `submit_async` and `submit_many_async` are for programs with an event loop, their handles have the same methods
as coroutines. This module imports nothing but the standard library: what it needs comes with the first job.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

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
    """The state it had already when it was submitted, None for a new job."""


@dataclass(frozen=True, slots=True)
class JobHandle(_Job):
    """A job that was submitted. All methods raise LedgerUnavailable when Redis does not answer."""

    def status(self) -> JobStatus:
        """How it stands. KeyError when the job has expired."""
        return _run_blocking(self._producer.status(self.id))

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Until it has ended, whatever the end is. Raises TimeoutError, and KeyError when the job has expired."""
        _run_blocking(self._producer.wait([self.id], timeout_s))
        return self.status()

    def commits(self) -> Iterator[Segment]:
        """Each piece of text as it is committed, from the first on; ends when the job has."""
        import time  # noqa: PLC0415

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
            time.sleep(poll_pause_s(idle))

    def transcript(self) -> str | None:
        """The finished transcript, JSON, or None when there is none (yet, or any more)."""
        return _run_blocking(self._producer.ledger.transcript(self.id))


@dataclass(frozen=True, slots=True)
class AsyncJobHandle(_Job):
    """`JobHandle` for a program with an event loop."""

    async def status(self) -> JobStatus:
        return await _run_async(self._producer.status(self.id))

    async def wait(self, timeout_s: float | None = None) -> JobStatus:
        await _run_async(self._producer.wait([self.id], timeout_s))
        return await self.status()

    async def commits(self) -> AsyncIterator[Segment]:
        import asyncio  # noqa: PLC0415

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
            await asyncio.sleep(poll_pause_s(idle))

    async def transcript(self) -> str | None:
        return await _run_async(self._producer.ledger.transcript(self.id))


@dataclass(frozen=True, slots=True)
class BatchHandle(_Base):
    """The jobs submitted together."""

    jobs: tuple[JobHandle, ...]

    def status(self) -> BatchStatus:
        return _run_blocking(_batch_status(self))

    def wait(self, timeout_s: float | None = None) -> BatchStatus:
        """Until all have ended. Raises TimeoutError."""
        _run_blocking(self._producer.wait([job.id for job in self.jobs], timeout_s))
        return self.status()


@dataclass(frozen=True, slots=True)
class AsyncBatchHandle(_Base):
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
    **options: Any,
) -> JobHandle:
    """Queue one audio file and return at once. Blocks for reading the file once (its sha256 is part of the identity).

    `options` are the other fields of `JobSpec`: out_dir, out_name, formats, speed, language, priority, batch. The same
    content with the same options is the same job: done before, it is not done again unless `force`. An
    `idempotency_key` (letters, digits, `._-`) takes the place of that identity, and the file is not read.
    Raises BadJob, SourceError, QueueFull, LedgerUnavailable, SettingsError.
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
    **options: Any,
) -> AsyncJobHandle:
    """`submit` for a program with an event loop."""
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
    **options: Any,
) -> BatchHandle:
    """Queue many files as one batch, all with the same `options`. Raises as `submit` does, before anything is queued
    when it is for a file; after QueueFull the same call later queues the rest. `batch_webhook` is notified, once, when
    none of the batch's jobs waits or runs any more; `webhook`, an option of each job, tells of every one."""
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
    **options: Any,
) -> AsyncBatchHandle:
    """`submit_many` for a program with an event loop."""
    settings = settings or _load()
    name, created = await _run_async(_submit_many(settings, sources, batch, batch_webhook, force, options))
    return AsyncBatchHandle(name, settings, tuple(AsyncJobHandle(job.job_id, settings, job.before) for job in created))


async def _submit(
    settings: Settings, source: str | Path, force: bool, key: str | None, options: dict[str, Any]
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
    options: dict[str, Any],
) -> tuple[str, list[StateChange]]:
    from tasks.client.producer import make_spec, new_batch_id, shared_producer  # noqa: PLC0415
    from worker.storage.address import parse  # noqa: PLC0415

    name = batch or new_batch_id()
    specs = [make_spec(source, **options, batch=name) for source in sources]
    url = None if webhook is None else parse(webhook)
    return name, await shared_producer(settings).submit_many(specs, batch=name, force=force, webhook=url)


async def _batch_status(batch: BatchHandle | AsyncBatchHandle) -> BatchStatus:
    from tasks.job_spec import BatchStatus  # noqa: PLC0415

    return BatchStatus.of(batch.id, await batch._producer.ledger.get_many([job.id for job in batch.jobs]))


def _load() -> Settings:
    from worker.settings import load  # noqa: PLC0415

    return load()


def _run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """On the shared loop; this thread waits."""
    from tasks.event_loop import shared_loop  # noqa: PLC0415

    return shared_loop().call(work)


async def _run_async(work: Coroutine[Any, Any, T]) -> T:
    """On the shared loop; the caller's loop goes on."""
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
