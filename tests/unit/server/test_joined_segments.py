"""Consecutive segments that are recognized together: how words are divided, and which segments the scheduler joins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.tone_recognizer import ToneRecognizer
from tests.support.wait import allowed_s
from worker.server.recognition_scheduler import RecognitionScheduler
from worker.server.recognizers import SAMPLE_RATE, BatchRecognizer, Recognition, RecognizedWord, Samples
from worker.server.recognizers.joined_segments import JoinedSegments, merged, text_of


def audio(duration_s: float) -> Samples:
    return np.zeros(round(duration_s * SAMPLE_RATE), np.float32)


def word(text: str, start: float, end: float) -> RecognizedWord:
    return RecognizedWord(text, start, end, -0.1)


def test_each_word_belongs_to_the_segment_with_its_middle() -> None:
    joined = JoinedSegments.of([audio(2), audio(3), audio(1)])
    assert joined.bounds == ((0, 2), (2, 5), (5, 6))
    words = [word(" One", 0.4, 1.0), word(" two", 1.0, 2.9), word(" three", 3.0, 4.8), word(" four", 4.9, 5.9)]
    assert [text_of(some) for some in joined.divided(words)] == ["One two", "three", "four"]
    words[1] = word(" two", 1.2, 3.4)
    first, second, third = joined.divided(words)
    assert [text_of(some) for some in (first, second, third)] == ["One", "two three", "four"]
    # Times are within the segment, counted from its start.
    assert [(round(w.start, 3), round(w.end, 3)) for w in (*second, *third)] == [(0, 1.4), (1, 2.8), (0, 0.9)]


def test_a_mark_stays_with_its_word_whatever_its_time() -> None:
    joined = JoinedSegments.of([audio(2), audio(2)])
    words = [word(" yes", 0.5, 1.5), word(".", 2.4, 2.5), word(' "', 1.5, 1.6), word("No", 2.5, 3), word('!"', 3, 3.1)]
    assert [text_of(some) for some in joined.divided(words)] == ["yes.", '"No!"']
    assert [[w.text for w in merged(some)] for some in joined.divided(words)] == [["yes."], ['"No!"']]


def test_a_segment_without_words_has_no_text() -> None:
    joined = JoinedSegments.of([audio(2), audio(2), audio(2)])
    assert [text_of(some) for some in joined.divided([word(" a", 0.5, 1), word(" b", 4.5, 5)])] == ["a", "", "b"]
    assert joined.divided([]) == [[], [], []]


class Batching(ToneRecognizer):
    """Returns the lengths of the segments as their texts. Records the groups of each call."""

    parallel = 1
    max_joined_s = 10.0
    batch_size = 2

    def __init__(self) -> None:
        self.calls: list[list[list[int]]] = []

    def recognize_batch(self, groups: Sequence[Sequence[Samples]]) -> list[list[Recognition]]:
        lengths = [[len(samples) // SAMPLE_RATE for samples in group] for group in groups]
        self.calls.append(lengths)
        return [[Recognition(str(length)) for length in group] for group in lengths]


@pytest.fixture
def batching() -> Batching:
    return Batching()


async def test_waiting_segments_are_joined_and_the_groups_of_sessions_share_a_call(batching: Batching) -> None:
    assert isinstance(batching, BatchRecognizer)
    assert not isinstance(ToneRecognizer(), BatchRecognizer)
    scheduler = RecognitionScheduler(batching)
    try:
        futures = [scheduler.final("a", audio(n), more=True) for n in (4, 5)]
        futures += [scheduler.final("b", audio(n), more=True) for n in (2, 3)]
        await asyncio.sleep(0)
        assert not batching.calls  # more segments may follow, and 10 s are not reached
        futures.append(scheduler.final("a", audio(6), more=True))  # full: 4 + 5, as 6 more do not fit
        scheduler.no_more("b")
        scheduler.no_more("a")
        assert [(await future).text for future in futures] == ["4", "5", "2", "3", "6"]
        assert [sorted(call) for call in batching.calls] == [[[4, 5]], [[2, 3], [6]]]
    finally:
        scheduler.close()


async def test_a_segment_of_a_live_session_does_not_wait(batching: Batching) -> None:
    scheduler = RecognitionScheduler(batching)
    try:
        assert (await asyncio.wait_for(scheduler.final("a", audio(4)), allowed_s(10))).text == "4"
    finally:
        scheduler.close()


async def test_an_error_is_raised_for_each_segment_of_the_call(batching: Batching) -> None:
    def fail(_groups: Sequence[Sequence[Samples]]) -> list[list[Recognition]]:
        raise RuntimeError("out of memory")

    batching.recognize_batch = fail  # type: ignore[method-assign]
    scheduler = RecognitionScheduler(batching)
    try:
        futures = [scheduler.final("a", audio(n), more=True) for n in (1, 2)]
        scheduler.no_more("a")
        for future in futures:
            with pytest.raises(RuntimeError, match="out of memory"):
                await future
    finally:
        scheduler.close()
