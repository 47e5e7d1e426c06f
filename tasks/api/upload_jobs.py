"""Receives the files of one request and submits a job for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import structlog
from starlette.requests import Request

from tasks.api.audio_length import duration_of
from tasks.api.batch_owners import claim_batch
from tasks.api.body import parse_json
from tasks.api.context import ApiContext
from tasks.api.idempotency import check_repeated, job_id_of, key_reused
from tasks.api.key_limits import Reservation
from tasks.api.multipart import Buffer, FilePart, MultipartReader
from tasks.api.problems import Problem
from tasks.api.source_policy import validated
from tasks.api.submission import group_of, scope_of
from tasks.api.upload_store import StoredUpload
from tasks.client.producer import new_batch_id
from tasks.job_spec import JobSpec, job_id, recorded
from worker import metrics
from worker.errors import SttError
from worker.http_keys import Principal
from worker.ledger.ledger import JobState, StateChange
from worker.storage.address import Address

_log: Final = structlog.get_logger(__name__)
MAX_FILES: Final = 1_000
"""Maximum number of files in one form. A form is accepted as a whole, so a broken connection loses all its files."""
_IN_USE: Final = (JobState.QUEUED, JobState.RUNNING, JobState.DONE)
"""States in which the upload of a job is not replaced by an equal one."""
_LISTS: Final = frozenset({"formats", "channel_names"})
"""Fields whose value in a form may be a list with commas."""
_JSON: Final = frozenset({"style", "glossary", "session_options", "sessions", "skip_silence", "out_dir"})
"""Fields whose value in a form may be JSON."""


@dataclass(slots=True)
class UploadedFile:
    """One file of the request. `spec` is set by `UploadRequest.submit`."""

    stored: StoredUpload
    spec: JobSpec = field(init=False)
    duration_s: float | None = None


class UploadRequest:
    """The uploads of one request. As a context manager, it deletes at the end each file that no job uses."""

    def __init__(self, context: ApiContext, principal: Principal) -> None:
        """Raises Problem 403 if the server accepts no uploads."""
        if context.uploads is None:
            raise Problem(403, "this server accepts no uploads; set STT_UPLOADS", code="uploads_disabled")
        self._context, self._principal, self._store = context, principal, context.uploads
        self.files: list[UploadedFile] = []
        self.fields: list[tuple[str, str]] = []
        self._unused: dict[str, StoredUpload] = {}
        """Complete uploads that no job uses, by address."""
        self._assigned: dict[str, str] = {}
        """The job for which an upload is registered, by address."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._unused:
            # In a task of its own: the request may have been cancelled.
            await asyncio.shield(asyncio.create_task(self._delete_unused()))

    async def receive(self, request: Request, boundary: bytes) -> None:
        """Store all files of the request. Raises Problem 400, 408 or 413, WorkerShortage and OutputError."""
        await self._context.limits.check_submission(self._principal, 1)
        limit_s = self._context.settings.upload_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                self.fields = await MultipartReader(request, boundary).read(self._store_file)
        except TimeoutError:
            raise Problem(408, f"the upload took more than {limit_s:g} s; raise STT_UPLOAD_TIMEOUT_S") from None
        if not self.files:
            raise Problem(422, "the form has no file; send one or more as `file`", code="no_file", param="file")

    async def _store_file(self, part: FilePart) -> None:
        if len(self.files) >= MAX_FILES:
            raise Problem(
                413,
                f"the form has more than {MAX_FILES} files, and none of them was accepted; send several forms with the "
                "same `batch`, or list files that the workers can read in a manifest (POST /v1/batches)",
                code="too_many_files",
                param="file",
            )
        registry, address = self._context.registry, self._store.place(part.name)
        await registry.begin(address)
        try:
            stored = await self._store.write(address, self._limited(part))
        except BaseException:
            await asyncio.shield(registry.forget(address))
            raise
        self._unused[address.text] = stored
        metrics.HTTP_UPLOAD_BYTES.inc(stored.size_bytes)
        if not stored.size_bytes:
            raise Problem(422, f"{part.name or part.field}: the file is empty", code="source_damaged", param="file")
        self.files.append(UploadedFile(stored))

    async def _limited(self, part: FilePart) -> AsyncIterator[Buffer]:
        size, limit_gb = 0, self._context.settings.upload_max_gb
        async for chunk in part.chunks:
            size += len(chunk)
            if size > limit_gb * 1e9:
                raise Problem(
                    413,
                    f"the file has more than {limit_gb:g} GB (STT_UPLOAD_MAX_GB); split it",
                    code="upload_too_large",
                    param="file",
                )
            yield chunk

    async def submit(self, key: str | None = None, *, force: bool = False) -> list[tuple[UploadedFile, StateChange]]:
        """Submit a job for each file, with the options in the other fields of the form. Raises Problem, BadJob,
        QueueFull and LedgerUnavailable."""
        options = options_of(self.fields)
        if len(self.files) > 1:
            # A repeated request names the same batch.
            options.setdefault("batch", new_batch_id() if key is None else f"batch-{job_id_of(key, self._principal)}")
        for file in self.files:
            file.spec = validated({**options, "source": file.stored.address})
        self._context.policy.check_rest(self.files[0].spec)
        await self.measure()
        changes = []
        async with self.reserved() as reservation:
            await claim_batch(self._context, self._principal, self.files[0].spec.batch)
            for number, file in enumerate(self.files, 1):
                one_key = key if key is None or len(self.files) == 1 else f"{key}.{number}"
                changes.append((file, await self._submit(file, one_key, reservation, force=force)))
        return changes

    async def measure(self) -> None:
        """Read the duration of each file, if a limit needs it."""
        if self._context.settings.http_key_max_audio_hours:
            for file in self.files:
                file.duration_s = await duration_of(file.stored.address, self._context.settings)

    def reserved(self) -> AbstractAsyncContextManager[Reservation]:
        """Reserve the jobs of all files in the limits of the key while they are recorded. Raises Problem 429."""
        audio_s = sum(file.duration_s or 0.0 for file in self.files)
        return self._context.limits.reserved(self._principal, len(self.files), audio_s)

    async def _submit(
        self, file: UploadedFile, key: str | None, reservation: Reservation, *, force: bool
    ) -> StateChange:
        if key is None:
            return await self.record(file, self.identify(file), reservation, force=force)
        context, content = self._context, file.stored.sha256
        identity = job_id_of(key, self._principal)
        before = await context.ledger.get(identity)
        if before is not None and not force:
            check_repeated(before, file.spec, upload=True)
            if _upload_of(before.spec, context) is None:
                raise key_reused(["source"])
        exists = before is not None
        if await context.registry.first_content(identity, content, exists=exists, replace=force) != content:
            raise key_reused(["the contents of the files"])
        if before is not None and not force:
            return StateChange(identity, before.state, before.state)
        try:
            change = await self.record(file, identity, reservation, force=force)
        except SttError:
            if not exists:
                await context.registry.forget_content(identity)
            raise
        await context.registry.keep_content(identity, content)
        return change

    def identify(self, file: UploadedFile) -> str:
        """Return the id of the job for the content of a file."""
        content = file.stored.sha256
        identity = job_id(file.spec, content, scope=scope_of(self._principal))
        self._context.producer.identified.note(identity, content)
        return identity

    async def record(
        self, file: UploadedFile, identity: str, reservation: Reservation, *, force: bool = False, claim: str = ""
    ) -> StateChange:
        """Record the job of one file, and remember the file as used if the job reads it."""
        context, principal, address = self._context, self._principal, file.stored.address
        earlier = await context.ledger.get(identity)
        before = None if earlier is None else _upload_of(earlier.spec, context)
        if earlier is not None and before is not None and earlier.state in _IN_USE:
            # The same audio was uploaded before: the earlier file stays and this one is deleted.
            file.spec = file.spec.model_copy(update={"source": before})
        # Before the job exists: if this process dies in between, the file outlives the request by half an hour only.
        await context.registry.assign(address, identity)
        self._assigned[address.text] = identity
        group = group_of(principal, file.spec.batch, force=force, claim=claim)
        try:
            change = await context.submissions.submit(identity, file.spec, group)
        except SttError:
            raise
        except BaseException:  # cancelled: the job may be recorded already
            self._unused.pop(address.text, None)
            raise
        record = await context.ledger.get(identity)
        if record is not None and _reads(record.spec, address.text):
            self._unused.pop(address.text, None)
            if before is not None:  # the file of an earlier attempt that failed
                await context.registry.check_soon(before, identity)
        if change.before is not change.state:
            await reservation.note({identity: file.duration_s})
        return change

    async def _delete_unused(self) -> None:
        for stored in self._unused.values():
            with suppress(SttError):
                await self._store.delete(stored.address)
                await self._context.registry.forget(stored.address, self._assigned.get(stored.address.text, ""))


def _upload_of(spec: str, context: ApiContext) -> Address | None:
    """Return the source of a recorded job if it is an upload."""
    with suppress(SttError):
        source = recorded(spec).source
        if context.policy.is_upload(source):
            return source
    return None


def _reads(spec: str, address: str) -> bool:
    try:
        return recorded(spec).source.text == address
    except SttError:
        return True


def options_of(fields: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the options of a job from the fields of a form. `job` is a JSON object with options; any other field is
    one option. Raises Problem 400 or 422."""
    options: dict[str, Any] = {}
    for name, value in fields:
        if name == "source":
            raise Problem(422, "source: a form with files has no source", code="bad_job")
        if name == "job":
            options |= _object(value)
        elif name in _LISTS and not value.lstrip().startswith("["):
            options[name] = [part.strip() for part in value.split(",") if part.strip()]
        elif name in _JSON | _LISTS and value.lstrip()[:1] in ("[", "{", "t", "f", *"0123456789"):
            options[name] = parse_json(value, f"{name}: the value")
        elif value:
            options[name] = value
    return options


def _object(value: str) -> dict[str, Any]:
    found = parse_json(value, "job: the value")
    if not isinstance(found, dict):
        raise Problem(422, "job: must be a JSON object with options", code="bad_job")
    if "source" in found:
        raise Problem(422, "source: a form with files has no source", code="bad_job")
    return found


__all__ = ["UploadRequest", "UploadedFile", "options_of"]
