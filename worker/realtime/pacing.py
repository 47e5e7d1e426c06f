"""When a frame may leave: absolute deadlines (pure; the caller brings the time).

Sleeping a frame's length between frames would add up every delay; a deadline computed from the session's start does
not. Times are seconds of the event loop's monotonic clock, which tests replace by a virtual one.
"""

from __future__ import annotations

import math
from typing import Final

MAX_CATCH_UP_S: Final = 2.0
"""Lateness, in seconds, that is made up by sending faster; more than that moves the schedule instead, because services
cut sessions that stay above real time."""


class Pacer:
    """Deadlines for one session. `speed` is a factor of real time; inf means every frame is due at once."""

    def __init__(self, speed: float, start: float) -> None:
        self._anchor_time = start
        self._anchor_position_s = 0.0
        self._speed = speed
        self.worst_late_s = 0.0
        """Most seconds a frame left after it was due."""

    @property
    def speed(self) -> float:
        return self._speed

    def due(self, position_s: float) -> float:
        """Clock time at which the frame that begins at `position_s` seconds of the session may leave."""
        if math.isinf(self._speed):
            return self._anchor_time
        return self._anchor_time + (position_s - self._anchor_position_s) / self._speed

    def sent(self, position_s: float, now: float) -> None:
        """The frame at `position_s` left at `now`: when it was much too late, the schedule moves."""
        late_s = now - self.due(position_s)
        if late_s > self.worst_late_s and math.isfinite(self._speed):
            self.worst_late_s = late_s
        if late_s > MAX_CATCH_UP_S and math.isfinite(self._speed):
            self._anchor_time += late_s - MAX_CATCH_UP_S

    def change(self, speed: float, position_s: float, now: float) -> None:
        """From `position_s` on: another speed. The frame there is due when it would have been, at `now` if that was
        without a limit."""
        self._anchor_time = now if math.isinf(self._speed) else self.due(position_s)
        self._anchor_position_s, self._speed = position_s, speed
