"""The Celery task: passes a message to the message handler on the shared event loop and waits for the outcome."""

from __future__ import annotations

from typing import Any

from tasks.app import Reject, app, refuse, signals
from tasks.client.celery_message import TRANSCRIBE_TASK
from tasks.event_loop import shared_loop
from tasks.execution.message_handler import Outcome
from tasks.execution.process_lifecycle import WorkerProcess
from tasks.exit_despite_threads import leave_soon
from worker.errors import LedgerNewer, SettingsError

_process = WorkerProcess()


@app.task(name=TRANSCRIBE_TASK, bind=True)  # type: ignore[untyped-decorator]
def transcribe(_task: Any, job_id: Any = None, job: Any = None) -> None:
    """Run a job: `{"job_id": …}` for a job in the ledger, or `{"job": {…}}` with all fields of a `JobSpec`. The value
    of `job_id` or `job` may also be the first argument, see `tasks.broker.message_validation.job_request`."""
    handler = _process.handler()
    if handler is None:
        raise Reject("this worker is shutting down", requeue=True)
    outcome = shared_loop().call(handler.perform(job_id, job))
    if outcome is Outcome.REQUEUED:
        raise Reject("requeued", requeue=True)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _on_init(sender: Any, **_: Any) -> None:
    try:
        _process.prepare()
    except (SettingsError, LedgerNewer) as exc:
        refuse(sender, str(exc))


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _on_ready(**_: Any) -> None:
    _process.start_background()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _on_shutting_down(**_: Any) -> None:
    _process.drain()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _on_shutdown(sender: Any = None, **_: Any) -> None:
    _process.close()
    status = getattr(sender, "exitcode", None) or 0
    # If the exit code is a text, the start failed, and the text is the reason.
    leave_soon(status if isinstance(status, int) else 1)
