"""Sessions that continue after a lost one, of a service with exact word times: every word once, at its time."""

from __future__ import annotations

import math
from typing import Final

import pytest

from tests.unit.transcript.test_assemble import commit, place, timeline, voiced
from worker.transcript.assemble import Assembler
from worker.transcript.model import Segment

Times = list[tuple[float, float]]
FRAME_S: Final = 0.25
DELAY_S: Final = 0.1  # from the end of a word until the service knows it


def continued(words: Times, break_s: float) -> list[Segment]:
    """Transcribe in two sessions, the first of which is lost at `break_s`. Each word is a commit, which arrives after
    the frame of 0.25 s that contains the end of the word."""
    assembler, segments, sent_s = Assembler(voiced(*words), paced=True), list[Segment](), 0.0
    for until_s in (break_s, words[-1][1] + 3.0):
        from_s = assembler.resume_s(sent_s)
        assembler.begin(from_s)
        line = timeline(from_s, until_s - from_s)
        for number, (start_s, end_s) in enumerate(words):
            arrives_s = math.ceil((end_s - from_s + DELAY_S) / FRAME_S) * FRAME_S
            if start_s >= from_s and from_s + arrives_s <= until_s:
                times = (start_s - from_s, end_s - from_s)
                segments += place(assembler, line, commit(f"w{number}", times, sent_s=arrives_s))
        sent_s = until_s
    return segments


@pytest.mark.parametrize("pause_s", [0.06, 0.1, 0.12, 0.14, 0.2])
@pytest.mark.parametrize("length_s", [0.22, 0.3])
def test_a_resumed_session_that_commits_each_word_loses_and_moves_none(pause_s: float, length_s: float) -> None:
    starts = [0.4 + number * (length_s + pause_s) for number in range(12)]
    words = [(start_s, start_s + length_s) for start_s in starts]
    for step in range(24, 60, 2):
        segments = continued(words, step / 20)
        assert [segment.text for segment in segments] == [f"w{number}" for number in range(12)]
        assert [segment.start for segment in segments] == pytest.approx(starts, abs=0.001)


@pytest.mark.parametrize("seen", [True, False], ids=["measured", "too short to be measured"])
@pytest.mark.parametrize("pause_s", [0.06, 0.09, 0.2, 5.0])
@pytest.mark.parametrize("sent_of_word_s", [0.01, 0.03])
def test_a_word_whose_start_was_sent_is_sent_again(seen: bool, pause_s: float, sent_of_word_s: float) -> None:
    """The session ends right after a commit. The first milliseconds of the next word were sent already."""
    word_s = 1.4 + pause_s
    sent_s = word_s + sent_of_word_s
    assembler = Assembler(voiced((1.0, 1.4), *([(word_s, sent_s)] if seen else [])), paced=True)
    place(assembler, timeline(length_s=sent_s), commit("one", (1.0, 1.4), sent_s=sent_s))
    assert assembler.resume_s(sent_s) <= word_s - 0.4


def test_a_session_after_a_planned_end_repeats_no_audio() -> None:
    assembler = Assembler(voiced((1.0, 1.4)), paced=True)
    place(assembler, timeline(length_s=5.0), commit("one", (1.0, 1.4), sent_s=5.0))
    assembler.session_completed(0.0, 5.0)
    assert assembler.resume_s(5.0) == 5.0
