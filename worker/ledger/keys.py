"""Names of the ledger's Redis keys. All begin with STT_REDIS_PREFIX, except the lists of Celery messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# kombu, the transport of Celery, creates one Redis list per priority of a queue. Suffixes for priorities 0, 3, 6 and 9:
_PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")


@dataclass(frozen=True, slots=True)
class Keys:
    """Builds the names of the keys that all jobs share (`keys["jobs"]`), and of the keys of one job or batch."""

    prefix: str

    def __getitem__(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @property
    def pending(self) -> tuple[str, str, str]:
        """The keys of the three sorted sets of jobs that have not ended. They are the first keys of every Lua script on
        jobs.

        Running jobs are scored by the end of their lease, queued jobs by their position in the queue, and delayed jobs
        by the time at which they join the queue."""
        return self["leases"], self["queue"], self["delayed"]

    def job(self, job_id: str) -> str:
        return self[f"job:{job_id}"]

    def commits(self, job_id: str) -> str:
        return f"{self.job(job_id)}:commits"

    def transcript(self, job_id: str) -> str:
        return f"{self.job(job_id)}:transcript"

    def script_keys(self, job_id: str) -> tuple[str, ...]:
        """Return the keys of a Lua script on one job, in the order that `lua/common.lua` describes."""
        return *self.pending, self.job(job_id), self.commits(job_id), self.transcript(job_id)

    def batch(self, batch_id: str) -> str:
        return self[f"batch:{batch_id}:jobs"]

    def batch_paused(self, batch_id: str) -> str:
        """Return the name of the key that exists while the batch is paused."""
        return self[f"batch:{batch_id}:paused"]


def queue_lists(queue: str) -> list[str]:
    """Return the names of the Redis lists that contain the Celery messages of a queue."""
    return [f"{queue}{priority}" for priority in _PRIORITIES]
