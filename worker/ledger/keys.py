"""Names of the Redis keys. All begin with STT_REDIS_PREFIX; those of Celery and kombu with STT_REDIS_PREFIX and
`celery:`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# kombu, the transport of Celery, creates one Redis list per priority of a queue. Suffixes for priorities 0, 3, 6 and 9:
_PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")


UNACKED: Final = ("unacked", "unacked_index", "unacked_mutex")
"""Keys in which kombu stores messages that a worker has taken and not acknowledged."""
DEFAULT_PREFIX: Final = "stt:"


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

    def upload(self, job_id: str) -> str:
        return f"{self.job(job_id)}:upload"

    def script_keys(self, job_id: str) -> tuple[str, ...]:
        """Return the keys of a Lua script on one job, in the order that `lua/common.lua` describes."""
        return *self.pending, self.job(job_id), self.commits(job_id), self.transcript(job_id)

    def batch(self, batch_id: str) -> str:
        return self[f"batch:{batch_id}:jobs"]

    def batch_paused(self, batch_id: str) -> str:
        """Return the name of the key that exists while the batch is paused."""
        return self[f"batch:{batch_id}:paused"]

    def celery(self, name: str) -> str:
        """Return the name of a key of Celery or kombu. The folder `celery:` separates queues from the ledger: a queue
        may have the name of a ledger key, such as `jobs`."""
        return self[f"celery:{name}"]

    def queue_lists(self, queue: str) -> list[str]:
        """Return the names of the Redis lists that contain the Celery messages of a queue."""
        return [self.celery(name) for name in unprefixed_lists(queue)]

    def celery_keys(self, queue: str) -> list[str]:
        """Return the names of kombu's other keys: unacknowledged messages, and bindings of the queue and of Celery's
        remote control."""
        exchanges = (queue, "celery.pidbox", "reply.celery.pidbox", "celeryev")
        kinds = ("_kombu.binding", "_kombu.binding_permanent")
        bindings = [f"{kind}.{exchange}" for kind in kinds for exchange in exchanges]
        return [self.celery(name) for name in (*UNACKED, "_kombu.binding_deadlines", *bindings)]


def unprefixed_lists(queue: str) -> list[str]:
    """Return the lists of a queue in an application of Celery without a prefix, and in versions before schema 3."""
    return [f"{queue}{priority}" for priority in _PRIORITIES]
