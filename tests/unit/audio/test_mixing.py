"""Mixing all channels: the loudest channel replaces the mix only where channels cancel each other (inverted phase)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support import tones
from tests.support.audiofiles import AIFF, FLAC, MP3, VORBIS, WAV, WAV_24, WAV_FLOAT, Coding, write_signal
from tests.support.mediafiles import MEDIA, write_media
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames

RATE = 16000
WORDS = list(tones.speech(9.5, seed=5))
SPEECH = tones.encode(WORDS, RATE, duration_s=10.0)
SILENCE = np.zeros_like(SPEECH)
NOISE = np.random.default_rng(7).standard_normal(len(SPEECH)).astype(np.float32) * np.float32(0.1)
WARNING = "inverted phase"


def stack(*channels: np.ndarray) -> np.ndarray:
    return np.stack(channels, axis=1).astype(np.float32)


def later(signal: np.ndarray, samples: int) -> np.ndarray:
    return np.concatenate([np.zeros(samples, np.float32), signal[:-samples]])


def inverted_from(signal: np.ndarray, start_s: float, end_s: float = 99.0) -> np.ndarray:
    sign = np.ones_like(signal)
    sign[round(start_s * RATE) : round(end_s * RATE)] = -1
    return signal * sign


INVERTED: dict[str, Callable[[], np.ndarray]] = {
    "whole": lambda: stack(SPEECH, -SPEECH),
    "not quite as loud": lambda: stack(SPEECH, -0.85 * SPEECH),
    "the first one fainter": lambda: stack(-0.85 * SPEECH, SPEECH),
    "faint": lambda: stack(0.005 * SPEECH, -0.005 * SPEECH),
    "with noise of its own": lambda: stack(SPEECH, -SPEECH + 0.03 * NOISE),
    "from the middle on": lambda: stack(SPEECH, inverted_from(SPEECH, 4.0)),
    "up to the middle": lambda: stack(SPEECH, inverted_from(SPEECH, 0.0, 5.2)),
    "for a second and a half": lambda: stack(SPEECH, inverted_from(SPEECH, 6.0, 7.5)),
    "again and again": lambda: stack(SPEECH, inverted_from(inverted_from(SPEECH, 2, 4), 6, 8)),
    "a pair of 5.1": lambda: stack(SPEECH, -SPEECH, SILENCE, SILENCE, SILENCE, SILENCE),
    "a pair of 5.1 beside faint ambience": lambda: stack(SPEECH, -SPEECH, *[0.03 * NOISE] * 4),
    "the centre against the front": lambda: stack(SPEECH, SPEECH, -2 * SPEECH, SILENCE, SILENCE, SILENCE) * 0.5,
}


CODINGS = (WAV, FLAC, WAV_24, WAV_FLOAT, AIFF)
# Each signal in one codec, and each codec with several signals. All pairs run with the marker `matrix`.
PAIRS = [
    pytest.param(name, coding, id=f"{coding}-{name}", marks=[] if number % len(CODINGS) == at else pytest.mark.matrix)
    for number, name in enumerate(INVERTED)
    for at, coding in enumerate(CODINGS)
]


@pytest.mark.parametrize(("name", "coding"), PAIRS)
def test_inverted_channels_lose_no_word(tmp_path: Path, name: str, coding: Coding) -> None:
    path = write_signal(tmp_path / f"a.{coding.ending}", INVERTED[name](), RATE, coding)
    with open_source(path) as source:
        pcm = b"".join(wire_frames(source, RATE, 4000))
        assert source.frames_decoded == len(SPEECH)
        assert any(WARNING in text for text in source.warnings)
    found = tones.decode_pcm16(pcm)
    assert [word.number for word in found] == [word.number for word in WORDS]
    assert max(abs(a.start - b.start) for a, b in zip(found, WORDS, strict=True)) < 0.03


@pytest.mark.parametrize("coding", [MP3, VORBIS], ids=str)
def test_a_lossy_coding_inverts_only_nearly(tmp_path: Path, coding: Coding) -> None:
    path = write_signal(tmp_path / f"a.{coding.ending}", stack(SPEECH, -SPEECH), RATE, coding)
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, RATE, 4000)))
        assert any(WARNING in text for text in source.warnings)
    assert [word.number for word in found] == [word.number for word in WORDS]


def test_inverted_channels_in_a_media_container_lose_no_word(tmp_path: Path) -> None:
    media = next(media for media in MEDIA if media.name == "mkv-flac")
    path = write_media(tmp_path / "a.mkv", stack(SPEECH, inverted_from(SPEECH, 4.0)), media)
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, RATE, 4000)))
        assert any(WARNING in text for text in source.warnings)
    assert [word.number for word in found] == [word.number for word in WORDS]


@pytest.mark.parametrize("samples", [1, 100, 319, 320, 321, 2000, 4000])
def test_inversion_is_found_in_a_short_file(tmp_path: Path, samples: int) -> None:
    tone = np.sin(np.arange(samples) * 0.3).astype(np.float32) * 0.5 + 0.1
    path = write_signal(tmp_path / "a.wav", stack(tone, -tone), RATE, WAV_FLOAT)
    with open_source(path) as source:
        np.testing.assert_allclose(np.concatenate(list(source.blocks())), tone, atol=1e-6)
        assert any(WARNING in text for text in source.warnings)


ORDINARY: dict[str, Callable[[], np.ndarray]] = {
    "the same in both": lambda: stack(SPEECH, SPEECH),
    "one is silent": lambda: stack(SILENCE, SPEECH),
    "one of sixteen is not silent": lambda: stack(*[SILENCE] * 9, SPEECH, *[SILENCE] * 6),
    "a speaker each, one after the other": lambda: stack(
        np.where(np.arange(len(SPEECH)) < 60000, SPEECH, 0), np.where(np.arange(len(SPEECH)) < 60000, 0, SPEECH)
    ),
    "noise against noise": lambda: stack(NOISE, NOISE[::-1]),
    "a millisecond apart": lambda: stack(NOISE, later(NOISE, 16)),
    "a tenth of a second apart": lambda: stack(SPEECH, later(SPEECH, 1600)),
    "inverted, and half as loud": lambda: stack(SPEECH, -0.5 * SPEECH),
    "silence": lambda: stack(SILENCE, SILENCE),
    "dither that cancels": lambda: stack(NOISE * 1e-4, -NOISE * 1e-4),
    "a click that cancels": lambda: stack(later(NOISE, 1) + (np.arange(len(NOISE)) == 8000), NOISE),
}


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("coding", [WAV, WAV_FLOAT], ids=str)
@pytest.mark.gate_sample(2)
def test_ordinary_channels_are_mixed_with_equal_weights(tmp_path: Path, name: str, coding: Coding) -> None:
    signal = ORDINARY[name]()
    path = write_signal(tmp_path / "a.wav", signal, RATE, coding)
    with open_source(path) as source:
        mixed = np.concatenate(list(source.blocks()))
        assert source.warnings == ()
    np.testing.assert_allclose(mixed, signal.clip(-1, 1).mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("name", ["from the middle on", "up to the middle", "again and again", "whole"])
@pytest.mark.parametrize("coding", [WAV, FLAC], ids=str)
@pytest.mark.gate_sample(2)
def test_the_samples_do_not_depend_on_the_start_of_reading(tmp_path: Path, name: str, coding: Coding) -> None:
    rng = np.random.default_rng(11)
    path = write_signal(tmp_path / f"a.{coding.ending}", INVERTED[name](), RATE, coding)
    with open_source(path) as source:
        whole = np.concatenate([block.copy() for block in source.blocks()])
        starts = [1, 319, 320, len(SPEECH) - 1, *rng.integers(0, len(SPEECH), 6)]
        for number, start in enumerate(starts):
            for block_s in (0.01, 0.1, 1.0) if number == 0 else ((0.01, 0.1, 1.0)[number % 3],):
                blocks = [block.copy() for block in source.blocks(int(start), block_s)]
                assert max(map(len, blocks)) <= round(block_s * RATE)
                np.testing.assert_array_equal(np.concatenate(blocks), whole[start:])
                assert source.frames_decoded == len(SPEECH)


def test_the_warning_names_the_position_and_the_channel(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.wav", stack(0.5 * SPEECH, inverted_from(0.5 * SPEECH, 4.0)), RATE, WAV)
    with open_source(path) as source:
        for _ in source.blocks():
            pass
        (text,) = source.warnings
    assert text.startswith("its channels cancel each other when they are mixed (inverted phase) at ")
    assert text.endswith(" s; channel 1 is used there")
    assert 3.5 < float(text.split(" at ")[1].split()[0]) < 5.5


def test_an_invalid_sample_does_not_hide_inversion_elsewhere(tmp_path: Path) -> None:
    signal = stack(SPEECH, -SPEECH)
    signal[100, 0] = np.nan
    path = write_signal(tmp_path / "a.wav", signal, RATE, WAV_FLOAT)
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, RATE, 4000)))
        assert len(source.warnings) == 2
    assert [word.number for word in found] == [word.number for word in WORDS]
