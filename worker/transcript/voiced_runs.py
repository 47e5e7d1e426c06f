"""The runs of voice activity in a session, in session seconds (pure)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Final, NamedTuple

from worker.audio.voice_activity import VoiceActivityMap
from worker.session_timeline import Timeline

MAX_RESIDUE_S: Final = 0.15
"""Sound up to this long after the last word of a commit still belongs to the word, because word ends are inexact."""


class VoicedRuns:
    """Runs of sound in session seconds, sorted and disjoint. False if there are none."""

    def __init__(self, runs: list[tuple[float, float]], *, cut: bool = False, noisy: bool = False) -> None:
        """`cut`: the first run began before the examined audio. `noisy`: the runs were found above background noise, so
        some may be bursts of noise."""
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

    def pause_s(self, after_s: float, min_s: float) -> float:
        """Session second at which the first pause of at least `min_s` seconds after `after_s` begins.

        Without such a pause, the end of the last sound."""
        at = after_s
        for start, end in self.runs[bisect_right(self.ends, after_s) :]:
            if start - at >= min_s:
                return at
            at = max(at, end)
        return at

    def _until(self, at_s: float) -> float:
        index = bisect_right(self.starts, at_s)
        if not index:
            return 0.0
        return self._before[index - 1] + min(at_s, self.ends[index - 1]) - self.starts[index - 1]


class CommitAudio(NamedTuple):
    """The audio that a commit can cover. Times are session seconds."""

    sound: VoicedRuns
    """The sound from `after_s` to `sent_s`."""
    after_s: float
    """End of the previous commit."""
    sent_s: float
    """End of the audio that was sent before the commit arrived."""
    bounded: bool
    """Whether audio is sent in real time. Then no audio after `sent_s` was sent, and little before it belongs to later
    commits."""


def session_voiced_runs(voice: VoiceActivityMap, timeline: Timeline, from_s: float, to_s: float) -> VoicedRuns:
    """The sound between two session seconds.

    A short sound at `from_s` is the rest of the previous word and is left out. Runs are joined across skipped audio."""
    runs: list[tuple[float, float]] = []
    noisy = False
    for session_s, file_s, length_s in timeline.pieces_s(from_s, to_s):
        # Above background noise if there is any. Different runs show that noise was removed.
        found = voice.foreground_s(file_s, file_s + length_s)
        noisy = noisy or found != voice.runs_s(file_s, file_s + length_s)
        for start, end in found:
            first, last = session_s + start - file_s, session_s + end - file_s
            if runs and first <= runs[-1][1]:
                runs[-1] = (runs[-1][0], max(last, runs[-1][1]))
            else:
                runs.append((first, last))
    cut = bool(runs) and from_s > 0 and runs[0][0] <= from_s
    if cut and runs[0][1] - runs[0][0] <= MAX_RESIDUE_S:
        return VoicedRuns(runs[1:], noisy=noisy)
    return VoicedRuns(runs, cut=cut, noisy=noisy)
