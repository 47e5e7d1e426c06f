"""The health file of a process. The process writes it while it runs; `stt-batch health` checks it.

A worker has two heartbeats: a timer of Celery's own loop, and the asyncio loop that all sessions share. If one of them
stops, the process is reported as stuck. A process can be alive but not ready. For example, a worker whose Redis is
unreachable is alive, because a restart would not help, but it is not ready for work.

The file contains JSON with these fields. `pid`: id of the process. `written`: time of writing. `beats`: time of the
last beat of each part. `problem`: the reason why the process is not ready, or null. Times are seconds of the monotonic
clock, which all processes of a machine share. This module imports only light modules, because `stt-batch health` runs
every few seconds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tasks.observability.health_state import HealthState
from worker.atomic_file import replace_file

_LOG: Final = logging.getLogger(__name__)
BEAT_S: Final = 2.0
"""Seconds between two beats."""
MAX_AGE_S: Final = 20.0
"""Seconds without a beat after which a process counts as stuck."""
STARTING: Final = "it is still starting"


class Heartbeat:
    """Writes the health file. Methods may be called from any thread. With an empty path no file is written."""

    def __init__(self, path: str, *parts: str) -> None:
        """`parts`: names of the parts of the process. From now on, each part must call `beat` regularly."""
        self._path = Path(path) if path else None
        self._lock = threading.Lock()
        self._beats = dict.fromkeys(parts, time.monotonic())
        self._problem: str | None = STARTING

    def beat(self, part: str) -> None:
        """Record that `part` is alive. The next `write` puts it into the file."""
        with self._lock:
            self._beats[part] = time.monotonic()

    def pause(self, part: str) -> None:
        """Do not expect beats of `part` until its next beat."""
        with self._lock:
            self._beats.pop(part, None)

    def ready(self, problem: str | None = None) -> None:
        """Set why the process is not ready, or None if it is ready."""
        with self._lock:
            self._problem = problem

    def write(self) -> None:
        """Write the file. Blocks. Raises OSError."""
        if self._path is None:
            return
        with self._lock:
            state = HealthState(os.getpid(), time.monotonic(), dict(self._beats), self._problem)
            replace_file(self._path, (state.encoded(),), durable=False)

    def remove(self) -> None:
        """Delete the file, at the end of the process."""
        if self._path is not None:
            with self._lock:
                self._path.unlink(missing_ok=True)

    async def run(self, part: str, problem: Callable[[], str | None] | None = None) -> None:
        """Record a beat of `part` and write the file every BEAT_S seconds until cancelled. `problem` returns the reason
        why the process is not ready, or None.

        The file is written on the event loop itself and not in a thread pool. A few hundred bytes do not delay the
        loop, and the pool may be busy although the loop works well."""
        import asyncio  # noqa: PLC0415  `stt-batch health` does not need it

        while True:
            self.beat(part)
            if problem is not None:
                self.ready(problem())
            try:
                self.write()
            except OSError as exc:  # only log it: the health check reports that the file is outdated
                _LOG.warning("health file %s not written: %s", self._path, exc)
            await asyncio.sleep(BEAT_S)


__all__ = ["MAX_AGE_S", "STARTING", "Heartbeat"]
