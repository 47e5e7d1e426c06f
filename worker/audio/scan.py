"""One pass over the audio: how loud it is, and where it holds speech, in windows of 16 ms.

What is kept is two bytes a window at most (0.4 MB for an hour), so the length of a file hardly counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from worker.audio.decode import AudioSource
from worker.audio.resample import Samples, StreamResampler, resampled_length
from worker.audio.speech import VOICE_RATE, VOICE_WINDOW, SpeechDetector

WINDOW: Final = 256
"""Samples at 16 kHz in one window (16 ms): half a window of a detector."""
WINDOW_S: Final = WINDOW / VOICE_RATE
FLOOR_DB: Final = -125.0
STEP_DB: Final = 0.5
NOTHING_DB: Final = -75.0
"""Level below which there is nothing to hear: a detector is not asked."""

_BATCH: Final = 64 * VOICE_WINDOW  # samples a detector is given at once
_EMPHASIS: Final = np.float32(0.95)
# A detector misses speech below -60 dBFS, so what is faint is raised to this peak; and what follows loud audio not at
# once, by this factor from batch to batch.
_PEAK: Final = 0.1
_MOST_GAIN: Final = 100.0
_RELEASE: Final = 0.7

Levels = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass found. Window k covers the time from k * WINDOW_S on; the last one may be shorter."""

    levels: npt.NDArray[np.uint8]
    """Level after pre-emphasis, in steps of STEP_DB above FLOOR_DB."""
    voice: npt.NDArray[np.uint8] | None
    """Probability of speech, 0 to 255, of each window; None when no detector was there."""
    source_samples: int
    """Length of the source at its own rate."""
    source_rate: int

    def level_db(self, windows: slice | npt.NDArray[np.intp]) -> Levels:
        """Levels of some windows in dB relative to full scale. The pre-emphasis takes 8 dB off at 1 kHz and 25 off hum,
        so that pauses show in spite of it."""
        return self.levels[windows].astype(np.float32) * np.float32(STEP_DB) + np.float32(FLOOR_DB)

    def samples(self, rate: int) -> int:
        """Length at another rate."""
        return resampled_length(self.source_samples, self.source_rate, rate)


def scan(
    source: AudioSource,
    detector: SpeechDetector | None = None,
    progress: Callable[[float], None] | None = None,
) -> Scan:
    """Decode the whole source once, in memory of a few blocks; blocks the thread. `progress` is told the seconds read,
    about every second of audio, and may raise to end it. Raises DamagedSource when nothing can be decoded."""
    rate = source.info.sample_rate
    resampler = StreamResampler(rate, VOICE_RATE)
    levels, voice = _Levels(), _Voice(detector) if detector is not None else None
    for block in source.blocks():
        _take(resampler.process(block), levels, voice)
        if progress is not None:
            progress(source.frames_decoded / rate)
    _take(resampler.flush(), levels, voice)
    found = levels.end()
    return Scan(found, voice.end(len(found)) if voice else None, source.frames_decoded, rate)


def _take(samples: Samples, levels: _Levels, voice: _Voice | None) -> None:
    levels.add(samples)
    if voice is not None:
        voice.add(samples)


class _Levels:
    """Gathers levels; holds less than a window of samples."""

    def __init__(self) -> None:
        self._rest: Samples = np.zeros(0, np.float32)
        self._before = np.float32(0)
        self._found = bytearray()

    def add(self, samples: Samples) -> None:
        if not len(samples):
            return
        emphasized = np.empty(len(samples), np.float32)
        emphasized[0] = samples[0] - _EMPHASIS * self._before
        np.multiply(samples[:-1], -_EMPHASIS, out=emphasized[1:])
        emphasized[1:] += samples[1:]
        self._before = samples[-1]
        signal = np.concatenate([self._rest, emphasized]) if len(self._rest) else emphasized
        whole = len(signal) - len(signal) % WINDOW
        windows = signal[:whole].reshape(-1, WINDOW)
        self._keep(np.einsum("ij,ij->i", windows, windows) / np.float32(WINDOW))
        self._rest = signal[whole:].copy()

    def end(self) -> npt.NDArray[np.uint8]:
        if len(self._rest):
            self._keep(np.array([np.dot(self._rest, self._rest) / len(self._rest)], np.float32))
        return np.frombuffer(self._found, np.uint8)

    def _keep(self, power: Samples) -> None:
        db = 10 * np.log10(np.maximum(power, np.float32(1e-13)))
        self._found += np.clip(np.rint((db - FLOOR_DB) / STEP_DB), 0, 255).astype(np.uint8).tobytes()


class _Voice:
    """Gathers probabilities; holds less than a batch of samples."""

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        detector.reset()
        self._pending: list[Samples] = []
        self._count = 0
        self._peak = 0.0
        self._found = bytearray()

    def add(self, samples: Samples) -> None:
        self._pending.append(samples)
        self._count += len(samples)
        if self._count >= _BATCH:
            signal = np.concatenate(self._pending)
            whole = len(signal) - len(signal) % _BATCH
            for at in range(0, whole, _BATCH):
                self._ask(signal[at : at + _BATCH])
            self._pending, self._count = [signal[whole:].copy()], len(signal) - whole

    def end(self, windows: int) -> npt.NDArray[np.uint8]:
        rest = self._count + -self._count % VOICE_WINDOW
        if rest:
            signal = np.concatenate(self._pending)
            self._ask(np.pad(signal, (0, rest - len(signal))))
        return np.repeat(np.frombuffer(self._found, np.uint8), VOICE_WINDOW // WINDOW)[:windows]

    def _ask(self, signal: Samples) -> None:
        step = np.diff(signal)
        windows = len(signal) // VOICE_WINDOW
        if len(step) and float(np.dot(step, step)) / len(step) < 10 ** ((NOTHING_DB - 10) / 10):
            self._detector.reset()
            self._found += bytes(windows)
            return
        self._peak = max(float(signal.max()), -float(signal.min()), self._peak * _RELEASE)
        gain = np.float32(min(max(1.0, _PEAK / self._peak), _MOST_GAIN))
        probabilities = self._detector(signal * gain)
        self._found += np.rint(np.clip(probabilities, 0, 1) * 255).astype(np.uint8).tobytes()
