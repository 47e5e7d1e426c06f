"""Is it speech? Silero VAD where it is installed, and what a level alone can tell where it is not.

Silero VAD v6 (MIT) is the onnx file inside faster-whisper (extra `local`). Of six detectors measured it is the only one
that keeps music on hold, ringing and the clatter of dishes out; run over many windows at once it costs 6 CPU-seconds
per audio hour (one window at a time, as other packages run it: 36 to 180).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from worker.audio.resample import Samples

VOICE_RATE: Final = 16000
"""Hz of everything a detector is given."""
VOICE_WINDOW: Final = 512
"""Samples in one window of a detector (32 ms)."""

_CONTEXT: Final = 64
_STATE: Final = (1, 1, 128)


class VoiceDetector(Protocol):
    """Tells speech from the rest of one stream; calls come in order."""

    def __call__(self, samples: Samples) -> Samples:
        """Probability of speech (0 to 1) for each window; the length is a multiple of `VOICE_WINDOW`."""
        ...


class SpeechDetector(VoiceDetector, Protocol):
    """A detector that a record can name, and that can go from one stretch of audio to another."""

    name: str
    """What it is called in a record."""

    def reset(self) -> None:
        """What comes next does not follow what came before."""
        ...


class Silero:
    """The model takes windows of 512 samples, each preceded by the 64 before it, and carries a state from window to
    window; a run over several windows at once gives the same as one by one."""

    name = "silero"

    def __init__(self, model: Any) -> None:
        """`model`: an onnxruntime session of the file."""
        self._model = model
        self.reset()

    def reset(self) -> None:
        self._h: npt.NDArray[np.float32] = np.zeros(_STATE, np.float32)
        self._c: npt.NDArray[np.float32] = np.zeros(_STATE, np.float32)
        self._context: Samples = np.zeros(_CONTEXT, np.float32)

    def __call__(self, samples: Samples) -> Samples:
        windows = samples.reshape(-1, VOICE_WINDOW)
        if not len(windows):
            return np.zeros(0, np.float32)
        before = np.vstack([self._context, windows[:-1, -_CONTEXT:]])
        inputs = np.concatenate([before, windows], axis=1, dtype=np.float32)
        out, self._h, self._c = self._model.run(None, {"input": inputs, "h": self._h, "c": self._c})
        self._context = windows[-1, -_CONTEXT:].copy()
        probabilities: Samples = np.asarray(out, np.float32).reshape(-1)
        return probabilities


def silero() -> Silero | None:
    """The detector, None where it is not installed. It computes in the thread that calls it."""
    spec = find_spec("faster_whisper")
    if spec is None or spec.origin is None or find_spec("onnxruntime") is None:
        return None
    file = Path(spec.origin).parent / "assets" / "silero_vad_v6.onnx"
    if not file.is_file():
        return None
    import onnxruntime  # noqa: PLC0415  # 0.3 s, paid only where silence is skipped

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena never gives memory back
    options.log_severity_level = 4
    return Silero(onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"], sess_options=options))
