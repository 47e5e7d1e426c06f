"""The last seconds of the streamed audio, which are examined without reading the source again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import audiofiles, tones
from tests.support.tone_recognizer import ToneSpeechDetector
from worker.audio.decoding.decode import open_source
from worker.audio.frame_feed import FrameFeed
from worker.audio.recent_audio import RECENT_S, RecentAudio
from worker.audio.segmentation.scan import scan_range
from worker.audio.voice_activity import PcmFrame

RATE = 16000
LENGTH_S = 20.0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sound = tones.encode(tones.speech(LENGTH_S), RATE, duration_s=LENGTH_S)
    return audiofiles.write_signal(tmp_path_factory.mktemp("recent") / "a.wav", sound, RATE)


async def streamed(path: Path, frame_s: float, position_s: float = 0.0) -> RecentAudio:
    recent = RecentAudio(RATE)
    with open_source(path) as source:
        feed = FrameFeed(source, RATE, round(frame_s * RATE))
        await feed.seek(round(position_s * RATE))
        for frame in feed:
            recent.add(frame)
    return recent


def frame(start: int, samples: int = 4000) -> PcmFrame:
    return PcmFrame(bytes(2 * samples), start, ())


@pytest.mark.parametrize("frame_s", [0.25, 0.1, 1.0])
@pytest.mark.parametrize(("start_s", "end_s"), [(12.1, 20.0), (15.0, 16.0), (19.9, 20.0)])
async def test_a_scan_equals_that_of_the_source(path: Path, frame_s: float, start_s: float, end_s: float) -> None:
    recent = await streamed(path, frame_s)
    with open_source(path) as source:
        expected = scan_range(source, start_s, end_s, ToneSpeechDetector())
    found = recent.scan(start_s, end_s, ToneSpeechDetector())
    assert (found.source_samples, found.source_rate) == (expected.source_samples, expected.source_rate)
    np.testing.assert_array_equal(found.low, expected.low)
    np.testing.assert_array_equal(found.high, expected.high)
    assert found.voice is not None
    assert expected.voice is not None
    np.testing.assert_array_equal(found.voice, expected.voice)


async def test_only_the_last_seconds_are_stored(path: Path) -> None:
    recent = await streamed(path, 0.25)
    assert recent.contains(LENGTH_S - RECENT_S, LENGTH_S)
    assert not recent.contains(LENGTH_S - RECENT_S - 0.01, LENGTH_S)
    assert not recent.contains(LENGTH_S - 1, LENGTH_S + 0.01)
    with pytest.raises(ValueError, match="not stored"):
        recent.scan(1.0, 2.0, None)


async def test_audio_after_a_position_in_the_middle_is_stored(path: Path) -> None:
    recent = await streamed(path, 0.25, position_s=15.0)
    assert recent.contains(15.0, LENGTH_S)
    assert not recent.contains(14.9, LENGTH_S)


@pytest.mark.parametrize("start", [0, 4000, 12000], ids=["from the start", "one frame back", "after a gap"])
def test_audio_before_a_jump_is_dropped(start: int) -> None:
    recent = RecentAudio(RATE)
    recent.add(frame(0))
    recent.add(frame(4000))
    recent.add(frame(start))
    assert recent.contains(start / RATE, start / RATE + 0.25)
    assert not recent.contains(start / RATE - 0.01, start / RATE)
    assert not recent.contains(start / RATE, start / RATE + 0.26)


def test_without_audio_nothing_is_stored() -> None:
    assert not RecentAudio(RATE).contains(0.0, 0.1)
