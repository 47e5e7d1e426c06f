"""The scheduler: round-robin between sessions, finals before partials, failures, and a close without a wait."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from tests.support.tone_recognizer import ToneRecognizer
from tests.support.wait import async_wait_until
from worker.server import recognition_scheduler as scheduler_module
from worker.server.recognition_scheduler import RecognitionScheduler
from worker.server.recognizers import Recognition, Samples

SECOND = 16000


class Stepped(ToneRecognizer):
    """A recognizer whose text is the length of its input in seconds. Each call waits for a permission."""

    def __init__(self, parallel: int = 1) -> None:
        self.parallel = parallel
        self.permissions: queue.Queue[Exception | None] = queue.Queue()
        self.calls: list[tuple[int, bool]] = []
        self._lock = threading.Lock()

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        with self._lock:
            self.calls.append((len(samples) // SECOND, final))
        problem = self.permissions.get(timeout=10)
        if problem is not None:
            raise problem
        return Recognition(str(len(samples) // SECOND))

    def allow(self, count: int) -> None:
        for _ in range(count):
            self.permissions.put(None)


class Joining(Stepped):
    """Takes groups of up to 10 s. `groups`: the lengths of the segments of each group, in seconds."""

    max_joined_s = 10.0
    batch_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[int]] = []

    def recognize_batch(self, groups: Sequence[Sequence[Samples]]) -> list[list[Recognition]]:
        self.groups += [[len(samples) // SECOND for samples in group] for group in groups]
        self.permissions.get(timeout=10)
        return [[Recognition(str(len(samples) // SECOND)) for samples in group] for group in groups]


def audio(duration_s: int) -> Samples:
    return np.zeros(duration_s * SECOND, np.float32)


@pytest.fixture
async def stepped() -> AsyncIterator[tuple[Stepped, RecognitionScheduler]]:
    recognizer = Stepped()
    scheduler = RecognitionScheduler(recognizer)
    yield recognizer, scheduler
    scheduler.close()
    recognizer.allow(5)


async def test_sessions_are_served_round_robin_and_each_in_order(stepped: tuple[Stepped, RecognitionScheduler]) -> None:
    recognizer, scheduler = stepped
    futures = [scheduler.final("a", audio(n)) for n in (1, 2, 3, 4)]
    futures += [scheduler.final("b", audio(n)) for n in (11, 12)]
    futures += [scheduler.final("c", audio(21))]
    recognizer.allow(7)
    assert [r.text for r in await asyncio.gather(*futures)] == ["1", "2", "3", "4", "11", "12", "21"]
    assert [s for s, _ in recognizer.calls] == [1, 2, 11, 21, 3, 12, 4]


async def test_a_partial_never_waits_and_never_makes_a_final_wait(
    stepped: tuple[Stepped, RecognitionScheduler],
) -> None:
    recognizer, scheduler = stepped
    partial = scheduler.partial(audio(1))
    assert partial is not None
    assert scheduler.partial(audio(2)) is None, "no thread is free"
    final = scheduler.final("a", audio(3))
    recognizer.allow(2)
    assert (await partial).text == "1"
    assert (await final).text == "3"
    assert recognizer.calls == [(1, False), (3, True)]


async def test_all_threads_work_at_once() -> None:
    recognizer = Stepped(parallel=3)
    scheduler = RecognitionScheduler(recognizer)
    futures = [scheduler.final("a", audio(n)) for n in (1, 2, 3, 4)]
    await async_wait_until(lambda: len(recognizer.calls) == 3, "three at a time")
    recognizer.allow(4)
    await asyncio.gather(*futures)
    assert scheduler.close()


async def test_waiting_tasks_of_a_closed_session_are_cancelled(stepped: tuple[Stepped, RecognitionScheduler]) -> None:
    recognizer, scheduler = stepped
    gone = [scheduler.final("a", audio(n)) for n in (1, 2, 3)]
    kept = scheduler.final("b", audio(4))
    scheduler.cancel_waiting("a")
    scheduler.cancel_waiting("never seen")
    recognizer.allow(2)
    assert (await kept).text == "4"
    assert [s for s, _ in recognizer.calls] == [1, 4]
    assert gone[1].cancelled()
    assert gone[2].cancelled()


async def test_a_failure_reaches_its_own_session_and_the_thread_continues(
    stepped: tuple[Stepped, RecognitionScheduler],
) -> None:
    recognizer, scheduler = stepped
    recognizer.permissions.put(ValueError("bad luck"))
    recognizer.allow(1)
    failed, fine = scheduler.final("a", audio(1)), scheduler.final("b", audio(2))
    with pytest.raises(ValueError, match="bad luck"):
        await failed
    assert (await fine).text == "2"
    assert scheduler.broken is None


async def test_a_recognizer_with_repeated_failures_is_broken_until_the_next_attempt(
    stepped: tuple[Stepped, RecognitionScheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer, scheduler = stepped
    for _ in range(3):
        recognizer.permissions.put(MemoryError("full"))
        assert scheduler.broken is None
        with pytest.raises(MemoryError):
            await scheduler.final("a", audio(1))
    assert scheduler.broken == "MemoryError: full"
    monkeypatch.setattr(scheduler_module, "_RETRY_AFTER_S", 0.0)
    assert scheduler.broken is None, "after a pause, the next session may try"
    monkeypatch.undo()
    recognizer.allow(1)
    await scheduler.final("a", audio(1))
    assert scheduler.broken is None


async def test_closing_does_not_wait_for_a_running_recognition(stepped: tuple[Stepped, RecognitionScheduler]) -> None:
    recognizer, scheduler = stepped
    running, waiting = scheduler.final("a", audio(1)), scheduler.final("a", audio(2))
    await async_wait_until(lambda: recognizer.calls, "the first one runs")
    assert scheduler.close() is False
    assert waiting.cancelled()
    assert not running.done()
    assert scheduler.partial(audio(1)) is None


async def test_groups_are_joined_up_to_their_maximum_and_sessions_take_turns() -> None:
    recognizer = Joining()
    scheduler = RecognitionScheduler(recognizer)
    futures = [scheduler.final("a", audio(n)) for n in (1, 4, 5, 2)]
    futures += [scheduler.final("b", audio(n)) for n in (3, 8)]
    recognizer.allow(5)
    assert [r.text for r in await asyncio.gather(*futures)] == ["1", "4", "5", "2", "3", "8"]
    assert recognizer.groups == [[1], [4, 5], [3], [2], [8]]
    assert scheduler.close()


async def test_a_session_that_waits_for_a_full_group_keeps_its_place() -> None:
    recognizer = Joining()
    scheduler = RecognitionScheduler(recognizer)
    futures = [scheduler.final("a", audio(1)), scheduler.final("b", audio(2), more=True)]
    futures += [scheduler.final(owner, audio(n)) for owner, n in (("c", 3), ("d", 4))]
    recognizer.allow(1)
    await async_wait_until(lambda: len(recognizer.groups) == 2, "the next session is served")
    scheduler.no_more("b")
    recognizer.allow(3)
    await asyncio.gather(*futures)
    assert recognizer.groups == [[1], [3], [2], [4]]
    assert scheduler.close()
