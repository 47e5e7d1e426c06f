"""Runs recognition in threads: sessions in round-robin order, finals before partials.

A *final* is the recognition of a complete utterance. A *partial* is the recognition of an utterance that has not ended
yet. Every final is recognized. Sessions with waiting finals are served in round-robin order, so a session that sends
hours of audio at once delays the others by at most one recognition. A partial is recognized only if a thread is free,
and is otherwise skipped.

The threads are daemon threads: a recognition cannot be interrupted, and the process must be able to end without it.
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
# One failure may be caused by its audio; only failures in a row count against the recognizer.
_MAX_FAILURES = 3
_RETRY_AFTER_S = 10.0


@dataclass(slots=True)
class _RecognitionTask:
    samples: Samples
    final: bool
    result: asyncio.Future[Recognition]


class RecognitionScheduler:
    """The queue and threads of one recognizer. All methods are called on the event loop that created it."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Hashable, deque[_RecognitionTask]] = {}
        self._round_robin: deque[Hashable] = deque()  # owners with waiting tasks, the next one first
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
    def broken(self) -> str | None:
        """The last error if at least `_MAX_FAILURES` recognitions in a row failed, otherwise None. Also None if the
        last failure is more than `_RETRY_AFTER_S` seconds ago, so that new sessions try the recognizer again."""
        if self._failures < _MAX_FAILURES or time.monotonic() - self._failed_at > _RETRY_AFTER_S:
            return None
        return self._last_failure

    def final(self, owner: Hashable, samples: Samples) -> asyncio.Future[Recognition]:
        """Queue the recognition of a complete utterance for the session `owner`. Returns a future, which gets the
        result or the exception of the recognizer."""
        task = _RecognitionTask(samples, final=True, result=self._loop.create_future())
        if owner not in self._waiting:
            self._waiting[owner] = deque()
            self._round_robin.append(owner)
        self._waiting[owner].append(task)
        self._dispatch()
        return task.result

    def partial(self, samples: Samples) -> asyncio.Future[Recognition] | None:
        """Start a fast recognition of an utterance that has not ended yet. Returns None if no thread is free."""
        # Finals take free threads first (`_dispatch`), so a partial never delays a final that is already waiting.
        if not self._free or self._round_robin or self._closed:
            return None
        task = _RecognitionTask(samples, final=False, result=self._loop.create_future())
        self._free -= 1
        self._inbox.put(task)
        return task.result

    def cancel_waiting(self, owner: Hashable) -> None:
        """Cancel the waiting finals of the closed session `owner`. Its running recognition is not interrupted, but its
        result is discarded."""
        for task in self._waiting.pop(owner, ()):
            task.result.cancel()
        if owner in self._round_robin:
            self._round_robin.remove(owner)

    def close(self) -> bool:
        """Stop each thread when its running recognition has ended. Returns True if no recognition is running, so that
        the recognizer can be freed now."""
        self._closed = True
        for owner in list(self._waiting):
            self.cancel_waiting(owner)
        for _ in self._threads:
            self._inbox.put(None)
        return self._free == len(self._threads)

    def _dispatch(self) -> None:
        while self._free and self._round_robin and not self._closed:
            owner = self._round_robin.popleft()
            tasks = self._waiting[owner]
            task = tasks.popleft()
            if tasks:
                self._round_robin.append(owner)
            else:
                del self._waiting[owner]
            # The session has ended after it queued the task.
            if task.result.cancelled():
                continue
            self._free -= 1
            self._inbox.put(task)

    def _work(self) -> None:
        while (task := self._inbox.get()) is not None:
            result: Recognition | Exception
            try:
                result = self._recognizer.recognize(task.samples, final=task.final)
            except Exception as exc:  # noqa: BLE001 - raised by the future of the session
                result = exc
            # No session waits for a result any more, and the event loop may be closed.
            if self._closed:
                return
            try:
                self._loop.call_soon_threadsafe(self._done, task, result)
            except RuntimeError:  # the event loop is closed, so no session waits for the result
                return

    def _done(self, task: _RecognitionTask, result: Recognition | Exception) -> None:
        self._free += 1
        if isinstance(result, Exception):
            self._failures += 1
            self._failed_at = time.monotonic()
            self._last_failure = f"{type(result).__name__}: {result}"
            _log.error(
                "recognition failed", error=self._last_failure, audio_s=len(task.samples) / SAMPLE_RATE, exc_info=result
            )
        else:
            self._failures = 0
        if not task.result.done():
            if isinstance(result, Exception):
                task.result.set_exception(result)
            else:
                task.result.set_result(result)
        self._dispatch()
