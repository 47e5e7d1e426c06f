"""Distinguishes audio streams of one container that follow each other from parallel ones (pure)."""

from __future__ import annotations

from typing import Final

SUCCESSION_PACKETS: Final = 64
"""More packets in a row than one of several parallel streams has: about a second of audio."""


class Succession:
    """Counts the packets of other streams since the last one of the stream that is read."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._began: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._beside: set[int] = set()

    def own(self) -> None:
        """Note a packet of the stream that is read."""
        if self._counts:
            self._beside.update(self._counts)
            self._counts.clear()
            self._began.clear()

    def other(self, stream: int, position: int | None) -> int | None:
        """A packet of another stream at a place in the file. Returns where that stream began, once it is sure that it
        follows the one that is read."""
        if stream in self._beside or (position is None and stream not in self._began):
            return None
        self._began.setdefault(stream, position or 0)
        self._counts[stream] = self._counts.get(stream, 0) + 1
        return self._began[stream] if self._counts[stream] >= SUCCESSION_PACKETS else None
