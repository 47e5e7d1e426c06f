"""The limits of each key: requests a second, waiting jobs, and hours of audio in a day.

Scripts count all of them in Redis. So concurrent requests to any number of processes of the API cannot exceed a limit.
The keys:

| key                     | type   | contains                                                                     |
|-------------------------|--------|------------------------------------------------------------------------------|
| `http:waiting:NAME`     | set    | jobs of the key that may still wait                                          |
| `http:audio:NAME:DAY`   | string | seconds of audio of the key on this day (UTC)                                |
| `http:unknown:NAME:DAY` | set    | jobs of that day whose duration is not known yet                             |
| `http:reserved:NAME`    | zset   | submissions that have passed the limits and whose jobs are not recorded yet  |
| `http:rate:NAME`        | string | state of the requests a second, see `request_rate.lua`                       |

The limits have two exceptions. A job whose duration is unknown counts as audio only when the duration is known. A
submission that takes longer than RESERVATION_TTL loses its reservation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Final

import structlog

from tasks.api.problems import Problem, too_many
from worker.errors import LedgerUnavailable
from worker.http_keys import Principal
from worker.ledger.connection import RedisConnection
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.keys import Keys
from worker.ledger.ledger import JobState, Ledger
from worker.settings import Settings

_log: Final = structlog.get_logger(__name__)
WAITING_RETRY_S: Final = 10.0
DAY_TTL: Final = timedelta(days=3)
RESERVATION_TTL: Final = timedelta(minutes=10)
"""Maximum time from a check to the record of the last job. Reservations of killed processes expire after this time."""
MAX_NOTED: Final = 1_000
"""Maximum number of jobs that one script counts, because a running script blocks all other clients of Redis."""
MAX_RESOLVED: Final = 100
"""Maximum number of jobs whose duration is looked up at once."""
RESOLVE_INTERVAL_S: Final = 0.2
"""Minimum seconds between two such look-ups of a key. Each costs about as much as twenty submissions."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Jobs that have passed the limits. `token`: empty without limits."""

    limits: KeyLimits
    principal: Principal
    token: str = ""

    async def note(self, durations: Mapping[str, float | None]) -> None:
        """Count recorded jobs, and take them out of the reservation: id -> seconds of audio, None if unknown."""
        if self.token:
            items = list(durations.items())
            for start in range(0, len(items), MAX_NOTED):
                await self.limits.note(self, dict(items[start : start + MAX_NOTED]))


class KeyLimits:
    """Counts and checks. Belongs to the event loop of its connection."""

    def __init__(self, settings: Settings, connection: RedisConnection, ledger: Ledger) -> None:
        self._rate = settings.http_key_max_requests_per_s
        self._max_waiting = settings.http_key_max_waiting
        self._max_audio_s = settings.http_key_max_audio_hours * 3600
        self._connection, self._ledger = connection, ledger
        self._keys = Keys(settings.redis_prefix)
        self._resolved_at: dict[str, float] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    async def count_request(self, principal: Principal) -> None:
        """Count one request. Raises Problem 429 above the requests a second of the key."""
        if not self._rate:
            return
        key = self._keys[f"http:rate:{principal.name}"]
        wait_ms = await self._connection.script("request_rate", [key], [self._rate, max(1.0, self._rate)])
        if wait_ms:
            raise too_many(
                f"the key {principal.name} may send {self._rate:g} requests a second (STT_HTTP_KEY_MAX_REQUESTS_PER_S)",
                "too_many_requests",
                wait_ms / 1000,
            )

    @asynccontextmanager
    async def reserved(self, principal: Principal, jobs: int, audio_s: float = 0.0) -> AsyncIterator[Reservation]:
        """Check the limits, and count the jobs as waiting until the block ends. The block records the jobs and notes
        them in the reservation. Raises Problem 429."""
        if not (self._max_waiting or self._max_audio_s):
            yield Reservation(self, principal)
            return
        reservation = Reservation(self, principal, token_hex(8))
        await self.check_submission(principal, jobs, audio_s, reservation.token)
        try:
            yield reservation
        finally:
            # In a task of its own: the request may have been cancelled.
            releasing = asyncio.create_task(self._release(reservation))
            self._releasing.add(releasing)  # the event loop alone would not keep it
            releasing.add_done_callback(self._releasing.discard)
            await asyncio.shield(releasing)

    async def check_submission(self, principal: Principal, jobs: int, audio_s: float = 0.0, token: str = "") -> None:
        """Check the limits. `audio_s`: audio of the request, as far as known. `token`: of the reservation to make.
        Empty: reserve nothing, because the request is still incomplete. Raises Problem 429."""
        if not (self._max_waiting or self._max_audio_s):
            return
        if self._max_audio_s:
            await self._resolve(principal)
        for last in (False, True):
            answer, waiting, used = await self._connection.script(
                "key_limits",
                self._script_keys(principal),
                ["reserve", token, jobs, audio_s, self._max_waiting, self._max_audio_s, _ms(RESERVATION_TTL)],
            )
            if answer == "audio":
                raise self._audio_problem(principal, float(used))
            if answer == "waiting" and (last or not await self._remove_begun(principal)):
                raise too_many(
                    f"the key {principal.name} has {waiting} waiting jobs of at most {self._max_waiting} "
                    "(STT_HTTP_KEY_MAX_WAITING); submit again when some have begun",
                    "too_many_waiting",
                    WAITING_RETRY_S,
                )
            if answer == "ok":
                return

    async def note(self, reservation: Reservation, durations: Mapping[str, float | None]) -> None:
        """Count at most MAX_NOTED jobs of a reservation."""
        unknown = [job_id for job_id, duration in durations.items() if duration is None]
        known = [job_id for job_id, duration in durations.items() if duration is not None]
        await self._connection.script(
            "key_limits",
            self._script_keys(reservation.principal),
            [
                "note",
                reservation.token,
                sum(duration or 0.0 for duration in durations.values()),
                _ms(UNFINISHED_TTL) if self._max_waiting else 0,
                _ms(DAY_TTL) if self._max_audio_s else 0,
                len(unknown),
                *unknown,
                *known,
            ],
        )

    async def _release(self, reservation: Reservation) -> None:
        try:
            await self._connection.script(
                "key_limits", self._script_keys(reservation.principal), ["release", reservation.token]
            )
        except LedgerUnavailable as exc:  # the jobs are recorded, so the request must not fail now
            _log.warning("a reservation of a key could not be ended; it expires", error=str(exc))

    async def _remove_begun(self, principal: Principal) -> bool:
        """Remove jobs that wait no more from the waiting jobs. Returns whether there were any."""
        key = self._keys[f"http:waiting:{principal.name}"]
        ids = sorted(await self._connection.call(lambda redis: redis.smembers(key)))
        records = await self._ledger.get_many(ids)
        begun = [i for i, one in zip(ids, records, strict=True) if one is None or one.state is not JobState.QUEUED]
        if begun:
            await self._connection.call(lambda redis: redis.srem(key, *begun))
        return bool(begun)

    async def _resolve(self, principal: Principal) -> None:
        """Count jobs of today whose duration became known since."""
        now = time.monotonic()
        if now - self._resolved_at.get(principal.name, -RESOLVE_INTERVAL_S) < RESOLVE_INTERVAL_S:
            return
        self._resolved_at[principal.name] = now
        _, audio, open_, _ = self._script_keys(principal)
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

    def _script_keys(self, principal: Principal) -> tuple[str, str, str, str]:
        """Return the keys of the script `key_limits`."""
        name, day = principal.name, datetime.now(UTC).strftime("%Y-%m-%d")
        return (
            self._keys[f"http:waiting:{name}"],
            self._keys[f"http:audio:{name}:{day}"],
            self._keys[f"http:unknown:{name}:{day}"],
            self._keys[f"http:reserved:{name}"],
        )

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


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)


__all__ = ["KeyLimits", "Reservation"]
