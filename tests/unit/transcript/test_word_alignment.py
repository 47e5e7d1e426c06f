from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.transcript.build import segment
from worker.transcript.model import Segment, Word
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.word_alignment import align, join

TEXT = st.text(alphabet="abc我哋去，。「」\"'- .15%\n", max_size=40)
WORDS = st.lists(st.text(alphabet="abc我哋 15", max_size=6), max_size=8)


def pieces(text: str, words: list[str] | None = None) -> list[tuple[str, float, float]]:
    found = align(segment(text, 0, 6, words=words))
    return [(piece.text, round(piece.start, 2), round(piece.end, 2)) for piece in found]


def test_punctuation_belongs_to_the_adjacent_word() -> None:
    words = ["He", "said", "Hello", "there", "And", "left"]
    assert pieces('He said "Hello there." And – left.', words) == [
        ("He", 0, 1), ("said", 1, 2), ('"Hello', 2, 3), ('there."', 3, 4), ("And –", 4, 5), ("left.", 5, 6),
    ]  # fmt: skip


def test_chinese_words_have_their_own_times_and_opening_brackets_belong_to_the_next_word() -> None:
    found = pieces("我哋send咗「電郵」，俾佢。", ["我哋", "send", "咗", "電", "郵", "俾", "佢"])
    assert [text for text, _, _ in found] == ["我哋", "send", "咗", "「電", "郵」，", "俾", "佢。"]


def test_without_words_the_text_shares_the_time() -> None:
    assert pieces("ab 我哋", []) == [("ab", 0, 3), ("我", 3, 4.5), ("哋", 4.5, 6)]


def test_words_with_another_spelling_give_the_text_their_times() -> None:
    assert pieces("foo bar", ["x", "yy"]) == [("foo", 0, 3.75), ("bar", 3.75, 6)]


def test_each_piece_has_the_confidence_of_its_word() -> None:
    words = (Word(text="One", start=0, end=1, confidence=0.25), Word(text="two", start=1, end=2))
    assert [p.confidence for p in align(Segment(text="One, two", start=0, end=2, words=words))] == [0.25, None]


@given(TEXT, WORDS)
def test_the_pieces_contain_all_text_in_order(text: str, words: list[str]) -> None:
    found = align(segment(text, 1, 7, words=words))
    assert join(found) == tidy(text)
    assert all(piece.text == piece.text.strip() and piece.text for piece in found)
    assert all(1 <= piece.start <= piece.end <= 7.000001 for piece in found)
    assert all(a.start <= b.start and a.end <= b.start + 1e-6 for a, b in pairwise(found))
