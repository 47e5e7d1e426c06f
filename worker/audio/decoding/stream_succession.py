"""Distinguishes successive audio streams of one container from parallel streams. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SUCCESSION_PACKETS: Final = 64
"""After this many packets (about a second of audio) without a packet of the stream that is read, another stream has
succeeded it. Parallel streams alternate more often."""
_MIN_PARALLEL_SHARE: Final = 1 / 8
"""A parallel stream has at least this many packets for each packet of the other stream. Packets of common codecs last
20 to 130 ms. At a change of stream, a recorder may send a few late packets of the earlier stream."""
_MAX_PACKETS_BEFORE: Final = 1 << 15
"""The start of a stream is searched in at most this many packets of another stream: about 12 minutes of audio."""


class FirstStream:
    """Finds the audio streams that begin before the default stream: either a recorder changed from such a stream to the
    default stream, or both streams are parallel and the default stream begins later."""

    def __init__(self, default: int) -> None:
        self._default = default
        self._own = 0
        self._before: dict[int, int] = {}
        self._after: dict[int, int] = {}

    def add(self, stream: int) -> bool:
        """Record a packet. Returns whether no further packets are needed."""
        if stream == self._default:
            self._own += 1
            return self._own >= SUCCESSION_PACKETS or not self._earlier
        counts = self._after if self._own else self._before
        counts[stream] = counts.get(stream, 0) + 1
        return not self._own and counts[stream] >= _MAX_PACKETS_BEFORE

    @property
    def _earlier(self) -> list[int]:
        return [stream for stream, count in self._before.items() if count >= SUCCESSION_PACKETS]

    @property
    def parallel(self) -> frozenset[int]:
        """The streams that begin earlier and go on when the default stream begins."""
        return frozenset(
            stream
            for stream in self._earlier
            if self._own and self._after.get(stream, 0) >= self._own * _MIN_PARALLEL_SHARE
        )

    @property
    def continued(self) -> int | None:
        """The first stream that ends where the default stream begins, or None. If the default stream begins very late
        or never, the first stream with many packets."""
        return next((stream for stream in self._earlier if stream not in self.parallel), None)


class Succession:
    """Counts the packets of other streams since the last packet of the stream that is read."""

    def __init__(self, stream: int, parallel: Iterable[int] = ()) -> None:
        """`parallel`: other streams that are known to be parallel."""
        self._stream = stream
        self._began: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._parallel = set(parallel)

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
