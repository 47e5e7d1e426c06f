"""A worker process: its connections and runner, its background work, and its drain at the end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from tasks.app import app, on_stop, on_timer, wake
from tasks.background.health_and_metrics import TIMER, Monitor
from tasks.background.intake import start_intake
from tasks.background.reaper import Reaper
from tasks.event_loop import shared_loop
from tasks.execution.runner import Runner
from tasks.observability.health import BEAT_S
from tasks.observability.log_setup import warn_of_unknown_variables
from worker import tracing
from worker.errors import LedgerNewer, LedgerUnavailable
from worker.ledger.connection import Connection
from worker.ledger.event_stream import Events
from worker.ledger.ledger import Ledger
from worker.ledger.session_limiter import Governor
from worker.open_files_limit import raise_limit, shortfall
from worker.realtime.cleartext_check import clear_text_warning, sends_key_in_clear
from worker.secret_masking import show_url
from worker.settings import Settings, load
from worker.webhooks import delivery_schedule
from worker.webhooks.http_post import secrets_of

logger: Final = structlog.get_logger(__name__)
MEET_S: Final = 5.0
"""Seconds a start waits for Redis to say whether it may."""
CLOSE_S: Final = 1.0
"""Seconds that closing the connections may take."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """Objects that belong to the event loop of this process, created once."""

    settings: Settings
    connection: Connection
    ledger: Ledger
    events: Events
    governor: Governor
    runner: Runner

    @classmethod
    async def make(cls) -> _Parts:
        settings = load()
        connection, ledger = Connection(settings.redis_url), Ledger(settings)
        events, governor = Events(settings, connection), Governor(settings, connection)
        runner = Runner(settings, ledger, wake=lambda job_id: _send([job_id], settings), slots=governor, events=events)
        return cls(settings, connection, ledger, events, governor, runner)

    async def close(self) -> None:
        """Writes the remaining events, for at most a second."""
        await asyncio.gather(self.governor.close(), self.events.close())
        with suppress(LedgerUnavailable, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(self.ledger.close(), self.connection.close())


class Process:
    """Shared by the task threads of this process. `draining` is set once and never reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: _Parts | None = None
        self.draining = False
        self._background: list[Future[None]] = []
        self._monitor: Monitor | None = None

    def begin(self) -> None:
        """Called before the worker has its broker. Raises SettingsError, LedgerNewer."""
        if (text := shortfall(raise_limit(), load().worker_sessions)) is not None:
            logger.warning(text)
        settings = load()
        warn_of_unknown_variables(os.environ)
        secrets_of(settings)
        if sends_key_in_clear(settings.url):
            logger.warning(clear_text_warning(show_url(settings.url)))
        shared_loop().call(_meet())
        tracing.set_up()
        self._monitor = monitor = Monitor(load())
        on_stop(self.drain)
        on_timer(BEAT_S, lambda: monitor.pulse.beat(TIMER), lambda: monitor.pulse.pause(TIMER))
        shared_loop().submit(monitor.run())

    def end(self) -> None:
        """Called when nothing runs any more."""
        if self._parts is not None:
            with suppress(TimeoutError):  # a loop that stands still must not keep the process
                shared_loop().submit(self._parts.close()).result(2 * CLOSE_S)
        shared_loop().stop()
        tracing.close()
        if self._monitor is not None:
            self._monitor.close()

    def start(self) -> None:
        """Called when the worker is up: starts the work beside its tasks."""
        parts, loop = self.parts(), shared_loop()
        reaper = Reaper(parts.settings, parts.ledger, lambda job_ids: _send(job_ids, parts.settings), parts.events)
        self._background += [
            loop.submit(_warn(parts.ledger)),
            loop.submit(reaper.run()),
            start_intake(parts.settings, loop),
            loop.submit(delivery_schedule.serve(parts.settings)),
        ]

    def parts(self) -> _Parts:
        with self._lock:
            if self._parts is None:
                self._parts = shared_loop().call(_Parts.make())
            return self._parts

    def drain(self) -> None:
        """Called in a signal handler and at any other end of the worker: sets the flag; the event loop does the
        rest."""
        if self.draining:
            return
        self.draining = True
        if self._monitor is not None:
            self._monitor.stop("it is shutting down")
        for work in self._background:
            work.cancel()
        shared_loop().soon(lambda: logger.info("shutting down"))
        if self._parts is not None:
            shared_loop().soon(self._parts.runner.drain)


def _send(job_ids: Sequence[str], settings: Settings) -> None:
    wake(app, job_ids, settings.queue)


async def _meet() -> None:
    """Check that this version may use this ledger. Raises LedgerNewer. While Redis is away, the first job checks it."""
    ledger = Ledger(load())
    try:
        async with asyncio.timeout(MEET_S):
            await ledger.meet()
    except LedgerNewer:
        raise
    except (LedgerUnavailable, TimeoutError) as exc:
        logger.warning("Redis is away at the start", error=str(exc) or f"no answer within {MEET_S:g} s")
    finally:
        await ledger.close()


async def _warn(ledger: Ledger) -> None:
    try:
        for problem in await ledger.durability():
            logger.warning(problem)
    except LedgerUnavailable as exc:
        logger.warning("it is not known whether Redis keeps what it accepts", error=str(exc))
