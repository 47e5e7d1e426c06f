"""Parts of a section with sound but without text."""

from __future__ import annotations

import pytest

from worker.audio.voice_activity import PcmFrame
from worker.audio.voice_activity_history import VoiceActivityHistory
from worker.transcript.model import Segment, Word
from worker.transcript.unanswered_ranges import UnansweredRange, unanswered_ranges, word_count

RATE = 16000


def voiced(*runs: tuple[float, float], length_s: float = 60.0) -> VoiceActivityHistory:
    seconds = VoiceActivityHistory(RATE)
    for start in range(int(length_s)):
        inside = [(max(a, start) - start, min(b, start + 1) - start) for a, b in runs if a < start + 1 and b > start]
        frame_runs = tuple((int(a * RATE), int(b * RATE)) for a, b in inside)
        seconds.add(PcmFrame(bytes(RATE * 2), start * RATE, frame_runs))
    return seconds


def said(*words: tuple[float, float]) -> Segment:
    made = tuple(Word("word", start, end) for start, end in words)
    return Segment(text=" ".join("word" for _ in words), start=words[0][0], end=words[-1][1], words=made)


def estimated(text: str, start: float, end: float) -> Segment:
    return Segment(text=text, start=start, end=end, timing="estimated")


def test_sound_after_the_last_word_is_unanswered() -> None:
    found = unanswered_ranges([said((1, 2), (2.1, 3))], 0, 60, voiced((1, 8)), paced=True)
    assert found == [UnansweredRange(3, 60, last=True)]


def test_sound_between_words_is_unanswered_and_silence_is_not() -> None:
    words = said((1, 2), (10, 11))
    assert unanswered_ranges([words], 0, 12, voiced((1, 2), (4, 7), (10, 11)), paced=True) == [
        UnansweredRange(2, 10, last=False)
    ]
    assert unanswered_ranges([words], 0, 12, voiced((1, 2), (10, 11)), paced=True) == []


def test_words_may_arrive_in_any_order() -> None:
    late, early = said((10, 11)), said((1, 2), (2.1, 9.9))
    assert unanswered_ranges([late, early], 0, 11, voiced((1, 11)), paced=False) == []


def test_audio_that_was_not_streamed_in_this_attempt_counts_as_sound() -> None:
    assert unanswered_ranges([said((1, 2), (10, 11))], 0, 11, VoiceActivityHistory(RATE), paced=True) == [
        UnansweredRange(0, 1, last=False),
        UnansweredRange(2, 10, last=False),
    ]


def test_text_without_times_covers_as_much_sound_as_it_takes_to_say() -> None:
    sound = voiced((0, 40))
    enough = estimated(" ".join(["word"] * 120), 0, 40)
    assert unanswered_ranges([enough], 0, 40, sound, paced=True) == []
    assert unanswered_ranges([enough], 0, 40, sound, paced=False) == []
    short = estimated(" ".join(["word"] * 20), 0, 40)
    (paced,) = unanswered_ranges([short], 0, 40, sound, paced=True)
    assert (paced.start, paced.end, paced.last) == (0, pytest.approx(29, abs=0.5), False)
    (ahead,) = unanswered_ranges([short], 0, 40, sound, paced=False)
    assert (ahead.start, ahead.end, ahead.last) == (pytest.approx(3, abs=0.5), 40, True)


def test_commits_without_times_share_the_audio_that_was_sent_ahead() -> None:
    # All audio was sent before the first commit arrived, so each segment ends at the end of the audio.
    commits = [estimated(" ".join(["word"] * 40), 0, 40), *[estimated(" ".join(["word"] * 40), 40, 40)] * 2]
    assert unanswered_ranges(commits, 0, 40, voiced((0, 40)), paced=False) == []


def test_chinese_is_counted_in_characters() -> None:
    assert word_count("今日天氣好好") == pytest.approx(6 * 0.65)
    assert word_count("two words, 好") == pytest.approx(2.65)
    assert word_count("… ?") == 0


def test_voiced_seconds_do_not_depend_on_the_frames() -> None:
    for size in (1600, 4000, 5000, 16000):
        seconds = VoiceActivityHistory(RATE)
        for start in range(0, 10 * RATE, size):
            end = min(start + size, 10 * RATE)
            first, last = max(start, 3 * RATE), min(end, 5 * RATE)
            runs = ((first - start, last - start),) if last > first else ()
            seconds.add(PcmFrame(bytes((end - start) * 2), start, runs))
        assert seconds.between(0, 10) == pytest.approx(2, abs=0.05)
        assert seconds.between(3.5, 4.25) == pytest.approx(0.75, abs=0.05)
        assert seconds.between(10, 12) == 2  # not streamed: unknown
