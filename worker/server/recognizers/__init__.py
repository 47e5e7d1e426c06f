"""Interface and table of recognition engines of the self-hosted service.

`STT_SERVER_RECOGNIZER` selects the engine: a name of `ENGINES`, or `package.module:factory` for a custom one. A factory
is a function that takes the settings and returns a `Recognizer`. An engine only detects voice and recognizes segments;
the server does everything else: resampling, endpointing, partials and limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, runtime_checkable

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
    """A word of a segment. `start` and `end` are in seconds from the segment's first sample. `logprob` is the natural
    logarithm of the word's probability, or None if unknown."""

    text: str
    start: float
    end: float
    logprob: float | None


@dataclass(frozen=True, slots=True)
class Recognition:
    """The recognized text of a segment. The text is empty if the segment has no speech. For a segment that has not
    ended yet, `words` may be empty."""

    text: str
    words: tuple[RecognizedWord, ...] = ()
    language: str | None = None


class Recognizer(Protocol):
    """One loaded model, shared by all sessions of the process; all methods may be called from any thread."""

    model: str
    """Name of the model, as sent to clients."""
    language: str | None
    """The configured language, or None if the language of each segment is detected."""
    parallel: int
    """Number of threads that call `recognize` at the same time. More would not be faster."""

    def voice_detector(self) -> VoiceDetector:
        """Return a new voice activity detector for one session."""
        ...

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        """Recognize one segment: at most 30 s of mono audio at 16 kHz. Blocks. If `final`, the segment is complete and
        must be recognized in the best quality and with word times. Otherwise the segment has not ended yet and must be
        recognized fast."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


@runtime_checkable
class BatchRecognizer(Protocol):
    """A `Recognizer` that recognizes several segments in one call faster than one by one."""

    max_joined_s: float
    """Maximum length of the joined segments of one group, in seconds."""
    batch_size: int
    """Maximum number of groups in one call."""

    def recognize_batch(self, groups: Sequence[Sequence[Samples]]) -> list[list[Recognition]]:
        """Recognize complete segments, with the quality of `Recognizer.recognize`. Blocks. Each group has consecutive
        segments of one session. Returns the results in the same order."""
        ...


RecognizerFactory = Callable[[Settings], Recognizer]
RecognizerLoader = Callable[[], Recognizer]
ENGINES: Final[dict[str, str]] = {"faster-whisper": "worker.server.recognizers.whisper:load"}


def load(settings: Settings) -> Recognizer:
    """Load the engine that the settings select. Raises SettingsError if the engine is unknown, and RecognizerError if
    it cannot be loaded."""
    target = ENGINES.get(settings.server_recognizer, settings.server_recognizer)
    module, _, name = target.partition(":")
    if not name:
        known = ", ".join(sorted(ENGINES))
        raise SettingsError(
            f"STT_SERVER_RECOGNIZER: no engine {settings.server_recognizer!r}; one of {known}, or module:factory"
        )
    try:
        factory: RecognizerFactory = getattr(import_module(module), name)
    except ImportError as exc:
        if settings.server_recognizer in ENGINES:
            raise ModelUnavailable(
                f"the recognizer {settings.server_recognizer} is not installed ({exc}); pip install 'stt-batch[local]'"
            ) from exc
        raise SettingsError(f"STT_SERVER_RECOGNIZER: cannot load {target!r}: {exc}") from exc
    except AttributeError as exc:
        raise SettingsError(f"STT_SERVER_RECOGNIZER: cannot load {target!r}: {exc}") from exc
    return factory(settings)
