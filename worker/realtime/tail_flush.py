"""Decides how long silence is streamed after the last sample, so that the service commits the last words. No I/O.

After stop-session a service discards uncommitted text, and no message says that all text is committed. So silence is
streamed for at least the pause after which the service commits, and then until one of these conditions: a commit
reaches the last voiced sample; the text of that sample is due (see `text_delay`) and no new text has arrived for some
time; or `STT_TAIL_SILENCE_MAX_S` is reached. While a partial text is not committed, only a commit or that limit ends
the flush.
"""

from __future__ import annotations

import math
from typing import Final

from worker.settings import Settings

TOLERANCE_S: Final = 0.7
"""Maximum seconds between the end of the last word and the last voiced sample for a commit to count as reaching that
sample. The service's word ends are that inexact."""
SETTLE_S: Final = 2.5
"""Seconds without new text after which no further commit is expected."""
PAUSE_MARGIN_S: Final = 0.5
"""Silence, in seconds, streamed in addition to the announced commit pause of the service."""
MAX_PADDING_SPEED: Final = 4.0
"""Maximum speed, as a factor of real time, at which silence beyond the minimum is sent."""
MAX_WAITING_SPEED: Final = 1.0
"""The same while the service is transcribing earlier audio: it needs time then, and no silence."""
MAX_CATCH_UP_S: Final = 0.5
"""Maximum delay, in seconds, of the silence that is made up for by faster sending."""
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
        self._text_at = 0.0  # start of the flush, or arrival of the last new text in it
        self._next_padding = 0.0
        self.settled = False
        """Whether enough silence was sent before the last commit to have caused it. If the service is late, earlier
        silence may have caused it, and more text may follow."""
        self.padding_samples = 0

    def set_commit_pause(self, pause_s: float) -> None:
        """Note the pause, in seconds, after which the service commits."""
        self._pause_s = pause_s

    @property
    def pause_s(self) -> float:
        """The pause, in seconds, after which the service commits."""
        return self._pause_s

    def begin(self, now: float) -> None:
        """Start the flush: the last sample of the file was sent."""
        self._since = self._text_at = self._next_padding = now

    def new_text(self, now: float) -> None:
        """Note text that is new in this session."""
        self._text_at = now

    def committed(self) -> None:
        """Note a commit."""
        self.settled = self.padding_samples >= self._pause_s * self._rate

    def sent(self, samples: int, now: float, *, speed: float, due: float) -> None:
        """Note that a frame of silence was sent. `speed`: current speed, as a factor of real time. `due`: clock time at
        which the text of the last sound must have arrived."""
        self.padding_samples += samples
        behind = now < max(due, self._text_at + SETTLE_S) and self.padding_samples >= self._min_samples
        limit = MAX_WAITING_SPEED if behind else MAX_PADDING_SPEED
        self._next_padding = max(self._next_padding, now - MAX_CATCH_UP_S) + samples / self._rate / min(speed, limit)

    def padding_at(self, now: float, *, speed: float) -> float:
        """Return the clock time from which the next frame of silence may be sent.

        At unlimited speed, the silence that the service needs to commit is sent at once (see `_min_samples`). Any
        further silence is sent at a limited speed, so that little useless silence has been sent when the last answer
        arrives."""
        if self.padding_samples < self._min_samples and math.isinf(speed):
            return now
        return max(now, self._next_padding)

    def minimum_at(self, *, speed: float) -> float:
        """Return the clock time at which the minimum of silence has been sent."""
        return self._since + self._min_samples / self._rate / min(speed, MAX_PADDING_SPEED)

    def is_over(self, now: float, *, pending: bool, covered: bool, unanswered: bool, due: float) -> bool:
        """Whether the session can be stopped. `pending`: a partial text is not committed yet. `covered`: a commit
        reaches the last voiced sample. `unanswered`: voiced audio was sent after the last message of the service.
        `due`: clock time at which the text of the last sound must have arrived."""
        # At unlimited speed the silence is sent in much less time than it lasts, but the service needs time to answer.
        enough = self.padding_samples >= self._max_s * self._rate
        if enough and now - self._since >= min(SETTLE_S, self._max_s):
            return True
        if pending:
            return False  # a stop would discard the text
        if self.padding_samples < self._min_samples:
            # Before the minimum of silence, only a commit caused by the silence itself shows that no text remains.
            return covered and self.settled
        if covered:
            return True
        # The service found no more words, or it answers nothing to silence and answered all speech before it.
        return not unanswered and now >= due and now - self._text_at >= SETTLE_S

    @property
    def _min_samples(self) -> int:
        # Less silence than the commit pause can never cause the commit.
        min_s = max(self._min_s, self._pause_s + PAUSE_MARGIN_S)
        return int(min(min_s, self._max_s) * self._rate)
