"""Stores the last seconds of the streamed audio of a source that is slow to read again. No I/O.

About every fifth recording has sound after its last word, which is examined after the first pass. To reach this sound
again, a reader of a codec without exact seek (MP3, AAC, Opus) would decode all audio before it, with the same CPU time
as in the first pass.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from worker.audio.pcm_frames import BYTES_PER_SAMPLE
from worker.audio.resample import Samples
from worker.audio.segmentation.scan import Scan, scan_samples
from worker.audio.segmentation.speech_detector import SpeechDetector
from worker.audio.voice_activity import PcmFrame

RECENT_S: Final = 8.0
"""Seconds of audio that are stored: 256 KB at 16 kHz, and up to 300 KB of memory. Of five recordings with sound after
the last word, the longest such range had 6.3 s."""


class RecentAudio:
    """The audio before the latest sent frame, without gaps. Positions are seconds of the file."""

    def __init__(self, rate: int) -> None:
        """`rate`: the wire rate in Hz."""
        self._rate = rate
        self._pcm = bytearray()
        self._end = 0  # position after `_pcm`, in samples at `rate`

    def add(self, frame: PcmFrame) -> None:
        """Add the next frame. If it does not continue the stored audio, that audio is dropped. This happens after
        skipped silence, and if a session sends audio again."""
        if frame.file_start != self._end:
            self._pcm.clear()
        self._pcm += frame.pcm
        self._end = frame.file_start + frame.samples
        surplus = len(self._pcm) - round(RECENT_S * self._rate) * BYTES_PER_SAMPLE
        if surplus > 0:
            del self._pcm[:surplus]

    def contains(self, start_s: float, end_s: float) -> bool:
        """Whether all audio between two positions is stored."""
        first, last = self._samples_between(start_s, end_s)
        return first >= 0 and last <= len(self._pcm) // BYTES_PER_SAMPLE

    def scan(self, start_s: float, end_s: float, detector: SpeechDetector | None) -> Scan:
        """Scan the stored audio from `start_s` to `end_s`. Window 0 of the result begins at `start_s`. Blocks the
        thread. Raises ValueError if not all of this audio is stored."""
        if not self.contains(start_s, end_s):
            raise ValueError(f"the audio from {start_s} s to {end_s} s is not stored")
        first, last = self._samples_between(start_s, end_s)
        own = np.frombuffer(bytes(self._pcm[first * BYTES_PER_SAMPLE : last * BYTES_PER_SAMPLE]), "<i2")
        samples: Samples = own.astype(np.float32) / np.float32(32768)
        return scan_samples(samples, self._rate, detector)

    def _samples_between(self, start_s: float, end_s: float) -> tuple[int, int]:
        """Return two positions as samples from the start of the stored audio."""
        stored_from = self._end - len(self._pcm) // BYTES_PER_SAMPLE
        return round(start_s * self._rate) - stored_from, round(end_s * self._rate) - stored_from


__all__ = ["RECENT_S", "RecentAudio"]
