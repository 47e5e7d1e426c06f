"""The audio in which the words of one commit may have been spoken. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from worker.transcript.voiced_runs import VoicedRuns

NEAR_S: Final = 4.0
"""Seconds of audio after the words of a commit that are examined first. More is examined only if the words do not match
the sound in it."""
NEARBY_S: Final = 60.0
"""Seconds of audio that are examined after the words of a commit, or after the first sound if the words have no known
position. A service commits after at most 36 s of speech."""
MAX_ONSETS: Final = 60
"""Number of onsets of sound at which the words of a commit may begin, if the origin of their times is unknown."""


class CommitAudio:
    """The sound from the end of the previous commit on. Times are seconds since the start of the session.

    At full speed, hours of audio may be sent before a commit arrives. Examining all sent audio took more than ten
    minutes of CPU time for a file of ten hours, so only the audio near the words is examined at first.
    """

    def __init__(
        self,
        sound_until: Callable[[float], VoicedRuns],
        after_s: float,
        sent_s: float,
        words_s: tuple[float, float],
        *,
        bounded: bool,
    ) -> None:
        """`sound_until` returns the sound from `after_s` to a time. `words_s`: start and end of the words as the
        service sent them; equal if it sent no times."""
        self.after_s = after_s
        """End of the last word of the previous commit; 0 if the commit may repeat audio of an earlier session."""
        self.sent_s = sent_s
        """End of the audio that was sent before the commit arrived, or start of the next commit if that is known."""
        self.bounded = bounded
        """Whether audio is sent in real time. Then little of the audio before `sent_s` belongs to later commits."""
        self._sound_until = sound_until
        self._length_s = max(0.0, words_s[1] - words_s[0])
        self._words_end_s = max(after_s + self._length_s, words_s[1])
        self._until_s = after_s
        self._near: VoicedRuns | None = None
        self._sound: VoicedRuns | None = None

    @property
    def near_sound(self) -> VoicedRuns:
        """The sound from `after_s` to NEAR_S after the words, or all of `sound` if it was examined.

        If audio is sent faster than real time, most of `sound` is after the words."""
        if self._sound is not None:
            return self._sound
        if self._near is None:
            self._near = self._sound_until(min(self._words_end_s + NEAR_S, self.sent_s))
        return self._near

    @property
    def sound(self) -> VoicedRuns:
        """The sound from `after_s` on. It ends at `sent_s`, or earlier if the words are probably not later."""
        if self._sound is None:
            self._sound = self._examined(self._words_end_s + NEARBY_S)
            self._extend(onsets=1)
        return self._sound

    def _examined(self, until_s: float) -> VoicedRuns:
        self._until_s = min(until_s, self.sent_s)
        if self._near is not None and self._until_s <= self._words_end_s + NEAR_S:
            return self._near
        return self._sound_until(self._until_s)

    def _extend(self, onsets: int) -> None:
        """Extend `sound` until the words can begin at that many onsets, or to `sent_s`."""
        while self._until_s < self.sent_s:
            starts = self.sound.onsets  # without a run that began before `after_s`
            doubled_s = 2 * self._until_s - self.after_s
            needed_s = starts[onsets - 1] + self._length_s + NEARBY_S if len(starts) >= onsets else doubled_s
            if self._until_s >= needed_s:
                return
            self._sound = self._examined(needed_s)

    def widen(self) -> bool:
        """Extend `sound`, because the words do not match it. Returns False if it cannot be extended."""
        before = self.sound
        self._extend(MAX_ONSETS)
        return self.sound is not before

    def voiced_s(self) -> float:
        """Return the seconds of sound from `after_s` to `sent_s`. Examines all of this audio, so it is only called for
        repeated texts without word times, and for commits without word times in real time."""
        return self._sound_until(self.sent_s).voiced_s(self.after_s, self.sent_s)
