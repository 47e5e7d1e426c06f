"""Generates sounds that are not speech, as mono float32 at 16 kHz."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from tests.support.tones import Samples

RATE = 16000


def _times(duration_s: float) -> np.ndarray:
    return np.arange(int(duration_s * RATE)) / RATE


def silence(duration_s: float) -> Samples:
    return np.zeros(int(duration_s * RATE), np.float32)


def noise(duration_s: float, level_db: float = -45.0, slope: float = 0.0, seed: int = 0) -> Samples:
    """Generate noise with a power spectrum of 1 / frequency^`slope` (0 white, 1 pink, 2 brown). `level_db`: RMS level
    in dBFS."""
    white = np.random.default_rng(seed).standard_normal(int(duration_s * RATE))
    spectrum = np.fft.rfft(white)
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (slope / 2)
    spectrum[0] = 0
    shaped = np.fft.irfft(spectrum, len(white))
    return (shaped / shaped.std() * 10 ** (level_db / 20)).astype(np.float32)


def hum(duration_s: float, hz: float = 50.0, amplitude: float = 0.05) -> Samples:
    t = _times(duration_s)
    return sum(np.sin(2 * np.pi * hz * k * t) * amplitude / k for k in (1, 2, 3, 5)).astype(np.float32)


def tones_of(duration_s: float, *hz: float, on_s: float = 1.0, every_s: float = 1.0, amplitude: float = 0.1) -> Samples:
    """Generate sine tones of the frequencies `hz`, which sound during the first `on_s` of every `every_s` seconds.

    Frequencies of 350 and 440 Hz without a break are a dial tone; 440 and 480 Hz in 2 of 6 s are a ringing tone.
    """
    t = _times(duration_s)
    sines = sum(np.sin(2 * np.pi * f * t) for f in hz) * amplitude
    return (sines * (t % every_s < on_s)).astype(np.float32)


@cache
def _pluck(key: int) -> np.ndarray:
    """Generate the sound of a plucked string, 1.2 s long. `key`: MIDI note number."""
    t = _times(1.2)
    hz = 440 * 2 ** ((key - 69) / 12)
    return np.exp(-3 * t) * np.minimum(1, t / 0.005) * sum(np.sin(2 * np.pi * hz * k * t) / k**1.3 for k in range(1, 7))


def hold_music(duration_s: float, seed: int = 0) -> Samples:
    """Generate music: a melody over plucked chords, with overtones. The chord changes every four beats."""
    rng = np.random.default_rng(seed)
    beat_s, signal = 0.4, np.zeros(int(duration_s * RATE))
    for beat in range(int(duration_s / beat_s)):
        if beat % 4 == 0:
            root = int(rng.choice([48, 53, 55, 57]))
        for key in (root, root + 4, root + 7, root + 12 + int(rng.choice([0, 2, 4, 5, 7, 9]))):
            at = int(beat * beat_s * RATE)
            pluck = _pluck(key)[: len(signal) - at]
            signal[at : at + len(pluck)] += pluck
    return (0.3 * signal / np.abs(signal).max()).astype(np.float32)


NOT_SPEECH: dict[str, Callable[[float], Samples]] = {
    "digital silence": silence,
    "hiss": lambda s: noise(s, -50),
    "pink noise": lambda s: noise(s, -35, 1),
    "rumble": lambda s: noise(s, -30, 2),
    "hum": hum,
    "hum and hiss": lambda s: hum(s) + noise(s, -55),
    "dial tone": lambda s: tones_of(s, 350, 440),
    "ringing": lambda s: tones_of(s, 440, 480, on_s=2, every_s=6),
    "beeps": lambda s: tones_of(s, 1400, on_s=0.5, every_s=15),
    "music on hold": hold_music,
}
