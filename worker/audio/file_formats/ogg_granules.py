"""Compares the granule positions of one Ogg stream with the samples of its packets. No I/O.

The granule position of a page is the number of samples up to the end of its last complete packet. If there is a gap in
the granule positions, libsndfile drops audio, repeats audio, or refuses the file. So libsndfile receives changed pages
with continuous positions, and the gaps are recorded as shifts of the timeline.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from worker.audio.file_formats.ogg_packets import CARRIED_BYTES, PacketClock, clock_of

CONTINUED, FIRST, LAST = 1, 2, 4
"""Bits of header_type_flag: the page continues a packet, is the first page, is the last page of a logical stream (RFC
3533, section 6)."""
_NO_GRANULE: Final = -1  # no packet ends on the page
_GRANULE_AT: Final = 6
_CRC_AT: Final = 22
_RECENT_PAGES: Final = 4096
_MIN_SHIFT_S: Final = 0.001
_MAX_TRIM_S: Final = 0.125
"""If the only page with a position has fewer samples than its packets, encoder padding at the end explains at most two
packets, or this many seconds. A larger difference is a negative start."""
# For each byte, the byte with reversed bits.
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class OggPage:
    """One page. `offset`: bytes from the start of the file."""

    offset: int
    data: bytes

    @property
    def flags(self) -> int:
        return self.data[5]

    @property
    def granule(self) -> int:
        return int.from_bytes(self.data[_GRANULE_AT : _GRANULE_AT + 8], "little", signed=True)

    @property
    def serial(self) -> bytes:
        return self.data[14:18]

    @property
    def number(self) -> int:
        return int.from_bytes(self.data[18:22], "little")

    @property
    def lacing(self) -> bytes:
        return self.data[27 : 27 + self.data[26]]

    @property
    def body(self) -> bytes:
        return self.data[27 + self.data[26] :]

    @property
    def checksum(self) -> bytes:
        """The checksum that the page declares: of its number, position, flags and content."""
        return self.data[_CRC_AT : _CRC_AT + 4]

    @property
    def is_intact(self) -> bool:
        return self.checksum == checksum(self.data)

    def at_granule(self, granule: int) -> tuple[tuple[int, bytes], ...]:
        """Return the patches (offset, bytes) of the file that give the page another granule position and the checksum
        for it."""
        position = granule.to_bytes(8, "little", signed=True)
        data = self.data[:_GRANULE_AT] + position + self.data[_GRANULE_AT + 8 :]
        return (self.offset + _GRANULE_AT, position), (self.offset + _CRC_AT, checksum(data))


def checksum(page: bytes) -> bytes:
    """Compute the CRC of a page. It is computed with zlib's CRC: with the bits reversed, and without initial and final
    inversion."""
    data = page[:_CRC_AT] + bytes(4) + page[_CRC_AT + 4 :]
    value = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "big").translate(_REVERSED)


class StreamPositions:
    """Compares granule positions and samples of one logical stream, whose pages are added in order.

    `patches`: the (offset, bytes) that make granule positions continuous. `repeats`: the (start, end) of the later copy
    of pages that occur twice, in bytes from the start of the file. `shifts`: see `FilePart.shifts`."""

    def __init__(self, first: OggPage) -> None:
        self._clock: PacketClock | None = clock_of(first.body)
        self._in_headers = True
        self._header = b""
        self._carried = b""
        self._is_carrying = False
        self._next_number = 0
        self._samples = 0
        self._start: int | None = None
        self._ahead = 0
        self._damage = ""
        self._recent = {first.number: first.checksum}
        self.patches: list[tuple[int, bytes]] = []
        self.repeats: list[tuple[int, int]] = []
        self.shifts: list[tuple[float, float, str]] = []

    @property
    def form(self) -> str:
        """Codec, rate and channels as text; empty for an unknown codec."""
        clock = self._clock
        return f"{clock.name} {clock.rate} Hz, {clock.channels} channels" if clock is not None else ""

    @property
    def length_s(self) -> float | None:
        """Seconds from the first sample to the last, including gaps, or None if unknown."""
        clock = self._clock
        if clock is None or self._start is None:
            return None
        return max(0, self._samples + self._ahead - self._start - clock.skipped) / clock.rate

    def note_damage(self, reason: str) -> None:
        """Record that pages before the next added page were lost."""
        self._damage = reason

    def is_repeated(self, page: OggPage) -> bool:
        """Whether the page equals one of the recent pages, with its number."""
        return self._recent.get(page.number) == page.checksum

    def add(self, page: OggPage) -> None:
        """Add the next page, in order; the constructor received the first one."""
        if self._clock is None:
            return
        if self.is_repeated(page):
            self.repeats.append((page.offset, page.offset + len(page.data)))
            return
        self._remember(page)
        try:
            if self._in_headers:
                self._take_headers(self._clock, page)
            else:
                self._take_audio(self._clock, page)
        except (ValueError, IndexError):  # the stream violates its specification, so its positions are useless
            self._clock = None
            self.patches.clear()
            self.shifts.clear()

    def _remember(self, page: OggPage) -> None:
        self._recent[page.number] = page.checksum
        # Many at a time, as in `duplicate_packets`.
        if len(self._recent) > 2 * _RECENT_PAGES:
            self._recent = dict(islice(self._recent.items(), _RECENT_PAGES, None))

    def _take_headers(self, clock: PacketClock, page: OggPage) -> None:
        at = 0
        for value in page.lacing:
            self._header += page.body[at : at + value]
            at += value
            if value < 255:
                packet, self._header = self._header, b""
                self._in_headers = clock.take_header(packet)
                if not self._in_headers:
                    return

    def _take_audio(self, clock: PacketClock, page: OggPage) -> None:
        if page.number != self._next_number:
            clock.restart()
            self._is_carrying = False
        self._next_number = page.number + 1
        before = self._samples
        starts, carried = self._packets(page)
        self._samples += clock.samples(page.body, starts, carried)
        if page.granule < 0:
            if page.granule != _NO_GRANULE:
                self.patches += page.at_granule(self._samples)
            return
        ahead = page.granule - self._samples
        if self._start is None:
            longest_trim = max(2 * (self._samples - before) / max(1, len(starts)), _MAX_TRIM_S * clock.rate)
            is_short = bool(page.flags & LAST) and -longest_trim <= ahead < 0
            self._start = self._ahead = 0 if is_short else ahead
        is_trimmed = bool(page.flags & LAST) and ahead < self._ahead
        trim = ahead - self._ahead if is_trimmed else 0
        if not is_trimmed:
            self._shift(clock, before, ahead)
            self._ahead = ahead
        # `ffmpeg -ss -c copy` writes streams that start below 0. libsndfile would drop as much from their end.
        granule = self._samples + trim
        if granule != page.granule:
            self.patches += page.at_granule(granule)
        self._samples += trim
        self._damage = ""

    def _packets(self, page: OggPage) -> tuple[Sequence[int], bytes]:
        """Return the start of each packet that ends on a page. If the first packet began on an earlier page, also
        return the first bytes of that packet."""
        starts, start, at, body = [], 0, 0, page.body
        for value in page.lacing:
            at += value
            if value < 255:
                starts.append(start)
                start = at
        carried = self._carried if self._is_carrying else b""
        if page.flags & CONTINUED and not carried and starts:  # the page with the start of this packet was lost
            starts = starts[1:]
        elif not page.flags & CONTINUED:
            carried = b""
        if start < at:
            self._carried = self._carried if not starts and carried else body[start : start + CARRIED_BYTES]
            self._is_carrying = True
        else:
            self._is_carrying = False
        return starts, carried

    def _shift(self, clock: PacketClock, before: int, ahead: int) -> None:
        """Record a shift if the difference between granule positions and samples has changed."""
        start = self._start or 0
        shift_s = (ahead - start) / clock.rate
        last_s = self.shifts[-1][1] if self.shifts else 0.0
        if abs(shift_s - last_s) >= _MIN_SHIFT_S:
            position = max(0, before - clock.skipped)
            self.shifts.append((position / clock.rate, shift_s, self._damage))
