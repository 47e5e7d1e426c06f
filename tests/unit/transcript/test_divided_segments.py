"""Segments that surround others are divided: the text is in the order of its speech, and no text is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.transcript import divided_segments
from worker.transcript.divided_segments import MAX_EXAMINED, in_order
from worker.transcript.model import Segment, Word


def word(text: str, start: float, length: float = 0.3) -> Word:
    return Word(text, start, round(start + length, 3), 0.9)


def said(*words: tuple[str, float], text: str | None = None) -> Segment:
    made = tuple(word(*one) for one in words)
    return Segment(text=text or " ".join(w.text for w in made), start=made[0].start, end=made[-1].end, words=made)


def estimated(text: str, start: float, end: float) -> Segment:
    return Segment(text=text, start=start, end=end, timing="estimated")


def texts(*segments: Segment) -> list[str]:
    return [segment.text for segment in in_order(segments)]


INNER = said(("x", 3.0), ("y", 4.0))


def test_a_segment_is_divided_at_each_gap_with_text() -> None:
    around = said(("One", 1.0), ("two", 2.0), ("five", 5.0), ("seven", 7.0), text="One, two. five? seven!")
    found = in_order([around, INNER, said(("six", 6.0))])
    assert [s.text for s in found] == ["One, two.", "x y", "five?", "six", "seven!"]
    assert [(s.start, s.end) for s in found] == [(1, 2.3), (3, 4.3), (5, 5.3), (6, 6.3), (7, 7.3)]


@pytest.mark.parametrize(
    ("text", "words", "later", "before", "after"),
    [
        ("今日,好熱。", "今日", "好熱", "今日,", "好熱。"),
        ("「今日」「好熱」", "今日", "好熱", "「今日」", "「好熱」"),
        ('"One two." ¿Tres?', ["One", "two"], ["Tres"], '"One two."', "¿Tres?"),
        ('He said "go home" now', ["He", "said"], ["go", "home", "now"], "He said", '"go home" now'),
        ("the dog's tail", ["the", "dog's"], ["tail"], "the dog's", "tail"),
        # Text before the first word with times.
        ("Hello there my friend", ["there"], ["friend"], "Hello there my", "friend"),
        # A word inside a longer one.
        ("Athena and a star", ["Athena"], ["a", "star"], "Athena and", "a star"),
        # Words that the text spells otherwise.
        ("At 10:30 we left.", ["at", "ten"], ["we", "left"], "At 10:30", "we left."),
    ],
)
def test_text_stays_complete(text: str, words: Sequence[str], later: Sequence[str], before: str, after: str) -> None:
    places = [
        *((one, 1 + 0.1 * n) for n, one in enumerate(words)),
        *((one, 6 + 0.1 * n) for n, one in enumerate(later)),
    ]
    assert texts(said(*places, text=text), INNER) == [before, "x y", after]


@pytest.mark.parametrize("words", [("今", "天", "好", "熱"), ("x1", "x2", "10", "x3")])
def test_a_segment_stays_whole_if_its_text_does_not_contain_the_word_at_the_cut(words: tuple[str, ...]) -> None:
    around = said(*zip(words, (1.0, 1.5, 6.0, 6.5), strict=True), text="at three o'clock100")
    assert texts(around, INNER) == [around.text, "x y"]


@pytest.mark.parametrize(
    "other",
    [
        said(("x", 1.5), ("y", 5.9)),  # ends after the next word of the other segment
        said(("x", 0.2), ("y", 3.0)),  # begins first
        said(("x", 5.2), ("y", 6.0)),  # begins after the last word began
        estimated("x y", 2.0, 4.0),
    ],
)
def test_other_overlapping_segments_stay_whole(other: Segment) -> None:
    assert sorted(texts(said(("a", 1.0), ("b", 5.0)), other)) == sorted(["a b", other.text])


def test_segments_in_no_gap_do_not_prevent_a_division() -> None:
    around, other = said(("a", 1.0), ("b", 5.0)), said(("o", 1.05), ("p", 5.4))
    assert texts(around, estimated("est", 2.5, 4.5), INNER) == ["a", "est", "x y", "b"]
    assert texts(around, other, INNER) == ["a", "o", "x y", "b", "p"]


def test_words_may_overlap_a_little() -> None:
    around = Segment(text="a b", start=1.0, end=5.5, words=(word("a", 1.0, 1.0), word("b", 4.4, 1.1)))
    inner = Segment(text="x y", start=1.7, end=4.6, words=(word("x", 1.7, 1.0), word("y", 4.1, 0.5)))
    assert texts(around, inner) == ["a", "x y", "b"]


def test_words_out_of_order_are_not_divided() -> None:
    assert texts(said(("a", 1.0), ("c", 6.0), ("b", 5.0)), INNER) == ["a c b", "x y"]


@st.composite
def nested(draw: st.DrawFn) -> list[tuple[list[tuple[str, float]], int]]:
    """Runs of words in order of time. Runs with the same number belong to one segment."""
    owners = draw(st.lists(st.integers(0, 2), min_size=1, max_size=8))
    at, runs, inner = 0.0, [], 3
    for number, owner in enumerate(owners):
        count = draw(st.integers(1, 3))
        runs.append(([(f"w{number}x{k}", round(at + 0.35 * k, 3)) for k in range(count)], 0 if owner == 0 else inner))
        inner += owner != 0
        at += 0.35 * count
    return runs


@given(nested(), st.randoms(use_true_random=False))
def test_words_and_text_are_in_order(runs: list[tuple[list[tuple[str, float]], int]], rng: random.Random) -> None:
    by_segment: dict[int, list[tuple[str, float]]] = {}
    for words, owner in runs:
        by_segment.setdefault(owner, []).extend(words)
    segments = [said(*words) for words in by_segment.values()]
    rng.shuffle(segments)
    found = in_order(segments)
    expected = [text for words, _ in runs for text, _ in words]
    assert [w.text for s in found for w in s.words] == expected
    assert " ".join(s.text for s in found).split() == expected


def test_few_pairs_of_segments_are_compared_if_a_service_sends_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    count, compared = 200, 0
    gap = divided_segments._gap

    def counted(words: Sequence[Word], middles: Sequence[float], others: Sequence[Word]) -> int:
        nonlocal compared
        compared += 1
        return gap(words, middles, others)

    monkeypatch.setattr(divided_segments, "_gap", counted)
    around = [said(("a", n / 1000), ("b", 9000.0 + n)) for n in range(count)]
    inner = [said((f"x{n}", 100.0 + n)) for n in range(count)]
    found = in_order([*around, *inner])
    assert count < compared <= 2 * count * MAX_EXAMINED
    assert sorted(w.text for s in found for w in s.words) == sorted(w.text for s in [*around, *inner] for w in s.words)
