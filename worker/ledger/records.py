"""Types for the records in Redis: jobs, commits, and the results of Lua scripts. Parses them. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final, Self

from worker.errors import LedgerNewer
from worker.job_progress import Progress
from worker.transcript.model import Quality, Streamed


class JobState(StrEnum):
    """The state of a job.

    queued -> running -> done | incomplete | failed | cancelled. A requeued job goes from running to queued. A queued
    job can also be cancelled. `Ledger.create` and `Ledger.retry` can queue an ended job again."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The record of one job, as read from Redis. Times are seconds since 1970 on the Redis server's clock."""

    id: str
    state: JobState
    spec: str
    """The submitted job: a `tasks.job_spec.JobSpec` as JSON."""
    created_at: float
    started_at: float | None
    ended_at: float | None
    attempts: int
    epoch: int
    owner: str
    lease_until: float
    """End of the owner's lease; 0 if the job has no owner."""
    progress: Progress
    commits: int
    error_code: str | None
    error: str | None
    """Why the job failed; for a queued or running job, why its last attempt failed."""
    outputs: tuple[str, ...]
    """Paths and addresses of the written files."""
    warnings: tuple[str, ...]
    """Defects of the audio, such as a truncated or damaged file. Empty before the end of the job."""
    quality: Quality | None
    """Quality of the transcript, or None before the end of the job, and for jobs that a version without this field
    finished."""
    batch: str | None
    paused: bool
    """Whether the job is paused: no worker takes it until it is resumed."""
    producer: str = ""
    """Name of the producer that queued the job, if only that producer may change it; else empty."""
    streamed: Streamed | None = None
    """The audio that the last attempt streamed, and the time of its sessions. None before the end of the job."""


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """The content of a job's source as recorded in Redis, to detect that the source has changed."""

    named: str = ""
    """The content from which the job's id was computed (see `content_of`). `*` if any content is accepted; empty if
    unknown."""
    keyed: bool = False
    """Whether the id is an idempotency key, which is independent of the content."""
    began: str = ""
    """The content at the start of the first attempt: a `worker.pipeline.start_content.StartContent` as JSON."""
    restarts: int = 0
    """How often the job has started over because its source had changed."""
    restarted: str = ""
    """Reason of the last restart."""

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Self:
        """Create a record from the values of a job's fields content, keyed, began, restarts and restarted."""
        named, keyed, began, restarts, restarted = values
        return cls(named or "", keyed == "1", began or "", int(restarts or 0), restarted or "")


class WaitsFor(StrEnum):
    """The thing that an unfinished job waits for."""

    WORKER = "worker"
    """A worker, because none is alive or all are busy."""
    SLOT = "slot"
    """A free session, because STT_WORKER_SESSIONS or a limit of the API key is reached."""
    RETRY = "retry"
    """The time of the next attempt after a failed one."""
    PAUSE = "pause"
    """`stt-batch resume`, because a user paused the job."""
    KEY = "key"
    """The API key, which the service refuses."""
    NEWER_VERSION = "newer_version"
    """A worker of a newer version."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why one job waits. `text`: one line for people."""

    reason: WaitsFor
    text: str


class Refusal(StrEnum):
    """Why a job cannot be acquired."""

    MISSING = "missing"
    ENDED = "ended"
    HELD = "held"
    """Another worker has a valid lease."""
    PAUSED = "paused"
    DELAYED = "delayed"
    """The delay after a failed attempt is not over."""
    UNREADABLE = "unreadable"
    """The job's key in Redis has another type than a record: another program wrote to it."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """The effect of a command on one job. `before`: the state before the command, None for a new job; `state`: the
    state after it."""

    job_id: str
    before: JobState | None
    state: JobState


def state_changes(job_ids: Sequence[str], answers: Sequence[Sequence[str]]) -> list[StateChange | None]:
    """Convert the answers of scripts that change jobs. An element is None if there is no such job."""
    return [
        StateChange(job_id, JobState(before), JobState(now)) if before else None
        for job_id, (before, now) in zip(job_ids, answers, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ReapResult:
    """Ids of jobs that `Ledger.reap` found.

    `send`: jobs for which a Celery message must be sent. `given_up`: jobs that failed, because several workers in a row
    died. `unreadable`: jobs without a valid record, which were removed from the sets of running, queued and delayed
    jobs. `expired`: requeued jobs whose lease had expired. `lost_messages`: number of messages in `send` that replace
    lost ones."""

    send: tuple[str, ...]
    given_up: tuple[str, ...]
    unreadable: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    lost_messages: int = 0

    @classmethod
    def of(cls, answer: tuple[list[str], list[str], list[str], list[str], int]) -> Self:
        """Create a result from the answer of `reap.lua`."""
        *ids, lost_messages = answer
        send, given_up, unreadable, expired = (tuple(some) for some in ids)
        return cls(send, given_up, unreadable, expired, lost_messages)


@dataclass(frozen=True, slots=True)
class CommitEntry:
    """One commit of a job. `stream_id`: its id in the Redis stream; `segment`: a transcript segment as JSON."""

    stream_id: str
    epoch: int
    segment: str


FIELDS: Final = (
    *("state", "spec", "created", "started", "ended", "attempts", "epoch", "owner", "lease", "commits"),
    *(
        "error_code",
        "error",
        "outputs",
        "warnings",
        "quality",
        "batch",
        "duration_s",
        "sent_s",
        "committed_s",
        "partial",
        "speed",
        "trouble",
        "paused",
        "producer",
        "streamed_s",
        "streaming_s",
    ),
)


MAX_WARNINGS: Final = 5
"""Maximum number of warnings in the record of a job; its transcript contains all of them."""
MAX_NUMBER: Final = 1e15
"""Maximum absolute value of a number in a record; a larger one counts as damage."""
MAX_TIME_S: Final = 253_402_300_799
"""The end of the year 9999, the maximum of Python's datetime, in seconds since 1970."""
MAX_DIGITS: Final = 20
"""Maximum characters of a stored time. A longer text is not converted to a number."""


def _speed(text: str | None) -> float:
    """Parse a speed, a multiple of real time: 1 if the field is missing, infinite for the speed `max`."""
    return inf if text == "inf" else _number(text, 1.0)


def _state(job_id: str, text: str) -> JobState:
    try:
        return JobState(text)
    except ValueError:
        raise LedgerNewer(f"job {job_id} is {text!r}, which only a newer stt-batch knows: update this one") from None


def _quality(text: str | None) -> Quality | None:
    return Quality.model_validate_json(text) if text else None


def _streamed(audio_s: float, time_s: float) -> Streamed | None:
    return Streamed(audio=audio_s, time=time_s) if time_s else None


def _number(text: str | None, missing: float = 0.0) -> float:
    """Parse the number in a field; return `missing` for an empty field.

    Raises ValueError for other text, and for infinite or too large numbers."""
    value = float(text) if text else missing
    if not abs(value) <= MAX_NUMBER:
        raise ValueError(f"{value} is out of range")
    return value


def _seconds(text: str | None) -> float | None:
    """Parse the time in a field: milliseconds since 1970, returned as seconds. Return None for an empty field.

    Raises ValueError for an invalid time."""
    if not text:
        return None
    value = int(text) / 1000 if len(text) <= MAX_DIGITS else inf
    if not 0 <= value <= MAX_TIME_S:
        raise ValueError(f"{text[:MAX_DIGITS]} is not a time")
    return value


def _texts(text: str | None) -> tuple[str, ...]:
    """Parse a field that contains a list of texts as JSON; empty if the field is missing. Raises ValueError."""
    try:
        values = json.loads(text or "[]")
    except RecursionError:
        raise ValueError("a list is nested too deeply") from None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("a list contains a value that is not a text")
    return tuple(values)


def read_record(job_id: str, fields: Mapping[str, str | None]) -> JobRecord | None:
    """Create a record from `fields`: the field names of the job's hash with their values. Returns None if the hash has
    no state, because there is no such job.

    Another program may have written to the key, so every field is checked. Raises ValueError for an invalid field, and
    LedgerNewer for an unknown state.
    """
    state = fields.get("state")
    if not state:
        return None

    def number(name: str) -> float:
        return _number(fields.get(name))

    def seconds(name: str) -> float | None:
        return _seconds(fields.get(name))

    return JobRecord(
        id=job_id,
        state=_state(job_id, state),
        spec=fields.get("spec") or "",
        created_at=seconds("created") or 0.0,
        started_at=seconds("started"),
        ended_at=seconds("ended"),
        attempts=int(number("attempts")),
        epoch=int(number("epoch")),
        owner=fields.get("owner") or "",
        lease_until=seconds("lease") or 0.0,
        progress=Progress(
            duration_s=number("duration_s"),
            sent_s=number("sent_s"),
            committed_s=number("committed_s"),
            partial=fields.get("partial") or "",
            speed=_speed(fields.get("speed")),
            trouble=fields.get("trouble") or "",
        ),
        commits=int(number("commits")),
        error_code=fields.get("error_code") or None,
        error=fields.get("error") or None,
        outputs=_texts(fields.get("outputs")),
        warnings=_texts(fields.get("warnings")),
        quality=_quality(fields.get("quality")),
        batch=fields.get("batch") or None,
        streamed=_streamed(number("streamed_s"), number("streaming_s")),
        paused=fields.get("paused") == "1",
        producer=fields.get("producer") or "",
    )
