from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from tests.unit.transcript.build import segment, transcript
from worker.transcript.lines import CJK_COLUMNS, COLUMNS, MAX_LINES, MAX_MS, MIN_MS, Cue, clock, cues, is_cjk
from worker.transcript.model import Segment, Word

LATIN = st.text(alphabet="abcdefgXYZ0123456789.,;:!?'-é&<>", min_size=1, max_size=16)
CHINESE = st.text(alphabet="我哋去咗中環搭天星小輪跟住喺尖沙咀食，。！？「」、iPhone300", min_size=1, max_size=30)
ANYTHING = st.text(min_size=1, max_size=12)
TEXT = st.lists(st.one_of(LATIN, CHINESE, ANYTHING), max_size=40).map(" ".join)
SECONDS = st.floats(0, 4000, allow_nan=False)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    text = draw(TEXT)
    start = draw(SECONDS)
    end = start + draw(st.floats(0, 40))
    kind = draw(st.sampled_from(["even", "none", "wild"]))
    if kind == "wild":  # words that are not the text, at times out of order
        words = draw(st.lists(st.builds(Word, text=ANYTHING, start=SECONDS, end=SECONDS), max_size=8))
        return Segment(text=text, start=start, end=end, words=tuple(words))
    return segment(text, start, end, words=None if kind == "even" else ())


def visible(text: str) -> str:
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cc")


def shown(result: list[Cue]) -> str:
    return "\n".join(line for cue in result for line in cue.lines)


@given(st.lists(segments(), max_size=6))
def test_no_text_is_lost_or_moved(given_segments: list[Segment]) -> None:
    in_time = sorted(given_segments, key=lambda s: s.start)
    assert visible(shown(cues(transcript(*given_segments)))) == visible("".join(s.text for s in in_time))


@given(st.lists(segments(), max_size=6))
def test_cues_rise_and_never_overlap(given_segments: list[Segment]) -> None:
    result = list(cues(transcript(*given_segments)))
    assert all(0 <= cue.start_ms < cue.end_ms for cue in result)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(result))


@given(st.lists(segments(), max_size=4))
def test_one_or_two_lines_within_the_columns(given_segments: list[Segment]) -> None:
    for cue in cues(transcript(*given_segments)):
        assert 1 <= len(cue.lines) <= MAX_LINES
        assert all(line == line.strip() and line for line in cue.lines)
        limit = CJK_COLUMNS if any(map(is_cjk, "".join(cue.lines))) else COLUMNS
        for line in cue.lines:
            breakable = " " in line or (any(map(is_cjk, line)) and len(line) > 2)
            if breakable and len(cue.lines) == 2:
                assert wcswidth(line) <= limit


@given(st.lists(st.text(alphabet="abcXYZ059'-.", min_size=1, max_size=12), min_size=1, max_size=60))
def test_latin_words_stay_whole(words: list[str]) -> None:
    result = list(cues(transcript(segment(" ".join(words), 3, 30))))
    assert shown(result).split() == words
    assert all(wcswidth(line) <= COLUMNS for cue in result for line in cue.lines)


@given(st.text(alphabet="我哋去咗中環搭天星小輪跟住喺尖沙咀食", min_size=1, max_size=200))
def test_chinese_has_no_spaces_and_fits(text: str) -> None:
    result = list(cues(transcript(segment(text, 0, 60, words=text))))
    assert shown(result).replace("\n", "") == text
    assert all(wcswidth(line) <= CJK_COLUMNS for cue in result for line in cue.lines)


@given(st.text(alphabet="我哋去咗中環，。、！？「」", min_size=1, max_size=120))
def test_punctuation_stays_at_its_side(text: str) -> None:
    lines = shown(cues(transcript(segment(text, 0, 60, words=())))).split("\n")
    assert not any(line[0] in "，。、！？」" for line in lines[1:])
    assert not any(line[-1] == "「" for line in lines[:-1])


def test_mixed_text_keeps_its_spaces_and_its_words() -> None:
    text = "用 iPhone15 影咗300張相，send 俾 Peter睇"
    assert [cue.lines for cue in cues(transcript(segment(text, 0, 4, words=())))] == [
        ("用 iPhone15 影咗300張相，", "send 俾 Peter睇")
    ]


def test_times_come_from_the_words() -> None:
    words = (Word(text="Hello", start=1.0, end=1.5), Word(text="world.", start=1.6, end=2.25))
    assert list(cues(transcript(Segment(text="Hello world.", start=0.0, end=9.0, words=words)))) == [
        Cue(1000, 2250, ("Hello world.",))
    ]


def test_without_words_the_segment_shares_its_time() -> None:
    text = "one two three four five six seven eight nine ten. " * 3
    result = list(cues(transcript(segment(text, 10, 22, words=()))))
    assert len(result) > 1
    assert result[0].start_ms == 10_000
    assert result[-1].end_ms == 22_000


def test_breaks_after_the_sentence() -> None:
    text = (
        "It was the best of times. It was the worst of times, it was the age of wisdom. It was the age of foolishness."
    )
    assert shown(cues(transcript(segment(text, 0, 12)))).split("\n") == [
        "It was the best of times.",
        "It was the worst of times,",
        "it was the age of wisdom.",
        "It was the age of foolishness.",
    ]


def test_a_short_cue_is_held_until_it_can_be_read_or_the_next_begins() -> None:
    result = list(cues(transcript(segment("Yes.", 1.0, 1.2), segment("No.", 1.7, 1.8))))
    assert [(c.start_ms, c.end_ms) for c in result] == [(1000, 1700), (1700, 1700 + MIN_MS)]


def test_long_speech_is_cut() -> None:
    result = list(cues(transcript(segment("slow " * 10, 0, 30))))
    assert len(result) > 1
    assert all(c.end_ms - c.start_ms <= MAX_MS for c in result)


def test_an_overwide_word_stays_whole() -> None:
    word = "https://example.com/" + "a" * 60
    assert shown(cues(transcript(segment(f"see {word} now", 0, 3)))).split() == ["see", word, "now"]


def test_nothing_said_gives_no_cue() -> None:
    assert list(cues(transcript())) == []
    assert list(cues(transcript(segment("  \n ", 0, 3)))) == []


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "00:00:00.000"), (3_599_999, "00:59:59.999"), (360_000_001, "100:00:00.001")]
)
def test_clock(ms: int, text: str) -> None:
    assert clock(ms, ".") == text
