"""The route that submits jobs: by reference as JSON, or with uploads as multipart/form-data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from tasks.api.authentication import SECURITY, Submitter
from tasks.api.batch_owners import claim_batch
from tasks.api.batches import batch_url
from tasks.api.body import media_type, parse_json, read_body
from tasks.api.context import ApiContext, Context
from tasks.api.idempotency import check_repeated, job_id_of
from tasks.api.job_documents import SubmittedBatch, SubmittedJob, shown_source
from tasks.api.multipart import boundary_of
from tasks.api.problems import Problem
from tasks.api.responses import errors
from tasks.api.submission import group_of, scope_of
from tasks.api.submit_examples import REQUEST_BODY
from tasks.api.upload_jobs import UploadRequest
from tasks.job_spec import JobSpec, job_id
from worker.errors import SourceNotFound
from worker.http_keys import Principal
from worker.ledger.ledger import StateChange

router: Final = APIRouter(tags=["jobs"], dependencies=SECURITY)
MAX_BODY_BYTES: Final = 1 << 20
"""Maximum length of a job as JSON."""
_LOCATION: Final = {"Location": {"description": "path of the job or batch", "schema": {"type": "string"}}}


@router.post(
    "/v1/jobs",
    status_code=202,
    response_model=SubmittedJob | SubmittedBatch,
    responses={202: {"headers": _LOCATION}, **errors(400, 408, 409, 413, 415, 422)},
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def submit_job(
    request: Request,
    context: Context,
    principal: Submitter,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[A-Za-z0-9._-]+$",
            min_length=1,
            max_length=120,
            description="a repeated request with the same key returns the job of the first one",
            examples=["call-2026-11-29-0001"],
        ),
    ] = None,
    force: Annotated[bool, Query(description="run a finished job again")] = False,
) -> Response:
    """Submit a job: JSON with the fields of a job and its `source`, or a form with files. Equal files with equal
    options become one job."""
    boundary = boundary_of(request)
    if boundary is not None:
        return await _submit_uploads(request, boundary, context, principal, idempotency_key, force)
    if media_type(request) != "application/json":
        raise Problem(415, "send application/json with a source, or multipart/form-data with files")
    fields = await _read_json(request)
    change, spec = await _submit_reference(context, principal, fields, idempotency_key, force=force)
    document = _submitted(context, change, spec)
    return Response(document.model_dump_json(), 202, headers={"Location": document.url}, media_type="application/json")


async def _read_json(request: Request) -> dict[str, Any]:
    """Read a JSON object from the body. Raises Problem 400, 408, 413 or 422."""
    fields = parse_json(await read_body(request, MAX_BODY_BYTES), "the body")
    if not isinstance(fields, dict):
        raise Problem(422, "the body must be a JSON object", code="bad_job")
    return fields


async def _submit_reference(
    context: ApiContext, principal: Principal, fields: Mapping[str, Any], key: str | None, *, force: bool
) -> tuple[StateChange, JobSpec]:
    spec = context.policy.spec_of(fields)
    if key is not None:
        await context.policy.check_file(spec.source)
        identity = job_id_of(key, principal)
        before = await context.ledger.get(identity)
        if before is not None and not force:
            check_repeated(before, spec, upload=False)
            return StateChange(identity, before.state, before.state), spec
    else:
        identity = await _identified(context, principal, spec)
    await claim_batch(context, principal, spec.batch)
    async with context.limits.reserved(principal, 1) as reservation:
        change = await context.submissions.submit(identity, spec, group_of(principal, spec.batch, force=force))
        if change.before is not change.state:
            await reservation.note({identity: None})
    return change, spec


async def _identified(context: ApiContext, principal: Principal, spec: JobSpec) -> str:
    await context.policy.check_file(spec.source)
    try:
        content, stamp = await context.policy.content_of(spec.source, principal.producer)
    except SourceNotFound as exc:
        raise SourceNotFound(f"{exc}; for a file that only workers can read, send an Idempotency-Key") from None
    identity = job_id(spec, content, scope=scope_of(principal))
    context.producer.identified.note(identity, content)
    if stamp is not None:
        context.producer.note_read(spec.source.text, stamp, content)
    return identity


async def _submit_uploads(
    request: Request, boundary: bytes, context: ApiContext, principal: Principal, key: str | None, force: bool
) -> Response:
    async with UploadRequest(context, principal) as uploads:
        await uploads.receive(request, boundary)
        found = await uploads.submit(key, force=force)
    jobs = [_submitted(context, change, file.spec) for file, change in found]
    if len(jobs) == 1:
        document: SubmittedJob | SubmittedBatch = jobs[0]
    else:
        batch = jobs[0].batch or ""
        document = SubmittedBatch(batch=batch, url=batch_url(batch), jobs=jobs)
    return Response(document.model_dump_json(), 202, headers={"Location": document.url}, media_type="application/json")


def _submitted(context: ApiContext, change: StateChange, spec: JobSpec) -> SubmittedJob:
    return SubmittedJob(
        id=change.job_id,
        state=change.state,
        before=change.before,
        source=shown_source(spec.source.text, context.settings),
        batch=spec.batch,
        url=f"/v1/jobs/{change.job_id}",
    )


__all__ = ["router"]
