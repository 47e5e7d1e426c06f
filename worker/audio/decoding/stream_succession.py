"""Distinguishes successive audio streams of one container from parallel ones (pure)."""

from __future__ import annotations

from typing import Final

SUCCESSION_PACKETS: Final = 64
"""Number of packets in a row (about a second of audio) that parallel streams never have."""


class Succession:
    """Counts the packets of other streams since the last one of the stream that is read."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._began: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._parallel: set[int] = set()

    def own(self) -> None:
        """Note a packet of the stream that is read."""
        if self._counts:
            self._parallel.update(self._counts)
            self._counts.clear()
            self._began.clear()

    def other(self, stream: int, position: int | None) -> int | None:
        """Note a packet of another stream at a byte position of the file. Returns the position of that stream's first
        packet once it is certain that the stream follows the one that is read, else None."""
        if stream in self._parallel or (position is None and stream not in self._began):
            return None
        self._began.setdefault(stream, position or 0)
        self._counts[stream] = self._counts.get(stream, 0) + 1
        return self._began[stream] if self._counts[stream] >= SUCCESSION_PACKETS else None
