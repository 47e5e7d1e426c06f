"""The recognizer behind the self-hosted service: a small interface, and the table of engines.

An engine is chosen by `STT_SERVER_RECOGNIZER`: a name of `ENGINES`, or `package.module:factory` for one of your own.
A factory takes the settings and returns a `Recognizer`. Everything about streaming (resampling, endpointing, partials,
limits) is done around it, so an engine only answers: is this voice, and what was said.
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
"""Hz of everything an engine is given. Its voice detector gets the same samples."""

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
    """What was said in a segment. `text` is empty where nothing was; words may be empty for a partial."""

    text: str
    words: tuple[RecognizedWord, ...] = ()
    language: str | None = None


class Recognizer(Protocol):
    """One loaded model, shared by all sessions of the process; all methods may be called from any thread."""

    model: str
    """Name of the model as it is told to clients."""
    language: str | None
    """Language it is set to, None where it detects one."""
    parallel: int
    """Calls of `recognize` that make sense at the same time."""

    def voice_detector(self) -> VoiceDetector:
        """A detector for one session, with a state of its own."""
        ...

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        """Blocking. `samples`: one segment at 16 kHz, at most 30 s. `final`: best quality with word times;
        otherwise a quick look at speech still in progress."""
        ...

    def close(self) -> None: ...


RecognizerFactory = Callable[[Settings], Recognizer]
ENGINES: Final[dict[str, str]] = {"faster-whisper": "worker.server.recognizers.whisper:load"}


def load(settings: Settings) -> Recognizer:
    """Load the engine of the settings. Raises SettingsError for an unknown one, RecognizerError for a broken one."""
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
