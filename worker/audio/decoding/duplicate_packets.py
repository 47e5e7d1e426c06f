"""Drops packets that a file contains twice (pure).

Recorders that reconnect send some packets again, with the same times. Joined files count their times from the same
start, and both may begin with equal packets of silence: these are not repetitions. The next packet distinguishes the
two cases: another file has other content at an earlier time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

_RECENT: Final = 4096


class RepeatFilter:
    """Filters packets (with `pts`, `size` and their bytes): yields all but repetitions, in order."""

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        """Checksums by time."""
        self._pending: list[Any] = []
        """Packets seen before, until the next one shows whether they are a repetition."""

    def push(self, packet: Any) -> Iterator[Any]:
        if packet.pts is None or not packet.size:
            yield packet
            return
        checksum = zlib.crc32(packet)
        before = self._recent.get(packet.pts)
        if before == checksum:
            self._pending = [*self._pending[1 - _RECENT :], packet]
            return
        if self._pending and before is not None:
            yield from self._another_file()
        self._pending = []
        self._remember(packet.pts, checksum)
        yield packet

    def _another_file(self) -> Iterator[Any]:
        self._recent = {}
        for packet in self._pending:
            self._remember(packet.pts, zlib.crc32(packet))
            yield packet

    def _remember(self, pts: int, checksum: int) -> None:
        self._recent[pts] = checksum
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
