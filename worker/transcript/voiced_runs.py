"""The voiced runs of a session, in session seconds (pure)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Final, NamedTuple

from worker.audio.voice_activity import VoiceMap
from worker.session_timeline import Timeline

RESIDUE_S: Final = 0.15
"""Sound this short after the last word of a commit still belongs to it, because word ends are inexact."""


class VoicedRuns:
    """Voiced runs in session seconds, sorted and disjoint. `cut`: the first one began before the examined part.
    `noisy`: they were found above background noise, so bursts of the noise may be among them."""

    def __init__(self, runs: list[tuple[float, float]], *, cut: bool = False, noisy: bool = False) -> None:
        self.runs = runs
        self.noisy = noisy
        self.starts = [start for start, _ in runs]
        self.ends = [end for _, end in runs]
        self.onsets = self.starts[1:] if cut else self.starts
        self._before = [0.0, *accumulate(end - start for start, end in runs)]

    def __bool__(self) -> bool:
        return bool(self.runs)

    def voiced_s(self, from_s: float, to_s: float) -> float:
        """Seconds of sound between two session seconds."""
        return self._until(to_s) - self._until(from_s) if to_s > from_s else 0.0

    def pause_s(self, after_s: float, least_s: float) -> float:
        """Where the first pause of at least `least_s` begins after `after_s`; else where the last sound ends."""
        at = after_s
        for start, end in self.runs[bisect_right(self.ends, after_s) :]:
            if start - at >= least_s:
                return at
            at = max(at, end)
        return at

    def _until(self, at_s: float) -> float:
        index = bisect_right(self.starts, at_s)
        if not index:
            return 0.0
        return self._before[index - 1] + min(at_s, self.ends[index - 1]) - self.starts[index - 1]


class CommitAudio(NamedTuple):
    """The audio that a commit can cover, in session seconds."""

    sound: VoicedRuns
    """The sound from `after_s` to `sent_s`."""
    after_s: float
    """End of the previous commit."""
    sent_s: float
    """End of the audio that was sent before the commit arrived."""
    bounded: bool
    """Audio was sent in real time: nothing after `sent_s` was sent, and little of it belongs to later commits."""


def session_voiced_runs(voice: VoiceMap, timeline: Timeline, from_s: float, to_s: float) -> VoicedRuns:
    """The sound between two session seconds, without the residue of a word that ends at the first of them. Runs are
    joined across audio that was left out of the session."""
    runs: list[tuple[float, float]] = []
    noisy = False
    for session_s, file_s, length_s in timeline.pieces_s(from_s, to_s):
        found = voice.foreground_s(file_s, file_s + length_s)
        noisy = noisy or found != voice.runs_s(file_s, file_s + length_s)
        for start, end in found:
            first, last = session_s + start - file_s, session_s + end - file_s
            if runs and first <= runs[-1][1]:
                runs[-1] = (runs[-1][0], max(last, runs[-1][1]))
            else:
                runs.append((first, last))
    cut = bool(runs) and from_s > 0 and runs[0][0] <= from_s
    if cut and runs[0][1] - runs[0][0] <= RESIDUE_S:
        return VoicedRuns(runs[1:], noisy=noisy)
    return VoicedRuns(runs, cut=cut, noisy=noisy)
