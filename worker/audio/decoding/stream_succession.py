"""Distinguishes successive audio streams of one container from parallel streams. No I/O."""

from __future__ import annotations

from typing import Final

SUCCESSION_PACKETS: Final = 64
"""After this many packets (about a second of audio) without a packet of the stream that is read, another stream has
succeeded it. Parallel streams alternate more often."""


class Succession:
    """Counts the packets of other streams since the last packet of the stream that is read."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._began: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._parallel: set[int] = set()

    def own(self) -> None:
        """Record a packet of the stream that is read."""
        if self._counts:
            self._parallel.update(self._counts)
            self._counts.clear()
            self._began.clear()

    def other(self, stream: int, position: int | None) -> int | None:
        """Record a packet of another stream at a byte position of the file. When it is certain that this stream follows
        the stream that is read, returns the position of its first packet. Otherwise returns None."""
        if stream in self._parallel or (position is None and stream not in self._began):
            return None
        self._began.setdefault(stream, position or 0)
        self._counts[stream] = self._counts.get(stream, 0) + 1
        return self._began[stream] if self._counts[stream] >= SUCCESSION_PACKETS else None
