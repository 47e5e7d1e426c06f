"""The ear of one session: PCM in, stretches of speech out. Blocking work for a thread, one call at a time."""

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
    """One stretch to commit; times in session seconds, samples at the engines' rate."""

    start_s: float
    end_s: float
    voice_start_s: float
    """Where voice begins in it; before that there is the silence kept in front."""
    pieces: tuple[tuple[float, Samples], ...]
    """(offset from `start_s` in seconds, samples); each short enough for an engine."""

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class SpeechSegmenter:
    """Resampler, voice detector, endpointer and the audio they may still need."""

    def __init__(self, rate: int, detector: VoiceDetector, rules: EndpointingRules) -> None:
        self._resampler = StreamResampler(rate, SAMPLE_RATE)
        self._detector = detector
        self._endpointer = Endpointer(rules)
        self._rate = rate
        self._in_samples = 0
        self._tape: Samples = np.zeros(0, np.float32)
        self._tape_from = 0
        self._judged = 0  # samples the endpointer has seen

    @property
    def heard_s(self) -> float:
        """Session seconds received, from the samples at the declared rate."""
        return self._in_samples / self._rate

    @property
    def open_start(self) -> int | None:
        """First sample of the speech in progress; None in silence."""
        return self._endpointer.open_start

    def open_speech(self) -> Samples:
        """A copy of the speech in progress; empty in silence."""
        start = self._endpointer.open_start
        if start is None:
            return np.zeros(0, np.float32)
        return self._tape[start - self._tape_from :].copy()

    def hear(self, pcm: Pcm) -> list[Utterance]:
        """Take the next samples; returns the stretches they complete."""
        self._in_samples += len(pcm)
        return self._take(self._resampler.process(pcm.astype(np.float32) / 32768.0))

    def finish(self) -> list[Utterance]:
        """No more audio: everything still open."""
        utterances = self._take(self._resampler.flush())
        total = self._tape_from + len(self._tape)
        missing = -(total - self._judged) % VOICE_WINDOW
        if missing:
            tail = np.zeros(missing, np.float32)
            utterances += self._judge(np.concatenate([self._tape, tail]))
        # The padding is no audio of the session: nothing may reach beyond `total`.
        cuts = self._endpointer.flush(total)
        return [*utterances, *(self._utterance(cut) for cut in cuts)]

    def _take(self, samples: Samples) -> list[Utterance]:
        if not len(samples):
            return []
        self._tape = np.concatenate([self._tape, samples])
        utterances = self._judge(self._tape)
        keep = min(self._endpointer.keep_from, self._tape_from + len(self._tape))
        if keep > self._tape_from:
            self._tape = self._tape[keep - self._tape_from :]
            self._tape_from = keep
        return utterances

    def _judge(self, tape: Samples) -> list[Utterance]:
        new = tape[self._judged - self._tape_from :]
        whole = len(new) // VOICE_WINDOW * VOICE_WINDOW
        if not whole:
            return []
        probabilities = self._detector(np.ascontiguousarray(new[:whole]))
        self._judged += whole
        return [self._utterance(cut) for cut in self._endpointer.feed(probabilities.tolist())]

    def _utterance(self, cut: SegmentBounds) -> Utterance:
        last = self._tape_from + len(self._tape)
        pieces = tuple(
            ((start - cut.start) / SAMPLE_RATE, self._tape[start - self._tape_from : min(end, last) - self._tape_from])
            for start, end in cut.pieces
        )
        return Utterance(
            start_s=cut.start / SAMPLE_RATE,
            end_s=min(cut.end, last) / SAMPLE_RATE,
            voice_start_s=cut.voice_start / SAMPLE_RATE,
            pieces=pieces,
        )
