"""What a job's pipeline reports: into the ledger, and from there on to whoever follows the events."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Final

from pydantic import TypeAdapter

from worker import metrics
from worker.audio.segmentation.section_plan import Plan, plans_json
from worker.job_progress import Progress
from worker.ledger.event_stream import Event, Events
from worker.ledger.lease import Lease
from worker.pipeline.job import Began
from worker.transcript.model import Quality, SectionFacts, Segment, Transcript

_BEGAN: Final = TypeAdapter(Began)
PROGRESS_EVERY_S: Final = 5.0
"""Seconds between two `progress` events of a job."""


class Told:
    """A job in the hands of a worker (a lease), and what becomes of it told to others once it is in the ledger."""

    def __init__(self, lease: Lease, events: Events | None) -> None:
        """`events`: None tells nobody."""
        self._lease = lease
        self._events = events
        self._batch = json.loads(lease.spec).get("batch")
        self._next = 0.0

    def started(self) -> None:
        self._soon("started", attempt=self._lease.attempts)

    async def began(self, content: Began, named: str) -> None:
        await self._lease.began(content_json(content), named)

    async def planned(self, plans: Sequence[Plan]) -> None:
        await self._lease.planned(plans_json(plans))

    async def finished(self, section: int, facts: SectionFacts) -> None:
        await self._lease.finished(section, facts)

    async def commit(self, segment: Segment) -> None:
        await self._lease.commit(segment)
        facts = {} if segment.channel is None else {"channel": segment.channel}
        self._soon("committed", start=segment.start, end=segment.end, text=segment.text, **facts)

    async def progress(self, progress: Progress) -> None:
        self._lease.note(progress)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_EVERY_S
            self._soon(
                "progress",
                duration_s=round(progress.duration_s, 3),
                sent_s=round(progress.sent_s, 3),
                committed_s=round(progress.committed_s, 3),
            )

    async def finish(self, transcript: Transcript, outputs: Sequence[str]) -> None:
        await self._lease.finish(transcript, outputs)
        state: Event = "done" if transcript.coverage.complete else "incomplete"
        metrics.JOBS_ENDED.labels(state).inc()
        metrics.JOB_SPEED.observe(transcript.coverage.duration / max(transcript.elapsed, 0.001))
        await self._tell(state, review=_count_quality(transcript.quality))

    async def fail(self, code: str, reason: str) -> None:
        await self._lease.fail(code, reason)
        metrics.JOBS_ENDED.labels("failed").inc()
        metrics.JOB_FAILURES.labels(code).inc()
        await self._tell("failed", code=code, reason=reason)

    def _soon(self, event: Event, **facts: str | float | None) -> None:
        if self._events is not None:
            self._events.soon(event, self._lease.job_id, batch=self._batch, **facts)

    async def _tell(self, event: Event, **facts: str | float | None) -> None:
        if self._events is not None:
            await self._events.tell(event, self._lease.job_id, batch=self._batch, **facts)


def _count_quality(quality: Quality | None) -> str | None:
    """Count a finished transcript's quality in the metrics. Returns the codes of its review reasons, or None."""
    if quality is None:
        return None
    if quality.confidence is not None:
        metrics.JOB_CONFIDENCE.observe(quality.confidence)
    for reason in quality.reasons:
        metrics.NEEDS_REVIEW.labels(reason.code).inc()
    return ",".join(reason.code for reason in quality.reasons) or None


def content_json(content: Began) -> str:
    return _BEGAN.dump_json(content).decode()


def read_content(text: str | None) -> Began | None:
    return _BEGAN.validate_json(text) if text else None
