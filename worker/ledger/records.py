"""Records of the ledger as values: jobs, commits, and the results of scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final, Self

from worker.errors import LedgerNewer
from worker.job_progress import Progress
from worker.transcript.model import Quality


class JobState(StrEnum):
    """queued -> running -> done | incomplete | failed | cancelled; running -> queued when a job is requeued."""

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
    """The present record of one job. Times are seconds since 1970 on the Redis server's clock."""

    id: str
    state: JobState
    spec: str
    """The submitted job (`tasks.job_spec.JobSpec`), JSON."""
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
    """Reason of the failure; for a queued or running job, of its last attempt."""
    outputs: tuple[str, ...]
    """Paths and addresses of the written files."""
    warnings: tuple[str, ...]
    """Defects of the audio, such as a truncated or damaged file. Empty before the end of the job."""
    quality: Quality | None
    """Quality of the transcript, or None before the end of the job and for jobs that an older version finished."""
    batch: str | None
    paused: bool
    """Whether the job waits until it is resumed."""


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """The content of a job's source, as recorded in the ledger."""

    named: str = ""
    """The content from which the id was computed (see `content_of`); `*`: any content; empty if unknown."""
    keyed: bool = False
    """Whether the id is an idempotency key, which is independent of the content."""
    began: str = ""
    """The content at the start of its first attempt, JSON."""
    restarts: int = 0
    """Number of automatic restarts because the source had changed."""
    restarted: str = ""
    """Reason of the last restart."""

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Self:
        """`values`: the fields content, keyed, began, restarts and restarted of a job."""
        named, keyed, began, restarts, restarted = values
        return cls(named or "", keyed == "1", began or "", int(restarts or 0), restarted or "")


class Refusal(StrEnum):
    """Why a job cannot be acquired."""

    MISSING = "missing"
    ENDED = "ended"
    HELD = "held"
    """Another worker has the lease."""
    PAUSED = "paused"
    DELAYED = "delayed"
    """The delay after a failed attempt is not over."""
    UNREADABLE = "unreadable"
    """The key of the job does not contain a record."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """The effect of a command on one job. `before`: the earlier state, None for a new job; `state`: the state now."""

    job_id: str
    before: JobState | None
    state: JobState


def state_changes(job_ids: Sequence[str], answers: Sequence[Sequence[str]]) -> list[StateChange | None]:
    """Converts the answers of scripts that change jobs. An element is None if there is no such job."""
    return [
        StateChange(job_id, JobState(before), JobState(now)) if before else None
        for job_id, (before, now) in zip(job_ids, answers, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ReapResult:
    """Job ids that the reaper found. `send`: jobs that need a new message; `given_up`: jobs that failed; `unreadable`:
    keys without a record, which were removed from all lists."""

    send: tuple[str, ...]
    given_up: tuple[str, ...]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitEntry:
    """One commit in a job's stream; `segment` is JSON."""

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
    ),
)


MAX_NUMBER: Final = 1e15
MAX_TIME_S: Final = 253_402_300_799
"""The end of the year 9999, the maximum of Python's datetime."""
MAX_DIGITS: Final = 20


def _speed(text: str | None) -> float:
    """Factor of real time; infinite for `max`."""
    return inf if text == "inf" else _number(text, 1.0)


def _state(job_id: str, text: str) -> JobState:
    try:
        return JobState(text)
    except ValueError:
        raise LedgerNewer(f"job {job_id} is {text!r}, which only a newer stt-batch knows: update this one") from None


def _quality(text: str | None) -> Quality | None:
    return Quality.model_validate_json(text) if text else None


def _number(text: str | None, missing: float = 0.0) -> float:
    """The number in a field. Raises ValueError for text, and for infinite or too large numbers."""
    value = float(text) if text else missing
    if not abs(value) <= MAX_NUMBER:
        raise ValueError(f"{value} is out of range")
    return value


def _seconds(text: str | None) -> float | None:
    """The time in a field of milliseconds since 1970, in seconds. Raises ValueError for an invalid time."""
    if not text:
        return None
    value = int(text) / 1000 if len(text) <= MAX_DIGITS else inf
    if not 0 <= value <= MAX_TIME_S:
        raise ValueError(f"{text[:MAX_DIGITS]} is not a time")
    return value


def _texts(text: str | None) -> tuple[str, ...]:
    """The list of texts in a field, JSON. Raises ValueError."""
    try:
        values = json.loads(text or "[]")
    except RecursionError:
        raise ValueError("a list is nested too deeply") from None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("a list contains a value that is not a text")
    return tuple(values)


def read_record(job_id: str, fields: Mapping[str, str | None]) -> JobRecord | None:
    """Reads a record from the fields of its hash. Returns None if there is no such job.

    Another program may have written to the key, so every field is checked. Raises ValueError, and LedgerNewer for an
    unknown state.
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
        paused=fields.get("paused") == "1",
    )
