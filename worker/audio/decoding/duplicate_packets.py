"""Drops packets that a file contains twice. No I/O.

Recorders that reconnect send some packets again, with the same timestamps. Joined files look similar: the timestamps of
both files begin at the same value, and both may begin with equal packets of silence, which must not be dropped. The
next packet shows which case it is: in a joined file, its timestamp has occurred before, but with other content.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

_RECENT: Final = 4096


class RepeatFilter:
    """Returns packets in order, without duplicates. A packet is a packet of PyAV: it has `pts` (its timestamp) and
    `size`, and can be read as bytes."""

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        """Checksums of the recent packets by timestamp, of at least the last _RECENT packets."""
        self._pending: list[Any] = []
        """Packets that look like duplicates, until the next packet decides."""

    def push(self, packet: Any) -> Sequence[Any]:
        """Add a packet. Returns the packets that are certainly not duplicates."""
        pts = packet.pts
        if pts is None or not packet.size:
            return (packet,)
        checksum = zlib.crc32(packet)
        before = self._recent.get(pts)
        if before == checksum:
            self._pending = [*self._pending[1 - _RECENT :], packet]
            return ()
        others = self._another_file() if self._pending and before is not None else []
        self._pending = []
        self._remember(pts, checksum)
        return (*others, packet)

    def _another_file(self) -> list[Any]:
        self._recent = {}
        for packet in self._pending:
            self._remember(packet.pts, zlib.crc32(packet))
        return self._pending

    def _remember(self, pts: int, checksum: int) -> None:
        self._recent[pts] = checksum
        # Many at a time: to delete the oldest entry of a dict, Python first skips the places of all deleted entries.
        if len(self._recent) > 2 * _RECENT:
            self._recent = dict(islice(self._recent.items(), _RECENT, None))
