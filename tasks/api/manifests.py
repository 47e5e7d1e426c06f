"""The route that submits a manifest: many jobs by reference as one batch."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from tasks.address_fields import parse_source
from tasks.api.authentication import SECURITY, Submitter
from tasks.api.batch_owners import claim_batch
from tasks.api.batches import batch_url
from tasks.api.body import chunks_of, media_type
from tasks.api.context import ApiContext, Context
from tasks.api.idempotency import job_id_of
from tasks.api.multipart import Buffer, FilePart, MultipartReader, boundary_of
from tasks.api.problems import Problem
from tasks.api.responses import errors
from tasks.api.submission import scope_of
from tasks.batches.manifest import ManifestEntry, read_manifest
from tasks.client.producer import new_batch_id
from tasks.job_spec import JobSpec, job_id
from worker.errors import BadJob
from worker.http_keys import Principal
from worker.settings import Settings
from worker.storage.access_policy import check_webhook
from worker.storage.address import Address

router: Final = APIRouter(tags=["batches"], dependencies=SECURITY)
MAX_BYTES: Final = 64 << 20
"""Maximum length of a manifest."""
MAX_JOBS: Final = 100_000
IDENTIFIED_AT_ONCE: Final = 16
_TYPES: Final = {
    "text/csv": ".csv",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/x-jsonlines": ".jsonl",
}
_MANIFEST: Final = {
    "schema": {
        "type": "string",
        "description": "a line with the names of the columns, and a line for each job; other columns are options",
        "pattern": r"^source\n(/[a-z0-9]{1,40}\.wav\n){1,9}$",
    }
}


class SubmittedManifest(BaseModel):
    """A batch that was accepted."""

    batch: str = Field(examples=["monday"])
    url: str = Field(examples=["/v1/batches/monday"])
    total: int = Field(description="number of jobs in the manifest")
    new: int = Field(description="number of jobs that were queued; the others existed already")


@router.post(
    "/v1/batches",
    status_code=202,
    response_model=SubmittedManifest,
    responses={
        202: {"headers": {"Location": {"description": "path of the batch", "schema": {"type": "string"}}}},
        **errors(400, 408, 409, 413, 415, 422),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {**_MANIFEST, "example": "source\n/call1.wav\n"},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["manifest"],
                        "properties": {
                            "manifest": {
                                "type": "string",
                                "format": "binary",
                                "description": "a file that ends in .csv, .jsonl or .ndjson",
                            }
                        },
                    }
                },
            },
        }
    },
)
async def submit_manifest(
    request: Request,
    context: Context,
    principal: Submitter,
    batch: Annotated[
        str | None, Query(min_length=1, max_length=200, description="name of the batch; default: a new name")
    ] = None,
    webhook: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=2048,
            pattern=r"^https?://[^\s]+$",
            description="web address that is notified when the whole batch has ended",
        ),
    ] = None,
    force: Annotated[bool, Query(description="run finished jobs again")] = False,
) -> Response:
    """Submit a manifest (CSV, or JSON lines as application/x-ndjson) as one batch. Each entry has a `source`; an `id`
    and options are optional."""
    name = batch or new_batch_id()
    with tempfile.TemporaryDirectory(prefix="stt-manifest-") as folder:
        path = await _receive(request, Path(folder), context.settings)
        try:
            entries = await asyncio.to_thread(read_manifest, path)
        except BadJob as exc:
            raise Problem(422, str(exc).replace(f"{folder}/", ""), code="bad_manifest") from None
    if len(entries) > MAX_JOBS:
        raise Problem(413, f"the manifest has more than {MAX_JOBS} entries; split it", code="manifest_too_large")
    hook = None if webhook is None else _webhook(context, webhook)
    specs = await asyncio.to_thread(_specs, context, entries, name, folder)
    await context.limits.check_submission(principal, len(specs))
    ids = await _identities(context, principal, entries, specs)
    async with context.limits.reserved(principal, len(specs)) as reservation:
        await claim_batch(context, principal, name)
        created = await context.producer.enqueue(
            list(zip(ids, specs, strict=True)), batch=name, force=force, producer=scope_of(principal)
        )
        new = [one for one in created if one.before is not one.state]
        await reservation.note({one.job_id: None for one in new})
    if hook is not None:
        await context.producer.watch_batch(name, hook)
    document = SubmittedManifest(batch=name, url=batch_url(name), total=len(created), new=len(new))
    return Response(document.model_dump_json(), 202, headers={"Location": document.url}, media_type="application/json")


def _webhook(context: ApiContext, text: str) -> Address:
    """Parse and check the webhook of the batch. Raises Problem 403."""
    try:
        hook = parse_source(text)
        check_webhook(hook, context.settings)
    except BadJob as exc:
        raise Problem(403, str(exc), code="webhook_refused") from None
    return hook


async def _receive(request: Request, folder: Path, settings: Settings) -> Path:
    """Write the manifest of the request to a file. Raises Problem 400, 408, 413 and 415."""
    limit_s = settings.upload_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            return await _receive_all(request, folder)
    except TimeoutError:
        raise Problem(408, f"the manifest took more than {limit_s:g} s; raise STT_UPLOAD_TIMEOUT_S") from None


async def _receive_all(request: Request, folder: Path) -> Path:
    boundary = boundary_of(request)
    if boundary is not None:
        found: list[Path] = []

        async def on_file(part: FilePart) -> None:
            if found:
                raise Problem(422, "the form has more than one file; send one manifest", code="bad_manifest")
            suffix = Path(part.name).suffix.lower()
            if suffix not in (".csv", ".jsonl", ".ndjson"):
                raise Problem(422, "manifest: its name must end in .csv, .jsonl or .ndjson", code="bad_manifest")
            found.append(folder / f"manifest{suffix}")
            await _write(found[0], part.chunks)

        await MultipartReader(request, boundary).read(on_file)
        if not found:
            raise Problem(422, "the form has no file; send the manifest as `manifest`", code="bad_manifest")
        return found[0]
    kind = media_type(request)
    if kind not in _TYPES:
        raise Problem(415, f"send multipart/form-data or one of {', '.join(_TYPES)}")
    path = folder / f"manifest{_TYPES[kind]}"
    await _write(path, chunks_of(request))
    return path


async def _write(path: Path, chunks: AsyncIterator[Buffer]) -> None:
    size = 0
    with path.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > MAX_BYTES:
                raise Problem(413, f"the manifest has more than {MAX_BYTES >> 20} MiB; split it")
            await asyncio.to_thread(file.write, chunk)


def _specs(context: ApiContext, entries: Sequence[ManifestEntry], batch: str, folder: str) -> list[JobSpec]:
    """Validate all entries before any job is recorded. Raises Problem 403 or 422."""
    specs = []
    for number, entry in enumerate(entries, 1):
        if entry.source.is_file and entry.source.text.startswith(f"{folder}/"):
            raise Problem(422, f"entry {number}: source must be an absolute path or an address", code="bad_manifest")
        fields = {**entry.options, "source": entry.source.text, "batch": batch}
        try:
            specs.append(context.policy.spec_of(fields))
        except Problem as exc:
            raise Problem(exc.status, f"entry {number}: {exc.detail}", code=exc.code) from None
    return specs


async def _identities(
    context: ApiContext, principal: Principal, entries: Sequence[ManifestEntry], specs: Sequence[JobSpec]
) -> list[str]:
    gate = asyncio.Semaphore(IDENTIFIED_AT_ONCE)

    async def identify(entry: ManifestEntry, spec: JobSpec) -> str:
        if entry.id is not None:
            return job_id_of(entry.id, principal, "id")
        async with gate:
            await context.policy.check_file(spec.source)
            content, stamp = await context.policy.content_of(spec.source, principal.producer)
        identity = job_id(spec, content, scope=scope_of(principal))
        context.producer.identified.note(identity, content)
        if stamp is not None:
            context.producer.note_read(spec.source.text, stamp, content)
        return identity

    running = [asyncio.create_task(identify(*pair)) for pair in zip(entries, specs, strict=True)]
    try:
        return await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()


__all__ = ["router"]
