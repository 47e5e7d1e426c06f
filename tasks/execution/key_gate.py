"""Stops the jobs of a worker while their API key is paused, and runs its probes (see `worker.ledger.key_breaker`)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Final

import structlog

from worker.backoff import jittered
from worker.errors import AccessRefused, KeyPaused, LedgerUnavailable
from worker.ledger.event_stream import Event, EventStream
from worker.ledger.key_breaker import KeyBreaker, KeyState
from worker.realtime.slots import Slots

logger = structlog.get_logger(__name__)
POLL_S: Final = 2.0
"""Mean seconds between two checks of a paused key by one process."""
RELEASE_TIMEOUT_S: Final = 2.0
"""Maximum seconds to return a probe whose answer was lost."""
MEMORY_S: Final = 60.0
"""Seconds for which a process without a breaker remembers a refusal. Later it tries again, because the account may have
credit by then."""


@dataclass(slots=True)
class _Probe:
    token: str
    job_id: str = ""
    used: bool = False
    """Whether its session was opened."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class KeyGate:
    """Lets jobs and sessions pass while their key is not paused. Implements `Slots`, around `slots`.

    Without a `breaker`, jobs are not paused. Then, after a refusal, all sessions of the process fail at once with the
    same error for MEMORY_S seconds, because a single run has to end. For use on one event loop."""

    def __init__(self, slots: Slots, breaker: KeyBreaker | None = None, events: EventStream | None = None) -> None:
        self._slots = slots
        self._breaker = breaker
        self._events = events
        self._one_at_a_time = asyncio.Lock()
        self._probe: _Probe | None = None
        self._refusal: AccessRefused | None = None
        self._refused_at = -math.inf  # clock time of `_refusal`

    @property
    def pauses(self) -> bool:
        return self._breaker is not None

    # -- jobs --------------------------------------------------------------------------------------------------------

    async def enter(self) -> str:
        """Wait until a job may start. Returns the token of a probe, or "" while the key is not paused. Each token must
        be passed to `leave`. Raises LedgerUnavailable."""
        if self._breaker is None:
            return ""
        # All waiting messages of the process make only one check at a time.
        async with self._one_at_a_time:
            while True:
                token = "" if self._probe is not None else token_hex(8)
                state = await self._check(self._breaker, token)
                if not state.paused:
                    return ""
                if state.probe:
                    self._probe = _Probe(token)
                    logger.info("probe of a paused key", reason=state.reason, refusals=state.failures)
                    return token
                await asyncio.sleep(jittered(POLL_S))

    @staticmethod
    async def _check(breaker: KeyBreaker, token: str) -> KeyState:
        """Ask the breaker whether a job may start, or whether `token` may be the probe.

        If the answer is lost, Redis may have granted the probe. The token is then returned: otherwise no other worker
        could probe the key for a quarter of an hour."""
        try:
            return await breaker.check(token)
        except (LedgerUnavailable, asyncio.CancelledError):
            if token:
                with suppress(LedgerUnavailable, TimeoutError):
                    async with asyncio.timeout(RELEASE_TIMEOUT_S):
                        await breaker.release(token, used=False)
            raise

    def begin(self, token: str, job_id: str) -> None:
        """Make `job_id` the job of the probe `token`."""
        if self._probe is not None and self._probe.token == token:
            self._probe.job_id = job_id

    async def leave(self, token: str) -> None:
        """End the probe `token`, if it has no result yet."""
        probe = self._probe
        if not token or self._breaker is None or probe is None or probe.token != token:
            return
        self._probe = None
        probe.ended.set()
        with suppress(LedgerUnavailable):  # its right expires
            await self._breaker.release(token, used=probe.used)

    async def refused(self, job_id: str, error: AccessRefused) -> None:
        """Pause the key because of `error`, which ended an attempt at the job. Does nothing if `error` was already
        reported to the breaker. Raises LedgerUnavailable."""
        if self._breaker is None:
            self._refusal, self._refused_at = error, time.monotonic()
            return
        if error.reported or isinstance(error, KeyPaused):
            return
        error.reported = True
        state = await self._breaker.refused(error, self._token_of(job_id), jitter=jittered(0.5, spread=1.0))
        if state.changed:
            logger.error("the key is paused: no job starts until a probe succeeds", code=error.code, error=str(error))
            self._publish("key_paused", state)

    # -- sessions ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def slot(self, job_id: str) -> AsyncIterator[None]:
        """Context with a slot, see `Slots.slot`. Raises KeyPaused while the key is paused, unless the session belongs
        to the probe."""
        self._fail_as_before()
        async with self._slots.slot(job_id):
            self._fail_as_before()
            probe = await self._admit(job_id)
            try:
                yield
            except AccessRefused as exc:
                # The refusal is reported now and not at the end of the attempt, so that the other sessions stop at
                # once.
                if not (exc.may_be_transient and self.key_accepted):
                    with suppress(LedgerUnavailable):
                        await self.refused(job_id, exc)
                raise
            finally:
                if probe is not None:
                    probe.ended.set()

    async def busy(self) -> None:
        await self._slots.busy()

    async def pause(self, seconds: float) -> None:
        await self._slots.pause(seconds)

    async def succeeded(self, job_id: str) -> None:
        """Report a success of a session of the job. The success of a probe resumes the key."""
        token = self._token_of(job_id)
        if token and self._breaker is not None:
            with suppress(LedgerUnavailable):
                state = await self._breaker.succeeded(token)
                if state.changed:
                    logger.info("the key is resumed: a probe succeeded")
                    self._publish("key_resumed", state)
                    if self._probe is not None:
                        self._probe.ended.set()
                        # The probe has its result: further commits of its job need no call to Redis.
                        self._probe = None
        await self._slots.succeeded(job_id)

    @property
    def key_accepted(self) -> bool:
        # A probe is one handshake, so it is not retried.
        return self._slots.key_accepted and self._probe is None

    def make_room(self, job_id: str) -> bool:
        return self._slots.make_room(job_id)

    async def _admit(self, job_id: str) -> _Probe | None:
        """Return the probe if this session is the one that the probe may open. Raises KeyPaused if the key is
        paused."""
        if self._breaker is None:
            return None
        probe = self._probe
        if probe is not None and probe.job_id == job_id:
            if not probe.used:
                probe.used = True
                return probe
            await probe.ended.wait()  # the other sections of the job
        try:
            state = await self._breaker.check()
        except LedgerUnavailable:
            return None  # an outage of Redis ends no session
        if state.paused:
            raise KeyPaused(f"the API key is paused: {state.reason}")
        return None

    def _fail_as_before(self) -> None:
        recent = time.monotonic() - self._refused_at < MEMORY_S
        if self._breaker is None and self._refusal is not None and recent:
            raise self._refusal.with_text(str(self._refusal))

    def _token_of(self, job_id: str) -> str:
        return self._probe.token if self._probe is not None and self._probe.job_id == job_id else ""

    def _publish(self, event: Event, state: KeyState) -> None:
        if self._events is not None:
            self._events.publish_soon(event, "", key=state.name, code=state.code, reason=state.reason)


__all__ = ["KeyGate"]
