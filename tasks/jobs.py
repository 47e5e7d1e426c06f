"""A job as other services write it, and its state as they read it: JSON only, no secrets."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from worker.settings import parse_speed, show_speed

FORMATS = ("json", "srt", "vtt", "txt")
Speed = Annotated[float, BeforeValidator(parse_speed), PlainSerializer(show_speed, return_type=str)]


class JobState(StrEnum):
    """queued -> running -> done | incomplete | failed | cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


class JobSpec(BaseModel):
    """What to transcribe and how. Unknown fields are refused: a typing error must not be silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Path of the audio file on the worker's disk.
    source: str = Field(min_length=1, max_length=4096)
    # Folder the transcript files are written to; None: Redis only.
    out_dir: str | None = None
    # Name of the transcript files below out_dir, without the ending; may hold folders. Default: the source's stem.
    out_name: str | None = Field(default=None, max_length=1024)
    # Files to write to out_dir.
    formats: tuple[str, ...] = ("json",)
    # Pace of the session: a factor of real time, or `max`; None: the worker's setting.
    speed: Speed | None = None
    # Language written into the transcript when the service names none.
    language: str | None = Field(default=None, max_length=35)
    # The batch this job belongs to.
    batch: str | None = Field(default=None, max_length=200)


def job_id(spec: JobSpec, source_sha256: str) -> str:
    """The identity of a job: the same content with the same options is the same job."""
    options = spec.model_dump_json(exclude={"batch"})
    return hashlib.sha256(f"{source_sha256}\n{options}".encode()).hexdigest()[:24]
