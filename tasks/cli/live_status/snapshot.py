"""The state of a queue, a batch or a run at one moment, for the live view. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.batches.summary import BatchSummary, JobLine, grouped
from worker.ledger.records import JobRecord, JobState
from worker.ledger.waiting import QueueView


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the live view shows."""

    title: str
    waiting: int
    """Jobs of the queue that wait for a worker."""
    running: int
    batches: tuple[BatchSummary, ...]
    """The batches, the newest first; for a run, its files as one batch."""
    jobs: tuple[JobRecord, ...]
    """The running jobs."""
    texts: Mapping[str, str]
    """Last committed words by id of the job."""
    lone_failures: tuple[JobLine, ...] = ()
    """Failed jobs without a batch."""
    notices: tuple[str, ...] = ()
    """Reasons why jobs wait, such as a paused API key."""
    queue: QueueView = field(default_factory=QueueView)
    """The workers that are alive, and why jobs wait."""

    @property
    def failures(self) -> list[tuple[str, int, str]]:
        """Return the reasons of failures with their number and the first source, the most frequent first."""
        failed = [job for batch in self.batches for job in batch.jobs if job.error is not None]
        groups = grouped([*failed, *self.lone_failures])
        return [(group.reason, group.count, group.sources[0]) for group in groups]


def lone_failures(records: Sequence[JobRecord | None]) -> tuple[JobLine, ...]:
    """Return the failed and incomplete jobs without a batch."""
    bad = (JobState.FAILED, JobState.INCOMPLETE)
    return tuple(
        JobLine.of(record) for record in records if record is not None and not record.batch and record.state in bad
    )
