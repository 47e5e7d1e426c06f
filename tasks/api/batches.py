"""Routes of batches: list, submit a manifest, summary, retry, pause, resume and cancel."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from tasks.api.authentication import SECURITY, AnyRole, Submitter, owns
from tasks.api.batch_owners import owns_batch
from tasks.api.context import ApiContext, Context
from tasks.api.job_documents import shown_source
from tasks.api.problems import Problem
from tasks.api.responses import errors
from tasks.batches.summary import BatchSummary, FailureGroup, JobLine, State, summarize
from worker.http_keys import Principal
from worker.ledger.ledger import JobRecord, JobState

router: Final = APIRouter(tags=["batches"], dependencies=SECURITY)
MAX_LIMIT: Final = 200
MAX_NAMED: Final = 1_000
"""Maximum number of jobs that a group of failures names."""
BatchName = Annotated[str, Path(min_length=1, max_length=200, description="name of the batch", examples=["monday"])]


class BatchDocument(BaseModel):
    """The state of a batch. Times in seconds."""

    id: str
    url: str
    state: State
    total: int
    counts: dict[JobState, int] = Field(description="number of jobs in each state that occurs")
    paused: bool = Field(description="whether jobs that are added to the batch are paused")
    expired: int = Field(description="number of jobs that are no longer in the ledger")
    needs_review: int = Field(description="number of transcripts that a person should review")
    audio_s: float
    done_s: float
    elapsed_s: float
    speed: float | None = Field(description="seconds of audio per second; null before the first commit")
    left_s: float | None = Field(description="estimated seconds until the end; null if unknown")
    failures: list[FailureGroup] = Field(description="failed jobs by reason, the most frequent first")


class BatchList(BaseModel):
    """The newest batches."""

    batches: list[BatchDocument]


class ChangedJobs(BaseModel):
    """The effect of a command on several jobs."""

    changed: list[str] = Field(description="ids of the changed jobs")


@router.get("/v1/batches", response_model=BatchList, responses=errors(422))
async def list_batches(
    context: Context,
    principal: AnyRole,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="maximum number of batches")] = 20,
) -> BatchList:
    """List the newest batches with their jobs by state, speed and remaining time."""
    found: list[BatchDocument] = []
    for name in await context.ledger.recent_batches(10_000 if not principal.sees_all else limit):
        if len(found) < limit and await owns_batch(context, principal, name):
            document = await _document(context, principal, name)
            if document is not None:
                found.append(document)
    return BatchList(batches=found)


@router.post("/v1/batches/{name:path}/retry", response_model=ChangedJobs, responses=errors(404, 422))
async def retry_batch(
    context: Context,
    principal: Submitter,
    name: BatchName,
    code: Annotated[
        str | None, Query(min_length=1, max_length=64, description="only jobs that failed with this error code")
    ] = None,
    cancelled: Annotated[bool, Query(description="retry cancelled jobs as well")] = False,
) -> ChangedJobs:
    """Queue the failed and incomplete jobs of a batch again. They continue after their committed text."""
    states = {JobState.FAILED, JobState.INCOMPLETE} | ({JobState.CANCELLED} if cancelled else set())
    records = [
        record
        for record in await _records(context, principal, name)
        if record.state in states and (code is None or record.error_code == code)
    ]
    return ChangedJobs(changed=await context.control.retry_jobs(records))


@router.post("/v1/batches/{name:path}/pause", response_model=ChangedJobs, responses=errors(404, 422))
async def pause_batch(context: Context, principal: Submitter, name: BatchName) -> ChangedJobs:
    """Pause a batch until it is resumed. Jobs that are added to it wait as well."""
    ids = [record.id for record in await _records(context, principal, name)]
    return ChangedJobs(changed=await context.control.pause_jobs(ids, on=True, batch=name))


@router.post("/v1/batches/{name:path}/resume", response_model=ChangedJobs, responses=errors(404, 422))
async def resume_batch(context: Context, principal: Submitter, name: BatchName) -> ChangedJobs:
    """Resume a paused batch. Its jobs continue after their committed text."""
    ids = [record.id for record in await _records(context, principal, name)]
    return ChangedJobs(changed=await context.control.pause_jobs(ids, on=False, batch=name))


@router.delete("/v1/batches/{name:path}", response_model=ChangedJobs, responses=errors(404, 422))
async def cancel_batch(context: Context, principal: Submitter, name: BatchName) -> ChangedJobs:
    """Cancel the waiting and running jobs of a batch."""
    ids = [record.id for record in await _records(context, principal, name)]
    return ChangedJobs(changed=await context.control.cancel_jobs(ids))


@router.get("/v1/batches/{name:path}", response_model=BatchDocument, responses=errors(404, 422))
async def show_batch(context: Context, principal: AnyRole, name: BatchName) -> BatchDocument:
    """Show the summary of a batch. `GET /v1/jobs?batch=…` lists its jobs."""
    if await owns_batch(context, principal, name):
        document = await _document(context, principal, name)
        if document is not None:
            return document
    raise _missing(name)


async def _records(context: ApiContext, principal: Principal, name: str) -> list[JobRecord]:
    """Return the jobs of a batch that the principal sees. Raises Problem 404 if there are none."""
    ids = await context.ledger.batch(name) if await owns_batch(context, principal, name) else []
    if not ids:
        raise _missing(name)
    records = await context.ledger.get_many(ids)
    return [record for record in records if record is not None and owns(principal, record)]


async def _document(context: ApiContext, principal: Principal, name: str) -> BatchDocument | None:
    ids = await context.ledger.batch(name)
    if not ids:
        return None
    records = await context.ledger.get_many(ids)
    expired = records.count(None)
    mine = [record for record in records if record is not None and owns(principal, record)]
    if not mine:
        return None
    summary = await asyncio.to_thread(_summarize, context, name, mine, expired)
    facts: dict[str, Any] = {
        field: getattr(summary, field) for field in BatchDocument.model_fields if hasattr(summary, field)
    }
    facts |= {"id": name, "url": batch_url(name), "paused": await context.ledger.paused(name)}
    return BatchDocument(**facts)


def _summarize(context: ApiContext, name: str, records: list[JobRecord], expired: int) -> BatchSummary:
    lines = []
    for record in records:
        line = JobLine.of(record)
        shown = shown_source(line.source, context.settings)
        if shown != line.source:
            error = line.error and line.error.replace(line.source, shown)
            line = line.model_copy(update={"source": shown, "error": error})
        lines.append(line)
    summary = summarize(name, lines, now=time.time(), expired=expired)
    groups = tuple(group.model_copy(update={"jobs": group.jobs[:MAX_NAMED]}) for group in summary.failures)
    return summary.model_copy(update={"failures": groups})


def batch_url(name: str) -> str:
    return f"/v1/batches/{quote(name, safe='')}"


def _missing(name: str) -> Problem:
    return Problem(404, f"batch {name}: no such batch, or it has expired")


__all__ = ["ChangedJobs", "batch_url", "router"]
