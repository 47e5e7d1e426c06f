"""Measures the level and the probability of speech of each window of 16 ms, in one pass over the audio.

The result takes at most three bytes per window (0.7 MB for an hour), so memory hardly grows with the file. Two
frequency bands of the voice are measured separately, so that neither hum nor hiss hides speech.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from worker.audio.resample import Samples, StreamResampler, resampled_length
from worker.audio.segmentation.speech_detector import VOICE_RATE, VOICE_WINDOW, SpeechDetector
from worker.audio.source import Audio

WINDOW: Final = 256
"""Number of samples at 16 kHz in one window (16 ms), half as many as in a window of a speech detector."""
WINDOW_S: Final = WINDOW / VOICE_RATE
FLOOR_DB: Final = -125.0
"""Level (dB) that the stored value 0 stands for."""
STEP_DB: Final = 0.5
SILENCE_DB: Final = -90.0
"""Audio counts as silence if both bands are below this level (dB), which is that of the dither of 16-bit audio."""

_BATCH: Final = 64 * VOICE_WINDOW  # samples per call of a detector
# Bins of a spectrum of WINDOW samples, 62.5 Hz each. Hum and its first overtones are below these bands.
_LOW: Final = slice(4, 16)  # 250 to 1000 Hz
_HIGH: Final = slice(16, 64)  # 1 to 4 kHz
_TAPER: Final = np.hanning(WINDOW + 1)[:WINDOW].astype(np.float32)
_SCALE: Final = 2.0 / (WINDOW * float(np.sum(_TAPER**2)))
# A detector misses speech below -60 dBFS, so faint audio is amplified to the peak _PEAK. After loud audio, the gain
# rises gradually: the remembered peak falls by the factor _RELEASE from batch to batch.
_PEAK: Final = 0.1
_MAX_GAIN: Final = 100.0
_RELEASE: Final = 0.7
_SILENT_PEAK: Final = 2 / 32768  # audio without a sample of this level is silence; the detector does not run

Decibels = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scan:
    """The levels of all windows of the audio, and their probabilities of speech. Window k begins at k * WINDOW_S
    seconds; the last one may be shorter."""

    low: npt.NDArray[np.uint8]
    """Level from 250 Hz to 1 kHz, in steps of STEP_DB above FLOOR_DB."""
    high: npt.NDArray[np.uint8]
    """Level from 1 to 4 kHz, in steps of STEP_DB above FLOOR_DB."""
    voice: npt.NDArray[np.uint8] | None
    """Probability of speech of each window, from 0 to 255, or None without a detector."""
    source_samples: int
    """Length of the scanned audio in samples at `source_rate` (Hz)."""
    source_rate: int

    @property
    def windows(self) -> int:
        return len(self.low)

    def samples(self, rate: int) -> int:
        """Return the length in samples at another rate (Hz)."""
        return resampled_length(self.source_samples, self.source_rate, rate)


def decibels(levels: npt.NDArray[np.uint8]) -> Decibels:
    """Decode stored levels to dB relative to full scale."""
    return levels.astype(np.float32) * np.float32(STEP_DB) + np.float32(FLOOR_DB)


def scan(
    source: Audio,
    detector: SpeechDetector | None = None,
    progress: Callable[[float], None] | None = None,
) -> Scan:
    """Scan the whole source once. Only a few blocks are in memory at a time. Blocks the thread.

    `progress` receives the number of seconds read so far, about once per second of audio, and may raise to stop. Raises
    DamagedSource if nothing can be decoded."""
    rate = source.info.sample_rate

    def blocks() -> Iterator[Samples]:
        for block in source.blocks():
            yield block
            if progress is not None:
                progress(source.frames_decoded / rate)

    low, high, voice = _scanned(blocks(), rate, detector)
    return Scan(low, high, voice, source.frames_decoded, rate)


def scan_range(
    source: Audio,
    start_s: float,
    end_s: float,
    detector: SpeechDetector | None = None,
    check: Callable[[], None] = lambda: None,
) -> Scan:
    """Scan the source from `start_s` to `end_s` (seconds). Window 0 of the result begins at `start_s`. `check` is
    called about once per second of audio, and may raise an exception to stop."""
    rate = source.info.sample_rate
    first, read = round(start_s * rate), 0
    wanted = max(0, round(end_s * rate) - first)

    def blocks() -> Iterator[Samples]:
        nonlocal read
        for block in source.blocks(first):
            part = block[: wanted - read]
            read += len(part)
            yield part
            check()
            if read >= wanted:
                break

    low, high, voice = _scanned(blocks(), rate, detector)
    return Scan(low, high, voice, read, rate)


def scan_samples(samples: Samples, rate: int, detector: SpeechDetector | None = None) -> Scan:
    """Scan mono audio in memory, float32[n] with full scale 1.0. `rate`: in Hz. Blocks the thread."""
    low, high, voice = _scanned([samples], rate, detector)
    return Scan(low, high, voice, len(samples), rate)


def _scanned(
    blocks: Iterable[Samples], rate: int, detector: SpeechDetector | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]:
    """Return the fields `low`, `high` and `voice` of the scan of consecutive blocks."""
    resampler = StreamResampler(rate, VOICE_RATE)
    levels, voice = _Levels(), _SpeechProbabilities(detector) if detector is not None else None

    def add(samples: Samples) -> None:
        levels.add(samples)
        if voice is not None:
            voice.add(samples)

    for block in blocks:
        add(resampler.process(block))
    add(resampler.flush())
    low, high = levels.end()
    return low, high, voice.end(len(low)) if voice is not None else None


class _Levels:
    """Measures the levels of all windows. Buffers less than one window of samples."""

    def __init__(self) -> None:
        self._rest: Samples = np.zeros(0, np.float32)
        self._low, self._high = bytearray(), bytearray()

    def add(self, samples: Samples) -> None:
        signal = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(signal) - len(signal) % WINDOW
        if whole:
            self._measure(signal[:whole])
        self._rest = signal[whole:].copy()

    def end(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        if len(self._rest):
            self._measure(np.pad(self._rest, (0, WINDOW - len(self._rest))))
        return np.frombuffer(self._low, np.uint8), np.frombuffer(self._high, np.uint8)

    def _measure(self, signal: Samples) -> None:
        spectrum = np.fft.rfft(signal.reshape(-1, WINDOW) * _TAPER)[:, : _HIGH.stop]
        power = spectrum.real**2 + spectrum.imag**2
        self._low += _stored(power[:, _LOW].sum(axis=1))
        self._high += _stored(power[:, _HIGH].sum(axis=1))


def _stored(power: Samples) -> bytes:
    db = 10 * np.log10(np.maximum(power * np.float32(_SCALE), np.float32(1e-13)))
    return bytes(np.clip(np.rint((db - FLOOR_DB) / STEP_DB), 0, 255).astype(np.uint8))


class _SpeechProbabilities:
    """Collects the probabilities of a detector. Buffers less than one batch of samples."""

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
                self._detect(signal[at : at + _BATCH])
            self._pending, self._count = [signal[whole:].copy()], len(signal) - whole

    def end(self, windows: int) -> npt.NDArray[np.uint8]:
        rest = self._count + -self._count % VOICE_WINDOW
        if rest:
            signal = np.concatenate(self._pending)
            self._detect(np.pad(signal, (0, rest - len(signal))))
        return np.repeat(np.frombuffer(self._found, np.uint8), VOICE_WINDOW // WINDOW)[:windows]

    def _detect(self, signal: Samples) -> None:
        peak = max(float(signal.max()), -float(signal.min()))
        self._peak = max(peak, self._peak * _RELEASE)
        if peak < _SILENT_PEAK:
            self._detector.reset()
            self._found += bytes(len(signal) // VOICE_WINDOW)
            return
        gain = np.float32(min(max(1.0, _PEAK / self._peak), _MAX_GAIN))
        probabilities = self._detector(signal * gain)
        self._found += np.rint(np.clip(probabilities, 0, 1) * 255).astype(np.uint8).tobytes()
