"""Is a process of ours alive, and is it ready: a small file it keeps up to date, and the look at it.

A worker beats twice: from a timer of Celery's own loop, and from the asyncio loop all sessions share. Either one that
stands still makes the process unhealthy, whatever the other does. Alive is not ready: a worker whose Redis is away is
alive (a restart would not help it) and not ready.

The file holds JSON: `pid`, `written` and `beats` (part -> time) in seconds of the machine's monotonic clock, which all
processes of a machine share, and `problem`, why it is not ready or null. It imports only light modules:
`stt-batch health` runs every few seconds.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from worker.atomic_file import replace_file

_LOG: Final = logging.getLogger(__name__)
BEAT_S: Final = 2.0
"""Seconds between two beats."""
MAX_AGE_S: Final = 20.0
"""Seconds without a beat after which a process is taken for stuck."""
STARTING: Final = "it is still starting"


class Pulse:
    """The writing side. Methods may be called from any thread; without a path they do nothing."""

    def __init__(self, path: str, *parts: str) -> None:
        """`parts`: what has to beat, each from now on."""
        self._path = Path(path) if path else None
        self._lock = threading.Lock()
        self._beats = dict.fromkeys(parts, time.monotonic())
        self._problem: str | None = STARTING

    def beat(self, part: str) -> None:
        """`part` is alive. Only remembers it; `write` tells it."""
        with self._lock:
            self._beats[part] = time.monotonic()

    def pause(self, part: str) -> None:
        """`part` has a reason to be silent until it beats again."""
        with self._lock:
            self._beats.pop(part, None)

    def ready(self, problem: str | None = None) -> None:
        """It can do its work; or cannot, because of `problem`."""
        with self._lock:
            self._problem = problem

    def write(self) -> None:
        """Bring the file up to date; blocks. Raises OSError."""
        if self._path is None:
            return
        with self._lock:
            state = {
                "pid": os.getpid(),
                "written": time.monotonic(),
                "beats": dict(self._beats),
                "problem": self._problem,
            }
            replace_file(self._path, (json.dumps(state).encode(),), durable=False)

    def remove(self) -> None:
        """At the end of the process."""
        if self._path is not None:
            with self._lock:
                self._path.unlink(missing_ok=True)

    async def keep(self, part: str, problem: Callable[[], str | None] | None = None) -> None:
        """Beat and write until cancelled; `problem` is asked each time why it is not ready. Writes on the event loop
        itself, which a few hundred bytes do not hold up: other threads may be busy when the loop is not."""
        import asyncio  # noqa: PLC0415  a look at the file must not pay for it

        while True:
            self.beat(part)
            if problem is not None:
                self.ready(problem())
            try:
                self.write()
            except OSError as exc:  # the file gets old, which the health check reports
                _LOG.warning("health file %s not written: %s", self._path, exc)
            await asyncio.sleep(BEAT_S)


def problem(path: str, *, ready: bool = False, max_age_s: float = MAX_AGE_S) -> str | None:
    """The problem of the process that writes the health file `path`, or None if it is healthy.

    `ready`: also check that it can work, beyond being alive.
    """
    try:
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        pid, written, beats = int(state["pid"]), float(state["written"]), dict[str, float](state["beats"])
        because = state["problem"]
    except FileNotFoundError:
        return f"{path} is not there: the process has not started, or has ended"
    except (OSError, ValueError, KeyError, TypeError) as exc:
        return f"{path} cannot be read: {exc}"
    return _stuck(pid, written, beats, max_age_s) or (_not_ready(because) if ready else None)


def _stuck(pid: int, written: float, beats: dict[str, float], max_age_s: float) -> str | None:
    now = time.monotonic()
    if written > now:
        return f"process {pid} is gone: its health file was written before the machine was started"
    if now - written > max_age_s:
        return f"process {pid} is stuck or gone: its event loop wrote nothing for {now - written:.0f} s"
    for part, at in beats.items():
        if written - at > max_age_s:
            return f"process {pid} is stuck: its {part} has not beaten for {now - at:.0f} s"
    return None


def _not_ready(because: Any) -> str | None:
    return None if because is None else f"not ready: {because}"


__all__ = ["MAX_AGE_S", "STARTING", "Pulse", "problem"]
