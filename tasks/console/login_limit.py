"""Slows down the guessing of keys at the login. No I/O."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

MAX_FAILURES: Final = 20
"""Maximum number of wrong keys in WINDOW_S seconds, of all clients of this process together."""
WINDOW_S: Final = 60.0


class LoginLimit:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures: deque[float] = deque(maxlen=MAX_FAILURES)

    def failed(self) -> None:
        """Record a wrong key."""
        self._failures.append(self._now())

    def wait_s(self) -> float:
        """Return the seconds until the next login is allowed; 0 if it is allowed now."""
        if len(self._failures) < MAX_FAILURES:
            return 0.0
        return max(0.0, self._failures[0] + WINDOW_S - self._now())


__all__ = ["LoginLimit"]
