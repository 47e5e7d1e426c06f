"""The Celery task. Thin: it hands the message to the runner on the shared event loop and waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from tasks import webhooks
from tasks.app import TRANSCRIBE, Reject, app, on_stop, on_timer, signals, wake
from tasks.events import Events
from tasks.health import BEAT_S
from tasks.intake import start_intake
from tasks.leave import leave_soon
from tasks.loop import shared_loop
from tasks.monitor import TIMER, Monitor
from tasks.recovery import Reaper
from tasks.runner import Outcome, Runner
from worker import tracing
from worker.descriptors import raise_limit, shortfall
from worker.errors import LedgerNewer, LedgerUnavailable, SettingsError
from worker.masking import show_url
from worker.realtime.cleartext import clear_text_warning, sends_key_in_clear
from worker.realtime.governor import Governor
from worker.settings import Settings, load
from worker.storage.connection import Connection
from worker.storage.ledger import Ledger
from worker.storage.webhooks import secrets_of

logger: Final = structlog.get_logger(__name__)
MEET_S: Final = 5.0
"""Seconds a start waits for Redis to say whether it may."""
CLOSE_S: Final = 1.0
"""Seconds that closing the connections may take."""
LINGER_S: Final = 2.0
"""Seconds that threads may run after the end of the worker."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What lives on the event loop of this process, made once."""

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
        """What is not told yet is, for at most a second."""
        await asyncio.gather(self.governor.close(), self.events.close())
        with suppress(LedgerUnavailable, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(self.ledger.close(), self.connection.close())


class _Process:
    """What the task threads of this process share. `draining` is set once and never taken back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: _Parts | None = None
        self.draining = False
        self._background: list[Future[None]] = []
        self._monitor: Monitor | None = None

    def begin(self) -> None:
        """Called before the worker has its broker. Raises SettingsError, LedgerNewer."""
        if (text := shortfall(raise_limit(), load().sessions)) is not None:
            logger.warning(text)
        settings = load()
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
        """Called when the worker is up: what it does beside its tasks."""
        parts, loop = self.parts(), shared_loop()
        reaper = Reaper(parts.settings, parts.ledger, lambda job_ids: _send(job_ids, parts.settings), parts.events)
        self._background += [
            loop.submit(_warn(parts.ledger)),
            loop.submit(reaper.run()),
            start_intake(parts.settings, loop),
            loop.submit(webhooks.serve(parts.settings)),
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
    """Whether this version may work on this ledger. Raises LedgerNewer. Where Redis is away that is found out with the
    first job."""
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


_process = _Process()


@app.task(name=TRANSCRIBE, bind=True)  # type: ignore[untyped-decorator]
def transcribe(_task: Any, job_id: Any = None, job: Any = None) -> None:
    """`{"job_id": …}` for a job in the ledger, or `{"job": {…}}` for a whole one (the fields of `JobSpec`). Either may
    be the first argument, see `tasks.envelope.job_request`."""
    runner = _process.parts().runner
    if _process.draining:
        raise Reject("this worker is shutting down", requeue=True)
    outcome = shared_loop().call(runner.perform(job_id, job))
    if outcome is Outcome.BACK:
        raise Reject("given back", requeue=True)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _on_init(**_: Any) -> None:
    try:
        _process.begin()
    except (SettingsError, LedgerNewer) as exc:
        raise SystemExit(f"error: {exc}") from None


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _on_ready(**_: Any) -> None:
    _process.start()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _on_shutting_down(**_: Any) -> None:
    _process.drain()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _on_shutdown(sender: Any = None, **_: Any) -> None:
    _process.end()
    status = getattr(sender, "exitcode", None) or 0
    leave_soon(status if isinstance(status, int) else 1, LINGER_S)  # a text is the reason why the worker did not start
