"""One file of a run and the record of its job. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.batches.summary import review_texts
from worker.ledger.records import JobRecord, JobState
from worker.storage.address import Address
from worker.transcript.model import Quality


@dataclass(slots=True)
class File:
    """One file of a run."""

    source: Address
    out_name: str
    size_bytes: int
    job_id: str | None = None
    key: str | None = None
    """The job's id from a manifest."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of JobSpec for this file."""
    label: str = ""
    """Displayed instead of the source, if not empty."""
    skipped: bool = False
    """Whether the file was transcribed before this run."""
    record: JobRecord | None = None
    problem: tuple[str, str] | None = None
    """Error code and text, if the file has no job or its job has expired."""
    before_s: float | None = None
    """Seconds of audio that earlier runs committed, or None before the first record of the job."""
    partial_text: str = ""
    """Text of the service that is not committed yet."""
    committed_text: str = ""
    """The last committed words."""
    commits_read: int = 0
    """Number of commits of the job when its text was read last."""
    last_commit: str = "0"
    """Stream id of the last commit that was written as an event."""
    moved_at: float = 0.0
    """Monotonic time of the last change of the progress, in seconds."""

    @property
    def shown(self) -> str:
        """The source as people know it: `-` for standard input, whose audio is in a temporary file."""
        return self.label or self.source.shown

    @property
    def state(self) -> JobState:
        if self.problem is not None:
            return JobState.FAILED
        if self.skipped:
            return JobState.DONE
        return self.record.state if self.record is not None else JobState.QUEUED

    @property
    def duration_s(self) -> float:
        """Length in seconds, or 0 if the length is not known."""
        if self.record is None:
            return 0.0
        progress = self.record.progress
        return max(progress.duration_s, progress.sent_s, progress.committed_s)

    @property
    def behind_s(self) -> float:
        """Seconds of audio whose text is committed, or the whole length of a file that is done. Audio that was sent but
        is not committed is not included, because at speed `max` the sent audio is far ahead of the text."""
        if self.record is None:
            return 0.0
        return self.duration_s if self.state is JobState.DONE else self.record.progress.committed_s

    @property
    def took_s(self) -> float | None:
        """Seconds of wall time from the start to the end of the job, or None before the end."""
        record = self.record
        if record is None or record.started_at is None or record.ended_at is None:
            return None
        return record.ended_at - record.started_at

    @property
    def speed(self) -> float | None:
        """Seconds of audio per second in which the file was streamed. Waits for a session, reading and writing are not
        included. None before the end, and for a file that this run did not stream."""
        if self.record is None or self.skipped or self.state is not JobState.DONE:
            return None
        if self.record.streamed is not None:
            return self.record.streamed.speed
        return self.duration_s / self.took_s if self.took_s else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Defects of the audio, such as a file that is cut off or damaged."""
        return self.record.warnings if self.record is not None else ()

    @property
    def quality(self) -> Quality | None:
        """Quality of the transcript, or None before the end of the job."""
        return self.record.quality if self.record is not None else None

    @property
    def review(self) -> tuple[str, ...]:
        """The reasons why a person should review the transcript, if there are any."""
        return review_texts(self.quality)

    @property
    def error(self) -> tuple[str, str] | None:
        """Code and text of the error, or None if the file is done or has not ended."""
        if self.problem is not None:
            return self.problem
        if self.record is None or not self.state.ended or self.state is JobState.DONE:
            return None
        return self.record.error_code or "error", self.record.error or self.state.value
