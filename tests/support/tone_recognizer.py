"""A recognizer of tone-coded speech (`tests.support.tones`) for the self-hosted service.

Set `STT_SERVER_RECOGNIZER` to `ENGINE` to use it. It makes no errors, so end-to-end tests can check every word. It is
also fast: more than 500 times real time on one core, including partials.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tests.support.tones import decode
from worker.audio.segmentation.speech_detector import VOICE_WINDOW
from worker.server.recognizers import Recognition, RecognizedWord, Samples
from worker.settings import Settings

ENGINE: Final = "tests.support.tone_recognizer:load"
_VOICE_RMS: Final = 10 ** (-50 / 20)
_LOGPROB: Final = -0.01


class ToneVoiceDetector:
    """Detects voice in every window whose RMS level is above −50 dBFS. Windows are independent of each other."""

    def __call__(self, samples: Samples) -> Samples:
        windows = samples.reshape(-1, VOICE_WINDOW)
        rms = np.sqrt(np.einsum("ij,ij->i", windows, windows) / VOICE_WINDOW)
        return np.where(rms > _VOICE_RMS, np.float32(0.98), np.float32(0.01))


class ToneSpeechDetector(ToneVoiceDetector):
    """A detector that classifies tone-coded words as speech, as Silero does with voices."""

    name = "tones"

    def reset(self) -> None: ...


class ToneRecognizer:
    """Recognizes the tone words of a segment. Words that are cut off at an edge of the segment are not recognized."""

    model: str = "tones"
    language: str | None = "en"
    parallel: int = 2

    def voice_detector(self) -> ToneVoiceDetector:
        return ToneVoiceDetector()

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        words = decode(samples)
        return Recognition(
            text=" ".join(word.text for word in words),
            words=tuple(RecognizedWord(w.text, w.start, w.end, _LOGPROB) for w in words) if final else (),
            language=self.language,
        )

    def close(self) -> None:
        """Do nothing: this recognizer has no resources to release."""


def load(settings: Settings) -> ToneRecognizer:
    """Create the recognizer. This is the factory that `worker.server.recognizers.load` calls."""
    return ToneRecognizer()
