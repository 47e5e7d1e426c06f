"""New text of a second pass between the words of the first pass."""

from __future__ import annotations

import time

from worker.transcript.model import Segment, Word
from worker.transcript.second_pass_text import new_part


def timed(*words: tuple[str, float]) -> Segment:
    made = tuple(Word(text, start, start + 0.3) for text, start in words)
    text = " ".join(text for text, _ in words)
    return Segment(text=text, start=made[0].start, end=made[-1].end, words=made)


def plain(text: str, start: float, end: float) -> Segment:
    return Segment(text=text, start=start, end=end, timing="estimated")


def test_words_outside_the_streamed_range_are_not_new() -> None:
    known = [timed(("the", 1), ("sea", 1.5)), timed(("and", 8), ("sky", 8.5))]
    again = timed(("sea.", 1.45), ("between", 3), ("them", 4), ("and", 8.1))
    new = new_part(again, known, 1.8, 8, paced=True)
    assert new is not None
    assert (new.text, new.start, new.end) == ("between them", 3, 4.3)


def test_a_word_at_the_edge_appears_once() -> None:
    known = [timed(("the", 1), ("sea", 1.5))]
    assert new_part(timed(("sea", 1.75)), known, 1.8, 8, paced=True) is None
    assert new_part(timed(("Sea", 1.9)), known, 1.8, 8, paced=True) is None
    assert new_part(timed(("sea", 3.0)), known, 1.8, 8, paced=True) is not None


def test_without_times_repeated_text_is_dropped() -> None:
    known = [plain("it was the best of times it was the worst of times", 0, 20)]
    assert new_part(plain("The best of times, it was the worst.", 5, 20), known, 4, 20, paced=False) is None
    new = new_part(plain("was the worst of times. It was the age of wisdom", 5, 20), known, 4, 20, paced=False)
    assert new is not None
    assert new.text == "It was the age of wisdom"


def test_without_times_new_text_stays_complete_and_in_order() -> None:
    known = [plain("call me Ishmael", 0, 20), plain("some years ago", 20, 20)]
    new = new_part(plain("having little or no money", 6, 19), known, 4, 20, paced=False)
    assert new is not None
    assert (new.text, new.start) == ("having little or no money", 20)
    # The audio is sent in real time, so the text describes the last part of the segment. Words that are missing in it
    # were spoken earlier.
    before = new_part(plain("call me", 5, 9), [plain("some years ago", 5, 20)], 4, 18, paced=True)
    assert before is not None
    assert before.start < 5


def test_chinese_is_compared_by_characters() -> None:
    known = [plain("今日天氣好好我哋去行山", 0, 20)]
    new = new_part(plain("我哋去行山跟住食飯", 5, 20), known, 4, 20, paced=False)
    assert new is not None
    assert new.text == "跟住食飯"


def test_a_huge_commit_is_compared_in_bounded_time() -> None:
    known = [plain("so " * 5000, 0, 20)]
    started = time.process_time()
    new = new_part(plain("so " * 100_000 + "end", 5, 20), known, 4, 20, paced=False)
    assert new is not None
    assert new.text.endswith("end")
    assert time.process_time() - started < 2
