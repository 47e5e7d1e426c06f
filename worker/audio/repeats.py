"""Passes over packets that a file holds twice (pure).

Recorders that connect again send some packets once more, with the same times. Files joined end to end count their times
from the same start, and both may begin with the same packets of silence: those are no repetition. The next packet shows
which of the two it is: another file has other content at a time that was there before.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

_RECENT: Final = 4096


class RepeatFilter:
    """Packets (with `pts`, `size` and their bytes) in, packets that are no repetition out, in the same order."""

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        """Checksums by time."""
        self._held: list[Any] = []
        """Packets seen before, until the next one shows whether they are a repetition."""

    def push(self, packet: Any) -> Iterator[Any]:
        if packet.pts is None or not packet.size:
            yield packet
            return
        checksum = zlib.crc32(packet)
        before = self._recent.get(packet.pts)
        if before == checksum:
            self._held = [*self._held[1 - _RECENT :], packet]
            return
        if self._held and before is not None:
            yield from self._another_file()
        self._held = []
        self._remember(packet.pts, checksum)
        yield packet

    def _another_file(self) -> Iterator[Any]:
        self._recent = {}
        for packet in self._held:
            self._remember(packet.pts, zlib.crc32(packet))
            yield packet

    def _remember(self, pts: int, checksum: int) -> None:
        self._recent[pts] = checksum
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
