"""The limits of each key: requests a second, waiting jobs, and hours of audio in a day.

Requests are counted in this process. Waiting jobs and audio are counted in Redis, for all processes together:

| key                     | type   | contains                                                            |
|-------------------------|--------|---------------------------------------------------------------------|
| `http:waiting:NAME`     | set    | jobs of the key that may still wait                                 |
| `http:audio:NAME:DAY`   | string | seconds of audio of the key on this day (UTC)                       |
| `http:unknown:NAME:DAY` | set    | jobs of that day whose duration is not known yet                    |
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tasks.api.problems import Problem, too_many
from worker.http_keys import Principal
from worker.ledger.connection import RedisConnection
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.keys import Keys
from worker.ledger.ledger import JobState, Ledger
from worker.settings import Settings

WAITING_RETRY_S: Final = 10.0
DAY_TTL: Final = timedelta(days=3)
MAX_RESOLVED: Final = 100
"""Maximum number of jobs whose duration is looked up at once."""
RESOLVE_INTERVAL_S: Final = 0.2
"""Minimum seconds between two such look-ups of a key. Each costs about as much as twenty submissions."""


@dataclass(slots=True)
class _Reserved:
    """Submissions of one key that have passed the limits and are not counted in Redis yet."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    jobs: int = 0
    audio_s: float = 0.0


class KeyLimits:
    """Counts and checks. Belongs to the event loop of its connection."""

    def __init__(self, settings: Settings, connection: RedisConnection, ledger: Ledger) -> None:
        self._rate = settings.http_key_max_requests_per_s
        self._max_waiting = settings.http_key_max_waiting
        self._max_audio_s = settings.http_key_max_audio_hours * 3600
        self._connection, self._ledger = connection, ledger
        self._keys = Keys(settings.redis_prefix)
        self._buckets: dict[str, tuple[float, float]] = {}
        """Free requests of each key, and the time when they were counted."""
        self._resolved_at: dict[str, float] = {}
        self._reserved: defaultdict[str, _Reserved] = defaultdict(_Reserved)

    def count_request(self, principal: Principal) -> None:
        """Count one request. Raises Problem 429 above the requests a second of the key."""
        if not self._rate:
            return
        now, size = time.monotonic(), max(1.0, self._rate)
        free, at = self._buckets.get(principal.name, (size, now))
        free = min(size, free + (now - at) * self._rate)
        if free < 1:
            self._buckets[principal.name] = free, now
            raise too_many(
                f"the key {principal.name} may send {self._rate:g} requests a second (STT_HTTP_KEY_MAX_REQUESTS_PER_S)",
                "too_many_requests",
                (1 - free) / self._rate,
            )
        self._buckets[principal.name] = free - 1, now

    @asynccontextmanager
    async def reserved(self, principal: Principal, jobs: int, audio_s: float = 0.0) -> AsyncIterator[None]:
        """Check the limits, and count the jobs as waiting until the block ends. The block records the jobs and calls
        `note_jobs`. Without this, requests that arrive together would all pass the limits. Raises Problem 429."""
        if not (self._max_waiting or self._max_audio_s):
            yield
            return
        reserved = self._reserved[principal.name]
        async with reserved.lock:
            await self.check_submission(principal, jobs, audio_s)
            reserved.jobs += jobs
            reserved.audio_s += audio_s
        try:
            yield
        finally:
            reserved.jobs -= jobs
            reserved.audio_s -= audio_s

    async def check_submission(self, principal: Principal, jobs: int, audio_s: float = 0.0) -> None:
        """Check the limits for a request that is still incomplete. `audio_s`: its audio, as far as known. Raises
        Problem 429."""
        # Read before the counts in Redis: a job that is noted meanwhile then counts twice rather than never.
        reserved = self._reserved[principal.name]
        more, more_s = reserved.jobs, reserved.audio_s
        if self._max_waiting:
            waiting = await self._waiting(principal) + more
            if waiting + jobs > self._max_waiting:
                raise too_many(
                    f"the key {principal.name} has {waiting} waiting jobs of at most {self._max_waiting} "
                    "(STT_HTTP_KEY_MAX_WAITING); submit again when some have begun",
                    "too_many_waiting",
                    WAITING_RETRY_S,
                )
        if self._max_audio_s:
            used = await self._audio_s(principal) + more_s
            if used + audio_s > self._max_audio_s or used >= self._max_audio_s:
                raise self._audio_problem(principal, used)

    async def note_jobs(self, principal: Principal, durations: dict[str, float | None]) -> None:
        """Count recorded jobs: id -> seconds of audio, None if unknown."""
        if not durations or not (self._max_waiting or self._max_audio_s):
            return
        known = sum(duration for duration in durations.values() if duration)
        unknown = [job_id for job_id, duration in durations.items() if duration is None]
        waiting = self._keys[f"http:waiting:{principal.name}"]
        audio, open_ = self._day(principal)

        def write(pipeline: Any) -> None:
            if self._max_waiting:
                pipeline.sadd(waiting, *durations)
                pipeline.pexpire(waiting, UNFINISHED_TTL)
            if self._max_audio_s:
                pipeline.incrbyfloat(audio, known)
                pipeline.pexpire(audio, DAY_TTL)
            if self._max_audio_s and unknown:
                pipeline.sadd(open_, *unknown)
                pipeline.pexpire(open_, DAY_TTL)

        await self._connection.pipeline(write)

    async def _waiting(self, principal: Principal) -> int:
        """Return the number of waiting jobs. Jobs that wait no more are removed from the set first."""
        key = self._keys[f"http:waiting:{principal.name}"]
        ids = sorted(await self._connection.call(lambda redis: redis.smembers(key)))
        if len(ids) < self._max_waiting // 2:
            return len(ids)
        records = await self._ledger.get_many(ids)
        begun = [i for i, one in zip(ids, records, strict=True) if one is None or one.state is not JobState.QUEUED]
        if begun:
            await self._connection.call(lambda redis: redis.srem(key, *begun))
        return len(ids) - len(begun)

    async def _audio_s(self, principal: Principal) -> float:
        """Return the seconds of audio of today, including jobs whose duration became known since."""
        audio, open_ = self._day(principal)
        now = time.monotonic()
        if now - self._resolved_at.get(principal.name, -RESOLVE_INTERVAL_S) >= RESOLVE_INTERVAL_S:
            self._resolved_at[principal.name] = now
            await self._resolve(audio, open_)
        return float(await self._connection.call(lambda redis: redis.get(audio)) or 0)

    async def _resolve(self, audio: str, open_: str) -> None:
        """Count jobs of the set `open_` whose duration became known."""
        ids: Sequence[str] = await self._connection.call(lambda redis: redis.srandmember(open_, MAX_RESOLVED))
        found = {}
        for job_id, record in zip(ids, await self._ledger.get_many(ids), strict=True):
            if record is None or record.progress.duration_s or record.state.ended:
                found[job_id] = record.progress.duration_s if record is not None else 0.0
        for job_id, duration_s in found.items():
            # Only the process that removes the job counts it.
            if await self._connection.call(lambda redis, job_id=job_id: redis.srem(open_, job_id)):  # type: ignore[misc]
                await self._connection.pipeline(
                    lambda p, s=duration_s: (p.incrbyfloat(audio, s), p.pexpire(audio, DAY_TTL))  # type: ignore[misc]
                )

    def _day(self, principal: Principal) -> tuple[str, str]:
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        return self._keys[f"http:audio:{principal.name}:{day}"], self._keys[f"http:unknown:{principal.name}:{day}"]

    def _audio_problem(self, principal: Principal, used_s: float) -> Problem:
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        used, limit = f"{used_s / 3600:.2f}", f"{self._max_audio_s / 3600:g}"
        return too_many(
            f"the key {principal.name} has used {used} of {limit} hours of audio today "
            "(STT_HTTP_KEY_MAX_AUDIO_HOURS); submit again tomorrow (UTC)",
            "too_much_audio",
            (midnight - now).total_seconds(),
        )


__all__ = ["KeyLimits"]
