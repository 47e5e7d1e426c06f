"""Computes the send time of each frame as an absolute deadline. No I/O: callers pass the time.

A sleep of one frame's length between frames would accumulate delays. Deadlines relative to the session's start do not
accumulate delays. Times are seconds of the event loop's monotonic clock; tests use a virtual clock.
"""

from __future__ import annotations

import math
from typing import Final

MAX_CATCH_UP_S: Final = 2.0
"""Maximum delay, in seconds, that is made up for by faster sending. The rest of a longer delay shifts the schedule,
because services end sessions that receive audio faster than real time for long."""


class Pacer:
    """Computes the deadlines of one session's frames. `speed`: a factor of real time; if it is infinite, every frame
    may be sent at once. `start`: clock time of the first frame."""

    def __init__(self, speed: float, start: float) -> None:
        self._anchor_time = start
        self._anchor_position_s = 0.0
        self._speed = speed
        self.worst_late_s = 0.0
        """Largest delay of a frame, in seconds."""

    @property
    def speed(self) -> float:
        return self._speed

    def due(self, position_s: float) -> float:
        """Return the clock time at which a frame may be sent. `position_s`: start of the frame, in seconds since the
        start of the session."""
        if math.isinf(self._speed):
            return self._anchor_time
        return self._anchor_time + (position_s - self._anchor_position_s) / self._speed

    def sent(self, position_s: float, now: float) -> None:
        """Note that the frame at `position_s` was sent at `now`. A delay above `MAX_CATCH_UP_S` shifts the schedule."""
        late_s = now - self.due(position_s)
        if late_s > self.worst_late_s and math.isfinite(self._speed):
            self.worst_late_s = late_s
        if late_s > MAX_CATCH_UP_S and math.isfinite(self._speed):
            self._anchor_time += late_s - MAX_CATCH_UP_S

    def change(self, speed: float, position_s: float, now: float) -> None:
        """Set another speed from `position_s` on. The deadline of the frame at `position_s` does not change, except if
        the speed was unlimited: then the deadline is `now`."""
        self._anchor_time = now if math.isinf(self._speed) else self.due(position_s)
        self._anchor_position_s, self._speed = position_s, speed
