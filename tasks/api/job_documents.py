"""The JSON documents of jobs in responses."""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import BaseModel, Field

from tasks.job_spec import JobStatus
from worker.ledger.records import JobRecord, JobState
from worker.settings import Settings
from worker.storage.address import show


class SubmittedJob(BaseModel):
    """A job that was accepted."""

    id: str = Field(examples=["8c0f3a1d9b7e4c2f5a6b7c8d"])
    state: JobState
    before: JobState | None = Field(description="state before this request; null for a new job")
    source: str = Field(description="name of the upload, or address of the source", examples=["call.wav"])
    batch: str | None = None
    url: str = Field(description="path of the job", examples=["/v1/jobs/8c0f3a1d9b7e4c2f5a6b7c8d"])


class SubmittedBatch(BaseModel):
    """Several jobs that were accepted."""

    batch: str = Field(examples=["batch-5f1c0a9d3e"])
    url: str = Field(examples=["/v1/batches/batch-5f1c0a9d3e"])
    jobs: list[SubmittedJob]


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobStatus]
    next: str | None = Field(description="value of `cursor` for the next page; null on the last page")


def status_of(record: JobRecord, settings: Settings) -> JobStatus:
    """Return the status of a job. For an upload, the source is its file name without the folder of this server."""
    status = JobStatus.of(record)
    shown, error = shown_source(status.source, settings), status.error
    if shown == status.source:
        return status
    return status.model_copy(
        update={
            "source": shown,
            "error": error and error.replace(status.source, shown),
            "warnings": tuple(text.replace(status.source, shown) for text in status.warnings),
        }
    )


def shown_source(source: str, settings: Settings) -> str:
    """Return the source for display: only the file name if it is an upload."""
    folder = settings.uploads.rstrip("/")
    inside = bool(folder) and source.startswith(f"{folder}/")
    return PurePosixPath(source).name if inside else show(source)


__all__ = ["JobList", "SubmittedBatch", "SubmittedJob", "shown_source", "status_of"]
