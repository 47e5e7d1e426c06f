"""Names of the ledger's Redis keys, below the prefix of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Suffixes of the lists that kombu creates for one queue, by priority.
_PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that all jobs share, and those of one job or batch."""

    prefix: str

    def __getitem__(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @property
    def pending(self) -> tuple[str, str, str]:
        """The sorted sets of jobs that have not ended, the first keys of every job script: running jobs by the end of
        their lease, queued jobs by their place, and delayed jobs by the time at which they join the queue."""
        return self["leases"], self["queue"], self["delayed"]

    def job(self, job_id: str) -> str:
        return self[f"job:{job_id}"]

    def commits(self, job_id: str) -> str:
        return f"{self.job(job_id)}:commits"

    def transcript(self, job_id: str) -> str:
        return f"{self.job(job_id)}:transcript"

    def script_keys(self, job_id: str) -> tuple[str, ...]:
        """The keys of a script on one job, in the order of `lua/common.lua`."""
        return *self.pending, self.job(job_id), self.commits(job_id), self.transcript(job_id)

    def batch(self, batch_id: str) -> str:
        return self[f"batch:{batch_id}:jobs"]

    def batch_paused(self, batch_id: str) -> str:
        """A key that exists while the batch is paused."""
        return self[f"batch:{batch_id}:paused"]


def queue_lists(queue: str) -> list[str]:
    """The Redis lists that contain the Celery messages of a queue."""
    return [f"{queue}{priority}" for priority in _PRIORITIES]
