"""How the ledger names its keys, below the prefix of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# How kombu names the lists of a queue, by priority.
_PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that all jobs have in common, and those of one job or batch."""

    prefix: str

    def __getitem__(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @property
    def pending(self) -> tuple[str, str, str]:
        """What the scripts want first: running jobs by the end of their lease, the line of those that wait for a
        worker, and those that shall stand there later."""
        return self["leases"], self["queue"], self["delayed"]

    def job(self, job_id: str) -> str:
        return self[f"job:{job_id}"]

    def commits(self, job_id: str) -> str:
        return f"{self.job(job_id)}:commits"

    def transcript(self, job_id: str) -> str:
        return f"{self.job(job_id)}:transcript"

    def script_keys(self, job_id: str) -> tuple[str, ...]:
        """The keys a script on one job wants."""
        return *self.pending, self.job(job_id), self.commits(job_id), self.transcript(job_id)

    def batch(self, batch_id: str) -> str:
        return self[f"batch:{batch_id}:jobs"]

    def batch_paused(self, batch_id: str) -> str:
        """Exists while the batch is paused."""
        return self[f"batch:{batch_id}:paused"]


def queue_lists(queue: str) -> list[str]:
    """The lists Celery's messages of a queue lie in."""
    return [f"{queue}{priority}" for priority in _PRIORITIES]
