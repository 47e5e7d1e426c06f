"""Endpointing: decides from voice probabilities where segments of speech start and end. No I/O.

Each probability is for one window of `VOICE_WINDOW` samples. Windows are processed one by one, so the segments do not
depend on how the probabilities are grouped into calls. Positions are numbers of samples since the session's start.

Segments never overlap. Every run of consecutive windows with voice that lasts at least `min_voice_s` is in a segment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf

import numpy as np

from worker.audio.segmentation.speech_detector import VOICE_WINDOW
from worker.server.recognizers import SAMPLE_RATE
from worker.settings import Settings

# Width of the moving average of voice probabilities: 7 windows of 32 ms are 0.2 s.
_SMOOTHING_WINDOWS = 7
# Maximum length of audio in one call of the recognition engine. Longer segments are split into pieces for it.
_MAX_PIECE_S = 20.0
# Pieces are about equally long. A split is moved by at most this many seconds from the position of equal lengths to a
# quiet position, so that it does not cut a word.
_PIECE_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class EndpointingRules:
    """Rules for the start and end of segments. Times are in seconds, thresholds are voice probabilities (0 to 1)."""

    commit_silence_s: float = 0.6
    """Pause after which a segment ends."""
    max_segment_s: float = 20.0
    """Maximum length of a segment."""
    early_after_s: float = 10.0
    """When a segment is longer than this, the shorter pause `early_silence_s` ends it. inf: never."""
    early_silence_s: float = 0.2
    # The next five values were measured together, with Silero and the model tiny.en: 3.9 % of the words were wrong on
    # streamed recordings, and silence, hum, tones and the noise of dishes gave no text.
    on: float = 0.35
    """Voice starts with a window of at least this probability."""
    off: float = 0.2
    """Voice ends with a window below this probability."""
    min_voice_s: float = 0.1
    """Minimum length of voice that starts a segment. Shorter sounds are taken for noise."""
    pre_roll_s: float = 0.35
    """A segment starts this long before its first window with voice, but not before the end of the last segment."""
    post_roll_s: float = 0.2
    """A segment ends this long after its last window with voice, but not after the audio processed so far."""
    search_s: float = 4.0
    """A segment of maximum length is split at the quietest point of its last `search_s` seconds."""


def endpointing_rules(settings: Settings) -> EndpointingRules:
    """Return the rules of STT_SERVER_ENDPOINTING, with the values that other settings override."""
    service = settings.server_endpointing == "service"
    silence_s = settings.server_commit_silence_s or (1.5 if service else 0.6)
    max_s = settings.server_segment_max_s or (36.0 if service else 20.0)
    # Long segments end at a shorter pause: otherwise commits of speakers who rarely pause are late. `service` imitates
    # the real service, which has no such rule.
    return EndpointingRules(
        commit_silence_s=silence_s,
        max_segment_s=max_s,
        early_after_s=inf if service else max_s / 2,
        early_silence_s=silence_s / 3,
        search_s=min(4.0, max_s / 2),
    )


@dataclass(frozen=True, slots=True)
class SegmentBounds:
    """A segment to recognize and commit. All values are positions in samples: the start, the end, the first sample with
    voice, and the positions at which the segment is split for the recognition engine."""

    start: int
    end: int
    voice_start: int
    splits: tuple[int, ...] = ()

    @property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """Start and end of each piece of the segment. Each piece is short enough for one call of the engine."""
        return tuple(pairwise((self.start, *self.splits, self.end)))


class Endpointer:
    """Finds the segments of one session from the voice probabilities of its windows."""

    def __init__(self, rules: EndpointingRules) -> None:
        self._rules = rules
        self._needed = max(1, ceil(rules.min_voice_s * SAMPLE_RATE / VOICE_WINDOW))
        self._count = 0  # number of windows processed
        self._run: int | None = None  # first of the consecutive windows with voice up to now, None in silence
        self._floor = 0  # end of the last segment, in samples
        self._start: int | None = None  # first sample of the open segment
        self._first_voice = 0  # first sample with voice in the open segment
        self._last_voice = -1  # last window with voice in the open segment
        # (probability, whether it has voice) of each window from number `_recent_from` on
        self._recent: list[tuple[float, bool]] = []
        self._recent_from = 0

    @property
    def open_start(self) -> int | None:
        """First sample of the open segment, or None in silence."""
        return self._start

    @property
    def retain_from(self) -> int:
        """First sample that the open segment or a later segment may contain. Audio before this sample can be
        discarded."""
        if self._start is not None:
            return self._start
        # The next segment may start with the current run of voice, and includes the pre-roll before it.
        first = self._count if self._run is None else self._run
        return max(self._floor, first * VOICE_WINDOW - _samples(self._rules.pre_roll_s))

    def feed(self, probabilities: Iterable[float]) -> list[SegmentBounds]:
        """Process the probabilities of the next windows. Returns the segments that end within these windows, in
        order."""
        segments = []
        for probability in probabilities:
            segment = self._window(float(probability))
            if segment is not None:
                segments.append(segment)
        return segments

    def flush(self, total: int) -> list[SegmentBounds]:
        """End the session after `total` samples. Returns the open segment, if any."""
        if self._start is None:
            return []
        segment = self._close(min(self._voice_end(), total))
        return [segment] if segment.end > segment.start else []

    def _window(self, probability: float) -> SegmentBounds | None:
        """Process one window. Returns the segment that ends with this window, or None if no segment ends."""
        index = self._count
        self._count += 1
        # Hysteresis (`off` is lower than `on`): a short dip of the probability inside a word does not end the voice.
        voiced = probability >= self._rules.on or (self._run is not None and probability >= self._rules.off)
        if not voiced:
            self._run = None
        elif self._run is None:
            self._run = index
        if self._start is None and self._run is None:
            # Only the windows of a segment are needed, to find where to split it. So memory does not grow in silence.
            self._recent.clear()
            return None
        if not self._recent:
            self._recent_from = index
        self._recent.append((probability, voiced))
        if self._start is None:
            self._open(index)
            return None
        if voiced:
            self._last_voice = index
        return self._pause(index) or self._too_long(index)

    def _open(self, index: int) -> None:
        """Open a segment if the voice up to window `index` is long enough."""
        # Voice shorter than `min_voice_s` is noise, such as a click, and opens no segment.
        if self._run is None or index + 1 - self._run < self._needed:
            return
        self._first_voice = self._run * VOICE_WINDOW
        self._start = max(self._floor, self._first_voice - _samples(self._rules.pre_roll_s))
        self._last_voice = index

    def _pause(self, index: int) -> SegmentBounds | None:
        """Close the open segment if the pause up to window `index` is long enough. Returns the segment, or None."""
        now = (index + 1) * VOICE_WINDOW
        early = now - self._opened() > _samples(self._rules.early_after_s)
        wanted_s = self._rules.early_silence_s if early else self._rules.commit_silence_s
        if (index - self._last_voice) * VOICE_WINDOW < _samples(wanted_s):
            return None
        return self._close(min(self._voice_end(), now))

    def _too_long(self, index: int) -> SegmentBounds | None:
        """Split the open segment if it has its maximum length. Returns the part before the split, or None."""
        start, now = self._opened(), (index + 1) * VOICE_WINDOW
        if now - start < _samples(self._rules.max_segment_s):
            return None
        # Split at the quietest point of the last `search_s` seconds: a split at the limit itself could cut a word.
        first = max(0, index + 1 - self._recent_from - _samples(self._rules.search_s) // VOICE_WINDOW)
        window = self._recent_from + first + int(np.argmin(self._smoothed()[first:]))
        middle = window * VOICE_WINDOW + VOICE_WINDOW // 2
        if self._last_voice < window:
            # Only silence follows the quietest point, so no segment starts at this point.
            return self._close(min(self._voice_end(), middle))
        # The next segment starts at the split, without a gap, and takes over the windows after the split.
        rest = self._recent[window - self._recent_from :]
        last_voice, run = self._last_voice, self._run
        segment = self._close(middle)
        self._start, self._first_voice, self._last_voice, self._run = middle, middle, last_voice, run
        self._recent, self._recent_from = rest, window
        return segment

    def _close(self, end: int) -> SegmentBounds:
        start = self._opened()
        segment = SegmentBounds(start, end, max(start, self._first_voice), self._splits(start, end))
        self._start, self._run, self._floor = None, None, end
        self._recent = []
        return segment

    def _splits(self, start: int, end: int) -> tuple[int, ...]:
        """Return the positions at which a segment is split into pieces. The pieces have similar lengths of at most
        `_MAX_PIECE_S` seconds. Each position is the quietest point near the position that would make all pieces equally
        long. Empty for a short segment."""
        max_length, slack = _samples(_MAX_PIECE_S), _samples(_PIECE_TOLERANCE_S)
        points: list[int] = []
        while end - start > max_length:
            left = ceil((end - start) / max_length)
            # `left` pieces remain. The next split is between `low` and `high`. If the split is after `low`, `left - 1`
            # pieces are sufficient for the rest.
            low = start + max(end - start - (left - 1) * max_length, (end - start) // left - slack)
            high = start + min(max_length, (end - start) // left + slack)
            smoothed = self._smoothed()
            first = min(max(0, low // VOICE_WINDOW - self._recent_from), len(smoothed) - 1)
            last = min(max(first + 1, high // VOICE_WINDOW - self._recent_from), len(smoothed))
            window = self._recent_from + first + int(np.argmin(smoothed[first:last]))
            start = min(max(window * VOICE_WINDOW + VOICE_WINDOW // 2, low), high)
            points.append(start)
        return tuple(points)

    def _smoothed(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        # Moving average: the window with the lowest probability is often a consonant inside a word, but the lowest
        # average is a real pause. At both ends the average is over fewer windows.
        raw = np.array([p for p, _ in self._recent])
        width = min(_SMOOTHING_WINDOWS, len(raw))
        weights = np.convolve(np.ones(len(raw)), np.ones(width), mode="same")
        return np.convolve(raw, np.ones(width), mode="same") / weights

    def _voice_end(self) -> int:
        return (self._last_voice + 1) * VOICE_WINDOW + _samples(self._rules.post_roll_s)

    def _opened(self) -> int:
        if self._start is None:
            raise RuntimeError("no segment is open")
        return self._start


def _samples(seconds: float) -> int:
    # An int cannot be infinite; 2**62 samples are never reached.
    return 2**62 if seconds == inf else round(seconds * SAMPLE_RATE)
