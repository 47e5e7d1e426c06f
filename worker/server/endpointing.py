"""Endpointing: splits speech into segments from voice probabilities (pure: no clock, no audio).

Each probability is for one window of `VOICE_WINDOW` samples. Windows are processed one by one, so the segments do not
depend on how the probabilities are grouped into calls. Positions are samples from the session's start.

Segments never overlap, and every run of voice of at least `min_voice_s` is inside a segment.
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

_SMOOTHING_WINDOWS = 7
# Maximum length for one call of the engine; longer segments are split into pieces.
_MAX_PIECE_S = 20.0
_PIECE_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class EndpointingRules:
    """When a segment ends. Times in seconds, thresholds as voice probabilities."""

    commit_silence_s: float = 0.6
    """Pause after which a segment ends."""
    max_segment_s: float = 20.0
    """Maximum length of a segment."""
    early_after_s: float = 10.0
    """Length of a segment after which the shorter pause `early_silence_s` is enough; inf: never."""
    early_silence_s: float = 0.2
    on: float = 0.35
    """Voice starts at this probability ..."""
    off: float = 0.2
    """... and ends below this one."""
    min_voice_s: float = 0.1
    pre_roll_s: float = 0.35
    post_roll_s: float = 0.2
    search_s: float = 4.0
    """Length of the search for the quietest point, back from the maximum length."""


def endpointing_rules(settings: Settings) -> EndpointingRules:
    """The rules of STT_SERVER_ENDPOINTING with the settings that override it."""
    service = settings.server_endpointing == "service"
    silence_s = settings.server_commit_silence_s or (1.5 if service else 0.6)
    max_s = settings.server_segment_max_s or (36.0 if service else 20.0)
    # The real service has no shorter pause for long segments; without it, commits of fast speakers are late.
    return EndpointingRules(
        commit_silence_s=silence_s,
        max_segment_s=max_s,
        early_after_s=inf if service else max_s / 2,
        early_silence_s=silence_s / 3,
        search_s=min(4.0, max_s / 2),
    )


@dataclass(frozen=True, slots=True)
class SegmentBounds:
    """A segment to recognize and commit, in samples: `start`, `end`, the first voiced sample, and the points at which
    it is split for the engine."""

    start: int
    end: int
    voice_start: int
    splits: tuple[int, ...] = ()

    @property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """The segment as (start, end) pieces, each short enough for the engine."""
        return tuple(pairwise((self.start, *self.splits, self.end)))


class Endpointer:
    """Endpointing state of one session."""

    def __init__(self, rules: EndpointingRules) -> None:
        self._rules = rules
        self._needed = max(1, ceil(rules.min_voice_s * SAMPLE_RATE / VOICE_WINDOW))
        self._count = 0  # windows seen
        self._run: int | None = None  # first window of the current run of voice
        self._floor = 0  # end of the last segment, in samples
        self._start: int | None = None  # first sample of the open segment
        self._first_voice = 0  # first voiced sample of the open segment
        self._last_voice = -1  # last voiced window of the open segment
        self._recent: list[tuple[float, bool]] = []  # probability and voice of the windows since `_recent_from`
        self._recent_from = 0

    @property
    def open_start(self) -> int | None:
        """First sample of the open segment, or None in silence."""
        return self._start

    @property
    def retain_from(self) -> int:
        """First sample that a later segment may contain; older audio may be discarded."""
        if self._start is not None:
            return self._start
        # A segment may start with the current run of voice, and includes the pre-roll before it.
        first = self._count if self._run is None else self._run
        return max(self._floor, first * VOICE_WINDOW - _samples(self._rules.pre_roll_s))

    def feed(self, probabilities: Iterable[float]) -> list[SegmentBounds]:
        """Process the next windows. Returns the segments that they complete, in order."""
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
        index = self._count
        self._count += 1
        # Hysteresis: a short dip of the probability inside a word does not end the voice.
        voiced = probability >= self._rules.on or (self._run is not None and probability >= self._rules.off)
        if not voiced:
            self._run = None
        elif self._run is None:
            self._run = index
        if self._start is None and self._run is None:
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
        # Shorter runs of voice are noise, such as a click.
        if self._run is None or index + 1 - self._run < self._needed:
            return
        self._first_voice = self._run * VOICE_WINDOW
        self._start = max(self._floor, self._first_voice - _samples(self._rules.pre_roll_s))
        self._last_voice = index

    def _pause(self, index: int) -> SegmentBounds | None:
        now = (index + 1) * VOICE_WINDOW
        early = now - self._opened() > _samples(self._rules.early_after_s)
        wanted_s = self._rules.early_silence_s if early else self._rules.commit_silence_s
        if (index - self._last_voice) * VOICE_WINDOW < _samples(wanted_s):
            return None
        return self._close(min(self._voice_end(), now))

    def _too_long(self, index: int) -> SegmentBounds | None:
        start, now = self._opened(), (index + 1) * VOICE_WINDOW
        if now - start < _samples(self._rules.max_segment_s):
            return None
        # Split at the quietest point of the last seconds: a split at the limit itself would cut a word.
        first = max(0, index + 1 - self._recent_from - _samples(self._rules.search_s) // VOICE_WINDOW)
        window = self._recent_from + first + int(np.argmin(self._smoothed()[first:]))
        middle = window * VOICE_WINDOW + VOICE_WINDOW // 2
        if self._last_voice < window:
            # Only silence follows the quietest point, so no segment continues there.
            return self._close(min(self._voice_end(), middle))
        # The next segment starts at the split, without a gap, and inherits the voice after it.
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
        """The quietest points that split a segment into pieces of at most `_MAX_PIECE_S` seconds."""
        max_length, slack = _samples(_MAX_PIECE_S), _samples(_PIECE_TOLERANCE_S)
        points: list[int] = []
        while end - start > max_length:
            left = ceil((end - start) / max_length)
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
        # The minimum of single windows is often a consonant inside a word; the average finds real pauses.
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
    return 2**62 if seconds == inf else round(seconds * SAMPLE_RATE)
