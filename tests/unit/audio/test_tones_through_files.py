"""Tone-coded speech in each codec is decoded, resampled and cut into frames; all words keep their times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames

CASES = [
    pytest.param(coding, rate, channels, id=f"{coding}-{rate}-{channels}ch")
    for coding in audiofiles.CODINGS
    for rate in coding.rates
    for channels in (1, 2)
    if channels <= coding.max_channels
]


@pytest.mark.parametrize(("coding", "rate", "channels"), CASES)
@pytest.mark.gate_sample(6)
def test_each_word_is_decoded_once_at_its_time(tmp_path: Path, coding: Coding, rate: int, channels: int) -> None:
    words = list(tones.speech(5.0, seed=rate + channels))
    path = audiofiles.write_words(tmp_path / f"a.{coding.ending}", words, rate, coding, channels, duration_s=5.5)
    with open_source(path) as source:
        pcm = b"".join(wire_frames(source, 16000, 4000))
        assert source.warnings == ()
        assert (source.info.sample_rate, source.info.channels) == (rate, channels)
    found = tones.decode_pcm16(pcm)
    assert [w.number for w in found] == [w.number for w in words]
    worst_s = max(abs(a.start - b.start) for a, b in zip(found, words, strict=True))
    assert worst_s < 0.03
