"""The Celery application. No other module imports Celery at run time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery, bootsteps, signals
from celery.app import trace
from celery.apps import worker as worker_program
from celery.exceptions import Reject

from tasks import celery_config
from tasks.broker import kombu_transport
from tasks.client.celery_message import TRANSCRIBE_TASK
from tasks.observability import log_setup
from worker.errors import LedgerRefused, LedgerUnavailable, SettingsError
from worker.settings import Settings, load

_LOG: Final = logging.getLogger(__name__)
SEND_RETRIES: Final = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.3, "interval_max": 1.0}


def make_app(settings: Settings) -> Celery:
    """Create an application for the given settings, independent of the environment."""
    made = Celery("tasks", set_as_current=False)
    made.conf.update(celery_config.for_settings(settings))
    return made


# Silence Celery's signal handlers, which print directly to the terminal and bypass the log.
worker_program.safe_say = lambda *_: None


# A requeued message is not an error: at shutdown it is logged as one line, not as a traceback.
trace.log_policy_reject = trace.log_policy_reject._replace(traceback=None, severity=logging.INFO)


kombu_transport.install()

# The application of a worker process. The environment is read when the configuration is first needed.
app = Celery("tasks", include=["tasks.transcribe"])
app.add_defaults(lambda: celery_config.for_settings(load()))


def wake(application: Celery, job_ids: Iterable[str], queue: str) -> None:
    """Send one message for each job. Blocks. Raises LedgerUnavailable when the queue cannot be reached."""
    with _translated(), application.producer_or_acquire() as producer:
        for job_id in job_ids:
            application.send_task(
                TRANSCRIBE_TASK,
                kwargs={"job_id": job_id},
                queue=queue,
                producer=producer,
                ignore_result=True,
                retry=True,
                retry_policy=SEND_RETRIES,
            )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except kombu_transport.SEND_ERRORS as exc:
        if kombu_transport.is_permanent_failure(exc):
            raise LedgerRefused(
                f"the queue in Redis refuses messages: {exc}; see the type of the key STT_QUEUE names"
            ) from exc
        raise LedgerUnavailable(f"the queue in Redis cannot be reached: {exc}; check STT_REDIS_URL") from exc


class _Timer(bootsteps.StartStopStep):  # type: ignore[misc]
    """Calls `beat` from a timer of Celery's own loop while this loop is connected to the broker. Calls `pause` when the
    connection is lost, because the loop then only tries to reconnect, and its timers do not run."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    every_s = 1.0
    beat: Callable[[], object] | None = None
    pause: Callable[[], object] | None = None

    def start(self, consumer: Any) -> None:
        if _Timer.beat is not None:
            _Timer.beat()
            consumer.timer.call_repeatedly(self.every_s, _Timer.beat)

    def stop(self, consumer: Any) -> None:
        if _Timer.pause is not None:
            _Timer.pause()


def on_timer(every_s: float, beat: Callable[[], object], pause: Callable[[], object]) -> None:
    """Set the callbacks of a worker process. Celery's timer calls `beat` every `every_s` seconds, and `pause` when the
    timer stops. Call this function before the worker starts."""
    _Timer.every_s, _Timer.beat, _Timer.pause = every_s, staticmethod(beat), staticmethod(pause)


app.steps["consumer"].add(_Timer)


class _Stop(bootsteps.StartStopStep):  # type: ignore[misc]
    """Calls `stopping` whenever the worker ends. The signals of Celery are not enough: after a fatal error, Celery
    sends no signal and waits for all running tasks."""

    requires = ("celery.worker.components:Pool",)
    stopping: Callable[[], object] | None = None

    def stop(self, worker: Any) -> None:
        if _Stop.stopping is not None:
            _Stop.stopping()


def on_stop(stopping: Callable[[], object]) -> None:
    """Set the callback that a worker process calls before it waits for its tasks. Call this before the start."""
    _Stop.stopping = staticmethod(stopping)


app.steps["worker"].add(_Stop)


def check_service(settings: Settings) -> None:
    """Check that the settings name a service. Raises SettingsError."""
    if not settings.url or not settings.api_key.get_secret_value():
        raise SettingsError("a worker needs a service: set STT_URL and STT_API_KEY")


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(loglevel: int | str | None = None, **_: Any) -> None:
    """Replace Celery's logging set-up. STT_LOG_LEVEL takes precedence over `celery worker --loglevel`."""
    settings = load()
    level = None if "log_level" in settings.model_fields_set or loglevel is None else loglevel
    log_setup.set_up(settings, logging.getLevelName(level) if isinstance(level, int) else level)


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _check_worker(instance: Any, **_: Any) -> None:
    """Refuse to start if the settings name no service, or if the pool is not `threads`. Other pools would lose or
    repeat work."""
    try:
        check_service(load())
    except SettingsError as exc:
        raise SystemExit(f"error: {exc}") from None
    pool = f"{instance.pool_cls.__module__}.{instance.pool_cls.__name__}"
    if pool != "celery.concurrency.thread.TaskPool":
        raise SystemExit(
            f"error: this worker runs on the pool `threads` only, not on {pool}: "
            "omit -P/--pool, or start it with `stt-batch worker`"
        )


__all__ = ["Reject", "app", "make_app", "on_stop", "on_timer", "signals", "wake"]
