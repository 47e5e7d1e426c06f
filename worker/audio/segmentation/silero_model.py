"""Loads and runs the speech detector Silero VAD, if it is installed.

Silero VAD v6 (MIT license) is an ONNX file that the package faster-whisper (extra `local`) contains. Of six measured
detectors, only this one rejects music on hold, ringing and the clatter of dishes. If it processes many windows per
call, it takes 6 CPU-seconds per hour of audio. If it processes one window per call, as in other packages, it takes 36
to 180 CPU-seconds.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from worker.audio.resample import Samples
from worker.audio.segmentation.speech_detector import VOICE_WINDOW

_CONTEXT_SAMPLES: Final = 64  # the model's input repeats these samples of the previous window
_STATE: Final = (1, 1, 128)  # shape of the model's two states


class Silero:
    """Runs the Silero model. The model takes windows of 512 samples, each with the 64 samples before it, and passes a
    state from window to window. One call for several windows gives the same result as one call per window."""

    name = "silero"

    def __init__(self, model: Any) -> None:
        """`model`: an onnxruntime session of the model file."""
        self._model = model
        self.reset()

    def reset(self) -> None:
        self._h: npt.NDArray[np.float32] = np.zeros(_STATE, np.float32)
        self._c: npt.NDArray[np.float32] = np.zeros(_STATE, np.float32)
        self._context: Samples = np.zeros(_CONTEXT_SAMPLES, np.float32)

    def __call__(self, samples: Samples) -> Samples:
        windows = samples.reshape(-1, VOICE_WINDOW)
        if not len(windows):
            return np.zeros(0, np.float32)
        before = np.vstack([self._context, windows[:-1, -_CONTEXT_SAMPLES:]])
        inputs = np.concatenate([before, windows], axis=1, dtype=np.float32)
        out, self._h, self._c = self._model.run(None, {"input": inputs, "h": self._h, "c": self._c})
        self._context = windows[-1, -_CONTEXT_SAMPLES:].copy()
        probabilities: Samples = np.asarray(out, np.float32).reshape(-1)
        return probabilities


def silero() -> Silero | None:
    """Load the detector, or return None if it is not installed. The detector computes in the thread that calls it."""
    return Silero(silero_session()) if _model_file() is not None else None


def silero_session() -> Any:
    """Load the model. Several detectors may share it. Raises FileNotFoundError if it is not installed."""
    file = _model_file()
    if file is None:
        raise FileNotFoundError("Silero VAD is not installed: pip install 'stt-batch[local]'")
    return _loaded(str(file))


# Loading takes 3 to 5 ms, and a second pass creates a detector for each sentence.
@lru_cache(maxsize=1)
def _loaded(file: str) -> Any:
    import onnxruntime  # noqa: PLC0415  # the import takes 0.3 s, needed only to skip silence

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena never gives memory back
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"], sess_options=options)


# The second pass creates a detector for each sound without text. Searching the packages took 2 ms for each: an eighth
# of the CPU time of a WAV file at full speed.
@lru_cache(maxsize=1)
def _model_file() -> Path | None:
    spec = find_spec("faster_whisper")
    if spec is None or spec.origin is None or find_spec("onnxruntime") is None:
        return None
    file = Path(spec.origin).parent / "assets" / "silero_vad_v6.onnx"
    return file if file.is_file() else None
