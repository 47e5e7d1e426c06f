"""The producer API: put jobs into the ledger and wake a worker.

Works in any thread and in any program, also one with an event loop of its own (there from a thread: it blocks).
Nothing of the audio, server or recognizer code is imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tasks.jobs import BatchStatus, JobId, JobSpec, JobStatus, job_id
from tasks.loop import LoopThread, shared_loop
from worker.audio.source import sha256_file
from worker.errors import BadJob, SourceNotFound
from worker.settings import Settings, load
from worker.storage.ledger import Created, JobState, Ledger

_JOB_ID = TypeAdapter(JobId)


@dataclass(frozen=True, slots=True)
class JobHandle:
    """A job that was submitted. `before` is the state it had already, None for a new one."""

    id: str
    before: JobState | None
    settings: Settings

    def status(self) -> JobStatus:
        """How it stands. Raises LedgerUnavailable; KeyError when the job has expired."""
        (record,) = shared_loop().call(_producer(self.settings).ledger.get_many([self.id]))
        if record is None:
            raise KeyError(self.id)
        return JobStatus.of(record)

    def transcript(self) -> str | None:
        """The finished transcript, JSON; None when there is none (yet, or any more)."""
        return shared_loop().call(_producer(self.settings).ledger.transcript(self.id))


@dataclass(frozen=True, slots=True)
class BatchHandle:
    id: str
    jobs: tuple[JobHandle, ...]
    settings: Settings

    def status(self) -> BatchStatus:
        records = shared_loop().call(_producer(self.settings).ledger.get_many([job.id for job in self.jobs]))
        return BatchStatus.of(self.id, records)


class Producer:
    """The asyncio core of `submit`, for who has a loop of its own. Belongs to that loop; close it in the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings)

    async def identify(self, spec: JobSpec, *, scope: str = "") -> str:
        """The job's identity; reads the source. Raises SourceError when it is not readable here."""
        content = await asyncio.to_thread(sha256_file, Path(spec.source))
        return job_id(spec, content, scope=scope)

    async def record(self, identity: str, spec: JobSpec, *, again: bool = False) -> Created:
        return await self.ledger.create(identity, spec.model_dump_json(), batch=spec.batch, again=again)

    async def wake(self, job_ids: Sequence[str]) -> None:
        """Tell the workers. A message too many does no harm."""
        await asyncio.to_thread(self._send, job_ids)

    def _send(self, job_ids: Sequence[str]) -> None:
        from tasks.app import wake  # noqa: PLC0415  Celery comes with the first message, not with the import

        wake(_celery(self.settings), job_ids, self.settings.queue)

    async def submit(self, spec: JobSpec, *, again: bool = False, idempotency_key: str | None = None) -> JobHandle:
        if idempotency_key is not None:
            identity = _checked_key(idempotency_key)
        else:
            try:
                identity = await self.identify(spec)
            except SourceNotFound as exc:
                raise SourceNotFound(f"{exc}; for a file that only the workers see give an idempotency_key") from None
        created = await self.record(identity, spec, again=again)
        if not created.state.ended:
            await self.wake([identity])
        return JobHandle(identity, created.before, self.settings)

    async def close(self) -> None:
        await self.ledger.close()


def submit(
    source: str | Path,
    *,
    again: bool = False,
    idempotency_key: str | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> JobHandle:
    """Queue one audio file and return at once. Blocks for reading the file once (its sha256 is part of the identity).

    `options` are the other fields of `JobSpec`: out_dir, out_name, formats, speed, language, batch. The same content
    with the same options is the same job: done before, it is not done again unless `again`. An `idempotency_key`
    (letters, digits, `._-`) takes the place of that identity.
    Raises BadJob, SourceError, LedgerUnavailable, SettingsError.
    """
    settings = settings or load()
    spec = make_spec(source, **options)
    return shared_loop().call(_producer(settings).submit(spec, again=again, idempotency_key=idempotency_key))


def submit_many(
    sources: Iterable[str | Path],
    *,
    batch: str | None = None,
    again: bool = False,
    settings: Settings | None = None,
    **options: Any,
) -> BatchHandle:
    """Queue many files as one batch, all with the same `options`. Raises as `submit` does, before anything is queued
    when it is for a file."""
    settings = settings or load()
    name = batch or new_batch_id()
    specs = [make_spec(source, **options, batch=name) for source in sources]
    return shared_loop().call(_submit_many(_producer(settings), name, specs, again))


async def _submit_many(producer: Producer, batch: str, specs: Sequence[JobSpec], again: bool) -> BatchHandle:
    identities = [await producer.identify(spec) for spec in specs]
    created = [
        await producer.record(identity, spec, again=again) for identity, spec in zip(identities, specs, strict=True)
    ]
    await producer.wake([job.job_id for job in created if not job.state.ended])
    handles = tuple(JobHandle(job.job_id, job.before, producer.settings) for job in created)
    return BatchHandle(batch, handles, producer.settings)


def make_spec(source: str | Path, **options: Any) -> JobSpec:
    """A checked JobSpec with absolute paths. Raises BadJob."""
    if options.get("out_dir") is not None:
        options["out_dir"] = str(Path(options["out_dir"]).absolute())
    try:
        return JobSpec(source=str(Path(source).absolute()), **options)
    except ValidationError as exc:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {str(e['msg']).removeprefix('Value error, ')}"
            for e in exc.errors(include_url=False)
        )
        raise BadJob(f"{source}: {problems}") from None


def new_batch_id() -> str:
    return f"batch-{token_hex(5)}"


def _checked_key(key: str) -> str:
    try:
        return _JOB_ID.validate_python(key)
    except ValidationError:
        raise BadJob(f"idempotency_key {key!r}: must be 1 to 128 letters, digits or . _ -") from None


def _producer(settings: Settings) -> Producer:
    return _producer_of(shared_loop(), settings)


@lru_cache(maxsize=8)
def _producer_of(_loop: LoopThread, settings: Settings) -> Producer:
    """A producer for each loop: after a fork there is a new one."""
    return Producer(settings)


@lru_cache(maxsize=8)
def _celery(settings: Settings) -> Any:
    from tasks.app import make_app  # noqa: PLC0415

    return make_app(settings)


__all__ = ["BatchHandle", "JobHandle", "Producer", "make_spec", "submit", "submit_many"]
