"""Audio for the benchmark: tone-coded speech with a little noise. With the noise, codecs compress it like real
speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.evaluate.transcribers import whole_file
from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding
from tests.support.mediafiles import Media, write_media


@dataclass(frozen=True, slots=True)
class Spec:
    """One kind of audio file. `rate` in Hz."""

    name: str
    rate: int
    channels: int
    coding: Coding | Media


MULAW = Spec("8 kHz mu-law WAV", 8000, 1, audiofiles.MULAW)
FLAC = Spec("44.1 kHz stereo FLAC", 44100, 2, audiofiles.FLAC)
WAV = Spec("16 kHz mono WAV", 16000, 1, audiofiles.WAV)
MP3 = Spec("44.1 kHz stereo MP3", 44100, 2, audiofiles.MP3)
OPUS = Spec("48 kHz stereo Opus", 48000, 2, audiofiles.OPUS)
AAC = Spec("44.1 kHz stereo AAC", 44100, 2, Media("m4a-aac", "m4a", "ipod", "aac", 44100, 2))
LOSSY = (MP3, OPUS, AAC)


def make(folder: Path, minutes: float, spec: Spec) -> Path:
    """Write a file that repeats one minute of sound. The sound is broadband like music and speech, never silent, and
    different in each channel."""
    path = folder / f"{minutes:g}min-{spec.rate}-{spec.channels}.{spec.coding.ending}"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    minute = tones.encode(tones.speech(60), spec.rate, duration_s=60)
    noise = rng.standard_normal((len(minute), spec.channels)).astype(np.float32) * 0.01
    sound = minute[:, None] * np.linspace(1, 0.8, spec.channels, dtype=np.float32) + noise
    whole, rest = divmod(round(minutes * 60 * spec.rate), len(sound))
    blocks = [*[sound] * whole, sound[:rest]]
    if isinstance(spec.coding, Media):
        write_media(path, np.concatenate(blocks), spec.coding)
        return path
    return audiofiles.write_blocks(path, blocks, spec.rate, spec.coding, spec.channels)


def repeated(paths: Sequence[Path], folder: Path, minutes: float) -> Path:
    """Write one file with all recordings, as often as they fit, with a second of silence between them."""
    path = folder / f"{minutes:g}min-recordings.flac"
    if path.exists():
        return path
    rate, left = 16000, round(minutes * 60 * 16000)
    sounds = [np.concatenate([whole_file(one), np.zeros(rate, np.float32)]) for one in paths]
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        while left > 0:
            for sound in sounds:
                file.write(sound[:left])
                left -= len(sound[:left])
    return path
