"""Adapts the sending speed: halves it when the service is overloaded, then raises it slowly. No I/O.

This is additive increase, multiplicative decrease (AIMD), as in TCP congestion control: the capacity of a service is
not published, so it is found by probing. The speed `auto` starts at real time and rises while answers arrive in time. A
fixed speed is a maximum: the speed is only reduced below it when the service reports overload.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from worker.settings import Speed

RISE_PER_S: Final = 0.05
"""Increase of the speed limit per second; speeds are factors of real time."""
HOLD_S: Final = 15.0
"""Seconds after a decrease before the speed limit rises again."""
MAX_AUTO_SPEED: Final = 16.0
# No maximum speed is published, so the only sign before an error is that text arrives late.
MAX_AUTO_LAG_S: Final = 8.0
"""Seconds of speech without new text after which `auto` slows down. At real time, services answer within 2 to 3 s."""
MIN_SPEED: Final = 1.0


@dataclass(frozen=True, slots=True)
class SpeedChange:
    """A decrease of the speed at clock time `at_s`, and its reason."""

    at_s: float
    speed: float
    reason: str


class RateControl:
    """The speed of one job across its sessions. Times are seconds of a monotonic clock, speeds factors of real time."""

    def __init__(self, asked: Speed, now: float, start: float | None = None) -> None:
        """`asked`: the configured speed. `start`: the initial factor for `auto`, or None for 1."""
        self.asked = asked
        self._ceiling = MAX_AUTO_SPEED if asked == "auto" else asked
        self._limit = min(max(start or MIN_SPEED, MIN_SPEED), MAX_AUTO_SPEED) if asked == "auto" else self._ceiling
        self._updated = now
        self._hold_until = now
        self.changes: list[SpeedChange] = []

    def current(self, now: float) -> float:
        """Return the speed at clock time `now`, as a factor of real time; inf without a limit."""
        if self._limit >= self._ceiling:  # fast path: called several times per frame
            return self._limit
        since = max(self._updated, self._hold_until)
        if now > since:
            self._limit = min(self._ceiling, self._limit + (now - since) * RISE_PER_S)
        self._updated = max(self._updated, now)
        return self._limit

    def overloaded(self, now: float, achieved: float, reason: str) -> None:
        """Slow down: the service reported overload at the sending speed `achieved`, a factor of real time."""
        before = self.current(now)
        # Halve the achieved speed and not the limit. The limit may be far higher, because flow control also slows a
        # session down.
        self._decrease(now, min(before, max(achieved, MIN_SPEED)) / 2, reason)

    def lag(self, now: float, unanswered_s: float) -> None:
        """Note that `unanswered_s` seconds of speech were sent since the last new text. If this is more than
        MAX_AUTO_LAG_S, the speed `auto` is reduced; a fixed speed is not."""
        if self.asked == "auto" and unanswered_s > MAX_AUTO_LAG_S and now >= self._hold_until:
            self._decrease(now, self.current(now) / 2, f"{unanswered_s:.0f} s of speech without new text")

    def _decrease(self, now: float, speed: float, reason: str) -> None:
        # The speed is never reduced below real time, because every real-time service can process audio at real time. A
        # fixed speed below real time is not reduced.
        lower = max(speed, min(MIN_SPEED, self._ceiling))
        self._hold_until = now + HOLD_S
        if lower < self._limit:
            self._limit = lower
            self.changes.append(SpeedChange(now, round(lower, 2), reason))


def is_unlimited(speed: Speed) -> bool:
    """Whether `speed` is unlimited (`max`)."""
    return speed != "auto" and math.isinf(speed)
