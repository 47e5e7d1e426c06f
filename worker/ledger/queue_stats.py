"""Counts jobs, messages and webhooks in Redis, and finds the age of the oldest queued job, for metrics.

One reading takes two round trips to Redis. This number does not depend on the number of waiting jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from worker.ledger import dead_letters
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.settings import Settings

SAMPLED_JOBS: Final = 50
"""Number of jobs at the front of each priority whose age is read. The queue is round-robin over batches, so the oldest
job of a priority is among its first jobs, or not much older than the oldest of those."""
MAX_DIGITS: Final = 13
"""Maximum digits of a creation time in milliseconds since 1970; a longer number is not a time before the year 2286."""
_LEVELS: Final = 3
"""Number of priorities: high, normal and low."""
_LEVEL: Final = 1 << 40
"""Distance between the scores of two priorities in the sorted set `queue`; LEVEL in `lua/common.lua`."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Numbers of unfinished jobs, messages and webhooks at one moment."""

    queued: int
    """Jobs that wait for a worker."""
    delayed: int
    """Jobs that will join the queue when their delay is over."""
    running: int
    """Jobs that a worker processes, including jobs whose worker has died but which are not requeued yet."""
    messages: int
    """Celery messages in the queue."""
    oldest_s: float
    """Seconds since the oldest queued job was submitted; 0 if no job is queued."""
    webhooks: int
    """Webhooks that wait for delivery."""
    webhooks_dead: int
    """Webhooks that could not be delivered and are not tried again."""
    dead_letters: int
    """Messages that no worker could read or execute, see `worker.ledger.dead_letters`."""


class QueueStatsReader:
    """Reads the statistics. Belongs to one event loop."""

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._connection = connection
        self._keys = Keys(settings.redis_prefix)
        self._lists = self._keys.queue_lists(settings.queue)

    async def read(self) -> QueueStats:
        """Read the current numbers. Raises LedgerUnavailable when Redis does not answer."""
        running, queued, delayed = self._keys.pending

        def count(pipeline: Any) -> None:
            for key in (running, queued, delayed, self._keys["webhooks"], self._keys["webhooks:dead"]):
                pipeline.zcard(key)
            for name in self._lists:
                pipeline.llen(name)
            pipeline.xlen(self._keys[dead_letters.KEY])
            pipeline.time()
            for level in range(_LEVELS):
                pipeline.zrangebyscore(queued, level * _LEVEL, f"({(level + 1) * _LEVEL}", start=0, num=SAMPLED_JOBS)

        answers = await self._connection.pipeline(count)
        counted = 5 + len(self._lists) + 1
        counts, (seconds, micros) = answers[:counted], answers[counted]
        ids = [job_id for level in answers[counted + 1 :] for job_id in level]
        return QueueStats(
            running=counts[0],
            queued=counts[1],
            delayed=counts[2],
            messages=sum(counts[5:-1]),
            dead_letters=counts[-1],
            webhooks=counts[3],
            webhooks_dead=counts[4],
            oldest_s=await self._oldest_s(ids, int(seconds) + int(micros) / 1e6),
        )

    async def _oldest_s(self, ids: list[str], now: float) -> float:
        if not ids:
            return 0.0
        created = await self._connection.pipeline(
            lambda pipeline: [pipeline.hget(self._keys.job(job_id), "created") for job_id in ids], each=True
        )
        return max((now - at / 1000 for at in map(_milliseconds, created) if at), default=0.0)


def _milliseconds(answer: object) -> int:
    """Return the creation time in an answer, in milliseconds since 1970, or 0 if the answer is not a plausible time.

    Another program may have written to the key, so the answer may be any text or an exception."""
    return int(answer) if isinstance(answer, str) and answer.isdecimal() and len(answer) <= MAX_DIGITS else 0


__all__ = ["QueueStats", "QueueStatsReader"]
