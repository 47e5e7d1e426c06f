"""Runs the processes of `stt-batch worker --processes N` with their health file and metrics, and prepares each of
them."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tasks.observability import log_setup
from tasks.worker_processes.supervisor import Supervisor
from worker.settings import Settings
from worker.settings_environment import as_environment

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Variable that names the folder of shared metrics."""


def run_processes(count: int, settings: Settings, on_ready: Callable[[], object]) -> int:
    """Run `count` worker processes until a signal. Returns the exit status. `on_ready` is called when all of them
    accept jobs. Raises SettingsError if the port for metrics cannot be opened."""
    with tempfile.TemporaryDirectory(prefix="stt-worker-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environ = {**as_environment(settings), "STT_METRICS_PORT": "0"}
        # Prometheus's client library also takes an empty variable for a folder.
        environ.pop(SHARED, None)
        if settings.metrics_port:
            environ[SHARED] = name
        supervisor = Supervisor(count, folder, environ, settings.health_file, on_ready)
        with _metrics_page(settings, folder, supervisor):
            return asyncio.run(supervisor.run())


@contextmanager
def _metrics_page(settings: Settings, folder: Path, supervisor: Supervisor) -> Iterator[None]:
    """Serve the metrics of all processes, if the settings name a port for them."""
    if not settings.metrics_port:
        yield
        return
    from worker import metrics, metrics_sharing  # noqa: PLC0415  a process of the worker imports them in its own order

    registry = metrics_sharing.merged_registry(folder, lambda: supervisor.pids)
    metrics.add_build(registry)
    server = metrics.MetricsServer(settings.metrics_host, settings.metrics_port, registry)
    try:
        yield
    finally:
        server.close()


def become_process(number: int) -> None:
    """Prepare this process as number `number` of a worker: share its metrics, mark its log lines, and end it when the
    supervisor ends. Call this before `worker.metrics` is imported."""
    if SHARED in os.environ:
        from worker import metrics_sharing  # noqa: PLC0415

        metrics_sharing.share(number)
    log_setup.add_to_every_line(process=number)
    threading.Thread(target=_end_with_supervisor, name="stt-supervisor", daemon=True).start()


def _end_with_supervisor() -> None:
    """Wait until the supervisor closes standard input, which the kernel also does after kill -9. Then end as after
    SIGTERM."""
    while os.read(0, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


__all__ = ["become_process", "run_processes"]
