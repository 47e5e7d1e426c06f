"""How far a session may run ahead of the service, and when its silence is a stall (pure).

Above real time, at most `window_s` seconds of audio go ahead of the service's last sign of life. Silence does not
count, because a service has nothing to say about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.settings import Settings

KEEP_ALIVE_S: Final = 5.0
"""A session held back by its window still sends a frame this often: services close idle sessions after 15 s."""


class FlowControl:
    """Accounts of what was sent and of what came back. Positions in samples, times in clock seconds."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._rate = settings.sample_rate
        self._window = settings.send_ahead_max_s * settings.sample_rate
        self._last_sent = now
        self._sending_since: float | None = None
        self.last_life = now
        self.sent_samples = 0
        self.answered_samples = 0  # sent when the last sign of life came
        self.voiced_end = 0  # end of the last voiced sample
        self.voiced_since_life = 0  # voiced samples sent since the last sign of life
        self.voiced_since_text = 0  # voiced samples sent since the service last had something new to say

    def alive(self, now: float) -> None:
        """Note a message: the service is alive. Whether it also transcribes is noted by `spoke`."""
        self.last_life = max(self.last_life, now)
        self.voiced_since_life = 0
        self.answered_samples = self.sent_samples

    def spoke(self) -> None:
        """Note text that is new in this session: the service transcribes speech."""
        self.voiced_since_text = 0

    def sending(self, now: float) -> None:
        """A frame was handed to the transport."""
        self._sending_since = now

    def sent(self, samples: int, now: float, *, runs: Sequence[tuple[int, int]], padding: bool) -> None:
        """The transport took it. `runs`: what is voiced in it, in samples from its first."""
        self._sending_since = None
        self._last_sent = now
        if padding:
            return
        if runs:
            voiced = sum(end - start for start, end in runs)
            self.voiced_since_life += voiced
            self.voiced_since_text += voiced
            self.voiced_end = self.sent_samples + runs[-1][1]
        self.sent_samples += samples

    def send_at(self, samples: int, now: float, *, paced: bool) -> float:
        """Clock time from which the next `samples` may leave, as far as the service's answers allow. `paced`: at most
        real time, so that nothing needs to be held back."""
        ahead = self.voiced_since_life + samples
        # Frames that keep a held session alive count as well: room for them is left.
        if paced or ahead <= self._window * (1 - samples / (KEEP_ALIVE_S * self._rate)):
            return now
        # Never slower than real time would be, never idle: then a silent service is merely streamed at 1x.
        real_time = self.last_life + ahead / self._rate
        return max(now, min(real_time, self._last_sent + KEEP_ALIVE_S))

    def stuck_s(self, now: float) -> float:
        """Seconds the transport has been holding a frame."""
        return 0.0 if self._sending_since is None else now - self._sending_since

    @property
    def unanswered(self) -> bool:
        """Speech was sent and nothing came back since."""
        return self.voiced_since_life > 0 or self._sending_since is not None
