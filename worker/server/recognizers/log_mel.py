"""The log-mel spectrogram that Whisper models take as input: 100 frames per second, as in OpenAI's reference.

Only frames with audio are computed. The rest of a window is silence, and all its frames have the same value. One
computation serves windows of every length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from worker.server.recognizers import SAMPLE_RATE, Samples

FRAMES_PER_S: Final = 100
_HOP: Final = SAMPLE_RATE // FRAMES_PER_S
_FFT: Final = 400
_SILENT: Final = np.float32(-10.0)  # log10 of the smallest power
_MAX_MEL: Final = 45.245640471924965  # 8 kHz on the mel scale
_LINEAR_HZ: Final = 200.0 / 3  # hertz per mel below 1 kHz

Spectrogram = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Features:
    """The normalized frames of a segment, and the value of all frames after it."""

    frames: Spectrogram
    silence: float

    def window(self, window_s: float) -> Spectrogram:
        """Return the spectrogram of the segment followed by silence, `window_s` seconds in all."""
        count = round(window_s * FRAMES_PER_S)
        whole = np.full((len(self.frames), count), self.silence, np.float32)
        used = min(count, self.frames.shape[1])
        whole[:, :used] = self.frames[:, :used]
        return whole


class LogMel:
    """Computes spectrograms with `bands` mel bands."""

    def __init__(self, bands: int) -> None:
        self._filters = _mel_filters(bands).astype(np.float32)
        self._window = np.hanning(_FFT + 1)[:-1].astype(np.float32)

    def __call__(self, samples: Samples) -> Features:
        """Compute the spectrogram of a segment, mono at 16 kHz."""
        half = _FFT // 2
        count = -(-(len(samples) + half) // _HOP)  # frames that contain a sample
        padded = np.zeros((count - 1) * _HOP + _FFT, np.float32)
        padded[half : half + len(samples)] = samples
        # The reference mirrors the beginning, and has zeros after the end.
        mirrored = samples[1 : half + 1][::-1]
        padded[half - len(mirrored) : half] = mirrored
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
        power = np.abs(np.fft.rfft(frames * self._window).astype(np.complex64)).T ** 2
        logs = np.log10(np.maximum(self._filters @ power, np.float32(1e-10)))
        lowest = max(logs.max(), _SILENT) - np.float32(8.0)
        normal = (np.maximum(logs, lowest) + np.float32(4.0)) / np.float32(4.0)
        return Features(normal.astype(np.float32), float((max(_SILENT, lowest) + 4.0) / 4.0))


def _mel_filters(bands: int) -> npt.NDArray[np.float64]:
    """Return the weights of each FFT bin in each band: triangles on Slaney's mel scale, of equal area."""
    bins_hz = np.fft.rfftfreq(_FFT, 1.0 / SAMPLE_RATE)
    mels = np.linspace(0.0, _MAX_MEL, bands + 2)
    edges_hz = mels * _LINEAR_HZ
    first_log = 1000.0 / _LINEAR_HZ  # the scale is logarithmic above 1 kHz
    above = mels >= first_log
    edges_hz[above] = 1000.0 * np.exp(np.log(6.4) / 27.0 * (mels[above] - first_log))
    widths = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz[None, :]
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(weights * (2.0 / (edges_hz[2:] - edges_hz[:bands]))[:, None], np.float64)
