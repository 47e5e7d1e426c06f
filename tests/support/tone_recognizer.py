"""A recognizer of tone-coded speech for the self-hosted service: set `STT_SERVER_RECOGNIZER` to `ENGINE`.

With our real server it makes end-to-end tests exact at little cost: more than 500 times real time on
one core, including partials.
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
    """Takes every window above −50 dBFS for voice. Windows are independent, so sessions have no state."""

    def __call__(self, samples: Samples) -> Samples:
        windows = samples.reshape(-1, VOICE_WINDOW)
        rms = np.sqrt(np.einsum("ij,ij->i", windows, windows) / VOICE_WINDOW)
        return np.where(rms > _VOICE_RMS, np.float32(0.98), np.float32(0.01))


class ToneRecognizer:
    """Reads the complete tone words of a segment. Words that are cut at its edge are left out."""

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
        """No resources to release."""


def load(settings: Settings) -> ToneRecognizer:
    """The factory that `worker.server.recognizers.load` calls."""
    return ToneRecognizer()
