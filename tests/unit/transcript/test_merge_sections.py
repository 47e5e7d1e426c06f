"""Merging of overlapping sections: each word appears once, on whichever side of the handover the sessions place it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.transcript.merge_sections import merge, merge_channels
from worker.transcript.model import Segment, Word


def said(section: int, *words: tuple[str, float], text: str | None = None) -> Segment:
    made = tuple(Word(word, at, at + 0.3, 0.9) for word, at in words)
    return Segment(
        text=text or " ".join(w.text for w in made), start=made[0].start, end=made[-1].end, words=made, section=section
    )


def estimated(section: int, text: str, start: float, end: float) -> Segment:
    return Segment(text=text, start=start, end=end, timing="estimated", section=section)


def texts(segments: list[Segment]) -> list[str]:
    return [s.text for s in segments]


def test_sections_follow_each_other_in_file_order() -> None:
    found = merge([said(1, ("c", 10)), said(0, ("a", 1)), said(2, ("d", 20)), said(0, ("b", 2))], [None] * 3)
    assert texts(found) == ["a", "b", "c", "d"]


def test_channels_are_merged_separately_and_then_sorted_by_time() -> None:
    on = [("a", said(0, ("one", 1), ("two", 9.9))), ("a", said(1, ("two", 10.1), ("five", 20)))]
    on += [("b", said(2, ("two", 2))), ("b", said(3, ("three", 9.8), ("two", 10.2)))]
    segments = [segment.model_copy(update={"channel": name}) for name, segment in on]
    found = merge_channels(segments, [None, 10.0, None, None], [range(2), range(2, 4)])
    assert [(s.channel, w.text) for s in found for w in s.words] == [
        *(("a", "one"), ("b", "two"), ("b", "three"), ("b", "two"), ("a", "two"), ("a", "five"))
    ]
    assert merge_channels([], [], [range(0), range(0)]) == []


def test_a_segment_that_surrounds_another_one_of_its_section_is_divided() -> None:
    around = said(0, ("a", 1.0), ("b", 5.0))
    assert texts(merge([around, said(0, ("x", 3.0))], [None])) == ["a", "x", "b"]
    assert texts(merge([around, said(1, ("x", 3.0))], [None, None])) == ["a b", "x"]


def test_merging_no_segments_gives_no_segments() -> None:
    assert merge([], []) == []


def test_words_before_the_handover_come_from_the_earlier_section() -> None:
    left = said(0, ("One", 8.0), ("two", 9.0), ("three", 9.6), ("fo", 10.8), text="One, two, three fo.")
    right = said(1, ("wo", 9.05), ("three", 9.6), ("four", 10.5), ("five", 11.5), text="wo three, four five.")
    assert texts(merge([left, right], [None, 10.0])) == ["One, two, three", "four five."]


def test_text_before_the_first_word_with_times_stays() -> None:
    left = said(0, ("two", 9.0), ("three", 9.6), ("fo", 10.8), text="“One, two,” three fo.")
    right = said(1, ("four", 10.5), ("five", 11.5), text="four, five.")
    assert texts(merge([left, right], [None, 10.0])) == ["“One, two,” three", "four, five."]


@pytest.mark.parametrize(("left_at", "right_at"), [(9.7, 9.95), (9.95, 9.7), (9.84, 9.84), (9.86, 9.86), (9.55, 9.9)])
def test_a_word_at_the_handover_appears_once(left_at: float, right_at: float) -> None:
    left, right = said(0, ("a", 9.0), ("b", left_at), ("c", 10.4)), said(1, ("b", right_at), ("c", 10.5))
    assert " ".join(texts(merge([left, right], [None, 10.0]))).split() == ["a", "b", "c"]


def test_a_word_that_was_said_twice_appears_twice() -> None:
    left, right = said(0, ("no", 8.9), ("no", 9.5)), said(1, ("no", 9.5), ("no", 10.1))
    assert " ".join(texts(merge([left, right], [None, 10.0]))).split() == ["no"] * 3


def test_without_times_equal_text_shows_the_overlap() -> None:
    left = [estimated(0, "We met at the", 5, 9), estimated(0, "old railway station.", 9, 11)]
    right = [estimated(1, "railway station", 9, 11), estimated(1, "and went home", 11, 14)]
    assert texts(merge([*left, *right], [None, 10.0])) == ["We met at the", "old railway station.", "and went home"]


def test_without_times_different_text_is_not_dropped() -> None:
    left, right = estimated(0, "a gold ring", 5, 11), estimated(1, "the gold ring will", 9, 14)
    assert texts(merge([left, right], [None, 10.0])) == ["a gold ring", "the gold ring will"]


def test_an_estimated_segment_ends_at_the_next_measured_segment() -> None:
    first, second, third = merge([said(0, ("a", 1.0)), estimated(0, "b", 2, 30), said(0, ("c", 5.0))], [None])
    assert (second.start, second.end, third.start) == (2, 5.0, 5.0)
    assert first.end == 1.3


@given(st.lists(st.floats(0.35, 1.5), min_size=5, max_size=60), st.floats(-0.15, 0.15), st.data())
def test_each_word_appears_once_for_any_times_in_the_overlap(
    gaps: list[float], shift: float, data: st.DataObject
) -> None:
    at, words = 0.0, []
    for number, gap in enumerate(gaps):
        words.append((f"w{number}", round(at, 3)))
        at += gap
    handover = data.draw(st.floats(1.0, max(1.0, at)))
    left = [(t, s) for t, s in words if s + 0.3 <= handover + 1]
    right = [(t, s + shift) for t, s in words if s + shift >= handover - 1]
    segments = [said(0, *left)] if left else []
    segments += [said(1, *right)] if right else []
    heard = " ".join(texts(merge(segments, [None, handover]))).split()
    assert heard == [t for t, _ in words]
