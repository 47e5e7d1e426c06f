"""Recognition off the event loop: a few threads, sessions in turn, finals before partials.

A final is always done; sessions with finals waiting are served one after the other, so one that sends hours at once
delays the others by one recognition at most. A partial is only taken when a thread is free at that moment.

The threads are daemons: recognition cannot be interrupted, and a process that shuts down must not wait for it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

import structlog

from worker.server.recognizers import SAMPLE_RATE, Recognition, Recognizer, Samples

_log = structlog.get_logger("worker.server")
_MAX_FAILURES = 3
_RETRY_AFTER_S = 10.0


@dataclass(slots=True)
class _RecognitionTask:
    samples: Samples
    final: bool
    result: asyncio.Future[Recognition]


class RecognitionScheduler:
    """All methods are called on the event loop that created it."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Hashable, deque[_RecognitionTask]] = {}
        self._turns: deque[Hashable] = deque()  # owners with waiting jobs, next one first
        self._inbox: queue.SimpleQueue[_RecognitionTask | None] = queue.SimpleQueue()
        self._free = max(1, recognizer.parallel)
        self._failures = 0
        self._failed_at = 0.0
        self._last_failure = ""
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"recognize-{n}", daemon=True) for n in range(self._free)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting_s(self) -> float:
        """Seconds of audio of finals that no thread has taken yet."""
        return sum(len(job.samples) for jobs in self._waiting.values() for job in jobs) / SAMPLE_RATE

    @property
    def broken(self) -> str | None:
        """Why the recognizer is taken for broken (failures in a row); None also when it is time to try again."""
        if self._failures < _MAX_FAILURES or time.monotonic() - self._failed_at > _RETRY_AFTER_S:
            return None
        return self._last_failure

    def final(self, owner: Hashable, samples: Samples) -> asyncio.Future[Recognition]:
        """Recognize a finished stretch. The future raises what the recognizer raised."""
        job = _RecognitionTask(samples, final=True, result=self._loop.create_future())
        if owner not in self._waiting:
            self._waiting[owner] = deque()
            self._turns.append(owner)
        self._waiting[owner].append(job)
        self._dispatch()
        return job.result

    def partial(self, samples: Samples) -> asyncio.Future[Recognition] | None:
        """A quick look at speech in progress; None when no thread is free."""
        if not self._free or self._turns or self._closed:
            return None
        job = _RecognitionTask(samples, final=False, result=self._loop.create_future())
        self._free -= 1
        self._inbox.put(job)
        return job.result

    def forget(self, owner: Hashable) -> None:
        """Drop what waits for an owner that is gone; what runs is finished and its result dropped."""
        for job in self._waiting.pop(owner, ()):
            job.result.cancel()
        if owner in self._turns:
            self._turns.remove(owner)

    def close(self) -> bool:
        """Stop taking work. Returns whether all threads are idle (the recognizer may then be freed)."""
        self._closed = True
        for owner in list(self._waiting):
            self.forget(owner)
        for _ in self._threads:
            self._inbox.put(None)
        return self._free == len(self._threads)

    def _dispatch(self) -> None:
        while self._free and self._turns and not self._closed:
            owner = self._turns.popleft()
            jobs = self._waiting[owner]
            job = jobs.popleft()
            if jobs:
                self._turns.append(owner)
            else:
                del self._waiting[owner]
            if job.result.cancelled():
                continue
            self._free -= 1
            self._inbox.put(job)

    def _work(self) -> None:
        while (job := self._inbox.get()) is not None:
            result: Recognition | Exception
            try:
                result = self._recognizer.recognize(job.samples, final=job.final)
            except Exception as exc:  # noqa: BLE001 - handed to the session, which tells its client
                result = exc
            if self._closed:
                return
            try:
                self._loop.call_soon_threadsafe(self._done, job, result)
            except RuntimeError:  # the loop was closed meanwhile
                return

    def _done(self, job: _RecognitionTask, result: Recognition | Exception) -> None:
        self._free += 1
        if isinstance(result, Exception):
            self._failures += 1
            self._failed_at = time.monotonic()
            self._last_failure = f"{type(result).__name__}: {result}"
            _log.error(
                "recognition failed", error=self._last_failure, audio_s=len(job.samples) / SAMPLE_RATE, exc_info=result
            )
        else:
            self._failures = 0
        if not job.result.done():
            if isinstance(result, Exception):
                job.result.set_exception(result)
            else:
                job.result.set_result(result)
        self._dispatch()
