"""Word times that drift away from the audio, brought back (pure).

With automatic commits the service's word times have been reported to run late by about 0.1 s more with each commit.
Speech ends with sound, so a commit whose last word ends ever further inside the silence after it gives the drift away.
One overhang proves nothing, as recognizers place word ends inexactly; a steady rise over several commits does.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from worker.audio.voicing import VoiceMap
from worker.timeline import Timeline

RISES: Final = 3
"""So many rises in a row before anything is corrected."""
RISE_S: Final = (0.05, 0.3)
"""What counts as a rise from one commit to the next, in seconds."""
INSIDE_S: Final = 0.05
"""A word that ends this long before the sound does says nothing about drift."""
MOST_S: Final = 10.0


class Drift:
    """Follows the commits of one session; `shift_s` is what their times are too late by."""

    def __init__(self, voice: VoiceMap) -> None:
        self._voice = voice
        self._overhangs: list[float] = []
        self._active = False
        self._slope_s = 0.0
        self.shift_s = 0.0

    def follow(self, end_s: float, timeline: Timeline) -> float:
        """Take the end of a commit's last word as it came (session seconds); returns the shift to subtract."""
        at_s = timeline.to_file_s(end_s - self.shift_s)
        sound_end_s = self._voice.end_s(at_s)
        if sound_end_s is None or at_s < sound_end_s - INSIDE_S:  # inside sound: nothing to see, the trend goes on
            self.shift_s += self._slope_s if self._active else 0.0
            return self.shift_s
        self._overhangs.append(at_s + self.shift_s - sound_end_s)
        first, recent = self._overhangs[0], self._overhangs[-RISES - 1 :]
        rises = [b - a for a, b in pairwise(recent)]
        if len(rises) == RISES and all(RISE_S[0] <= r <= RISE_S[1] for r in rises):
            self._active = True
        if self._active:
            self._slope_s = max(0.0, sum(rises) / len(rises))
            self.shift_s = min(max(0.0, self._overhangs[-1] - first), MOST_S)
        del self._overhangs[1 : -RISES - 1]
        return self.shift_s
