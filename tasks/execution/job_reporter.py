"""Writes a job's progress and its end to the ledger, then publishes them as events and metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Final

from worker import metrics
from worker.job_progress import Progress
from worker.ledger.event_stream import Event, EventStream
from worker.ledger.lease import Lease
from worker.transcript.model import Quality, Segment, Transcript

PROGRESS_EVERY_S: Final = 5.0
"""Minimum seconds between two `progress` events of a job."""


class JobReporter:
    """Reports on the job of one lease. The pipeline calls it as its listener (`worker.pipeline.job.RunListener`)."""

    def __init__(self, lease: Lease, events: EventStream | None) -> None:
        """`events`: where to publish events, or None to publish none."""
        self._lease = lease
        self._events = events
        spec = json.loads(lease.spec)
        self._batch = spec.get("batch")
        # The stream of events is trimmed by its length only, so text would stay there longer than the job may.
        self._with_text = spec.get("retain_s") is None
        self._next = 0.0

    def started(self) -> None:
        self._publish("started", attempt=self._lease.attempts)

    def committed(self, segment: Segment) -> None:
        """Publish a segment. The pipeline has already written it to the ledger."""
        facts = {} if segment.channel is None else {"channel": segment.channel}
        text = segment.text if self._with_text else None
        self._publish("committed", start=segment.start, end=segment.end, text=text, **facts)

    def progress(self, progress: Progress) -> None:
        """Report progress. LeaseRenewer writes it to the ledger with its next write; an event is published at most
        every PROGRESS_EVERY_S seconds."""
        # Stored in memory only: a round trip to Redis for each report would cost more time than streaming does.
        self._lease.note(progress)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_EVERY_S
            self._publish(
                "progress",
                duration_s=round(progress.duration_s, 3),
                sent_s=round(progress.sent_s, 3),
                committed_s=round(progress.committed_s, 3),
            )

    async def finish(self, transcript: Transcript, outputs: Sequence[str]) -> None:
        """End the job with its transcript. Raises LeaseLost, LedgerUnavailable."""
        # Write to the ledger first. If this worker has lost the job, that call raises an exception, so that no event or
        # metric reports an end that did not happen.
        await self._lease.finish(transcript, outputs)
        state: Event = "done" if transcript.coverage.complete else "incomplete"
        metrics.JOBS_ENDED.labels(state).inc()
        metrics.JOB_SPEED.observe(transcript.coverage.duration / max(transcript.elapsed, 0.001))
        await self._publish_now(state, review=_count_quality(transcript.quality))

    async def fail(self, code: str, reason: str) -> None:
        """End the job as failed. Raises LeaseLost, LedgerUnavailable."""
        await self._lease.fail(code, reason)
        metrics.JOBS_ENDED.labels("failed").inc()
        metrics.JOB_FAILURES.labels(code).inc()
        await self._publish_now("failed", code=code, reason=reason)

    def _publish(self, event: Event, **facts: str | float | None) -> None:
        if self._events is not None:
            self._events.publish_soon(event, self._lease.job_id, batch=self._batch, **facts)

    async def _publish_now(self, event: Event, **facts: str | float | None) -> None:
        if self._events is not None:
            await self._events.publish(event, self._lease.job_id, batch=self._batch, **facts)


def _count_quality(quality: Quality | None) -> str | None:
    """Record the quality of a finished transcript in the metrics. Returns the codes of the reasons to review the
    transcript, or None if there is no reason."""
    if quality is None:
        return None
    if quality.confidence is not None:
        metrics.JOB_CONFIDENCE.observe(quality.confidence)
    for reason in quality.reasons:
        metrics.NEEDS_REVIEW.labels(reason.code).inc()
    return ",".join(reason.code for reason in quality.reasons) or None
