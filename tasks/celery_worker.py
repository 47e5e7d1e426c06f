"""Starts a Celery worker of this project: its pool, its node name and its options."""

from __future__ import annotations

import os
from collections.abc import Callable

from celery.utils.nodenames import default_nodename, host_format

from tasks.app import app, signals
from tasks.celery_program import remote_control


def run_worker(
    *, monitored: bool = False, on_ready: Callable[[], object] | None = None, shut_down_with: int | None = None
) -> None:
    """Run a worker on the queue that the environment's settings name, until SIGTERM. Blocks. Raises SystemExit after a
    fatal error. `monitored`: send Celery's heartbeats, by which Flower sees the worker. `on_ready` is called when the
    worker accepts jobs. `shut_down_with`: id of a process that a remote `shutdown` ends, too."""
    if shut_down_with is not None:
        remote_control.shut_down_also(shut_down_with)
    if on_ready is not None:
        signals.worker_ready.connect(lambda **_: on_ready(), weak=False)
    # Celery's `worker_main` does the same, but drops the exit status. Its command line imports all commands of Celery
    # and of installed plugins: 0.2 of the 1.0 CPU seconds of a start.
    worker = app.Worker(
        hostname=host_format(default_nodename(f"stt-{os.getpid()}@%h")),
        pool_cls="threads",
        loglevel="WARNING",
        quiet=True,
        # Celery's messages between workers are not used, and the search for other workers delays the start by 1 s.
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=not monitored,
    )
    worker.start()
    if worker.exitcode:
        raise SystemExit(worker.exitcode)
