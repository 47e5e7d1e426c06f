"""Starts a Celery worker of this project: its pool, its node name and its options."""

from __future__ import annotations

import os
from collections.abc import Callable

from celery.bin.celery import celery as program

from tasks.app import app, signals


def run_worker(on_ready: Callable[[], object] | None = None) -> None:
    """Run a worker on the queue that the environment's settings name, until SIGTERM. Blocks. Raises SystemExit after a
    fatal error. `on_ready` is called when the worker accepts jobs."""
    if on_ready is not None:
        signals.worker_ready.connect(lambda **_: on_ready(), weak=False)
    # Does the same as Celery's `worker_main`, but that function drops the exit status.
    program.params[0].default = app
    status = program.main(
        args=[
            *("--quiet", "worker", "--pool", "threads", "--hostname", f"stt-{os.getpid()}@%h"),
            # Celery's messages between workers are not used, and the search for other workers delays the start by 1 s.
            *("--without-mingle", "--without-gossip", "--without-heartbeat"),
        ],
        standalone_mode=False,
    )
    if status:
        raise SystemExit(status)
