"""Audio to measure with: tone-coded speech with a little noise, so that nothing is easier than it would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding

MULAW = ("8 kHz mu-law WAV", 8000, 1, audiofiles.MULAW)
FLAC = ("44.1 kHz stereo FLAC", 44100, 2, audiofiles.FLAC)
WAV = ("16 kHz mono WAV", 16000, 1, audiofiles.WAV)


def make(folder: Path, minutes: float, rate: int, channels: int, coding: Coding) -> Path:
    """Speech like music and speech are: broad, never silent, other on each channel. One minute of it, repeated."""
    path = folder / f"{minutes:g}min-{rate}-{channels}.{coding.ending}"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    minute = tones.encode(tones.speech(60), rate, duration_s=60)
    noise = rng.standard_normal((len(minute), channels)).astype(np.float32) * 0.01
    sound = minute[:, None] * np.linspace(1, 0.8, channels, dtype=np.float32) + noise
    whole, rest = divmod(round(minutes * 60 * rate), len(sound))
    return audiofiles.write_blocks(path, [*[sound] * whole, sound[:rest]], rate, coding, channels)
