"""Splits the PCM of one session into utterances. The calls block, so they run in a thread, one at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.audio.resample import StreamResampler
from worker.audio.segmentation.speech_detector import VOICE_WINDOW, VoiceDetector
from worker.server.endpointing import Endpointer, EndpointingRules, SegmentBounds
from worker.server.recognizers import SAMPLE_RATE, Samples

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Utterance:
    """One segment of speech to commit. Times are seconds since the session's start. The samples have the rate
    `SAMPLE_RATE`."""

    start_s: float
    end_s: float
    voice_start_s: float
    """Time at which the voice starts. It is later than `start_s`: a segment starts with a little silence."""
    pieces: tuple[tuple[float, Samples], ...]
    """The audio as pieces that are short enough for the recognition engine: (offset from `start_s` in seconds,
    samples)."""

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class SpeechSegmenter:
    """Runs the resampler, voice activity detector and endpointer of one session. It buffers the audio of the segment
    that has not ended yet."""

    def __init__(self, rate: int, detector: VoiceDetector, rules: EndpointingRules) -> None:
        self._resampler = StreamResampler(rate, SAMPLE_RATE)
        self._detector = detector
        self._endpointer = Endpointer(rules)
        self._rate = rate
        self._in_samples = 0
        self._buffer: Samples = np.zeros(0, np.float32)
        self._buffer_start = 0  # position in the session of the first sample in `_buffer`
        self._scored_samples = 0  # number of samples of the session that the endpointer has processed

    @property
    def received_s(self) -> float:
        """Seconds of audio passed to `process`: their number of samples divided by the session's declared rate."""
        return self._in_samples / self._rate

    @property
    def open_start(self) -> int | None:
        """First sample of the speech that has not ended yet, or None in silence."""
        return self._endpointer.open_start

    def open_speech(self) -> Samples:
        """Return a copy of the samples of the speech that has not ended yet. Empty in silence."""
        start = self._endpointer.open_start
        if start is None:
            return np.zeros(0, np.float32)
        return self._buffer[start - self._buffer_start :].copy()

    def process(self, pcm: Pcm) -> list[Utterance]:
        """Process the next samples of the session. Returns the utterances that end within these samples."""
        self._in_samples += len(pcm)
        return self._take(self._resampler.process(pcm.astype(np.float32) / 32768.0))

    def finish(self) -> list[Utterance]:
        """Process the end of the audio. Returns the remaining utterances."""
        utterances = self._take(self._resampler.flush())
        total = self._buffer_start + len(self._buffer)
        missing = -(total - self._scored_samples) % VOICE_WINDOW
        if missing:
            tail = np.zeros(missing, np.float32)
            utterances += self._score(np.concatenate([self._buffer, tail]))
        # The zeros that fill the last window are not audio of the session, so no segment may end after `total`.
        segments = self._endpointer.flush(total)
        return [*utterances, *(self._utterance(segment) for segment in segments)]

    def _take(self, samples: Samples) -> list[Utterance]:
        if not len(samples):
            return []
        self._buffer = np.concatenate([self._buffer, samples])
        utterances = self._score(self._buffer)
        # Discard audio that no later segment can contain, so that a session in silence does not grow.
        retain = min(self._endpointer.retain_from, self._buffer_start + len(self._buffer))
        if retain > self._buffer_start:
            self._buffer = self._buffer[retain - self._buffer_start :]
            self._buffer_start = retain
        return utterances

    def _score(self, buffer: Samples) -> list[Utterance]:
        new = buffer[self._scored_samples - self._buffer_start :]
        # Silero processes windows of exactly this size. The rest waits for more audio.
        whole = len(new) // VOICE_WINDOW * VOICE_WINDOW
        if not whole:
            return []
        probabilities = self._detector(np.ascontiguousarray(new[:whole]))
        self._scored_samples += whole
        return [self._utterance(segment) for segment in self._endpointer.feed(probabilities.tolist())]

    def _utterance(self, segment: SegmentBounds) -> Utterance:
        last = self._buffer_start + len(self._buffer)
        pieces = tuple(
            (
                (start - segment.start) / SAMPLE_RATE,
                self._buffer[start - self._buffer_start : min(end, last) - self._buffer_start],
            )
            for start, end in segment.pieces
        )
        return Utterance(
            start_s=segment.start / SAMPLE_RATE,
            end_s=min(segment.end, last) / SAMPLE_RATE,
            voice_start_s=segment.voice_start / SAMPLE_RATE,
            pieces=pieces,
        )
