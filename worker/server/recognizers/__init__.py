"""Interface and table of recognition engines of the self-hosted service.

`STT_SERVER_RECOGNIZER` selects the engine: a name of `ENGINES`, or `package.module:factory` for a custom one. A factory
takes the settings and returns a `Recognizer`. An engine only detects voice and recognizes segments; the server does the
streaming: resampling, endpointing, partials and limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from worker.audio.segmentation.speech_detector import VOICE_RATE, VoiceDetector
from worker.errors import ModelUnavailable, SettingsError
from worker.settings import Settings

SAMPLE_RATE: Final = VOICE_RATE
"""Sample rate, in Hz, of the input of engines and voice activity detectors."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RecognizedWord:
    """A word inside a segment; `start` and `end` in seconds from the segment's first sample."""

    text: str
    start: float
    end: float
    logprob: float | None


@dataclass(frozen=True, slots=True)
class Recognition:
    """The recognized text of a segment; empty without speech. `words` may be empty for a partial."""

    text: str
    words: tuple[RecognizedWord, ...] = ()
    language: str | None = None


class Recognizer(Protocol):
    """One loaded model, shared by all sessions of the process; all methods may be called from any thread."""

    model: str
    """Name of the model, as sent to clients."""
    language: str | None
    """The configured language, or None if it is detected."""
    parallel: int
    """Useful number of simultaneous calls of `recognize`."""

    def voice_detector(self) -> VoiceDetector:
        """A new voice activity detector, for one session."""
        ...

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        """Recognize one segment of at most 30 s at 16 kHz. Blocks. `final`: best quality with word times; otherwise a
        fast recognition of speech in progress."""
        ...

    def close(self) -> None: ...


RecognizerFactory = Callable[[Settings], Recognizer]
ENGINES: Final[dict[str, str]] = {"faster-whisper": "worker.server.recognizers.whisper:load"}


def load(settings: Settings) -> Recognizer:
    """Load the engine of the settings. Raises SettingsError for an unknown engine, RecognizerError if loading fails."""
    target = ENGINES.get(settings.server_recognizer, settings.server_recognizer)
    module, _, name = target.partition(":")
    if not name:
        known = ", ".join(sorted(ENGINES))
        raise SettingsError(
            f"STT_SERVER_RECOGNIZER: no engine {settings.server_recognizer!r}; one of {known}, or module:factory"
        )
    try:
        factory: Any = getattr(import_module(module), name)
    except ImportError as exc:
        if settings.server_recognizer in ENGINES:
            raise ModelUnavailable(
                f"the recognizer {settings.server_recognizer} is not installed ({exc}); pip install 'stt-batch[local]'"
            ) from exc
        raise SettingsError(f"STT_SERVER_RECOGNIZER: cannot load {target!r}: {exc}") from exc
    except AttributeError as exc:
        raise SettingsError(f"STT_SERVER_RECOGNIZER: cannot load {target!r}: {exc}") from exc
    recognizer: Recognizer = factory(settings)
    return recognizer
