from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasks.jobs
from tests.unit.transcript.build import segment, transcript
from worker.errors import OutputError
from worker.transcript.formats import FORMATS, render, txt
from worker.transcript.model import Transcript

TWO = transcript(segment("Good morning, Steve.", 1.0, 2.5), segment("你好，<b>Katie</b> & --> 再見", 3600.0, 3602.0))


def test_srt() -> None:
    assert render(TWO, "srt") == (
        "1\n00:00:01,000 --> 00:00:02,500\nGood morning, Steve.\n"
        "\n"
        "2\n01:00:00,000 --> 01:00:02,000\n你好，<b>Katie</b> & --> 再見\n"
    )


def test_vtt_escapes_what_would_be_markup() -> None:
    assert render(TWO, "vtt") == (
        "WEBVTT\n"
        "\n"
        "00:00:01.000 --> 00:00:02.500\nGood morning, Steve.\n"
        "\n"
        "01:00:00.000 --> 01:00:02.000\n你好，&lt;b&gt;Katie&lt;/b&gt; &amp; --&gt; 再見\n"
    )


def test_txt_is_a_line_for_each_segment() -> None:
    spoken = transcript(segment("one\ntwo", 0, 1), segment("  ", 1, 2), segment("three", 62.25, 63))
    assert render(spoken, "txt") == "one two\nthree\n"
    assert "".join(txt.pieces(spoken, times=True)) == "[00:00:00.000] one two\n[00:01:02.250] three\n"


def test_json_reads_back_as_the_same_transcript() -> None:
    text = render(TWO, "json")
    assert Transcript.model_validate_json(text) == TWO
    assert "你好" in text
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document["schema_version"] == 1
    assert list(document["segments"][0]["words"][0]) == ["text", "start", "end", "confidence"]


@pytest.mark.parametrize(("fmt", "text"), [("srt", ""), ("vtt", "WEBVTT\n"), ("txt", "")])
def test_silence_gives_an_empty_document(fmt: str, text: str) -> None:
    assert render(transcript(), fmt) == text


def test_an_unknown_format_is_refused_with_the_choice() -> None:
    with pytest.raises(OutputError, match=r"'doc'; choose from json, srt, vtt, txt"):
        render(TWO, "doc")


@given(st.text(min_size=1, max_size=200))
def test_a_vtt_cue_never_holds_a_blank_line_or_an_arrow(text: str) -> None:
    head, *blocks = render(transcript(segment(text, 0, 5, words=())), "vtt").rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    for block in blocks:
        time, *lines = block.split("\n")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}", time)
        assert 1 <= len(lines) <= 2
        assert not any("-->" in line or "<" in line for line in lines)


@given(st.text(max_size=100), st.sampled_from(sorted(FORMATS)))
def test_every_document_can_be_encoded(text: str, fmt: str) -> None:
    render(transcript(segment(text, 0, 5, words=())), fmt).encode("utf-8")


def test_a_job_may_ask_for_every_format_there_is() -> None:
    assert tuple(FORMATS) == tasks.jobs.FORMATS
