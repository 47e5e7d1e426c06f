"""Sessions that continue after a lost one, of a service with exact word times: every word once, at its time."""

from __future__ import annotations

import math
from typing import Final

import pytest

from tests.unit.transcript.build import segment
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


def test_a_new_attempt_starts_at_the_end_of_the_stored_segments() -> None:
    """It knows no sound yet, and has sent no audio."""
    stored = [segment("one two", 1.0, 2.0), segment("three", 3.0, 4.0)]
    assembler = Assembler(voiced(), paced=True, committed=stored)
    assert assembler.resume_s(0.0) == pytest.approx(3.5)


def test_a_session_after_a_planned_end_repeats_no_audio() -> None:
    assembler = Assembler(voiced((1.0, 1.4)), paced=True)
    place(assembler, timeline(length_s=5.0), commit("one", (1.0, 1.4), sent_s=5.0))
    assembler.session_completed(0.0, 5.0)
    assert assembler.resume_s(5.0) == 5.0


SENTENCES: Final = [(1.0, 2.0), (4.0, 5.0), (8.0, 9.0)]


def resumed(*, new_worker: bool) -> tuple[Assembler, float]:
    """Return an assembler whose second session begins after two commits, and the start of this session."""
    first = Assembler(voiced(*SENTENCES), paced=True)
    commits = [
        commit("one two three", (1.0, 1.3), (1.3, 1.6), (1.6, 2.0)),
        commit("four five six", (4.0, 4.3), (4.3, 4.6), (4.6, 5.0)),
    ]
    segments = place(first, timeline(length_s=8.5), *commits)
    assembler = Assembler(voiced(*SENTENCES[2:]), paced=True, committed=segments) if new_worker else first
    from_s = 7.5
    assembler.begin(from_s)
    return assembler, from_s


@pytest.mark.parametrize("sent_s", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("new_worker", [False, True])
def test_old_commits_that_a_new_session_sends_again_are_dropped(sent_s: float, timed: bool, new_worker: bool) -> None:
    """They arrive before the audio of the new session can contain them. Their times are those of the old session."""
    assembler, from_s = resumed(new_worker=new_worker)
    times = [(4.0, 4.3), (4.3, 4.6), (4.6, 5.0)] if timed else []
    old = [commit("one two three", sent_s=sent_s), commit("Four, five, six.", *times, sent_s=sent_s)]
    new = commit("seven", (0.5, 1.5), sent_s=3.0)
    segments = place(assembler, timeline(from_s), *old, new)
    assert [(segment.text, segment.start) for segment in segments] == [("seven", 8.0)]
    assert assembler.dropped == 2


@pytest.mark.parametrize("timed", [True, False])
def test_text_that_is_said_again_at_the_start_of_a_new_session_stays(timed: bool) -> None:
    assembler, from_s = resumed(new_worker=False)
    times = [(0.5, 0.8), (0.8, 1.1), (1.1, 1.5)] if timed else []
    (segment,) = place(assembler, timeline(from_s), commit("four five six", *times, sent_s=3.0))
    assert segment.start == 8.0


def test_text_that_is_said_again_stays_if_no_sound_was_measured() -> None:
    assembler = Assembler(voiced(), paced=True)
    place(assembler, timeline(length_s=5.0), commit("no", (1.0, 1.3), sent_s=2.8))
    assembler.begin(5.0)
    (segment,) = place(assembler, timeline(5.0), commit("no", (0.5, 0.8), sent_s=2.3))
    assert segment.start == 5.5
