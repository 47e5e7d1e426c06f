"""Remote control commands of Celery that cannot work with jobs in a ledger: they answer with the reason and the
remedy."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Final

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
    for name, reason in _REFUSED.items():
        Panel.data[name] = _refusal(reason)


def _refusal(reason: str) -> Callable[..., dict[str, str]]:
    def refuse(_state: Any, *_args: Any, **_kwargs: Any) -> dict[str, str]:
        return {"error": reason}

    return refuse


__all__ = ["install", "shut_down_also"]
