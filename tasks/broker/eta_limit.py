"""Bounds the messages with an `eta` that a worker stores in memory. No I/O.

An `eta` is the earliest start of a task. Celery takes any number of messages with an eta from the queue at once and
stores them until that time, so a producer could fill the memory of every worker.
"""

from __future__ import annotations

import heapq
from typing import Final

MAX_MESSAGES: Final = 1_000
MAX_BYTES: Final = 16_777_216


class EtaBudget:
    """Counts the messages that wait for their eta on one connection to the queue. Times are seconds since 1970."""

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._waiting: list[tuple[float, int]] = []
        self._bytes = 0

    def take(self, eta: float, size_bytes: int, now: float) -> bool:
        """Count a message that waits until `eta`. If this would exceed a limit, returns False and does not count the
        message."""
        while self._waiting and self._waiting[0][0] <= now:
            self._bytes -= heapq.heappop(self._waiting)[1]
        if len(self._waiting) >= self._max_messages or self._bytes + size_bytes > self._max_bytes:
            return False
        heapq.heappush(self._waiting, (eta, size_bytes))
        self._bytes += size_bytes
        return True


__all__ = ["MAX_BYTES", "MAX_MESSAGES", "EtaBudget"]
