"""Estimates how late the text of a service arrives, and when the text of the last sound is due. No I/O.

The service does not report how far it has transcribed. The end of a commit's last word shows it: when the commit
arrives, the service has processed the audio up to that end and the pause after it. A service that receives audio faster
than it transcribes falls behind, so its mean speed is measured as well as its delay. Without word times, only the delay
of the first text is known.

Clock times are seconds of a monotonic clock. Positions are seconds since the start of the session.
"""

from __future__ import annotations

from typing import Final

from worker.realtime.commit_pairing import Commit
from worker.recent_items import RecentItems

DELAY_FACTOR: Final = 1.25
DELAY_MARGIN_S: Final = 0.5
"""The text is due after the expected delay times DELAY_FACTOR, plus this margin (seconds): delays vary, and services
transcribe in steps of about a second."""
MAX_FIRST_DELAY_S: Final = 10.0
"""Maximum delay, in seconds, that the first text shows: other sound may precede the first word."""
MAX_BACKWARD_S: Final = 0.7
"""Maximum seconds by which a commit may begin before the end of the previous one. Word times are that inexact."""
MAX_UNUSABLE: Final = 3
"""After so many commits in a row whose times do not continue the times before them, the service counts as one without
times from the start of the session."""
RECENT_DELAYS: Final = 4
"""Number of latest commits of which the longest delay is used."""


class TextDelay:
    """The delays of one session's texts. `now`: clock time of the session's start."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._ended: float | None = None  # when the last sample of the file was sent
        self._first_sound: float | None = None  # when the first and the last frame with voice activity were sent
        self._last_sound: float | None = None
        self._first_delay_s = 0.0
        self._answered = self._has_text = False
        self._position_s = 0.0  # end of the last usable commit
        self._arrived = now  # when that commit arrived
        self._delays: RecentItems[float] = RecentItems(RECENT_DELAYS)
        self._unusable = 0  # commits in a row without usable times

    def begin(self, now: float) -> None:
        """Note that the service accepts audio from now on."""
        self._began = now

    def sound_sent(self, now: float) -> None:
        """Note that a frame with voice activity was sent."""
        self._last_sound = now
        if self._first_sound is None:
            self._first_sound = now

    def input_ended(self, now: float) -> None:
        """Note that the last sample of the file was sent."""
        self._ended = now

    def answered(self, now: float, *, text: bool) -> None:
        """Note a partial or a committed message. `text`: it is not empty."""
        if text and not self._has_text:
            self._has_text = True
            # The text may be about later sound, so this is the maximum of the delay.
            self._first_delay_s = now - (self._began if self._first_sound is None else self._first_sound)
        elif not self._answered:
            self._first_delay_s = now - self._began
        self._answered = True

    def committed(self, commit: Commit, *, speed: float, rate: int, limit_s: float) -> None:
        """Note a commit. `speed`: current speed, as a factor of real time. `rate`: samples per second of audio.
        `limit_s`: maximum position of a word."""
        ends = [word.end for word in commit.words if word.end is not None]
        starts = [word.start for word in commit.words if word.start is not None]
        if not ends or not starts:
            return
        # Times in another unit, or from the start of a segment, show no position. A repeated commit shows no new one.
        end_s = max(ends)
        if not max(0.0, self._position_s) < end_s <= limit_s or min(starts) < self._position_s - MAX_BACKWARD_S:
            self._unusable += 1
            return
        self._unusable = 0
        self._position_s, self._arrived = end_s, commit.arrived
        sent_s = commit.sent / rate
        # Silence after the end of the file is sent at another speed, so its part of the delay is measured by the clock.
        sending_until = commit.arrived if self._ended is None else min(self._ended, commit.arrived)
        mean_speed = sent_s / max(sending_until - self._began, 0.1)
        behind_s = max(0.0, sent_s - end_s) / max(min(mean_speed, speed), 0.1)
        self._delays.append(behind_s + commit.arrived - sending_until)

    def due(self, sound_end_s: float, pause_s: float) -> float:
        """Return the clock time at which the text of the last sound must have arrived.

        `sound_end_s`: position of its end. `pause_s`: pause after which the service commits."""
        if self._last_sound is None:
            return self._began
        if not self._delays or self._unusable >= MAX_UNUSABLE:
            delay_s = min(self._first_delay_s, MAX_FIRST_DELAY_S)
        else:
            processed = (sound_end_s + pause_s) / (self._position_s + pause_s)
            by_speed_s = self._began + (self._arrived - self._began) * processed - self._last_sound
            delay_s = max(0.0, by_speed_s, *self._delays)
        return self._last_sound + delay_s * DELAY_FACTOR + DELAY_MARGIN_S
