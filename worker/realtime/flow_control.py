"""Limits how far audio is sent ahead of the service, and detects a stalled transport. No I/O.

At speeds above real time, at most `STT_SEND_AHEAD_MAX_S` seconds of audio with voice activity are sent after the last
message of the service. Silence is not included, because a service sends no message about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.settings import Settings

# Well below 15 s, because according to one report a session was closed after 10 s.
KEEP_ALIVE_S: Final = 5.0
"""Maximum seconds between two frames while flow control waits for the service: services close sessions without audio
after 15 s."""


class FlowControl:
    """Compares the sent audio with the received messages. Positions are samples, times are seconds of a monotonic
    clock."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._rate = settings.sample_rate
        self._window = settings.send_ahead_max_s * settings.sample_rate  # maximum of unanswered voiced samples
        self._last_sent = now
        self._sending_since: float | None = None
        self.last_message = now
        self.sent_samples = 0
        self.answered_samples = 0  # samples sent before the last message
        self.voiced_end = 0  # end of the last voiced sample
        self.voiced_since_message = 0  # voiced samples sent since the last message
        self.voiced_since_text = 0  # voiced samples sent since the last new text

    def message_received(self, now: float) -> None:
        """Note a received message, which shows that the connection works. If the message has new text, call `new_text`
        as well."""
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
        """Note that the transport accepted a frame of `samples` samples.

        `runs`: parts of the frame with voice activity, as (start, end) samples. `padding`: the frame is silence after
        the end of the file and is not counted."""
        self._sending_since = None
        self._last_sent = now
        if padding:
            return
        if runs:
            voiced = sum(end - start for start, end in runs)
            self.voiced_since_message += voiced
            self.voiced_since_text += voiced
            # This must be computed before `sent_samples` is increased, because the runs are relative to the start of
            # the frame.
            self.voiced_end = self.sent_samples + runs[-1][1]
        self.sent_samples += samples

    def send_at(self, samples: int, now: float, *, paced: bool) -> float:
        """Return the clock time from which a frame of `samples` samples may be sent. `paced`: the speed is at most real
        time, so no limit is needed."""
        ahead = self.voiced_since_message + samples
        # The limit is below the maximum, so that the frames sent every KEEP_ALIVE_S while waiting fit in as well.
        if paced or ahead <= self._window * (1 - samples / (KEEP_ALIVE_S * self._rate)):
            return now
        # Without messages of the service, audio is sent on at real time, and at least every KEEP_ALIVE_S.
        real_time = self.last_message + ahead / self._rate
        return max(now, min(real_time, self._last_sent + KEEP_ALIVE_S))

    def stuck_s(self, now: float) -> float:
        """Return for how many seconds the transport has not accepted the current frame; 0 if no frame waits."""
        return 0.0 if self._sending_since is None else now - self._sending_since

    @property
    def unanswered(self) -> bool:
        """Whether speech was sent after the last message, or a frame is being sent."""
        return self.voiced_since_message > 0 or self._sending_since is not None
