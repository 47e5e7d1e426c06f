"""Other programs read the output files correctly: pysubs2, webvtt-py and praatio."""

from __future__ import annotations

import html
import io

import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid

from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.transcript.model import Segment, Transcript
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.cue_timing import cues
from worker.transcript.subtitles.style import PRESETS, Style
from worker.transcript.subtitles.word_alignment import align

WORD = st.one_of(
    st.text(alphabet="abcdefgXYZ'é", min_size=1, max_size=9),
    st.text(alphabet="我哋去咗中環食飯，。「」", min_size=1, max_size=12),
    st.sampled_from(["&", "Q&A", '"yes"', "3.5", "1,000", "it's"]),
)
STYLES = st.builds(Style, preset=st.sampled_from(PRESETS), word_cues=st.booleans())


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Words in order with times to the millisecond, on one channel or two."""
    at = draw(st.integers(0, 5000)) / 1000
    segments: list[Segment] = []
    for texts in draw(st.lists(st.lists(WORD, min_size=1, max_size=12), min_size=1, max_size=5)):
        length = draw(st.integers(200, 8000)) / 1000
        channel = draw(st.sampled_from([None, "agent", "客 & 戶"]))
        said = segment("x " + " ".join(texts), at, at + length, words=["x", *texts])  # never punctuation alone
        segments.append(said.model_copy(update={"channel": channel}))
        at += length + draw(st.integers(0, 2000)) / 1000
    return transcript(*segments)


def expected(given_transcript: Transcript, style: Style) -> list[tuple[int, int, str]]:
    return [(c.start_ms, c.end_ms, "\n".join(c.lines)) for c in cues(given_transcript, style)]


def alone(given_transcript: Transcript) -> Transcript:
    """The transcript without channel names, so that no names are in the text."""
    segments = tuple(s.model_copy(update={"channel": None}) for s in given_transcript.segments)
    return given_transcript.model_copy(update={"segments": segments})


@given(transcripts(), STYLES)
def test_pysubs2_reads_srt(said: Transcript, style: Style) -> None:
    said = alone(said)
    found = pysubs2.SSAFile.from_string(render(said, "srt", style), format_="srt")
    assert [(event.start, event.end, event.plaintext) for event in found] == expected(said, style)


@given(transcripts(), STYLES)
def test_webvtt_py_reads_vtt(said: Transcript, style: Style) -> None:
    found = webvtt.from_buffer(io.StringIO(render(said, "vtt", style)))
    read = [(ms(cue.start), ms(cue.end), html.unescape(cue.text)) for cue in found]
    assert read == expected(said, style)
    assert [html.unescape(cue.voice or "") for cue in found] == [cue.channel or "" for cue in cues(said, style)]


@given(
    transcripts(), st.sampled_from(PRESETS).map(lambda preset: Style(preset=preset))
)  # pysubs2 does not support word timestamps
def test_pysubs2_reads_vtt(said: Transcript, style: Style) -> None:
    found = pysubs2.SSAFile.from_string(render(alone(said), "vtt", style), format_="vtt")
    read = [(event.start, event.end, html.unescape(event.plaintext)) for event in found]
    assert read == expected(alone(said), style)


@given(transcripts(), STYLES)
def test_pysubs2_reads_ass(said: Transcript, style: Style) -> None:
    found = pysubs2.SSAFile.from_string(render(said, "ass", style), format_="ass")
    read = [(event.start // 10, event.end // 10, event.plaintext) for event in found]
    assert read == [(start // 10, end // 10, text) for start, end, text in expected(said, style)]
    assert [event.name for event in found] == [cue.channel or "" for cue in cues(said, style)]
    assert {event.style for event in found} <= set(found.styles)


@given(transcripts())
def test_praatio_reads_textgrid(tmp_path_factory: pytest.TempPathFactory, said: Transcript) -> None:
    path = tmp_path_factory.mktemp("grid") / "said.TextGrid"
    path.write_text(render(said, "textgrid"), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="error")
    channels = list(dict.fromkeys(s.channel for s in said.segments))
    for channel in channels:
        segments = [s for s in said.segments if s.channel == channel]
        name = f"{tidy(channel)} " if channel else ""
        assert entries(grid, f"{name}segments") == [
            (round(s.start, 3), round(s.end, 3), tidy(s.text)) for s in segments
        ]
        assert entries(grid, f"{name}words") == [
            (round(w.start, 3), round(w.end, 3), w.text) for s in segments for w in align(s)
        ]
    assert len(grid.tierNames) == 2 * len(channels)


def entries(grid: textgrid.Textgrid, tier: str) -> list[tuple[float, float, str]]:
    return [(float(e.start), float(e.end), e.label) for e in grid.getTier(tier).entries]


def ms(clock: str) -> int:
    hours, minutes, seconds = clock.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000)
