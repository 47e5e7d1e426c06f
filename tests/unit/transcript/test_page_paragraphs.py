"""Paragraphs of a transcript page: by pause, speaker, language and length. No text is lost."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.transcript.formats.page_paragraphs import PAUSE_S, Paragraph, paragraphs
from worker.transcript.model import Gap, Segment
from worker.transcript.revisions import SegmentState


def grouped(*segments: Segment, gaps: tuple[Gap, ...] = ()) -> list[list[int] | str]:
    states = [SegmentState(one, one) for one in segments]
    found = paragraphs(states, gaps)
    return [[k for k, _ in one.segments] if isinstance(one, Paragraph) else "gap" for one in found]


def by(speaker: str, text: str, start: float, end: float) -> Segment:
    return segment(text, start, end).model_copy(update={"channel": speaker})


def test_segments_of_one_speaker_form_a_paragraph_until_a_pause() -> None:
    parts = [segment("one.", 0, 1), segment("two.", 1.5, 2), segment("three.", 2 + PAUSE_S, 6)]
    assert grouped(*parts) == [[0, 1], [2]]


def test_a_change_of_speaker_or_language_or_a_missing_part_begins_a_paragraph() -> None:
    a, b = by("a", "one", 0, 1), by("b", "two", 1, 2)
    assert grouped(a, b, by("b", "three", 2, 3)) == [[0], [1, 2]]
    assert grouped(a, a.model_copy(update={"language": "fr"})) == [[0], [1]]
    gap = Gap(start=1.0, end=1.2, reason="lost")
    assert grouped(a, by("a", "two", 1.3, 2), gaps=(gap,)) == [[0], "gap", [1]]


@pytest.mark.parametrize(
    "sentence", ["These are ten quite ordinary words of a longer speech. ", "呢句說話有十幾個字咁長㗎喇。"]
)
def test_a_long_speech_without_pauses_is_divided_after_sentences(sentence: str) -> None:
    parts = [segment(sentence.strip(), k, k + 1) for k in range(60)]
    found = grouped(*parts)
    assert [k for one in found for k in one] == list(range(60))
    assert 4 <= len(found) <= 12
    endless = [segment(sentence.strip(" .。"), k, k + 1) for k in range(60)]
    assert 2 <= len(grouped(*endless)) <= 6


def test_segments_that_are_out_of_order_are_sorted_and_empty_ones_left_out() -> None:
    assert grouped(segment("b", 5, 6), segment(" ", 1, 2), segment("a", 0, 1)) == [[2], [0]]


def test_the_page_has_a_line_for_each_paragraph_and_the_data_of_each_segment() -> None:
    page = render(transcript(segment("One two.", 0, 1), segment("Three.", 1.2, 2), segment("Four.", 9, 10)), "html")
    assert re.findall(r'class="at" href="#t=([\d.]+)"', page) == ["0", "9"]
    blocks = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    assert [[one[0] for one in block] for block in blocks] == [[0, 1], [2]]
    assert blocks[0][0][4:7] == [["One", " two."], [0, 500], [500, 500]]


def test_text_in_a_data_block_cannot_end_the_block() -> None:
    evil = "</script><script>alert(1)</script><!-- & \u2028"
    page = render(transcript(segment(evil, 0, 1)), "html")
    assert page.count("</script>") == 3
    (block,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert "<" not in block
    assert "".join(json.loads(block)[0][4]) == " ".join(evil.split())
