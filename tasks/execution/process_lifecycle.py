"""The lifecycle of a worker process: checks at the start, background tasks, drain, and close."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from tasks.app import app, on_stop, on_timer, wake
from tasks.background.health_and_metrics import TIMER, Monitor
from tasks.background.intake import start_intake
from tasks.background.reaper import Reaper
from tasks.background.worker_presence import announce
from tasks.event_loop import LoopThread, shared_loop
from tasks.execution.message_handler import MessageHandler
from tasks.observability.heartbeat import BEAT_S
from tasks.observability.log_setup import warn_of_unknown_variables
from worker import tracing
from worker.errors import LedgerNewer, LedgerUnavailable, SettingsError
from worker.ledger.connection import WORKER_CALL_LIMIT_S, ReadOnlyReplica, RedisConnection
from worker.ledger.event_stream import EventStream
from worker.ledger.key_breaker import KeyBreaker
from worker.ledger.ledger import Ledger
from worker.ledger.session_limiter import SessionLimiter
from worker.open_files_limit import limit_warning, raise_limit
from worker.realtime.cleartext_check import clear_text_warning, sends_key_in_clear
from worker.secret_masking import show_url
from worker.settings import Settings, load
from worker.webhooks import delivery_schedule
from worker.webhooks.http_post import signing_keys

logger: Final = structlog.get_logger(__name__)
REDIS_CHECK_TIMEOUT_S: Final = 5.0
"""Maximum seconds that the start of a worker waits for Redis to return its schema version."""
CLOSE_S: Final = 1.0
"""Maximum seconds to close the connections."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The Redis clients and the handler of this process. They belong to its event loop."""

    settings: Settings
    connection: RedisConnection
    ledger: Ledger
    events: EventStream
    session_limiter: SessionLimiter
    handler: MessageHandler

    @classmethod
    async def create(cls) -> WorkerContext:
        """Create the clients. Does no I/O, because each client connects with its first command."""
        settings = load()
        connection = RedisConnection(settings.redis_url, limit_s=WORKER_CALL_LIMIT_S)
        ledger = Ledger(settings, limit_s=WORKER_CALL_LIMIT_S)
        events, limiter = EventStream(settings, connection), SessionLimiter(settings, connection)
        breaker = KeyBreaker(settings, connection) if settings.pause_refused_key else None
        handler = MessageHandler(
            settings,
            ledger,
            wake=lambda job_id: _send([job_id], settings),
            slots=limiter,
            events=events,
            breaker=breaker,
        )
        return cls(settings, connection, ledger, events, limiter, handler)

    async def close(self) -> None:
        """Write the remaining events, for at most CLOSE_S seconds, and close the connections."""
        await asyncio.gather(self.session_limiter.close(), self.events.close())
        with suppress(LedgerUnavailable, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(self.ledger.close(), self.connection.close())


class WorkerProcess:
    """The lifecycle of a worker process: `prepare`, `start_background`, `drain`, `close`. All task threads share one
    instance.

    Each method also works if the methods before it were not called, because a worker may be stopped at any time."""

    def __init__(self, loop: Callable[[], LoopThread] = shared_loop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._context: WorkerContext | None = None
        self._background: list[Future[None]] = []
        self._monitor: Monitor | None = None
        self._draining = False  # set by `drain`, never reset

    def prepare(self) -> None:
        """Check the settings and the ledger, and start monitoring. Called before the worker connects to its broker.
        Raises SettingsError, LedgerNewer."""
        settings = load()
        check_settings(settings)
        # Before the first message is taken: an old worker must not write into a ledger that it cannot read.
        self._loop().call(check_ledger(settings))
        tracing.set_up()
        self._monitor = monitor = Monitor(settings)
        # A step of the worker and not a signal of Celery: SIGHUP, a remote `shutdown` and fatal errors send no signal.
        on_stop(self.drain)
        # Two heartbeats, one of the worker's timer and one of the event loop: a process in which only one of the two
        # still runs is not healthy.
        on_timer(BEAT_S, lambda: monitor.heartbeat.beat(TIMER), lambda: monitor.heartbeat.pause(TIMER))
        self._loop().submit(monitor.run())

    def start_background(self) -> None:
        """Start the background tasks: reaper, intake and delivery of webhooks. Called when the worker accepts
        messages."""
        context, loop = self._shared_context(), self._loop()
        settings, ledger = context.settings, context.ledger
        send, renew = partial(_send, settings=settings), context.handler.renew_leases
        reaper = Reaper(settings, ledger, send, renew, context.events)
        self._background += [
            loop.submit(_warn_of_lossy_redis(ledger)),
            # Every worker runs these, so none of them depends on a single process.
            loop.submit(reaper.run()),
            start_intake(settings, loop),
            loop.submit(delivery_schedule.serve(settings)),
            loop.submit(announce(settings, context.handler.waiting_for_session)),
        ]
        logger.info("worker ready", queue=settings.queue, sessions=settings.worker_sessions)

    def handler(self) -> MessageHandler | None:
        """Return the handler of the process; the first call creates it. Returns None after `drain` was called."""
        # Create the handler before reading the flag. `drain` sets the flag first and then stops an existing handler, so
        # in either order of the threads no handler starts jobs after `drain`.
        handler = self._shared_context().handler
        return None if self._draining else handler

    def drain(self) -> None:
        """Start no more jobs and release the running ones. May be called in a signal handler, because it only sets a
        flag, and the event loop does the rest."""
        if self._draining:
            return
        self._draining = True
        # First report that the worker is not ready any more, then stop its work.
        if self._monitor is not None:
            self._monitor.stop("it is shutting down")
            self._loop().soon(self._monitor.write_stopping)
        for work in self._background:
            work.cancel()
        self._loop().soon(lambda: logger.info("shutting down"))
        if self._context is not None:
            self._loop().soon(self._context.handler.drain)

    def close(self) -> None:
        """Close the connections and stop the event loop. Called when no task runs any more."""
        if self._context is not None:
            with suppress(TimeoutError):  # give up, so that a blocked event loop does not keep the process alive
                self._loop().submit(self._context.close()).result(2 * CLOSE_S)
        self._loop().stop()
        tracing.close()
        if self._monitor is not None:
            self._monitor.close()

    def _shared_context(self) -> WorkerContext:
        # Several task threads may call this at the same moment.
        with self._lock:
            if self._context is None:
                self._context = self._loop().call(WorkerContext.create())
            return self._context


def check_settings(settings: Settings) -> None:
    """Raise the limit of open files and log a warning for each doubtful setting. Raises SettingsError."""
    if (text := limit_warning(raise_limit(), settings.worker_sessions)) is not None:
        logger.warning(text)
    warn_of_unknown_variables(os.environ)
    signing_keys(settings)  # called only because it raises for a key that is too short
    if sends_key_in_clear(settings.url):
        logger.warning(clear_text_warning(show_url(settings.url)))


async def check_ledger(settings: Settings) -> None:
    """Check that this version can use the ledger. Raises LedgerNewer if it cannot, and SettingsError for a server of an
    unsupported kind and for a read-only replica. If Redis is unreachable, no error is raised, because the first
    job makes the same check."""
    ledger = Ledger(settings)
    try:
        async with asyncio.timeout(REDIS_CHECK_TIMEOUT_S):
            await ledger.check_schema()
    # Not an outage: this version can never use the ledger.
    except LedgerNewer:
        raise
    except ReadOnlyReplica as exc:  # a replica does not become a primary by itself
        raise SettingsError(str(exc)) from exc
    except (LedgerUnavailable, TimeoutError) as exc:
        reason = str(exc) or f"no answer within {REDIS_CHECK_TIMEOUT_S:g} s"
        logger.warning("Redis is unreachable at the start", error=reason)
    finally:
        await ledger.close()


def _send(job_ids: Sequence[str], settings: Settings) -> None:
    wake(app, job_ids, settings.queue)


async def _warn_of_lossy_redis(ledger: Ledger) -> None:
    try:
        for problem in await ledger.durability():
            logger.warning(problem)
    except LedgerUnavailable as exc:
        logger.warning("the durability settings of Redis cannot be checked", error=str(exc))
