"""Limits how far audio is sent ahead of the service, and detects a stalled transport (pure).

Above real time, at most `STT_SEND_AHEAD_MAX_S` seconds of audio are sent after the last message of the service. Silence
does not count, because a service sends no message about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.settings import Settings

KEEP_ALIVE_S: Final = 5.0
"""Maximum seconds between two frames of a session that waits for the service: services close idle sessions after 15
s."""


class FlowControl:
    """Counts sent audio and received messages. Positions are samples, times are seconds of the clock."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._rate = settings.sample_rate
        self._window = settings.send_ahead_max_s * settings.sample_rate
        self._last_sent = now
        self._sending_since: float | None = None
        self.last_message = now
        self.sent_samples = 0
        self.answered_samples = 0  # samples sent before the last message
        self.voiced_end = 0  # end of the last voiced sample
        self.voiced_since_message = 0  # voiced samples sent since the last message
        self.voiced_since_text = 0  # voiced samples sent since the last new text

    def message_received(self, now: float) -> None:
        """Note a message, which shows that the connection works. `new_text` notes that the service also transcribes."""
        self.last_message = max(self.last_message, now)
        self.voiced_since_message = 0
        self.answered_samples = self.sent_samples

    def new_text(self) -> None:
        """Note text that is new in this session, which shows that the service transcribes."""
        self.voiced_since_text = 0

    def sending(self, now: float) -> None:
        """Note that a frame was passed to the transport."""
        self._sending_since = now

    def sent(self, samples: int, now: float, *, runs: Sequence[tuple[int, int]], padding: bool) -> None:
        """Note that the transport accepted it. `runs`: its parts with voice activity, as (start, end) samples."""
        self._sending_since = None
        self._last_sent = now
        if padding:
            return
        if runs:
            voiced = sum(end - start for start, end in runs)
            self.voiced_since_message += voiced
            self.voiced_since_text += voiced
            self.voiced_end = self.sent_samples + runs[-1][1]
        self.sent_samples += samples

    def send_at(self, samples: int, now: float, *, paced: bool) -> float:
        """Clock time from which the next `samples` may be sent. `paced`: the speed is at most real time, so no limit is
        needed."""
        ahead = self.voiced_since_message + samples
        # The limit leaves room for the keep-alive frames of a waiting session.
        if paced or ahead <= self._window * (1 - samples / (KEEP_ALIVE_S * self._rate)):
            return now
        # A silent service still receives audio at real time, and the session is never idle.
        real_time = self.last_message + ahead / self._rate
        return max(now, min(real_time, self._last_sent + KEEP_ALIVE_S))

    def stuck_s(self, now: float) -> float:
        """Seconds for which the transport has not accepted a frame."""
        return 0.0 if self._sending_since is None else now - self._sending_since

    @property
    def unanswered(self) -> bool:
        """Whether speech was sent after the last message."""
        return self.voiced_since_message > 0 or self._sending_since is not None
