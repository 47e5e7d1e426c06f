"""Decides how long silence is streamed after the last sample, so that the service commits the last words. No I/O.

After stop-session a service discards uncommitted text, and no message says that all text is committed. So silence is
streamed for at least the pause after which the service commits, and then until one of these conditions: a commit
reaches the last voiced sample; the service answered for some time without new text; no voiced audio was sent after its
last answer; or `STT_TAIL_SILENCE_MAX_S` is reached. While a partial text is not committed, only a commit or that limit
ends the flush.
"""

from __future__ import annotations

import math
from typing import Final

from worker.settings import Settings

TOLERANCE_S: Final = 0.7
"""Maximum seconds between the end of the last word and the last voiced sample for a commit to count as reaching that
sample. The service's word ends are that inexact."""
SETTLE_S: Final = 2.5
"""Seconds of answers without new text, or of silence without an answer, after which no further commit is expected."""
PAUSE_MARGIN_S: Final = 0.5
"""Silence, in seconds, streamed in addition to the announced commit pause of the service."""
MAX_PADDING_SPEED: Final = 4.0
"""Maximum speed, as a factor of real time, at which silence beyond the minimum is sent."""
DEFAULT_PAUSE_S: Final = 1.5
"""Documented pause, in seconds, after which the service commits."""


class TailFlush:
    """The flush of one session: when to send silence, and when to stop. Times are seconds of a monotonic clock."""

    def __init__(self, settings: Settings) -> None:
        self._rate = settings.sample_rate
        self._min_s = settings.tail_silence_min_s
        self._max_s = settings.tail_silence_max_s
        self._pause_s = DEFAULT_PAUSE_S
        self._since = 0.0
        self._answers = 0
        self._first_answer = 0.0
        self.settled = False
        """Whether the silence caused the last commit, so that no text is left to commit."""
        self.padding_samples = 0

    def set_commit_pause(self, pause_s: float) -> None:
        """Note the pause, in seconds, after which the service commits."""
        self._pause_s = pause_s

    def begin(self, now: float) -> None:
        """Start the flush: the last sample of the file was sent."""
        self._since = now

    def answered(self, now: float) -> None:
        """Note a message of the service during the flush."""
        self._answers += 1
        if self._answers == 1:
            self._first_answer = now

    def committed(self) -> None:
        """Note a commit. If silence of at least the commit pause was sent before it, the silence caused the commit, and
        no text is left to commit."""
        self.settled = self.padding_samples >= self._pause_s * self._rate

    def padding_at(self, now: float, *, speed: float) -> float:
        """Return the clock time from which the next frame of silence may be sent.

        At unlimited speed, the silence that the service needs to commit is sent at once (see `_min_samples`). Any
        further silence is sent at most MAX_PADDING_SPEED times as fast as real time, so that little useless silence has
        been sent when the last answer arrives."""
        if self.padding_samples < self._min_samples and math.isinf(speed):
            return now
        return max(now, self._since + self.padding_samples / self._rate / min(speed, MAX_PADDING_SPEED))

    def is_over(self, now: float, *, pending: bool, covered: bool, unanswered: bool) -> bool:
        """Whether the session can be stopped. `pending`: a partial text is not committed yet. `covered`: a commit
        reaches the last voiced sample. `unanswered`: voiced audio was sent after the last message of the service."""
        waited_s = now - self._since
        # At unlimited speed the silence is sent in much less time than it lasts, but the service needs time to answer.
        if self.padding_samples >= self._max_s * self._rate and waited_s >= min(SETTLE_S, self._max_s):
            return True
        if pending:
            return False  # a stop would discard the text
        if self.padding_samples < self._min_samples:
            # Before the minimum of silence, only a commit caused by the silence itself shows that no text remains.
            return covered and self.settled
        if covered:
            return True
        # Repeated answers without new text: the service found no more words.
        if self._answers >= 2 and now - self._first_answer >= SETTLE_S:
            return True
        # Some services answer nothing to silence. If all speech was answered before it, no text is expected.
        return not unanswered and waited_s >= SETTLE_S

    @property
    def _min_samples(self) -> int:
        # Less silence than the commit pause can never cause the commit.
        min_s = max(self._min_s, self._pause_s + PAUSE_MARGIN_S)
        return int(min(min_s, self._max_s) * self._rate)
