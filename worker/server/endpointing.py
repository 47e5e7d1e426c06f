"""Where one commit ends and the next begins: voice probabilities in, cuts out. Pure, no clock, no audio.

One probability stands for one window of samples (`VOICE_WINDOW`). Every window is judged by itself and in order, so the
cuts do not depend on how the probabilities are grouped into calls. Positions are samples from the session's start.

Cuts never overlap, and every run of voice of at least `shortest_voice_s` lies inside a cut.
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
# What an engine is given at once; longer cuts come in pieces.
_MAX_PIECE_S = 20.0
_PIECE_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class EndpointingRules:
    """When to cut; all in seconds, thresholds as probabilities of voice."""

    commit_silence_s: float = 0.6
    """Pause after which speech is committed."""
    longest_s: float = 20.0
    """Speech is cut at the latest after this much."""
    early_after_s: float = 10.0
    """From this length on the shorter pause suffices; inf: never."""
    early_silence_s: float = 0.2
    on: float = 0.35
    """Voice starts at this probability ..."""
    off: float = 0.2
    """... and ends below this one."""
    shortest_voice_s: float = 0.1
    pre_roll_s: float = 0.35
    post_roll_s: float = 0.2
    search_s: float = 4.0
    """How far back from the longest stretch the quietest point is looked for."""


def endpointing_rules(settings: Settings) -> EndpointingRules:
    """The rules of STT_SERVER_ENDPOINTING with the settings that override it."""
    service = settings.server_endpointing == "service"
    silence = settings.server_commit_silence_s or (1.5 if service else 0.6)
    longest = settings.server_segment_max_s or (36.0 if service else 20.0)
    # The service itself knows no shorter pause for long stretches; without it a fast talker's commits come late.
    return EndpointingRules(
        commit_silence_s=silence,
        longest_s=longest,
        early_after_s=inf if service else longest / 2,
        early_silence_s=silence / 3,
        search_s=min(4.0, longest / 2),
    )


@dataclass(frozen=True, slots=True)
class SegmentBounds:
    """One stretch to recognize and commit: samples `start` to `end`, where voice begins in it, and the inner points at
    which it is split for an engine."""

    start: int
    end: int
    voice_start: int
    splits: tuple[int, ...] = ()

    @property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """The stretch as (start, end) pieces, each short enough for an engine."""
        return tuple(pairwise((self.start, *self.splits, self.end)))


class Endpointer:
    """The state of one session."""

    def __init__(self, rules: EndpointingRules) -> None:
        self._rules = rules
        self._needed = max(1, ceil(rules.shortest_voice_s * SAMPLE_RATE / VOICE_WINDOW))
        self._count = 0  # windows seen
        self._run: int | None = None  # first window of the run of voice going on
        self._floor = 0  # end of the last cut, in samples
        self._start: int | None = None  # first sample of the open stretch
        self._first_voice = 0  # first voiced sample of the open stretch
        self._last_voice = -1  # last voiced window of the open stretch
        self._recent: list[tuple[float, bool]] = []  # probability and voice of the windows since `_recent_from`
        self._recent_from = 0

    @property
    def open_start(self) -> int | None:
        """First sample of the speech in progress, None in silence."""
        return self._start

    @property
    def keep_from(self) -> int:
        """First sample that a later cut can still hold; older audio may be forgotten."""
        if self._start is not None:
            return self._start
        first = self._count if self._run is None else self._run
        return max(self._floor, first * VOICE_WINDOW - _samples(self._rules.pre_roll_s))

    def feed(self, probabilities: Iterable[float]) -> list[SegmentBounds]:
        """Take the next windows; returns the cuts they complete, in order."""
        cuts = []
        for probability in probabilities:
            cut = self._window(float(probability))
            if cut is not None:
                cuts.append(cut)
        return cuts

    def flush(self, total: int) -> list[SegmentBounds]:
        """End of the session after `total` samples: the speech in progress, if any. Afterwards silence."""
        if self._start is None:
            return []
        cut = self._close(min(self._voice_end(), total))
        return [cut] if cut.end > cut.start else []

    def _window(self, probability: float) -> SegmentBounds | None:
        index = self._count
        self._count += 1
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
        if now - start < _samples(self._rules.longest_s):
            return None
        first = max(0, index + 1 - self._recent_from - _samples(self._rules.search_s) // VOICE_WINDOW)
        window = self._recent_from + first + int(np.argmin(self._smoothed()[first:]))
        middle = window * VOICE_WINDOW + VOICE_WINDOW // 2
        if self._last_voice < window:
            # Only silence after the quietest point: nothing goes on there.
            return self._close(min(self._voice_end(), middle))
        rest = self._recent[window - self._recent_from :]
        last_voice, run = self._last_voice, self._run
        cut = self._close(middle)
        self._start, self._first_voice, self._last_voice, self._run = middle, middle, last_voice, run
        self._recent, self._recent_from = rest, window
        return cut

    def _close(self, end: int) -> SegmentBounds:
        start = self._opened()
        cut = SegmentBounds(start, end, max(start, self._first_voice), self._splits(start, end))
        self._start, self._run, self._floor = None, None, end
        self._recent = []
        return cut

    def _splits(self, start: int, end: int) -> tuple[int, ...]:
        """Quietest points that leave no piece longer than an engine takes at once."""
        longest, slack = _samples(_MAX_PIECE_S), _samples(_PIECE_TOLERANCE_S)
        points: list[int] = []
        while end - start > longest:
            left = ceil((end - start) / longest)
            low = start + max(end - start - (left - 1) * longest, (end - start) // left - slack)
            high = start + min(longest, (end - start) // left + slack)
            smoothed = self._smoothed()
            first = min(max(0, low // VOICE_WINDOW - self._recent_from), len(smoothed) - 1)
            last = min(max(first + 1, high // VOICE_WINDOW - self._recent_from), len(smoothed))
            window = self._recent_from + first + int(np.argmin(smoothed[first:last]))
            start = min(max(window * VOICE_WINDOW + VOICE_WINDOW // 2, low), high)
            points.append(start)
        return tuple(points)

    def _smoothed(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        raw = np.array([p for p, _ in self._recent])
        width = min(_SMOOTHING_WINDOWS, len(raw))
        weights = np.convolve(np.ones(len(raw)), np.ones(width), mode="same")
        return np.convolve(raw, np.ones(width), mode="same") / weights

    def _voice_end(self) -> int:
        return (self._last_voice + 1) * VOICE_WINDOW + _samples(self._rules.post_roll_s)

    def _opened(self) -> int:
        if self._start is None:
            raise RuntimeError("no stretch is open")
        return self._start


def _samples(seconds: float) -> int:
    return 2**62 if seconds == inf else round(seconds * SAMPLE_RATE)
