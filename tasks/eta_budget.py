"""Bounds what a worker holds in memory for later: messages with an `eta` (pure).

Celery takes such a message from the queue at once and holds it until its time, however many there are. A producer could
fill the memory of every worker with them.
"""

from __future__ import annotations

import heapq
from typing import Final

MAX_MESSAGES: Final = 1_000
MAX_BYTES: Final = 16_777_216


class EtaBudget:
    """The messages that one connection to the queue holds. Times are seconds since 1970."""

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._held: list[tuple[float, int]] = []
        self._bytes = 0

    def take(self, eta: float, size_bytes: int, now: float) -> bool:
        """Count a message that waits until `eta`. False, and nothing is counted, when there is no room for it."""
        while self._held and self._held[0][0] <= now:
            self._bytes -= heapq.heappop(self._held)[1]
        if len(self._held) >= self._max_messages or self._bytes + size_bytes > self._max_bytes:
            return False
        heapq.heappush(self._held, (eta, size_bytes))
        self._bytes += size_bytes
        return True


__all__ = ["MAX_BYTES", "MAX_MESSAGES", "EtaBudget"]
