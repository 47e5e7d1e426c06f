"""The Celery task. Thin: it hands the message to the runner on the shared event loop and waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

import structlog

from tasks.app import TRANSCRIBE, Reject, app, on_timer, signals, wake
from tasks.events import Events
from tasks.health import BEAT_S
from tasks.intake import start_intake
from tasks.loop import shared_loop
from tasks.monitor import TIMER, Monitor
from tasks.recovery import Reaper
from tasks.runner import Outcome, Runner
from worker.errors import LedgerUnavailable, SettingsError
from worker.realtime.governor import Governor
from worker.settings import Settings, load
from worker.storage.connection import Connection
from worker.storage.ledger import Ledger

logger: Final = structlog.get_logger(__name__)


class _Process:
    """What the task threads of this process share. `draining` is set once and never taken back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self.draining = False
        self._background: list[Future[None]] = []
        self._monitor: Monitor | None = None

    def begin(self) -> None:
        """Called before the worker has its broker. Raises SettingsError."""
        self._monitor = monitor = Monitor(load())
        on_timer(BEAT_S, lambda: monitor.pulse.beat(TIMER), lambda: monitor.pulse.pause(TIMER))
        shared_loop().submit(monitor.run())

    def end(self) -> None:
        """Called when nothing runs any more."""
        shared_loop().stop()
        if self._monitor is not None:
            self._monitor.close()

    def start(self) -> None:
        """Called when the worker is up: what it does beside its tasks."""
        settings = load()
        ledger, events = shared_loop().call(_made(settings))
        self._background.append(shared_loop().submit(_warn(ledger)))
        reaper = Reaper(settings, ledger, lambda job_ids: self._send(job_ids, settings.queue), events)
        self._background.append(shared_loop().submit(reaper.run()))
        self._background.append(start_intake(settings, shared_loop()))

    def _send(self, job_ids: Sequence[str], queue: str) -> None:
        wake(app, job_ids, queue)

    def runner(self) -> Runner:
        with self._lock:
            if self._runner is None:
                self._runner = shared_loop().call(self._make())
            return self._runner

    async def _make(self) -> Runner:
        settings = load()
        limited = settings.max_sessions or settings.starts_per_s
        connection = Connection(settings.redis_url)
        return Runner(
            settings,
            Ledger(settings),
            wake=lambda job_id: self._send([job_id], settings.queue),
            slots=Governor(settings, connection) if limited else None,
            events=Events(settings, connection),
        )

    def drain(self) -> None:
        """Called in a signal handler: sets the flag and lets the loop do the rest."""
        self.draining = True
        if self._monitor is not None:
            self._monitor.stop("it is shutting down")
        for work in self._background:
            work.cancel()
        if self._runner is not None:
            shared_loop().soon(self._runner.drain)


async def _warn(ledger: Ledger) -> None:
    try:
        for problem in await ledger.durability():
            logger.warning(problem)
    except LedgerUnavailable as exc:
        logger.warning("it is not known whether Redis keeps what it accepts", error=str(exc))


async def _made(settings: Settings) -> tuple[Ledger, Events]:
    return Ledger(settings), Events(settings, Connection(settings.redis_url))


_process = _Process()


@app.task(name=TRANSCRIBE, bind=True)  # type: ignore[untyped-decorator]
def transcribe(_task: Any, job_id: str | None = None, job: dict[str, Any] | None = None) -> None:
    """`{"job_id": …}` for a job in the ledger, or `{"job": {…}}` for a whole one (the fields of `JobSpec`)."""
    runner = _process.runner()
    if _process.draining:
        raise Reject("this worker is shutting down", requeue=True)
    outcome = shared_loop().call(runner.perform(job_id, job))
    if outcome is Outcome.BACK:
        raise Reject("given back", requeue=True)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _on_init(**_: Any) -> None:
    try:
        _process.begin()
    except SettingsError as exc:
        raise SystemExit(f"error: {exc}") from None


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _on_ready(**_: Any) -> None:
    _process.start()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _on_shutting_down(**_: Any) -> None:
    _process.drain()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _on_shutdown(**_: Any) -> None:
    _process.end()
