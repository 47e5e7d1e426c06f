"""The interface of speech detectors. Only the detector in `silero_model` distinguishes speech from other sound."""

from __future__ import annotations

from typing import Final, Protocol

from worker.audio.resample import Samples

VOICE_RATE: Final = 16000
"""Sample rate (Hz) of the audio that a detector receives."""
VOICE_WINDOW: Final = 512
"""Number of samples in one window of a detector (32 ms)."""


class VoiceDetector(Protocol):
    """Detects speech in one continuous stream, whose samples are passed in order."""

    def __call__(self, samples: Samples) -> Samples:
        """Return the probability of speech (0 to 1) for each window. The number of samples must be a multiple of
        `VOICE_WINDOW`."""
        ...


class SpeechDetector(VoiceDetector, Protocol):
    """A detector that has a name, and that can be reset for other audio."""

    name: str
    """Name of the detector, as stored in plans."""

    def reset(self) -> None:
        """Discard the state of the previous audio. Call this if the next samples do not continue that audio."""
        ...
