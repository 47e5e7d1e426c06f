"""Changes to Celery's remote control: `shutdown` drains at once, and commands that cannot work with jobs in a ledger
answer with the reason and the remedy."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from celery import signals
from celery.platforms import EX_OK
from celery.worker.control import Panel

_REFUSED: Final = {
    **dict.fromkeys(
        ("pool_grow", "pool_shrink", "pool_restart", "autoscale"),
        "the number of sessions of a worker is fixed: set STT_WORKER_SESSIONS and restart it, or start more workers",
    ),
    **dict.fromkeys(
        ("revoke", "revoke_by_stamped_headers", "terminate"),
        "a message only wakes a worker, which takes the first job in line: `stt-batch cancel JOB` stops a job",
    ),
    "time_limit": "a job has no time limit: `stt-batch cancel JOB` stops one",
    **dict.fromkeys(
        ("add_consumer", "cancel_consumer"),
        "a worker reads the queue of STT_QUEUE only: `stt-batch pause` stops jobs, and SIGTERM a worker",
    ),
}


def shut_down_also(pid: int) -> None:
    """Make the remote command `shutdown` also send SIGTERM to the process `pid`."""
    shutdown = Panel.data["shutdown"]

    def both(state: Any, **arguments: Any) -> Any:
        os.kill(pid, signal.SIGTERM)
        return shutdown(state, **arguments)

    Panel.data["shutdown"] = both


def install() -> None:
    """Replace these commands in this process."""
    Panel.data["shutdown"] = _draining(Panel.data["shutdown"])
    for name, reason in _REFUSED.items():
        Panel.data[name] = _refusal(reason)


def _draining(shutdown: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command `shutdown`, but with the signal that SIGTERM sends. Celery sends none, and first closes its
    connections to Redis: a worker whose Redis hangs would report that it is ready for 30 s more."""

    def drain_first(state: Any, **arguments: Any) -> Any:
        signals.worker_shutting_down.send(sender=state.hostname, sig="shutdown", how="Warm", exitcode=EX_OK)
        return shutdown(state, **arguments)

    return drain_first


def _refusal(reason: str) -> Callable[..., dict[str, str]]:
    def refuse(_state: Any, *_args: Any, **_kwargs: Any) -> dict[str, str]:
        return {"error": reason}

    return refuse


__all__ = ["install", "shut_down_also"]
