"""A Celery worker whose every way out is the same: it starts no more tasks, requeues its jobs, and ends with status 0.

Celery 5.7 has three kinds of ends. SIGTERM waits for all tasks. SIGQUIT and a second SIGINT drop tasks. SIGHUP restarts
the program, and so does a SIGTERM after a SIGHUP. Only the first of them is safe for jobs that take hours.
"""

from __future__ import annotations

import signal
from typing import Any

from celery import signals
from celery.apps.worker import Worker
from celery.platforms import EX_OK
from celery.worker import state

from worker.end_signals import end_signals


class DrainingWorker(Worker):  # type: ignore[misc]
    def install_platform_tweaks(self, worker: Any) -> None:
        """Replace Celery's handlers of the signals that end a worker. Celery calls this before it connects."""
        handled = end_signals()
        super().install_platform_tweaks(worker)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # unless it is one of `handled`
        for number in handled:
            signal.signal(number, self._end)

    def _end(self, number: int, _frame: object) -> None:
        """Handle a signal. Further signals have no effect: the worker already ends as fast as its jobs allow."""
        if state.should_stop is None or state.should_stop is False:
            state.should_stop = EX_OK
        name = signal.Signals(number).name
        signals.worker_shutting_down.send(sender=self.hostname, sig=name, how="Warm", exitcode=EX_OK)


__all__ = ["DrainingWorker"]
