"""The workers that are running, and the throughput of all workers over time.

| key               | type | contains                                                               |
|-------------------|------|------------------------------------------------------------------------|
| `workers`         | zset | ids of workers, scored by their last heartbeat in ms                   |
| `worker:ID`       | hash | the fields of `WorkerFacts`                                            |
| `activity:MINUTE` | hash | the SUMS of all workers in one minute, counted since 1970              |

A worker writes its heartbeat every HEARTBEAT_S seconds, and removes its entry when it stops. An entry without a
heartbeat for LOST_S seconds belongs to a worker that was killed or has no connection to Redis.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys

HEARTBEAT_S: Final = 5.0
LOST_S: Final = 20.0
"""Seconds without a heartbeat after which a worker counts as lost."""
SHOWN_S: Final = 600.0
"""Seconds for which the entry of a lost worker is shown."""
ACTIVITY_TTL_S: Final = 26 * 3600
MAX_MINUTES: Final = 24 * 60
MAX_WORKERS: Final = 1000
MAX_WAITING: Final = 500
SUMS: Final = ("audio_s", "sent_s", "done", "failed", "took_s")
"""`audio_s`: seconds of audio whose text was committed. `sent_s`: seconds of audio sent to the service, repetitions
included. `done`, `failed`: jobs that ended. `took_s`: seconds in which sessions were open, summed over sessions."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker says of itself."""

    id: str
    host: str
    pid: int
    version: str
    started_at: float
    """Seconds since 1970, by the worker's clock."""
    sessions: int
    """Open sessions."""
    max_sessions: int
    jobs: int
    """Running jobs."""
    key: str
    """Hash of the API key, as in `worker.ledger.key_breaker`."""
    waiting: tuple[str, ...] = ()
    """Ids of the running jobs that wait for their first session; at most MAX_WAITING."""
    signs_webhooks: bool = False
    """Whether it delivers webhooks, because STT_WEBHOOK_SECRET is set."""
    allowed_webhooks: str = ""
    """Its STT_ALLOWED_WEBHOOKS."""

    def fields(self) -> dict[str, str | int | float]:
        """Return the fields of the hash `worker:ID`."""
        plain = {name: getattr(self, name) for name in WorkerFacts.__slots__}
        return {**plain, "waiting": json.dumps(self.waiting[:MAX_WAITING]), "signs_webhooks": int(self.signs_webhooks)}


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    facts: WorkerFacts
    age_s: float
    """Seconds since the last heartbeat."""

    @property
    def lost(self) -> bool:
        return self.age_s > LOST_S


class WorkerRegistry:
    """Reads and writes the entries. Belongs to one event loop. Methods raise LedgerUnavailable."""

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection, self._keys = connection, keys

    async def beat(self, facts: WorkerFacts, sums: Mapping[str, float]) -> None:
        """Write a heartbeat, and add `sums` (see SUMS) to the present minute."""
        now_s = await self._now()
        key, minute = self._keys[f"worker:{facts.id}"], self._keys[f"activity:{int(now_s // 60)}"]
        ttl_s = int(SHOWN_S)

        def write(pipeline: Any) -> None:
            pipeline.hset(key, mapping=facts.fields())
            pipeline.expire(key, ttl_s)
            pipeline.zadd(self._keys["workers"], {facts.id: int(now_s * 1000)})
            pipeline.zremrangebyscore(self._keys["workers"], "-inf", int((now_s - SHOWN_S) * 1000))
            pipeline.expire(self._keys["workers"], ttl_s)
            for name, value in sums.items():
                if value:
                    pipeline.hincrbyfloat(minute, name, round(value, 3))
            if any(sums.values()):
                pipeline.expire(minute, ACTIVITY_TTL_S)

        await self._connection.pipeline(write)

    async def leave(self, worker_id: str) -> None:
        """Remove a worker that stops."""
        await self._connection.pipeline(
            lambda pipeline: (
                pipeline.zrem(self._keys["workers"], worker_id),
                pipeline.delete(self._keys[f"worker:{worker_id}"]),
            )
        )

    async def workers(self) -> list[WorkerSeen]:
        """Return the workers, sorted by host and process."""
        now_s = await self._now()
        beats = await self._connection.call(
            lambda redis: redis.zrevrange(self._keys["workers"], 0, MAX_WORKERS - 1, withscores=True)
        )
        names = WorkerFacts.__slots__
        answers = await self._connection.pipeline(
            lambda pipeline: [pipeline.hmget(self._keys[f"worker:{one}"], names) for one, _ in beats], each=True
        )
        seen = [
            WorkerSeen(facts, max(0.0, now_s - at_ms / 1000))
            for (_, at_ms), answer in zip(beats, answers, strict=True)
            if (facts := _facts(answer)) is not None
        ]
        return sorted(seen, key=lambda one: (one.facts.host, one.facts.pid))

    async def alive(self) -> list[WorkerFacts]:
        """Return the workers that are not lost, sorted by host and process."""
        return [one.facts for one in await self.workers() if not one.lost]

    async def activity(self, minutes: int) -> tuple[int, list[dict[str, float]]]:
        """Return the number of the present minute since 1970, and the sums of the last `minutes`, the oldest first."""
        last = int(await self._now() // 60)
        span = range(last - min(minutes, MAX_MINUTES) + 1, last + 1)
        answers = await self._connection.pipeline(
            lambda pipeline: [pipeline.hmget(self._keys[f"activity:{minute}"], SUMS) for minute in span], each=True
        )
        return last, [_sums(answer) for answer in answers]

    async def _now(self) -> float:
        seconds, micros = await self._connection.call(lambda redis: redis.time())
        return int(seconds) + int(micros) / 1e6


def _facts(answer: Any) -> WorkerFacts | None:
    """Return the facts, or None for an entry that has expired or that another program has written."""
    try:
        one, host, pid, version, started, sessions, limit, jobs, key, waiting, signs, allowed = answer
        return WorkerFacts(
            *(one, host, int(pid), version, float(started), int(sessions), int(limit), int(jobs), key or ""),
            waiting=tuple(str(job_id) for job_id in json.loads(waiting or "[]")),
            signs_webhooks=signs == "1",
            allowed_webhooks=allowed or "",
        )
    except (TypeError, ValueError, RecursionError):
        return None


def version_counts(workers: Sequence[WorkerFacts]) -> dict[str, int]:
    """Return the number of workers of each version."""
    return dict(sorted(Counter(worker.version for worker in workers).items()))


def _sums(answer: Any) -> dict[str, float]:
    values = answer if isinstance(answer, list) else [None] * len(SUMS)
    return {name: _number(value) for name, value in zip(SUMS, values, strict=True)}


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, str) else 0.0
    except ValueError:
        return 0.0


__all__ = ["HEARTBEAT_S", "SUMS", "WorkerFacts", "WorkerRegistry", "WorkerSeen", "version_counts"]
