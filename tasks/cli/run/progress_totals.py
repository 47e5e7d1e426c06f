"""Computes the progress of a run from the records of the ledger. No I/O.

Progress is measured in seconds of audio. If the length of a file is not known yet, it is estimated from the size of the
file and the seconds per byte of the files of known length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tasks.cli.run.file_states import File
from worker.ledger.records import JobRecord, JobState

SPEED_WINDOW_S: Final = 20.0
"""Seconds over which the displayed speed is averaged."""
MAX_WAITING_POLLED: Final = 200
"""Maximum number of waiting jobs whose records one poll reads at the head of the queue; also the maximum for the rest
of the queue."""


@dataclass(frozen=True, slots=True)
class RunTotals:
    """Counts and speed of all files of a run."""

    total: int
    done: int
    """Number of transcribed files, including skipped ones."""
    skipped: int
    failed: int
    incomplete: int
    active: int
    fraction: float
    """Finished seconds of audio as a fraction of all seconds, 0 to 1."""
    speed: float | None
    """Seconds of audio per second of wall time, over the last SPEED_WINDOW_S."""
    left_s: float | None

    @property
    def ended(self) -> bool:
        return self.done + self.failed + self.incomplete == self.total


@dataclass(slots=True)
class RunTracker:
    """Updates the files of a run from the records of the ledger, and computes the totals."""

    files: Sequence[File]
    _turn: int = 0
    _overall: RunTotals | None = None
    _marks: deque[tuple[float, float]] = field(default_factory=deque)

    def files_to_poll(self, running: Sequence[str]) -> list[File]:
        """Return the files whose records may have changed: all files that are running, and some of the files that wait.
        `running`: ids of the running jobs.

        Jobs start approximately in the order of the queue. So the first files of the queue are polled every time, and
        the other files in rotation. Otherwise 10,000 files would cause 10,000 queries five times a second.
        """
        now = set(running)
        open_files = [file for file in self.files if file.job_id is not None and not file.state.ended]
        active = [file for file in open_files if file.job_id in now or file.state is JobState.RUNNING]
        waiting = [file for file in open_files if file.job_id not in now and file.state is not JobState.RUNNING]
        first, rest = waiting[:MAX_WAITING_POLLED], waiting[MAX_WAITING_POLLED:]
        self._turn = self._turn + MAX_WAITING_POLLED if self._turn + MAX_WAITING_POLLED < len(rest) else 0
        return [*active, *first, *rest[self._turn : self._turn + MAX_WAITING_POLLED]]

    def update(self, file: File, record: JobRecord | None, now: float = 0.0) -> None:
        """Set the record of a file. `now`: seconds of a monotonic clock."""
        if record is not None:
            # Seconds that an earlier run committed are not included in the speed of this run.
            if file.before_s is None:
                file.before_s = record.progress.committed_s if record.state is JobState.QUEUED else 0.0
            if file.record is None or record.progress != file.record.progress or record.state is not file.record.state:
                file.moved_at = now
            file.record = record
            file.partial_text = record.progress.partial
        elif file.record is not None:
            file.problem = ("expired", "its record is no longer in the ledger")

    def mark(self, now: float) -> None:
        """Record the seconds transcribed so far, for the speed, and compute the totals. `now`: seconds of a monotonic
        clock."""
        fresh = sum(max(0.0, file.behind_s - (file.before_s or 0.0)) for file in self.files if not file.skipped)
        self._marks.append((now, fresh))
        while len(self._marks) > 2 and now - self._marks[0][0] > SPEED_WINDOW_S:
            self._marks.popleft()
        self._overall = self._counted()

    def overall(self) -> RunTotals:
        """Return the totals that the last `mark` computed."""
        return self._overall or self._counted()

    def _counted(self) -> RunTotals:
        states = [file.state for file in self.files]
        ended = sum(state.ended for state in states)
        done = sum(state is JobState.DONE for state in states)
        incomplete = sum(state is JobState.INCOMPLETE for state in states)
        total_s, gone_s = self._seconds()
        speed = self._speed()
        return RunTotals(
            total=len(states),
            done=done,
            skipped=sum(file.skipped for file in self.files),
            failed=ended - done - incomplete,
            incomplete=incomplete,
            active=sum(state is JobState.RUNNING for state in states),
            fraction=1.0 if ended == len(states) else min(1.0, gone_s / total_s) if total_s else 0.0,
            speed=speed,
            left_s=(total_s - gone_s) / speed if speed and total_s > gone_s else None,
        )

    def _speed(self) -> float | None:
        if len(self._marks) < 2:
            return None
        (first_at, first), (last_at, last) = self._marks[0], self._marks[-1]
        return (last - first) / (last_at - first_at) if last > first and last_at > first_at else None

    def _seconds(self) -> tuple[float, float]:
        """Return the seconds of audio in all files, and the seconds of audio that are finished. Unknown lengths are
        estimated. Skipped files are not included."""
        files = [file for file in self.files if not file.skipped]
        known = [file for file in files if file.duration_s]
        known_bytes = sum(file.size_bytes for file in known)
        per_byte = sum(file.duration_s for file in known) / known_bytes if known_bytes else 0.0
        total = gone = 0.0
        for file in files:
            length = file.duration_s or file.size_bytes * per_byte
            total += length
            gone += length if file.state.ended else file.behind_s
        return total, gone
