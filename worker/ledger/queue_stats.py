"""How much there is to do, as Redis has it, and for how long it has waited: for metrics, in two round trips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from worker.ledger import dead_letters
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys, queue_lists
from worker.settings import Settings

SAMPLED_JOBS: Final = 50
"""Jobs at the front of each level of the line whose age is asked for. The line gives
batches turns, so the one that has waited longest is among the first of its level, or close to it."""
MAX_DIGITS: Final = 13
_LEVELS: Final = 3
_LEVEL: Final = 1 << 40  # lua/common.lua


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Jobs and messages that are not done with."""

    queued: int
    """Jobs that wait for a worker."""
    delayed: int
    """Jobs that will wait for one after a pause."""
    running: int
    """Jobs that workers hold, or held when they died."""
    messages: int
    """Wake-ups that lie in the queue."""
    oldest_s: float
    """Seconds since the queued job that waits longest was submitted; 0 when none waits."""
    webhooks: int
    """Webhooks that are to be delivered."""
    webhooks_dead: int
    """Undeliverable webhooks."""
    dead_letters: int
    """Number of refused messages in the dead letters."""


class QueueStatsReader:
    """`read` raises LedgerUnavailable when Redis does not answer. Belongs to one event loop."""

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._connection = connection
        self._keys = Keys(settings.redis_prefix)
        self._lists = queue_lists(settings.queue)

    async def read(self) -> QueueStats:
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
    """0 unless it is a plausible time: another program may have written to that key."""
    return int(answer) if isinstance(answer, str) and answer.isdecimal() and len(answer) <= MAX_DIGITS else 0


__all__ = ["QueueStats", "QueueStatsReader"]
