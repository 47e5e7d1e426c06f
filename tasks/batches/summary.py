"""Summarizes a batch: jobs by state, speed, remaining time, and failures by reason. No I/O.

`stt-batch status BATCH --json` prints this document, and a run writes it to `summary.json`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict

from tasks.job_spec import JobState, source_of
from worker.ledger.records import JobRecord
from worker.storage.address import show
from worker.text_escaping import printable
from worker.transcript.model import Quality

KIND: Final = "stt-batch summary"
MAX_SLOWEST: Final = 20
MAX_NAMED_SOURCES: Final = 100
"""Maximum number of sources that a FailureGroup names."""
_HINT: Final = re.compile(r"; (?=convert |free |check |start |set |choose |fetch )")
_NUMBER: Final = re.compile(r"\d+(?:[.,:–]\d+)*")
State = Literal["queued", "running", "paused", "done", "failed"]


class _SummaryModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class JobLine(_SummaryModel):
    """One job of a batch. Times in seconds."""

    id: str | None
    source: str
    state: JobState
    # Whether an earlier run or submission had already finished the job.
    skipped: bool = False
    duration_s: float = 0.0
    # Seconds of the file that are already transcribed.
    done_s: float = 0.0
    # Wall time from the start of the job to its end.
    took_s: float | None = None
    # Seconds of audio per second of streaming; null before the end, and for jobs of older versions.
    streaming_speed: float | None = None
    # Start and end, in seconds since 1970.
    started_at: float | None = None
    ended_at: float | None = None
    outputs: tuple[str, ...] = ()
    # Defects of the audio, such as a file that is cut off or damaged.
    warnings: tuple[str, ...] = ()
    # Quality of the transcript; null before the end of the job.
    quality: Quality | None = None
    error_code: str | None = None
    error: str | None = None
    paused: bool = False

    @property
    def review(self) -> tuple[str, ...]:
        """Return the reasons why a person should review the transcript, if there are any."""
        return review_texts(self.quality)

    @property
    def speed(self) -> float | None:
        """Return the speed of the streaming or, if it is unknown, the speed of the whole job."""
        if self.streaming_speed is not None:
            return self.streaming_speed
        return self.duration_s / self.took_s if self.took_s and self.duration_s else None

    @classmethod
    def of(cls, record: JobRecord) -> Self:
        progress, done = record.progress, record.state is JobState.DONE
        length_s = max(progress.duration_s, progress.sent_s, progress.committed_s)
        bad = record.state.ended and not done
        ended = record.started_at is not None and record.ended_at is not None
        return cls(
            id=record.id,
            source=source_of(record),
            state=record.state,
            duration_s=round(length_s, 3),
            done_s=round(length_s if done else progress.committed_s, 3),
            took_s=round((record.ended_at or 0) - (record.started_at or 0), 3) if ended else None,
            streaming_speed=_rounded(record.streamed.speed) if record.streamed is not None else None,
            started_at=record.started_at,
            ended_at=record.ended_at,
            outputs=tuple(map(show, record.outputs)),
            warnings=record.warnings,
            quality=record.quality,
            error_code=(record.error_code or "error") if bad else None,
            error=(record.error or record.state.value) if bad else None,
            paused=record.paused,
        )


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 2)


class FailureGroup(_SummaryModel):
    """Failed jobs with the same reason. In `reason`, numbers that differ between the jobs are a range, such as 3–17."""

    code: str
    reason: str
    count: int
    # Ids of all jobs, and the sources of the first MAX_NAMED_SOURCES.
    jobs: tuple[str, ...]
    sources: tuple[str, ...]


class BatchSummary(_SummaryModel):
    """The state of a batch. `counts`: number of jobs in each state that occurs. `expired`: number of jobs that are no
    longer in the ledger; `counts` does not include them."""

    kind: str = KIND
    schema_version: int = 1
    name: str
    state: State
    total: int
    counts: dict[JobState, int]
    skipped: int
    expired: int
    # Number of jobs whose transcript a person should review; the `quality` of each job has the reasons.
    needs_review: int
    # Seconds of audio in all jobs of known length, and the seconds that are transcribed, without skipped jobs.
    audio_s: float
    done_s: float
    # Wall time from the first start of a job to the last end, or until now if jobs remain.
    elapsed_s: float
    # Seconds of audio per second of elapsed time, or None before the first commit.
    speed: float | None
    left_s: float | None
    failures: tuple[FailureGroup, ...]
    slowest: tuple[JobLine, ...]
    jobs: tuple[JobLine, ...]


def summarize(
    name: str, jobs: Sequence[JobLine], *, now: float, elapsed_s: float | None = None, expired: int = 0
) -> BatchSummary:
    """Summarize `jobs`. `now`: seconds since 1970. `elapsed_s`: wall time of the batch; if None, it is computed from
    the jobs."""
    fresh = [job for job in jobs if not job.skipped]
    open_ = [job for job in fresh if not job.state.ended]
    if elapsed_s is None:
        starts = [job.started_at for job in fresh if job.started_at is not None]
        ends = [job.ended_at for job in fresh if job.ended_at is not None]
        end = now if open_ or not ends else max(ends)
        elapsed_s = max(0.0, end - min(starts)) if starts else 0.0
    done_s = sum(job.done_s for job in fresh)
    speed = done_s / elapsed_s if done_s and elapsed_s else None
    known = [job.duration_s for job in fresh if job.duration_s]
    # For a job of unknown length, the mean length of the other jobs is used.
    guess_s = sum(known) / len(known) if known else 0.0
    rest_s = sum(max(0.0, (job.duration_s or guess_s) - job.done_s) for job in open_)
    timed = sorted((job for job in fresh if job.speed), key=lambda job: job.speed or 0)
    return BatchSummary(
        name=name,
        state=_state(jobs),
        total=len(jobs) + expired,
        counts=dict(Counter(job.state for job in jobs)),
        skipped=len(jobs) - len(fresh),
        expired=expired,
        needs_review=sum(1 for job in jobs if job.quality is not None and job.quality.needs_review),
        audio_s=round(sum(job.duration_s for job in jobs), 3),
        done_s=round(done_s, 3),
        elapsed_s=round(elapsed_s, 3),
        speed=None if speed is None else round(speed, 2),
        left_s=round(rest_s / speed, 1) if open_ and speed and rest_s else None,
        failures=grouped(jobs),
        slowest=tuple(timed[:MAX_SLOWEST]),
        jobs=tuple(jobs),
    )


def review_texts(quality: Quality | None) -> tuple[str, ...]:
    """Return the reasons why a person should review a transcript. Missing audio is not included, because the error of
    the job already reports it."""
    if quality is None:
        return ()
    return tuple(reason.text for reason in quality.reasons if reason.code != "missing")


def grouped(jobs: Sequence[JobLine]) -> tuple[FailureGroup, ...]:
    """Group the failed jobs by reason, the most frequent reason first."""
    groups: dict[tuple[str, str], list[JobLine]] = defaultdict(list)
    for job in jobs:
        if job.error is not None:
            groups[job.error_code or "error", reason_of(job.error, job.source)].append(job)
    return tuple(
        FailureGroup(
            code=code,
            reason=common_reason((job.error or "", job.source) for job in some),
            count=len(some),
            jobs=tuple(job.id for job in some if job.id is not None),
            sources=tuple(job.source for job in some[:MAX_NAMED_SOURCES]),
        )
        for (code, _), some in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def without_source(error: str, source: str) -> str:
    """Return an error text without the source at its beginning, for lists that already show the source."""
    names = (source, PurePosixPath(source).name)
    for name in (*names, *map(printable, names)):
        if name and error.startswith(f"{name}: "):
            return error[len(name) + 2 :]
    return error


def reason_of(error: str, source: str) -> str:
    """Reduce an error text to its reason: remove the name of the source and the remedy, and replace numbers by N."""
    return _NUMBER.sub("N", _reason_with_numbers(error, source)).strip() or "no reason given"


def _reason_with_numbers(error: str, source: str) -> str:
    text = error
    for name, mark in ((source, ""), (printable(source), ""), (PurePosixPath(source).name, "…")):
        # As a whole word: a name such as `a` also occurs in other words.
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", mark, text) if name and name in text else text
    return _HINT.split(text.lstrip(": "), maxsplit=1)[0].strip()


def common_reason(errors: Iterable[tuple[str, str]]) -> str:
    """Return the reason of errors that differ in their numbers only, given as pairs of text and source. Numbers that
    differ become a range, such as 3–17, and times or other values without an order become an ellipsis."""
    reasons = sorted({_reason_with_numbers(error, source) for error, source in errors})
    spans = map(_span, zip(*(_NUMBER.findall(reason) for reason in reasons), strict=False))
    return _NUMBER.sub(lambda _: next(spans, "…"), reasons[0]).strip() or "no reason given"


def _span(values: Sequence[str]) -> str:
    """Return the range of numbers that are at the same place in several reasons. A value may be a range itself."""
    numbers = {number for value in values for number in value.split("–")}
    if len(set(values)) == 1:
        return values[0]
    try:
        return "–".join((min(numbers, key=float), max(numbers, key=float)))
    except ValueError:
        return "…"


def _state(jobs: Sequence[JobLine]) -> State:
    states = {job.state for job in jobs}
    if JobState.RUNNING in states:
        return "running"
    if JobState.QUEUED in states:
        return "paused" if all(job.paused for job in jobs if job.state is JobState.QUEUED) else "queued"
    return "done" if states <= {JobState.DONE} else "failed"
