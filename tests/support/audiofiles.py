"""Writes audio files for tests: any signal in any format, rate and number of channels that libsndfile can write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.support.tones import ToneWord, encode_blocks


@dataclass(frozen=True, slots=True)
class Coding:
    """An audio file format with a codec of its samples. `ending`: the ending of file names. `format`, `subtype`: the
    names that libsndfile uses. `rates`: sample rates in Hz that tests use. Lossy codecs may move the edges of words a
    little."""

    name: str
    ending: str
    format: str
    subtype: str
    rates: tuple[int, ...] = (8000, 16000, 44100, 48000)
    max_channels: int = 8

    def __str__(self) -> str:
        return self.name


WAV = Coding("wav", "wav", "WAV", "PCM_16")
WAV_24 = Coding("wav-24", "wav", "WAV", "PCM_24")
WAV_U8 = Coding("wav-u8", "wav", "WAV", "PCM_U8")
WAV_FLOAT = Coding("wav-float", "wav", "WAV", "FLOAT")
WAV_DOUBLE = Coding("wav-double", "wav", "WAV", "DOUBLE")
MULAW = Coding("mulaw", "wav", "WAV", "ULAW")
ALAW = Coding("alaw", "wav", "WAV", "ALAW")
IMA_ADPCM = Coding("ima-adpcm", "wav", "WAV", "IMA_ADPCM", max_channels=2)
# GSM models the human voice and destroys tones, so it is not one of `CODINGS`.
GSM = Coding("gsm", "wav", "WAV", "GSM610", rates=(8000,), max_channels=1)
FLAC = Coding("flac", "flac", "FLAC", "PCM_16")
FLAC_24 = Coding("flac-24", "flac", "FLAC", "PCM_24")
MP3 = Coding("mp3", "mp3", "MP3", "MPEG_LAYER_III", max_channels=2)
VORBIS = Coding("vorbis", "ogg", "OGG", "VORBIS", max_channels=2)
OPUS = Coding("opus", "opus", "OGG", "OPUS", rates=(8000, 16000, 48000), max_channels=2)
AIFF = Coding("aiff", "aiff", "AIFF", "PCM_16")
AU = Coding("au", "au", "AU", "ULAW")
CAF = Coding("caf", "caf", "CAF", "ALAC_16", max_channels=2)
W64 = Coding("w64", "w64", "W64", "PCM_16")
RF64 = Coding("rf64", "rf64", "RF64", "PCM_16")

# The codecs from which tone-coded speech (`tests.support.tones`) can be recognized.
CODINGS = (
    WAV, WAV_24, WAV_U8, WAV_FLOAT, WAV_DOUBLE, MULAW, ALAW, IMA_ADPCM, FLAC, FLAC_24, MP3, VORBIS, OPUS, AIFF, AU,
    CAF, W64, RF64,
)  # fmt: skip


def write_blocks(
    path: Path, blocks: Iterable[np.ndarray], sample_rate: int, coding: Coding = WAV, channels: int = 1
) -> Path:
    """Write a signal that is given as blocks. A block is float32[n, channels], or float32[n] for the same signal in
    every channel. Uses constant memory. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(
        path, "w", samplerate=sample_rate, channels=channels, format=coding.format, subtype=coding.subtype
    ) as file:
        for block in blocks:
            # Write one second at a time: the Vorbis encoder of libsndfile 1.2.2 crashes on a long signal in one call.
            for at in range(0, len(block), sample_rate):
                piece = block[at : at + sample_rate]
                file.write(np.repeat(piece[:, None], channels, axis=1) if piece.ndim == 1 and channels > 1 else piece)
    return path


def write_signal(path: Path, signal: np.ndarray, sample_rate: int, coding: Coding = WAV) -> Path:
    """Write a signal, float32[n] or float32[n, channels]. Returns the path."""
    return write_blocks(path, [signal], sample_rate, coding, 1 if signal.ndim == 1 else signal.shape[1])


def write_words(
    path: Path,
    words: Sequence[ToneWord],
    sample_rate: int = 16000,
    coding: Coding = WAV,
    channels: int = 1,
    *,
    duration_s: float | None = None,
    amplitude: float = 0.4,
) -> Path:
    """Write tone-coded speech, the same in every channel. Returns the path."""
    blocks = encode_blocks(words, sample_rate, duration_s=duration_s, amplitude=amplitude)
    return write_blocks(path, blocks, sample_rate, coding, channels)


def without_first_mp3_frame(data: bytes) -> bytes:
    """Return the MP3 `data` without its first frame, which states the length and the encoder delay. Live encoders write
    no such frame."""
    sync = data[:2]
    return data[data.index(sync, 4) :]
