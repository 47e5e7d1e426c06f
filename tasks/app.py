"""The Celery application. No other module imports Celery at run time."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from celery import Celery, bootsteps, signals
from celery.app import trace
from celery.apps import worker as worker_program
from celery.exceptions import Reject

from tasks import celery_config
from tasks.broker import kombu_transport
from tasks.celery_program import remote_control
from tasks.celery_program.draining_worker import DrainingWorker
from tasks.celery_program.refused_options import environment_problems, option_problems, pool_problem
from tasks.client.celery_message import TRANSCRIBE_TASK
from tasks.observability import log_setup
from tasks.service_check import check_service
from worker.errors import LedgerRefused, LedgerUnavailable, SettingsError
from worker.ledger.outage_reasons import client_limit_reason, replica_reason
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
app.Worker = app.subclass_with_self(DrainingWorker)
remote_control.install()


def _problems_of(given: Mapping[str, Any]) -> list[str]:
    """Return why this worker cannot start with the options `given` of `celery worker` and Celery's own variables."""
    try:
        settings = load()
    except SettingsError as exc:
        return [str(exc)]
    broker_url = celery_config.for_settings(settings)["broker_url"]
    return [*option_problems(given, settings.queue), *environment_problems(os.environ, broker_url)]


if "celery.bin.worker" in sys.modules:  # not in `stt-batch worker`: importing Celery's command line takes 0.2 s
    from tasks.celery_program import option_checks

    option_checks.install(app, _problems_of)


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
        if (reason := client_limit_reason(exc) or replica_reason(exc)) is not None:
            raise LedgerUnavailable(f"no messages can be sent: Redis {reason}") from exc
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


def refuse(worker: Any, reason: str) -> NoReturn:
    """End the start of a worker with `reason`, on standard error and in its log file. Raises SystemExit."""
    if worker.logfile:  # a detached worker has no terminal
        app.log.setup(worker.loglevel, worker.logfile, hostname=worker.hostname)
        _LOG.critical(reason)
    raise SystemExit(f"error: {reason}")


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(loglevel: int | str | None = None, logfile: str | None = None, **_: Any) -> None:
    """Replace Celery's logging set-up. STT_LOG_LEVEL takes precedence over `celery worker --loglevel`. `logfile`: path
    of `celery worker --logfile`, which `celery multi` always gives."""
    settings = load()
    level = None if "log_level" in settings.model_fields_set or loglevel is None else loglevel
    log_setup.set_up(settings, logging.getLevelName(level) if isinstance(level, int) else level, logfile)


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _check_worker(instance: Any, **_: Any) -> None:
    """Refuse to start if the settings name no service, or with a pool or an option that would lose or repeat work. The
    options of the command line were checked before; here come those of programs that start a worker themselves."""
    try:
        check_service(load())
    except SettingsError as exc:
        refuse(instance, str(exc))
    pool = pool_problem(f"{instance.pool_cls.__module__}.{instance.pool_cls.__name__}")
    if problems := [*([pool] if pool else []), *_problems_of(vars(instance))]:
        refuse(instance, "; ".join(problems))


__all__ = ["Reject", "app", "make_app", "on_stop", "on_timer", "refuse", "signals", "wake"]
