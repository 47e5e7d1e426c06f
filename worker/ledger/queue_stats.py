"""Numbers of waiting jobs, messages and webhooks, and the age of the oldest job, for metrics. Two round trips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from worker.ledger import dead_letters
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys, queue_lists
from worker.settings import Settings

SAMPLED_JOBS: Final = 50
"""First jobs of each priority whose age is read. The queue is round-robin over batches, so the oldest job of a priority
is among its first ones, or close to them."""
MAX_DIGITS: Final = 13
_LEVELS: Final = 3
_LEVEL: Final = 1 << 40  # lua/common.lua


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Unfinished jobs, messages and webhooks."""

    queued: int
    """Jobs that wait for a worker."""
    delayed: int
    """Jobs that join the queue after a delay."""
    running: int
    """Jobs that workers process, or processed when they died."""
    messages: int
    """Celery messages in the queue."""
    oldest_s: float
    """Seconds since the oldest queued job was submitted; 0 if no job is queued."""
    webhooks: int
    """Webhooks that wait for delivery."""
    webhooks_dead: int
    """Undeliverable webhooks."""
    dead_letters: int
    """Number of refused messages in the dead letters."""


class QueueStatsReader:
    """Reads the statistics. Belongs to one event loop."""

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._connection = connection
        self._keys = Keys(settings.redis_prefix)
        self._lists = queue_lists(settings.queue)

    async def read(self) -> QueueStats:
        """Raises LedgerUnavailable when Redis does not answer."""
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
    """The creation time in an answer, or 0 if it is not plausible: another program may have written to the key."""
    return int(answer) if isinstance(answer, str) and answer.isdecimal() and len(answer) <= MAX_DIGITS else 0


__all__ = ["QueueStats", "QueueStatsReader"]
