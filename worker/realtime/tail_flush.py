"""How long silence is streamed after the last sample, so that the last words are committed (pure).

A service forgets what it has not committed when it is stopped, and says nothing when there is nothing left to commit.
So silence flows for the pause it commits after, and on until one of these holds: a commit made by that silence, or some
time after it any commit, reaches the last voiced sample; the service went on answering and had nothing new to say;
nothing was voiced since its last answer; the bound is reached. While text is in progress, only a commit or the bound
ends it.
"""

from __future__ import annotations

import math
from typing import Final

from worker.settings import Settings

TOLERANCE_S: Final = 0.7
"""A commit whose last word ends this close to the last voiced sample covers it: word ends are that inexact."""
SETTLE_S: Final = 2.5
"""Seconds of answers without news, or of silence with nothing to answer, after which nothing more is expected."""
PAUSE_MARGIN_S: Final = 0.5
"""Silence beyond the pause the service says it commits after."""
MAX_PADDING_SPEED: Final = 4.0
"""Most, as a factor of real time, at which silence beyond the least is sent."""
DEFAULT_PAUSE_S: Final = 1.5
"""The pause the service is documented to commit after."""


class TailFlush:
    """The silence after the last sample of one session."""

    def __init__(self, settings: Settings) -> None:
        self._rate = settings.sample_rate
        self._least_s = settings.tail_silence_min_s
        self._most_s = settings.tail_silence_max_s
        self._pause_s = DEFAULT_PAUSE_S
        self._since = 0.0
        self._answers = 0
        self._first_answer = 0.0
        self._settled = False
        self.padding_samples = 0

    def commits_after(self, pause_s: float) -> None:
        """The service says after how long a pause it commits."""
        self._pause_s = pause_s

    def begin(self, now: float) -> None:
        """The last sample of the file was sent."""
        self._since = now

    def answered(self, now: float) -> None:
        """The service said something since."""
        self._answers += 1
        if self._answers == 1:
            self._first_answer = now

    def committed(self) -> None:
        """The service committed something. After a whole pause of silence it was that silence that made it do so, and
        nothing is left to be committed."""
        self._settled = self.padding_samples >= self._pause_s * self._rate

    def padding_at(self, now: float, *, speed: float) -> float:
        """Clock time from which the next frame of silence may leave. At full speed the least that is needed goes at
        once; the rest not much faster than real time, so that little is wasted when the answer comes."""
        if self.padding_samples < self._least_samples and math.isinf(speed):
            return now
        return max(now, self._since + self.padding_samples / self._rate / min(speed, MAX_PADDING_SPEED))

    def over(self, now: float, *, pending: bool, covered: bool, unanswered: bool) -> bool:
        """Whether the session can be stopped. `pending`: text is in progress; `covered`: a commit reaches the last
        voiced sample; `unanswered`: something voiced was sent and nothing came back since."""
        waited_s = now - self._since
        if self.padding_samples >= self._most_s * self._rate and waited_s >= min(SETTLE_S, self._most_s):
            return True
        if pending:
            return False
        if self.padding_samples < self._least_samples:
            return covered and self._settled
        if covered:
            return True
        if self._answers >= 2 and now - self._first_answer >= SETTLE_S:
            return True
        return not unanswered and waited_s >= SETTLE_S

    @property
    def _least_samples(self) -> int:
        least_s = max(self._least_s, self._pause_s + PAUSE_MARGIN_S)
        return int(min(least_s, self._most_s) * self._rate)
