"""Limits the open sessions of an API key across all workers, with slots in Redis.

A session has a slot while it is open. A slot expires by the clock of the Redis server unless its process renews it, so
the slots of a dead process become free. Waiting sessions form one queue: sessions of a higher priority come first, and
sessions of the same priority are served round-robin over the batches. A job without a batch is treated like a batch. So
a batch of 10,000 files does not starve a single job that comes later.

When the service reports that it is busy, the limit falls at once and then rises slowly. If STT_API_KEY_MAX_SESSIONS is
not set, there is no limit until the service is busy for the first time; the limit is removed again when it has risen to
twice the number of sessions that were open when the service was busy.

When the service demands a pause (`Retry-After`), no slot is granted until the pause is over. Redis also records whether
a session with this key has ever succeeded. If one has, a later refusal of the key may come from an intermediary, so the
refused session is retried.

A process makes one call of `lua/session_limiter.lua` for all its sessions: when something changes, and at intervals
with jitter. The cost of a call does not depend on the number of waiting sessions. No connection is blocked while they
wait.
"""

from __future__ import annotations

import asyncio
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
from worker.ledger.connection import ScriptRunner
from worker.ledger.key_pause import limiter_key
from worker.settings import Settings

_LOG: Final = logging.getLogger(__name__)
POLL_S: Final = 0.5
"""Mean seconds between two requests while a session of this process waits; each pause is up to a third shorter or
longer."""
WAITING_TTL_S: Final = 5.0
"""Seconds after which a waiting session loses its place in the queue if its process does not request it again."""
REQUESTED_SESSIONS: Final = 16
"""Number of waiting sessions that each request asks for. The others are requested less often, only to renew their
places in the queue."""
KEY_TTL_S: Final = 86400.0
"""Lifetime of the limiter's keys after their last use, in seconds."""
BUSY_FACTOR: Final = 0.7
"""When the service is busy, the limit becomes the number of open sessions multiplied by this."""
BUSY_INTERVAL_S: Final = 3.0
"""Seconds after a busy report in which further ones are ignored, since a busy service refuses many sessions at once."""
RISE_DELAY_S: Final = 15.0
"""Seconds from the fall of the limit until it begins to rise."""
FIRST_STARTS: Final = 8
"""Sessions that all workers together may start at once with a key before the first success. Each may cost two
handshakes (websocket and polling), and a key whose account is empty may cost at most 20 per hour."""
FIRST_STARTS_PER_S: Final = 0.5
"""Further session starts per second before the first success. The first commit of any session ends this limit."""
RISE_S: Final = 300.0
"""Seconds in which the limit would rise from zero to its maximum."""

_EXPIRED: Final = "its slot expired: this worker could not renew it in time"


@dataclass(slots=True, eq=False)
class _SlotSession:
    """One session of this process that waits for a slot or has one."""

    token: str
    job_id: str
    granted: asyncio.Future[None]
    """A future that is done when the slot is granted."""
    place: str = ""
    """Position in the queue: the number (as text) that the script returned; empty before the first request."""
    requested_at: float = -math.inf
    """Monotonic time of the last request that named this session, in seconds."""
    renewed_at: float = -math.inf
    """Monotonic time in seconds directly before the last request that granted or renewed the slot. Redis counts the
    lease from a later moment, so the slot never expires earlier than this process assumes."""
    task: asyncio.Task[Any] | None = None
    """The task in the body of `SessionLimiter.slot`; it is cancelled when the slot is lost."""
    lost: bool = False


class SessionLimiter:
    """Requests slots of one API key for all sessions of one process. Implements `worker.realtime.slots.Slots`.

    Belongs to one event loop."""

    def __init__(self, settings: Settings, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._keys = [limiter_key(settings, part) for part in ("slots", "waiting", "seen", "state", "flows")]
        self._ttl_s = settings.lease_s
        self._renew_s = settings.lease_renew_s
        # Seconds after a renewal until this process treats the slot as lost. This time is shorter than the lease: a
        # session needs time to close, and must be closed before its slot can be granted to another session.
        self._valid_s = max(settings.lease_s - settings.close_timeout_s, settings.lease_s * 0.6)
        self._request = {
            "ttl_ms": int(settings.lease_s * 1000),
            "waiting_ttl_ms": int(WAITING_TTL_S * 1000),
            "key_ttl_ms": int(KEY_TTL_S * 1000),
            "max_sessions": settings.api_key_max_sessions,
            "starts_per_s": settings.api_key_max_starts_per_s,
            "first_starts": FIRST_STARTS,
            "first_starts_per_s": FIRST_STARTS_PER_S,
            "busy_factor": BUSY_FACTOR,
            "busy_interval_ms": int(BUSY_INTERVAL_S * 1000),
            "rise_delay_ms": int(RISE_DELAY_S * 1000),
            "rise_s": RISE_S,
            "job_prefix": f"{settings.redis_prefix}job:",
        }
        self._waiting: dict[str, _SlotSession] = {}
        self._open: dict[str, _SlotSession] = {}
        # Released slots that Redis does not know yet; kept until a call has succeeded.
        self._freed: set[str] = set()
        self._busy = False
        self._paused_until = -math.inf  # monotonic time, of a pause that Redis does not know yet
        self._report_success = False
        self.key_accepted = False
        """Whether a session with this key has succeeded before, in any worker, as far as the last request states."""
        self._changed = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self.limit: int | None = None
        """Maximum number of sessions at the last request, or None for no limit."""
        self.in_use = 0
        """Open sessions of all workers at the last request."""

    @asynccontextmanager
    async def slot(self, job_id: str) -> AsyncIterator[None]:
        """Wait for a slot, and release it at the end of the context; see `worker.realtime.slots.Slots`."""
        session = _SlotSession(f"{job_id}:{token_hex(8)}", job_id, asyncio.get_running_loop().create_future())
        # Waits in memory only: the background task requests slots for all sessions with one call.
        self._waiting[session.token] = session
        self._wake()
        task = asyncio.current_task()
        cancellations = task.cancelling() if task is not None else 0
        try:
            await session.granted
            # A slot may be lost between its grant and this line, because the waiting task runs later.
            session.task = task
            if session.lost:
                raise SessionLost(_EXPIRED)
            yield
        except asyncio.CancelledError:
            # The task is cancelled if its slot is lost, and also if the worker ends. `uncancel` removes our own
            # cancellation; if others remain, the task must end.
            if session.lost and task is not None and task.uncancel() <= cancellations:
                raise SessionLost(_EXPIRED) from None
            raise
        finally:
            session.task = None
            self._waiting.pop(session.token, None)
            self._open.pop(session.token, None)
            # This also applies to a session that only waited: its place in the queue is removed in the same way.
            self._freed.add(session.token)
            self._wake()

    async def busy(self) -> None:
        """Report that the service is at its limit, so that the limit falls; see `worker.realtime.slots.Slots`."""
        self._busy = True
        self._wake()

    async def pause(self, seconds: float) -> None:
        """Report that the service demands a pause for all sessions of this key; see `worker.realtime.slots.Slots`."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        self._wake()

    async def succeeded(self, job_id: str) -> None:
        """Report that a session with this key has succeeded. Redis is only informed of the first one."""
        if not self.key_accepted:
            self._report_success = self.key_accepted = True
            self._wake()

    def make_room(self, job_id: str) -> bool:
        """Return False: no session has to end early, because the queue is fair and every session returns to it after
        STT_SESSION_MAX_S."""
        return False

    def _wake(self) -> None:
        self._changed.set()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="session-limiter")

    async def close(self) -> None:
        """Stop the background task, at the end of the process.

        First wait, for at most a second, until Redis knows all released slots. Slots that are not reported in this time
        expire by themselves."""
        runner = self._runner
        if runner is None or runner.done():
            return
        if self._freed and not self._open and not self._waiting:
            await asyncio.wait((runner,), timeout=1.0)
        runner.cancel()
        await asyncio.wait((runner,), timeout=1.0)

    async def _run(self) -> None:
        """Call the script repeatedly while a session waits or is open, or while the release of a slot or a busy report
        must still be sent."""
        while self._waiting or self._open or self._unreported():
            # Cleared before the call, so that a change during the call starts another call.
            self._changed.clear()
            try:
                async with asyncio.timeout(min(self._renew_s, self._remaining_s())):
                    pause_s = await self._sync()
            except (LedgerUnavailable, TimeoutError) as exc:
                _LOG.warning("session slots not renewed: %s", str(exc) or "no answer in time")
                pause_s = POLL_S
                # No session is left, so stop. Slots whose release could not be reported expire in Redis by themselves.
                if not self._waiting and not self._open:
                    self._freed.clear()
                    self._busy = self._report_success = False
                    self._paused_until = -math.inf
                await asyncio.sleep(jittered(0.075))  # `_changed` may be set again and again: avoid a busy loop
            # Also checked after failures, because Redis may have granted the slots to other processes while it did not
            # answer.
            self._drop_expired()
            if self._waiting:
                pause_s = min(pause_s, jittered(POLL_S))
            if self._waiting or self._open:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._changed.wait()

    def _unreported(self) -> bool:
        """Whether Redis does not know a released slot, a busy report, a pause or a success yet."""
        return bool(self._freed) or self._busy or self._report_success or self._paused_until > time.monotonic()

    def _remaining_s(self) -> float:
        """Return the seconds until this process treats its first slot as lost, but at least 0.1."""
        first = min((session.renewed_at for session in self._open.values()), default=math.inf)
        return max(0.1, first + self._valid_s - time.monotonic())

    async def _sync(self) -> float:
        """Call the script once for all sessions of this process. Returns the seconds until the next call is due."""
        # The lists are copied, because sessions may end while the call runs. Their release belongs to the next call.
        freed, busy, paused_until = list(self._freed), self._busy, self._paused_until
        # Taken before the call, so this process never assumes a longer lease than Redis.
        before = time.monotonic()
        waiting = self._due(before)
        # The factor 0.9 makes a call that comes a little early renew these slots too. Otherwise a second call would
        # follow at once.
        to_renew = [session for session in self._open.values() if before - session.renewed_at >= 0.9 * self._renew_s]
        request = self._request | {
            "busy": busy,
            "pause_ms": max(0, int((paused_until - before) * 1000)) if paused_until > before else 0,
            "succeeded": self._report_success,
            "release": freed,
            "renew": [session.token for session in to_renew],
            "waiting": [(session.token, session.job_id, session.place) for session in waiting],
        }
        granted, lost, places, pause_ms, in_use, limit, accepted = await self._scripts.script(
            "session_limiter", self._keys, [json.dumps(request)]
        )
        # Only after the answer. A release that is sent twice has no effect.
        self._freed.difference_update(freed)
        self._busy = self._busy and not busy
        if self._paused_until <= paused_until:
            self._paused_until = -math.inf
        if request["succeeded"]:
            self._report_success = False
        self.key_accepted = self.key_accepted or accepted == 1
        self.limit, self.in_use = int(limit) if limit else None, int(in_use)
        for session in to_renew:
            if session.token not in lost:
                session.renewed_at = before
        for token in lost:
            self._revoke(self._open.get(token))
        for session, place in zip(waiting, places, strict=True):
            session.place, session.requested_at = place, before
        for token in granted:
            self._grant(token, before)
        metrics.API_KEY_SESSIONS_OPEN.set(self.in_use)
        metrics.API_KEY_SESSIONS_LIMIT.set(math.inf if self.limit is None else self.limit)
        metrics.SESSIONS_WAITING.set(len(self._waiting))
        if len(granted) >= REQUESTED_SESSIONS:
            return 0.0  # ask again at once: sessions that were not part of this request may get a slot too
        return min(self._renew_s, int(pause_ms) / 1000 or self._renew_s)

    def _due(self, now: float) -> list[_SlotSession]:
        """Return the waiting sessions for which the next call requests slots: the first sessions of the queue, new
        sessions, and sessions whose place in the queue expires soon. So the size of a request does not depend on the
        number of waiting sessions."""
        queue = sorted(self._waiting.values(), key=lambda session: int(session.place or -1))
        new = sum(not session.place for session in queue)
        return [
            session
            for rank, session in enumerate(queue)
            if rank < new + REQUESTED_SESSIONS or now - session.requested_at > WAITING_TTL_S / 3
        ]

    def _grant(self, token: str, now: float) -> None:
        """Give a slot to the waiting session `token`, or release the slot if the session does not wait any more."""
        session = self._waiting.pop(token, None)
        if session is None or session.granted.done():  # the session was cancelled during the request
            self._freed.add(token)
            self._changed.set()
            return
        session.renewed_at = now
        self._open[token] = session
        session.granted.set_result(None)

    def _drop_expired(self) -> None:
        """End the sessions whose slots could not be renewed in time."""
        if self.limit is None:  # without a limit, a session with an expired slot takes no slot from another session
            return
        now = time.monotonic()
        for session in list(self._open.values()):
            if now - session.renewed_at > self._valid_s:
                self._revoke(session)

    def _revoke(self, session: _SlotSession | None) -> None:
        """Mark an open session as lost and cancel its task, which then raises SessionLost in `slot`."""
        if session is None or session.lost:
            return
        _LOG.warning("the session slot of job %s is lost", session.job_id)
        self._open.pop(session.token, None)
        session.lost = True
        if session.task is not None:
            session.task.cancel()


__all__ = ["SessionLimiter"]
