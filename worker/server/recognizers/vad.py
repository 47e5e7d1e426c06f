"""Voice or not: Silero VAD v6 (MIT), the onnx file that ships inside faster-whisper, with the state of one stream.

The model takes windows of 512 samples at 16 kHz, each preceded by the 64 samples before it, and carries an LSTM state
from window to window; a run over several windows at once gives the same as one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.server.recognizers import VOICE_WINDOW, Samples

_CONTEXT = 64
_STATE_SHAPE = (1, 1, 128)


class SileroDetector:
    """One stream over an onnx session that all streams share. Calls come in order, one at a time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._h = np.zeros(_STATE_SHAPE, np.float32)
        self._c = np.zeros(_STATE_SHAPE, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def __call__(self, samples: Samples) -> Samples:
        """Probability of voice for each window of 512 samples."""
        windows = samples.reshape(-1, VOICE_WINDOW)
        before = np.vstack([self._context, windows[:-1, -_CONTEXT:]])
        inputs = np.concatenate([before, windows], axis=1, dtype=np.float32)
        out, self._h, self._c = self._model.run(None, {"input": inputs, "h": self._h, "c": self._c})
        self._context = windows[-1, -_CONTEXT:].copy()
        probabilities: Samples = np.asarray(out, np.float32).reshape(-1)
        return probabilities
