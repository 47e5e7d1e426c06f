"""How many sessions an API key has open, across all workers: slots in Redis that heal themselves.

A session holds a slot while it runs. A slot is a lease on the server's clock: its process renews it, and the slot of a
process that died is free again when it lapses. Who waits stands in one line: high before normal before low, and within
a priority the batches in turn (a job without a batch is its own), so that a batch of 10,000 files does not starve a
single job that comes later. When the service says that it is busy, the limit falls at once and rises again slowly;
without STT_API_KEY_MAX_SESSIONS there is no limit until it says so, and again when it has risen enough.

A process asks for all its sessions in one script call (`lua/session_limiter.lua`), when something changes and else at
an interval with jitter; the costs do not depend on how many wait, and no connection is held meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

from worker import metrics
from worker.backoff import jittered
from worker.errors import LedgerUnavailable, SessionLost
from worker.ledger.connection import Scripts
from worker.settings import Settings

_LOG: Final = logging.getLogger(__name__)
POLL_S: Final = 0.5
"""Seconds between two tries while a session of this process waits, give or take a third."""
SEEN_S: Final = 5.0
"""Seconds until a waiting session that is not heard of any more loses its place in the line."""
FRONT: Final = 16
"""Waiting sessions of a process that are asked for at each try; the others less often."""
KEYS_S: Final = 86400.0
"""Life of the governor's keys after their last use."""
SHRINK: Final = 0.7
"""What is left of the limit after the service was busy."""
SHRINK_EVERY_S: Final = 3.0
"""Seconds in which further reports of a busy service count as the same one: many sessions are refused at once."""
HOLD_S: Final = 15.0
"""Seconds after a fall before the limit rises."""
REGROW_S: Final = 300.0
"""Seconds the limit takes from nothing to its full height."""

_LAPSED: Final = "its slot lapsed: this worker could not renew it in time"


@dataclass(slots=True, eq=False)
class _Seat:
    """One session of this process, in the line or in its slot."""

    token: str
    job_id: str
    free: asyncio.Future[None]
    """Done when the slot is ours."""
    place: str = ""
    seen_at: float = -math.inf
    """Monotonic time, in seconds, at which its place in the line was last asked for."""
    kept_at: float = -math.inf
    """Monotonic time, in seconds, at which the slot was surely ours."""
    holder: asyncio.Task[Any] | None = None
    lost: bool = False


class Governor:
    """The slots of one API key, for all sessions of one process. Belongs to one event loop."""

    def __init__(self, settings: Settings, scripts: Scripts) -> None:
        self._scripts = scripts
        # Keys of a service must not be found in Redis, nor be told from what is.
        name = hashlib.sha256(f"stt-batch governor\n{settings.api_key.get_secret_value()}".encode()).hexdigest()[:16]
        prefix = f"{settings.redis_prefix}governor:{name}"
        self._keys = [f"{prefix}:{part}" for part in ("slots", "waiting", "seen", "state", "flows")]
        self._ttl_s = settings.lease_s
        self._renew_s = settings.lease_renew_s
        # A session needs a moment to close: it has to, before its slot is somebody else's.
        self._give_up_s = max(settings.lease_s - settings.close_timeout_s, settings.lease_s * 0.6)
        self._request = {
            "ttl_ms": int(settings.lease_s * 1000),
            "seen_ms": int(SEEN_S * 1000),
            "keys_ms": int(KEYS_S * 1000),
            "most": settings.api_key_max_sessions,
            "starts_per_s": settings.api_key_max_starts_per_s,
            "shrink": SHRINK,
            "shrink_ms": int(SHRINK_EVERY_S * 1000),
            "hold_ms": int(HOLD_S * 1000),
            "regrow_s": REGROW_S,
            "jobs": f"{settings.redis_prefix}job:",
        }
        self._waiting: dict[str, _Seat] = {}
        self._held: dict[str, _Seat] = {}
        self._freed: set[str] = set()
        self._busy = False
        self._changed = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self.limit: int | None = None
        """Sessions allowed at the last exchange; None for no limit."""
        self.in_use = 0
        """Sessions of all workers at the last exchange."""

    @asynccontextmanager
    async def slot(self, job_id: str) -> AsyncIterator[None]:
        """See `Slots`."""
        seat = _Seat(f"{job_id}:{token_hex(8)}", job_id, asyncio.get_running_loop().create_future())
        self._waiting[seat.token] = seat
        self._nudge()
        task = asyncio.current_task()
        cancellations = task.cancelling() if task is not None else 0
        try:
            await seat.free
            seat.holder = task
            if seat.lost:
                raise SessionLost(_LAPSED)
            yield
        except asyncio.CancelledError:
            if seat.lost and task is not None and task.uncancel() <= cancellations:
                raise SessionLost(_LAPSED) from None
            raise
        finally:
            seat.holder = None
            self._waiting.pop(seat.token, None)
            self._held.pop(seat.token, None)
            self._freed.add(seat.token)
            self._nudge()

    async def busy(self) -> None:
        """See `Slots`."""
        self._busy = True
        self._nudge()

    def make_room(self, job_id: str) -> bool:
        """The line itself is fair, and sessions come back to it: see `session_max_s`."""
        return False

    def _nudge(self) -> None:
        self._changed.set()
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._exchanges(), name="governor")

    async def close(self) -> None:
        """At the end of the process: what was given back is told, for at most a second; the rest lapses."""
        work = self._work
        if work is None or work.done():
            return
        if self._freed and not self._held and not self._waiting:
            await asyncio.wait((work,), timeout=1.0)
        work.cancel()
        await asyncio.wait((work,), timeout=1.0)

    async def _exchanges(self) -> None:
        """Until there is nothing left to say."""
        while self._waiting or self._held or self._freed or self._busy:
            self._changed.clear()
            try:
                async with asyncio.timeout(min(self._renew_s, self._left_s())):
                    pause_s = await self._exchange()
            except (LedgerUnavailable, TimeoutError) as exc:
                _LOG.warning("governor: slots not renewed: %s", str(exc) or "no answer in time")
                pause_s = POLL_S
                if not self._waiting and not self._held:  # what was not given back lapses
                    self._freed.clear()
                    self._busy = False
                await asyncio.sleep(jittered(0.075))  # a nudge must not make it spin
            self._let_lapsed_go()
            if self._waiting:
                pause_s = min(pause_s, jittered(POLL_S))
            if self._waiting or self._held:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._changed.wait()

    def _left_s(self) -> float:
        """Seconds until the first slot has to be given up, at least a tenth."""
        first = min((seat.kept_at for seat in self._held.values()), default=math.inf)
        return max(0.1, first + self._give_up_s - time.monotonic())

    async def _exchange(self) -> float:
        """One call for all sessions of this process. Returns the seconds after which the next one is due."""
        freed, busy = list(self._freed), self._busy
        before = time.monotonic()
        waiting = self._to_ask_for(before)
        held = [seat for seat in self._held.values() if before - seat.kept_at >= 0.9 * self._renew_s]
        request = self._request | {
            "busy": busy,
            "free": freed,
            "keep": [seat.token for seat in held],
            "wait": [(seat.token, seat.job_id, seat.place) for seat in waiting],
        }
        granted, lost, places, pause_ms, in_use, limit = await self._scripts.script(
            "session_limiter", self._keys, [json.dumps(request)]
        )
        self._freed.difference_update(freed)
        self._busy = self._busy and not busy
        self.limit, self.in_use = int(limit) if limit else None, int(in_use)
        for seat in held:
            if seat.token not in lost:
                seat.kept_at = before
        for token in lost:
            self._lose(self._held.get(token))
        for seat, place in zip(waiting, places, strict=True):
            seat.place, seat.seen_at = place, before
        for token in granted:
            self._grant(token, before)
        metrics.API_KEY_SESSIONS_OPEN.set(self.in_use)
        metrics.API_KEY_SESSIONS_LIMIT.set(math.inf if self.limit is None else self.limit)
        metrics.SESSIONS_WAITING.set(len(self._waiting))
        if len(granted) >= FRONT:
            return 0.0  # there may be room for those that were not asked for
        return min(self._renew_s, int(pause_ms) / 1000 or self._renew_s)

    def _to_ask_for(self, now: float) -> list[_Seat]:
        """The sessions that may be next, and those whose place would be forgotten: a long line costs little."""
        line = sorted(self._waiting.values(), key=lambda seat: int(seat.place or -1))
        new = sum(not seat.place for seat in line)
        return [seat for rank, seat in enumerate(line) if rank < new + FRONT or now - seat.seen_at > SEEN_S / 3]

    def _grant(self, token: str, now: float) -> None:
        seat = self._waiting.pop(token, None)
        if seat is None or seat.free.done():  # cancelled meanwhile
            self._freed.add(token)
            self._changed.set()
            return
        seat.kept_at = now
        self._held[token] = seat
        seat.free.set_result(None)

    def _let_lapsed_go(self) -> None:
        if self.limit is None:  # nobody is kept out
            return
        now = time.monotonic()
        for seat in list(self._held.values()):
            if now - seat.kept_at > self._give_up_s:
                self._lose(seat)

    def _lose(self, seat: _Seat | None) -> None:
        if seat is None or seat.lost:
            return
        _LOG.warning("governor: the slot of job %s is lost", seat.job_id)
        self._held.pop(seat.token, None)
        seat.lost = True
        if seat.holder is not None:
            seat.holder.cancel()


__all__ = ["Governor"]
