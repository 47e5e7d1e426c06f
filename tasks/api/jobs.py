"""Routes of jobs: list, show, cancel, retry, pause and resume."""

from __future__ import annotations

from math import inf
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from tasks.api.authentication import SECURITY, AnyRole, Submitter, owns
from tasks.api.context import ApiContext, Context
from tasks.api.job_documents import JobList, status_of
from tasks.api.problems import Problem
from tasks.api.responses import errors
from tasks.job_spec import JobStatus
from worker.http_keys import Principal
from worker.ledger.job_listing import JobFilter
from worker.ledger.ledger import JobRecord, JobState

router: Final = APIRouter(tags=["jobs"], dependencies=SECURITY)
MAX_LIMIT: Final = 500
MAX_TIME_S: Final = 253_402_300_799

JobIdPath = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9._-]+$",
        min_length=1,
        max_length=128,
        description="id of the job",
        examples=["8c0f3a1d9b7e4c2f5a6b7c8d"],
    ),
]


async def find_job(context: ApiContext, principal: Principal, job_id: str) -> JobRecord:
    """Return the record of a job that the principal sees. Raises Problem 404: a job of others looks like a missing
    one."""
    record = await context.ledger.get(job_id)
    if record is None or not owns(principal, record):
        raise Problem(404, f"job {job_id}: no such job, or it has expired")
    return record


@router.get("/v1/jobs", response_model=JobList, responses=errors(422))
async def list_jobs(
    context: Context,
    principal: AnyRole,
    state: Annotated[list[JobState] | None, Query(description="only jobs in one of these states")] = None,
    batch: Annotated[str | None, Query(min_length=1, max_length=200, description="only jobs of this batch")] = None,
    source: Annotated[
        str | None, Query(min_length=1, max_length=200, description="a part of the name of the source")
    ] = None,
    created_after: Annotated[
        float | None,
        Query(
            ge=0, le=MAX_TIME_S, allow_inf_nan=False, description="only jobs from this time on, in seconds since 1970"
        ),
    ] = None,
    created_before: Annotated[
        float | None,
        Query(ge=0, le=MAX_TIME_S, allow_inf_nan=False, description="only jobs until this time, in seconds since 1970"),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="maximum number of jobs")] = 50,
    cursor: Annotated[
        str | None,
        Query(
            max_length=150,
            pattern=r"^[0-9]{1,16}-[A-Za-z0-9._-]{1,128}$",
            description="`next` of the page before; other filters stay the same",
        ),
    ] = None,
) -> Response:
    """List jobs, the newest first. The texts of transcripts are not searched."""
    wanted = JobFilter(
        states=tuple(state or ()),
        batch=batch or "",
        producer=None if principal.sees_all else principal.producer,
        name=source or "",
        created_from=created_after or 0.0,
        created_to=inf if created_before is None else created_before,
    )
    found = await context.listing.page(wanted, cursor=cursor, limit=limit)
    records = await context.ledger.get_many(found.ids)
    jobs = [status_of(record, context.settings) for record in records if record is not None]
    page = JobList(jobs=jobs, next=found.cursor)
    return Response(page.model_dump_json(), media_type="application/json")


@router.get("/v1/jobs/{job_id}", response_model=JobStatus, responses=errors(404, 422))
async def show_job(context: Context, principal: AnyRole, job_id: JobIdPath) -> Response:
    """Show the current state of a job."""
    return _answer(context, await find_job(context, principal, job_id))


@router.delete("/v1/jobs/{job_id}", response_model=JobStatus, responses=errors(404, 409, 422))
async def cancel_job(context: Context, principal: Submitter, job_id: JobIdPath) -> Response:
    """Cancel a waiting or running job. A running job stops within two seconds; its committed text is preserved."""
    record = await find_job(context, principal, job_id)
    await context.control.cancel_jobs([job_id])
    record = await find_job(context, principal, job_id)
    if record.state is not JobState.CANCELLED:
        raise Problem(409, f"job {job_id} has ended already: it is {record.state.value}", code="job_ended")
    return _answer(context, record)


@router.post("/v1/jobs/{job_id}/retry", response_model=JobStatus, responses=errors(404, 409, 422))
async def retry_job(context: Context, principal: Submitter, job_id: JobIdPath) -> Response:
    """Queue a failed, incomplete or cancelled job again. It continues after its committed text."""
    record = await find_job(context, principal, job_id)
    if not await context.control.retry_jobs([record]):
        raise Problem(
            409,
            f"job {job_id} is {record.state.value}; only failed, incomplete and cancelled jobs can be retried",
            code="job_not_retryable",
        )
    return _answer(context, await find_job(context, principal, job_id))


@router.post("/v1/jobs/{job_id}/pause", response_model=JobStatus, responses=errors(404, 409, 422))
async def pause_job(context: Context, principal: Submitter, job_id: JobIdPath) -> Response:
    """Pause a waiting or running job until it is resumed."""
    return await _pause(context, principal, job_id, on=True)


@router.post("/v1/jobs/{job_id}/resume", response_model=JobStatus, responses=errors(404, 409, 422))
async def resume_job(context: Context, principal: Submitter, job_id: JobIdPath) -> Response:
    """Resume a paused job. It continues after its committed text."""
    return await _pause(context, principal, job_id, on=False)


async def _pause(context: ApiContext, principal: Principal, job_id: str, *, on: bool) -> Response:
    await find_job(context, principal, job_id)
    await context.control.pause_jobs([job_id], on=on)
    record = await find_job(context, principal, job_id)
    if record.state.ended:
        raise Problem(409, f"job {job_id} has ended already: it is {record.state.value}", code="job_ended")
    return _answer(context, record)


def _answer(context: ApiContext, record: JobRecord) -> Response:
    return Response(status_of(record, context.settings).model_dump_json(), media_type="application/json")


__all__ = ["JobIdPath", "find_job", "router"]
