"""Tone-coded speech in all file formats through the whole pipeline: every word once, in order, within 30 ms."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.support import audiofiles
from tests.support.audiofiles import Coding, write_words
from tests.support.pipeline_run import MemoryLog, assert_said, tone_service, transcribe
from tests.support.tones import speech
from worker.errors import LeaseLost, SourceError
from worker.storage.outputs.local_files import LocalOutputs
from worker.transcript.model import Segment

CODINGS = (audiofiles.WAV, audiofiles.FLAC, audiofiles.MP3, audiofiles.VORBIS)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("coding", CODINGS, ids=str)
@pytest.mark.gate_sample(3)
async def test_every_word_appears_once_at_its_time(tmp_path: Path, coding: Coding, rate: int, channels: int) -> None:
    words = list(speech(12, seed=rate + channels))
    source = write_words(tmp_path / f"speech.{coding.ending}", words, rate, coding, channels)
    async with tone_service() as settings:
        transcript = await transcribe(source, settings)
    assert_said(transcript, words)
    assert (transcript.source.sample_rate, transcript.source.channels) == (rate, channels)
    assert transcript.warnings == ()


@pytest.mark.parametrize("speed", [1.0, 4.0, math.inf])
async def test_every_speed_gives_every_word(tmp_path: Path, speed: float) -> None:
    words = list(speech(4, seed=5))
    source = write_words(tmp_path / "speech.wav", words, 16000)
    async with tone_service() as settings:
        transcript = await transcribe(source, settings, speed=speed)
    assert_said(transcript, words)
    # At a fixed speed the last frame is sent on schedule; only the tail follows.
    if math.isfinite(speed):
        assert transcript.elapsed >= (transcript.source.duration - 0.3) / speed


async def test_commits_are_recorded_on_arrival_and_are_the_segments(tmp_path: Path) -> None:
    words = list(speech(30, seed=2))
    source = write_words(tmp_path / "speech.flac", words, 44100, audiofiles.FLAC, channels=2)
    log = MemoryLog()
    async with tone_service() as settings:
        transcript = await transcribe(source, settings, log=log)
    assert tuple(log.segments) == transcript.segments
    assert len(log.segments) > 5
    sent = [r.sent_s for r in log.reports]
    assert sent == sorted(sent)
    assert sent[-1] == pytest.approx(transcript.source.duration, abs=0.01)
    assert transcript.coverage.sent == pytest.approx(transcript.source.duration, abs=0.01)


async def test_a_segment_that_could_not_be_recorded_is_not_reported(tmp_path: Path) -> None:
    class LostLog(MemoryLog):
        async def commit(self, segment: Segment) -> None:
            if self.segments:
                raise LeaseLost("another worker owns it")
            await super().commit(segment)

        def committed(self, segment: Segment) -> None:
            super().committed(segment)
            reported.append(segment)

    reported: list[Segment] = []
    log = LostLog()
    source = write_words(tmp_path / "a.wav", list(speech(20, seed=2)), 16000)
    async with tone_service() as settings:
        with pytest.raises(LeaseLost):
            await transcribe(source, settings, log=log)
    assert reported == log.segments
    assert len(reported) == 1


async def test_output_files_are_written(tmp_path: Path) -> None:
    words = list(speech(5, seed=3))
    source = write_words(tmp_path / "粵語 call.wav", words, 8000, audiofiles.MULAW)
    out = LocalOutputs(tmp_path / "out", "sub/粵語 call", ("json", "srt", "vtt", "txt"))
    async with tone_service() as settings:
        transcript = await transcribe(source, settings, out=out)
    written = {p.name for p in (tmp_path / "out" / "sub").iterdir()}
    assert written == {f"粵語 call.{ending}" for ending in out.formats}
    document = (tmp_path / "out" / "sub" / "粵語 call.json").read_text(encoding="utf-8")
    assert type(transcript).model_validate_json(document) == transcript


async def test_silence_gives_an_empty_transcript(tmp_path: Path) -> None:
    source = write_words(tmp_path / "silence.wav", [], 16000, duration_s=20)
    async with tone_service() as settings:
        transcript = await transcribe(source, settings)
    assert transcript.segments == ()
    assert transcript.text == ""
    assert transcript.coverage.sent == transcript.source.duration


@pytest.mark.parametrize("content", [b"", b"RIFF", b"this is no audio at all" * 100])
async def test_a_file_without_audio_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "broken.wav"
    source.write_bytes(content)
    async with tone_service() as settings:
        with pytest.raises(SourceError, match=r"broken\.wav"):
            await transcribe(source, settings)
