"""Audio tracks and inverted channels through the whole pipeline."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.support.audiofiles import FLAC, write_signal
from tests.support.pipeline_run import MemoryLog, assert_said, tone_service, transcribe
from tests.support.tones import encode, speech
from tests.support.trackfiles import RATE, TRACK_FILES, write_tracks
from worker.audio.channel_selection import ChannelSelection
from worker.errors import BadJob
from worker.pipeline.job import ResumeState

WORDS = [list(speech(8.0, seed=number, numbers=itertools.count(1 + 500 * number))) for number in range(2)]
SIGNALS = [encode(words, RATE, duration_s=9.0) for words in WORDS]
TAGS = [{"language": "eng"}, {"language": "yue"}]
MKV = next(kind for kind in TRACK_FILES if kind.ending == "mkv")


async def test_each_track_is_transcribed_with_its_language_as_channel_name(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mkv", SIGNALS, MKV, TAGS)
    async with tone_service() as settings:
        transcript = await transcribe(path, settings, channels=ChannelSelection(track="all"), sessions=2)
    assert [channel.name for channel in transcript.coverage.channels] == ["eng", "yue"]
    for label, words in zip(("eng", "yue"), WORDS, strict=True):
        segments = tuple(segment for segment in transcript.segments if segment.channel == label)
        assert_said(transcript.model_copy(update={"segments": segments}), words)
    assert transcript.coverage.complete
    assert transcript.warnings == ()


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "ogg"])
@pytest.mark.parametrize("shorter", [0, 1], ids=["first track shorter", "second track shorter"])
async def test_tracks_of_different_lengths_are_complete(tmp_path: Path, kind: str, shorter: int) -> None:
    signals = list(SIGNALS)
    signals[shorter] = encode(WORDS[shorter][:4], RATE, duration_s=WORDS[shorter][3].end + 0.3)
    file = next(file for file in TRACK_FILES if file.ending == kind)
    path, log = write_tracks(tmp_path / f"a.{kind}", signals, file, TAGS), MemoryLog()
    async with tone_service() as settings:
        transcript = await transcribe(path, settings, channels=ChannelSelection(track="all"), sessions=2, log=log)
    for number, label in enumerate(("eng", "yue")):
        segments = tuple(segment for segment in transcript.segments if segment.channel == label)
        expected = WORDS[number][:4] if number == shorter else WORDS[number]
        assert_said(transcript.model_copy(update={"segments": segments}), expected, 0.08)
    assert transcript.coverage.missing == ()
    assert transcript.warnings == ()
    assert transcript.source.duration == pytest.approx(9.0, abs=0.1)
    assert log.reports[-1].sent_s == pytest.approx(transcript.source.duration, abs=0.01)


async def test_a_job_for_one_track_resumes_only_with_that_track(tmp_path: Path) -> None:
    path, log = write_tracks(tmp_path / "a.mkv", SIGNALS, MKV, TAGS), MemoryLog()
    async with tone_service() as settings:
        assert_said(await transcribe(path, settings, channels=ChannelSelection(track=2), log=log), WORDS[1])
        assert log.plans is not None, "the track is durable before the first commit"
        resume = ResumeState(plans=log.plans, committed=tuple(log.segments[:1]))
        with pytest.raises(BadJob, match="an earlier attempt used another audio track"):
            await transcribe(path, settings, resume=resume)


async def test_an_inverted_channel_loses_no_word(tmp_path: Path) -> None:
    inverted = np.stack([SIGNALS[0], -SIGNALS[0]], axis=1)
    path = write_signal(tmp_path / "a.flac", inverted, RATE, FLAC)
    async with tone_service() as settings:
        transcript = await transcribe(path, settings)
    assert_said(transcript, WORDS[0])
    (warning,) = transcript.warnings
    assert "inverted phase" in warning
