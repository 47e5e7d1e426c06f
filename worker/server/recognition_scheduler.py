"""Runs recognition in threads: sessions in round-robin order, finals before partials.

A *final* is the recognition of a complete utterance. A *partial* is the recognition of an utterance that has not ended
yet. Every final is recognized. Sessions with waiting finals are served in round-robin order, so a session that sends
hours of audio at once delays the others by at most one recognition. A partial is recognized only if a thread is free,
and is otherwise skipped.

If the recognizer can (`BatchRecognizer`), consecutive finals of a session are joined to one group, and the groups of
several sessions are recognized in one call. While a session has received more audio than it has segmented, its finals
wait until a group is full, which takes milliseconds. So live sessions never wait.

The threads are daemon threads: a recognition cannot be interrupted, and the process must be able to end without it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

import structlog

from worker.server.recognizers import SAMPLE_RATE, BatchRecognizer, Recognition, Recognizer, Samples

_log = structlog.get_logger("worker.server")
# One failure may be caused by its audio; only failures in a row count against the recognizer.
_MAX_FAILURES = 3
_RETRY_AFTER_S = 10.0


@dataclass(slots=True)
class _RecognitionTask:
    samples: Samples
    final: bool
    result: asyncio.Future[Recognition]


@dataclass(slots=True)
class _Waiting:
    """The waiting finals of one session. `more`: whether more finals follow in a moment."""

    tasks: deque[_RecognitionTask] = field(default_factory=deque)
    more: bool = False

    def is_ready(self, max_joined: int) -> bool:
        return bool(self.tasks) and (not self.more or sum(len(task.samples) for task in self.tasks) >= max_joined)

    def pop_group(self, max_joined: int) -> list[_RecognitionTask]:
        """Remove the next finals, together at most `max_joined` samples, but at least one final."""
        group = [self.tasks.popleft()]
        total = len(group[0].samples)
        while self.tasks and total + len(self.tasks[0].samples) <= max_joined:
            group.append(self.tasks.popleft())
            total += len(group[-1].samples)
        return group


class RecognitionScheduler:
    """The queue and threads of one recognizer. All methods are called on the event loop that created it."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._loop = asyncio.get_running_loop()
        self._batching = recognizer if isinstance(recognizer, BatchRecognizer) else None
        self._max_joined = int(self._batching.max_joined_s * SAMPLE_RATE) if self._batching is not None else 0
        self._batch_size = self._batching.batch_size if self._batching is not None else 1
        self._waiting: dict[Hashable, _Waiting] = {}
        self._round_robin: deque[Hashable] = deque()  # owners with waiting tasks, the next one first
        self._inbox: queue.SimpleQueue[list[list[_RecognitionTask]] | None] = queue.SimpleQueue()
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

    def final(self, owner: Hashable, samples: Samples, *, more: bool = False) -> asyncio.Future[Recognition]:
        """Queue the recognition of a complete utterance for the session `owner`. Returns a future, which gets the
        result or the exception of the recognizer.

        `more`: more utterances of the session may follow in a moment. Call `no_more` when they do not."""
        task = _RecognitionTask(samples, final=True, result=self._loop.create_future())
        if owner not in self._waiting:
            self._waiting[owner] = _Waiting()
            self._round_robin.append(owner)
        waiting = self._waiting[owner]
        waiting.tasks.append(task)
        waiting.more = more and self._batching is not None
        self._dispatch()
        return task.result

    def no_more(self, owner: Hashable) -> None:
        """Recognize the waiting finals of `owner` without waiting for more."""
        waiting = self._waiting.get(owner)
        if waiting is not None and waiting.more:
            waiting.more = False
            self._dispatch()

    def partial(self, samples: Samples) -> asyncio.Future[Recognition] | None:
        """Start a fast recognition of an utterance that has not ended yet. Returns None if no thread is free."""
        # Finals take free threads first (`_dispatch`), so a partial never delays a final that is already waiting.
        if not self._free or self._round_robin or self._closed:
            return None
        task = _RecognitionTask(samples, final=False, result=self._loop.create_future())
        self._free -= 1
        self._inbox.put([[task]])
        return task.result

    def cancel_waiting(self, owner: Hashable) -> None:
        """Cancel the waiting finals of the closed session `owner`. Its running recognition is not interrupted, but its
        result is discarded."""
        for task in self._waiting.pop(owner, _Waiting()).tasks:
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
        while self._free and not self._closed and (batch := self._next_batch()):
            self._free -= 1
            self._inbox.put(batch)

    def _next_batch(self) -> list[list[_RecognitionTask]]:
        """Remove and return the finals for one call of the recognizer: one group of each of the next sessions."""
        batch: list[list[_RecognitionTask]] = []
        for owner in list(self._round_robin):
            waiting = self._waiting[owner]
            if not waiting.is_ready(self._max_joined):
                continue  # it keeps its place in the line
            self._round_robin.remove(owner)
            group = waiting.pop_group(self._max_joined)
            # A task is cancelled if the session has ended after it queued the task.
            if group := [task for task in group if not task.result.cancelled()]:
                batch.append(group)
            if waiting.tasks:
                self._round_robin.append(owner)
            else:
                del self._waiting[owner]
            if len(batch) == self._batch_size:
                break
        return batch

    def _work(self) -> None:
        while (batch := self._inbox.get()) is not None:
            results: list[Recognition] | Exception
            try:
                results = self._recognized(batch)
            except Exception as exc:  # noqa: BLE001 - raised by the futures of the sessions
                results = exc
            # No session waits for a result any more, and the event loop may be closed.
            if self._closed:
                return
            tasks = [task for group in batch for task in group]
            try:
                self._loop.call_soon_threadsafe(self._done, tasks, results)
            except RuntimeError:  # the event loop is closed, so no session waits for the result
                return

    def _recognized(self, batch: list[list[_RecognitionTask]]) -> list[Recognition]:
        if self._batching is not None and batch[0][0].final:
            groups = self._batching.recognize_batch([[task.samples for task in group] for group in batch])
            return [result for group in groups for result in group]
        return [self._recognizer.recognize(task.samples, final=task.final) for group in batch for task in group]

    def _done(self, tasks: list[_RecognitionTask], results: list[Recognition] | Exception) -> None:
        self._free += 1
        if isinstance(results, Exception):
            self._failures += 1
            self._failed_at = time.monotonic()
            self._last_failure = f"{type(results).__name__}: {results}"
            audio_s = sum(len(task.samples) for task in tasks) / SAMPLE_RATE
            _log.error("recognition failed", error=self._last_failure, audio_s=audio_s, exc_info=results)
        else:
            self._failures = 0
        for number, task in enumerate(tasks):
            if task.result.done():
                continue
            if isinstance(results, Exception):
                task.result.set_exception(results)
            else:
                task.result.set_result(results[number])
        self._dispatch()
