"""Computes the runs of sound (uninterrupted voice activity) in a session. Times are seconds since the start of the
session. No I/O."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, pairwise
from operator import sub
from typing import Final

from worker.audio.voice_activity import VoiceActivityMap
from worker.session_timeline import Timeline

MAX_RESIDUE_S: Final = 0.15
"""A run of sound up to this long, at the end of the previous commit, still belongs to the last word of that commit,
because word ends are inexact."""


class VoicedRuns:
    """Runs of sound, in rising order and without overlaps. Times are seconds since the start of the session. An object
    without runs is false."""

    def __init__(
        self, runs: list[tuple[float, float]], *, cut: bool = False, noisy: bool = False, certain: bool = True
    ) -> None:
        """`cut`: whether the first run began before the examined audio. `noisy`: whether there is background noise, so
        that some of the runs may be bursts of noise. `certain`: False if some of the runs may be steady noise."""
        self.runs = runs
        self.noisy = noisy
        self.certain = certain
        self.starts, self.ends = map(list, zip(*runs, strict=True)) if runs else ([], [])
        # The starts that are real onsets of sound: a run that is cut begins earlier than its start says.
        self.onsets = self.starts[1:] if cut else self.starts
        # Running sum: seconds of sound before each run.
        self._before = [0.0, *accumulate(map(sub, self.ends, self.starts))]

    def __bool__(self) -> bool:
        return bool(self.runs)

    def voiced_s(self, from_s: float, to_s: float) -> float:
        """Return how many seconds of sound are between two times of the session."""
        if to_s <= from_s:
            return 0.0
        # A shared method for the two halves, and `min`, would double the time. The comparison of one commit with its
        # sound calls this 200 times.
        starts, ends, before = self.starts, self.ends, self._before
        until_s = from_until_s = 0.0  # seconds of sound before `to_s` and before `from_s`
        if index := bisect_right(starts, to_s):
            end = ends[index - 1]
            until_s = before[index - 1] + (to_s if to_s < end else end) - starts[index - 1]
        if index := bisect_right(starts, from_s, 0, index):
            end = ends[index - 1]
            from_until_s = before[index - 1] + (from_s if from_s < end else end) - starts[index - 1]
        return until_s - from_until_s

    def pause_s(self, after_s: float, min_s: float) -> float:
        """Return the start of the first pause after `after_s` that lasts at least `min_s` seconds.

        If there is no such pause, returns the end of the last run."""
        at = after_s
        for start, end in self.runs[bisect_right(self.ends, after_s) :]:
            if start - at >= min_s:
                return at
            at = max(at, end)
        return at

    def phrase_onset_s(self, near_s: float, pause_s: float) -> float | None:
        """Return the onset of sound nearest to `near_s` that has a pause of `pause_s` seconds before it, or None."""
        found = [b[0] for a, b in pairwise([(0.0, -pause_s), *self.runs]) if b[0] - a[1] >= pause_s]
        # The first run always has a pause before it here, but it is no onset if it is cut.
        onsets = found if self.onsets is self.starts else found[1:]
        return min(onsets, key=lambda at: abs(near_s - at), default=None)

    def phrase_end_s(self, near_s: float, pause_s: float) -> float | None:
        """Return the end of sound nearest to `near_s` that has a pause of `pause_s` seconds after it, or None.

        The end of the last run is also considered, because the pause after it may not have been sent yet."""
        ends = [a[1] for a, b in pairwise(self.runs) if b[0] - a[1] >= pause_s]
        return min([*ends, *self.ends[-1:]], key=lambda at: abs(near_s - at), default=None)


def session_voiced_runs(voice: VoiceActivityMap, timeline: Timeline, from_s: float, to_s: float) -> VoicedRuns:
    """Return the runs of sound between two times of the session.

    A short run at `from_s` is omitted, because it is the rest of the previous word. Runs before and after audio that
    was not streamed are joined if they touch in session time."""
    runs: list[tuple[float, float]] = []
    noisy, certain = False, True
    for session_s, file_s, length_s in timeline.pieces_s(from_s, to_s):
        found = voice.foreground_s(file_s, file_s + length_s)
        noisy, certain = noisy or found.noisy, certain and found.certain
        # Runs of one piece never touch each other, so only its first run can continue the piece before it.
        own = [(session_s + start - file_s, session_s + end - file_s) for start, end in found.runs]
        if own and runs and own[0][0] <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(own.pop(0)[1], runs[-1][1]))
        runs += own
    cut = bool(runs) and from_s > 0 and runs[0][0] <= from_s
    if cut and runs[0][1] - runs[0][0] <= MAX_RESIDUE_S:
        return VoicedRuns(runs[1:], noisy=noisy, certain=certain)
    return VoicedRuns(runs, cut=cut, noisy=noisy, certain=certain)
