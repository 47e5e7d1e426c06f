"""How fast audio may be sent: down at once when the service is overrun, up again slowly (pure).

Additive increase, multiplicative decrease, as in congestion control: nobody publishes what a service takes, so it is
found by trying, and a limit that was hit is not hit again at once. `auto` starts at real time and rises while answers
keep up; a set speed is a ceiling that is only left when the service says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from worker.settings import Speed

RISE_PER_S: Final = 0.05
"""Factors of real time the limit rises in a second."""
HOLD_S: Final = 15.0
"""Seconds after a fall before it rises again."""
MAX_AUTO_SPEED: Final = 16.0
MAX_AUTO_LAG_S: Final = 8.0
"""Seconds of speech without any new text at which `auto` falls: at real time a service answers within two or three."""
MIN_SPEED: Final = 1.0


@dataclass(frozen=True, slots=True)
class SpeedChange:
    """A fall of the speed and its reason; `at_s` is the clock."""

    at_s: float
    speed: float
    reason: str


class RateControl:
    """The speed of one job across its sessions. Times are seconds of a monotonic clock, speeds factors of real time."""

    def __init__(self, asked: Speed, now: float, start: float | None = None) -> None:
        """`start`: the factor `auto` begins with, where one is known that was taken lately."""
        self.asked = asked
        self._ceiling = MAX_AUTO_SPEED if asked == "auto" else asked
        self._limit = min(max(start or MIN_SPEED, MIN_SPEED), MAX_AUTO_SPEED) if asked == "auto" else self._ceiling
        self._updated = now
        self._hold_until = now
        self.changes: list[SpeedChange] = []

    def current(self, now: float) -> float:
        """The factor in force at `now`; inf for no limit."""
        if self._limit >= self._ceiling:  # asked twice for each frame
            return self._limit
        since = max(self._updated, self._hold_until)
        if now > since:
            self._limit = min(self._ceiling, self._limit + (now - since) * RISE_PER_S)
        self._updated = max(self._updated, now)
        return self._limit

    def trouble(self, now: float, achieved: float, reason: str) -> None:
        """The service was overrun at `achieved` (factor of real time really sent)."""
        before = self.current(now)
        self._fall(now, min(before, max(achieved, MIN_SPEED)) / 2, reason)

    def lag(self, now: float, unanswered_s: float) -> None:
        """`unanswered_s` seconds of speech went out since the last new text. Only `auto` minds."""
        if self.asked == "auto" and unanswered_s > MAX_AUTO_LAG_S and now >= self._hold_until:
            self._fall(now, self.current(now) / 2, f"{unanswered_s:.0f} s of speech without new text")

    def _fall(self, now: float, speed: float, reason: str) -> None:
        lower = max(speed, min(MIN_SPEED, self._ceiling))
        self._hold_until = now + HOLD_S
        if lower < self._limit:
            self._limit = lower
            self.changes.append(SpeedChange(now, round(lower, 2), reason))


def is_unlimited(speed: Speed) -> bool:
    """Whether `speed` was asked for as `max`."""
    return speed != "auto" and math.isinf(speed)
