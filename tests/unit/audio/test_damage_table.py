"""A table of damaged and unusual files: each is decoded as far as possible with a warning, or refused with a reason."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding, write_signal, write_words
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames
from worker.errors import DamagedSource

WORDS = list(tones.speech(9.0, 5))
LENGTH_S = 10.0


@dataclass(frozen=True)
class Row:
    name: str
    make: Callable[[Path], None]
    heard: float = 1.0
    """Minimum share of the words, from the first on, that must be found. Further found words must be correct."""
    warning: str = ""
    """Part of the expected warning. If empty, no warning is allowed."""
    refused: str = ""
    """Part of the expected error. If empty, the file must be decoded."""

    def __str__(self) -> str:
        return self.name


def words(path: Path, coding: Coding = audiofiles.WAV, rate: int = 16000, channels: int = 1) -> Path:
    return write_words(path, WORDS, rate, coding, channels, duration_s=LENGTH_S)


def plain(coding: Coding, rate: int = 16000, channels: int = 1) -> Callable[[Path], None]:
    return lambda path: words(path, coding, rate, channels) and None


def cut(coding: Coding, rate: int = 16000, share: float = 0.5) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = words(path, coding, rate).read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return make


def header(field: bytes, value: int) -> Callable[[Path], None]:
    """Writes a WAV file with a wrong size in `field`."""

    def make(path: Path) -> None:
        data = bytearray(words(path).read_bytes())
        at = data.index(field) + 4
        data[at : at + 4] = struct.pack("<I", value)
        path.write_bytes(data)

    return make


def with_chunk_behind(path: Path) -> None:
    text = b"cue points and markers, " * 100
    path.write_bytes(words(path).read_bytes() + b"note" + struct.pack("<I", len(text)) + text)


def with_tag_behind(path: Path) -> None:
    path.write_bytes(words(path).read_bytes() + b"ID3\x03\0\0\0\0\x10\0" + b"artist" * 400)


def flac_length(samples: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = bytearray(words(path, audiofiles.FLAC).read_bytes())
        data[22:26] = samples.to_bytes(4, "big")
        path.write_bytes(data)

    return make


def changed(
    change: Callable[[np.ndarray], np.ndarray], coding: Coding = audiofiles.WAV_FLOAT
) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        signal = tones.encode(WORDS, 16000, duration_s=LENGTH_S)
        write_signal(path, change(signal).astype(np.float32), 16000, coding)

    return make


def with_nan(signal: np.ndarray) -> np.ndarray:
    signal = signal.copy()
    signal[-100:] = np.nan
    signal[-200:-100] = np.inf
    return signal


def no_samples(coding: Coding) -> Callable[[Path], None]:
    return lambda path: write_signal(path, np.zeros(0, np.float32), 16000, coding) and None


def subtype(name: str, rate: int, channels: int, ending: str = "WAV") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        signal = tones.encode(WORDS, rate, duration_s=LENGTH_S)
        soundfile.write(path, np.repeat(signal[:, None], channels, axis=1), rate, format=ending, subtype=name)

    return make


SAMPLES = int(LENGTH_S * 16000)
TABLE = [
    Row("mp3-cut-off", cut(audiofiles.MP3), 0.4, "declares 10.0 s"),
    Row("mp3-cut-in-its-first-frames", cut(audiofiles.MP3, share=0.02), 0, "declares 10.0 s"),
    Row("flac-cut-off", cut(audiofiles.FLAC), 0.4, "declares 10.0 s"),
    Row("flac-24-cut-off", cut(audiofiles.FLAC_24), 0.4, "declares 10.0 s"),
    Row("wav-cut-off", cut(audiofiles.WAV), 0.4, "declares 320000 bytes of audio"),
    Row("wav-24-cut-off", cut(audiofiles.WAV_24), 0.4, "declares 480000 bytes of audio"),
    Row("aiff-cut-off", cut(audiofiles.AIFF), 0.4, "declares 320000 bytes of audio"),
    Row("vorbis-cut-off", cut(audiofiles.VORBIS), 0.25, "no end mark"),
    Row("opus-cut-off", cut(audiofiles.OPUS), 0.4, "no end mark"),
    Row("wav-header-too-long", header(b"data", 10 * SAMPLES), 1.0, "declares 1600000 bytes of audio"),
    Row("wav-header-too-short", header(b"data", SAMPLES // 2), 1.0, "declares less audio than the file has"),
    Row("wav-header-of-no-length", header(b"data", 0), 1.0, "the header gives no length"),
    Row("wav-with-a-chunk-behind", with_chunk_behind),
    Row("wav-with-a-tag-behind", with_tag_behind),
    Row("wav-riff-too-short", header(b"RIFF", 1000), 1.0),
    Row("wav-riff-of-no-length", header(b"RIFF", 0), 1.0),
    Row("flac-header-too-long", flac_length(10 * SAMPLES), 1.0, "declares 100.0 s, 10.0 s could be decoded"),
    Row("flac-header-too-short", flac_length(SAMPLES // 4), 1.0, "declares less audio than the file has"),
    Row("flac-header-of-no-length", flac_length(0)),
    Row("wav-without-samples", no_samples(audiofiles.WAV), refused="has an audio header, but it contains no audio"),
    Row("flac-without-samples", no_samples(audiofiles.FLAC), refused="the file is empty"),
    Row("nan", changed(with_nan), 1.0, "samples that are not numbers"),
    Row("only-nan", changed(lambda s: s * np.nan), 0, "samples that are not numbers"),
    Row("dc", changed(lambda s: s * 0.4 + 0.5)),
    Row("clipped", changed(lambda s: np.clip(s * 20, -1, 1), audiofiles.WAV)),
    Row("loud-float", changed(lambda s: s * 100), 1.0, "times full scale"),
    Row("very-quiet", changed(lambda s: s * 0.01)),
    Row("float-32", plain(audiofiles.WAV_FLOAT)),
    Row("double", plain(audiofiles.WAV_DOUBLE)),
    Row("24-bit", plain(audiofiles.WAV_24, 48000)),
    Row("32-bit", subtype("PCM_32", 48000, 1)),
    Row("8-bit", plain(audiofiles.WAV_U8)),
    Row("a-law-8k", plain(audiofiles.ALAW, 8000)),
    Row("mu-law-8k-stereo", plain(audiofiles.MULAW, 8000, 2)),
    Row("192k", plain(audiofiles.WAV_24, 192000)),
    Row("6-channels", plain(audiofiles.WAV, 48000, 6)),
    Row("8-channels-flac", plain(audiofiles.FLAC, 44100, 8)),
    Row("11025-hz", plain(audiofiles.WAV, 11025)),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_each_damaged_file_is_read_or_refused_as_listed(tmp_path: Path, row: Row) -> None:
    path = tmp_path / "call"
    row.make(path)
    if row.refused:
        with pytest.raises(DamagedSource, match=row.refused), open_source(path) as source:
            b"".join(wire_frames(source, 16000, 4000))
        return
    with open_source(path) as source:
        pcm = b"".join(wire_frames(source, 16000, 4000))
        warnings = source.warnings
    signal = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    found = tones.decode(signal - signal.mean())  # the tones' decoder, unlike speech recognizers, stumbles over DC
    assert [w.number for w in found] == [w.number for w in WORDS[: len(found)]]
    assert len(found) >= row.heard * len(WORDS) - 1e-9
    assert all(abs(f.start - w.start) < 0.03 for f, w in zip(found, WORDS, strict=False))
    assert any(row.warning in text for text in warnings) if row.warning else warnings == ()


def test_the_test_signal_has_enough_words() -> None:
    assert len(WORDS) >= 8
    assert all(isinstance(word, ToneWord) and word.start < LENGTH_S for word in WORDS)
