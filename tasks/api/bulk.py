"""The route that retries several jobs at once, such as all failures with one reason."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tasks.api.authentication import SECURITY, Submitter, owns
from tasks.api.batches import ChangedJobs
from tasks.api.body import JsonRoute
from tasks.api.context import Context
from tasks.api.responses import errors
from tasks.job_spec import JobId

router: Final = APIRouter(tags=["jobs"], dependencies=SECURITY, route_class=JsonRoute)
MAX_IDS: Final = 10_000


class RetryJobs(BaseModel):
    """Which jobs to retry."""

    ids: list[JobId] = Field(min_length=1, max_length=MAX_IDS, examples=[["8c0f3a1d9b7e4c2f5a6b7c8d"]])


@router.post("/v1/jobs/retry", response_model=ChangedJobs, responses=errors(400, 408, 413, 422))
async def retry_jobs(context: Context, principal: Submitter, wanted: RetryJobs) -> ChangedJobs:
    """Queue those of the jobs again that failed, are incomplete or were cancelled. Other ids are ignored."""
    records = await context.ledger.get_many(list(dict.fromkeys(wanted.ids)))
    mine = [record for record in records if record is not None and owns(principal, record)]
    return ChangedJobs(changed=await context.control.retry_jobs(mine))


__all__ = ["router"]
