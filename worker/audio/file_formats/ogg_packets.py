"""Counts the decoded samples of the packets of an Ogg stream by their first bytes. No I/O.

Sources: RFC 6716, section 3.1, and RFC 7845 for Opus; the Vorbis I specification, sections 4.2 and 4.3; and the source
code of libspeex and libFLAC for Speex and FLAC in Ogg.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from worker.audio.file_formats.flac_frames import HEADER_BYTES, parse_frame

_OPUS_RATE: Final = 48000
_OPUS_FRAME_MS: Final = (
    *(10.0, 20.0, 40.0, 60.0) * 3,  # SILK
    *(10.0, 20.0) * 2,  # hybrid
    *(2.5, 5.0, 10.0, 20.0) * 4,  # CELT
)
_MAX_VORBIS_MODES: Final = 64
CARRIED_BYTES: Final = HEADER_BYTES
"""Number of bytes at the start of a packet that are needed to count its samples."""


class PacketClock(Protocol):
    """Counts the samples of one stream, in the unit of its granule positions."""

    name: str
    rate: int
    channels: int
    skipped: int
    """Number of samples at the start of the stream that a decoder drops."""

    def take_header(self, packet: bytes) -> bool:
        """Read the next header packet. Returns False after the last one. Raises ValueError for a broken packet."""
        ...

    def samples(self, body: bytes, starts: Sequence[int], carried: bytes) -> int:
        """Return the number of samples of the packets that end on a page. `body`: the content of the page. `starts`:
        the positions in `body` where these packets begin. `carried`: the first CARRIED_BYTES of the first packet if it
        began on an earlier page."""
        ...

    def restart(self) -> None:
        """Discard the state of the previous packet, because pages are missing. A decoder restarts with the next
        packet."""
        ...


def clock_of(first: bytes) -> PacketClock | None:
    """Create the clock for a stream whose first packet is `first`. Returns None for an unknown codec."""
    try:
        if first.startswith(b"OpusHead"):
            return _Opus(first)
        if first.startswith(b"\x01vorbis"):
            return _Vorbis(first)
        if first.startswith(b"Speex   "):
            return _Speex(first)
        if first.startswith(b"\x7fFLAC"):
            return _Flac(first)
    except (IndexError, ValueError):
        return None
    return None


class _Opus:
    name = "Opus"
    rate = _OPUS_RATE

    def __init__(self, head: bytes) -> None:
        self.channels = head[9]
        self.skipped = int.from_bytes(head[10:12], "little")
        self._frame = [round(ms * _OPUS_RATE / 1000) for ms in _OPUS_FRAME_MS]

    def take_header(self, packet: bytes) -> bool:
        return not packet.startswith(b"OpusTags")

    def samples(self, body: bytes, starts: Sequence[int], carried: bytes) -> int:
        total = 0
        for start in starts:
            head, carried = carried or body[start : start + 2], b""
            if head:
                code = head[0] & 3
                frames = 1 if code == 0 else 2 if code < 3 else head[1] & 63 if len(head) > 1 else 0
                total += frames * self._frame[head[0] >> 3]
        return total

    def restart(self) -> None:
        """Does nothing: packets do not depend on earlier ones."""


class _Vorbis:
    name = "Vorbis"
    skipped = 0

    def __init__(self, head: bytes) -> None:
        self.channels = head[11]
        self.rate = int.from_bytes(head[12:16], "little")
        self._sizes = (1 << (head[28] & 15), 1 << (head[28] >> 4))
        self._quarters: list[int] = []
        self._last = 0
        if not self.rate:
            raise ValueError("no sample rate")

    def take_header(self, packet: bytes) -> bool:
        if not packet.startswith(b"\x05vorbis"):
            return True
        long_modes = _vorbis_modes(packet)
        mask = (1 << (len(long_modes) - 1).bit_length()) - 1
        modes = [long_modes[min(byte >> 1 & mask, len(long_modes) - 1)] for byte in range(256)]
        self._quarters = [self._sizes[is_long] // 4 for is_long in modes]
        return False

    def restart(self) -> None:
        self._last = 0

    def samples(self, body: bytes, starts: Sequence[int], carried: bytes) -> int:
        total, last, quarters = 0, self._last, self._quarters
        for start in starts:
            byte = carried[0] if carried else body[start] if start < len(body) else 1
            carried = b""
            if not byte & 1:  # audio
                quarter = quarters[byte]
                total += last + quarter if last else 0
                last = quarter
        self._last = last
        return total


def _vorbis_modes(setup: bytes) -> list[bool]:
    """Return, for each mode of the setup header, whether its blocks are long. Raises ValueError.

    The header is read backwards from its end. The fields before the modes declare no length, so a reader from the start
    would have to decode them completely."""
    bits = format(int.from_bytes(setup, "little"), f"0{8 * len(setup)}b")
    at = bits.index("1") + 1  # the framing bit
    found: list[bool] = []
    modes: list[bool] = []
    while at + 41 + 6 <= len(bits) and len(modes) < _MAX_VORBIS_MODES:
        mapping, types = int(bits[at : at + 8], 2), bits[at + 8 : at + 40]
        if mapping >= _MAX_VORBIS_MODES or "1" in types:
            break
        modes.append(bits[at + 40] == "1")
        at += 41
        if int(bits[at : at + 6], 2) + 1 == len(modes):
            found = modes[::-1]
    if not found:
        raise ValueError("no modes")
    return found


class _Speex:
    name = "Speex"
    skipped = 0

    def __init__(self, head: bytes) -> None:
        fields = [int.from_bytes(head[at : at + 4], "little") for at in range(36, 72, 4)]
        self.rate, self.channels = fields[0], fields[3]
        self._packet = fields[5] * (fields[7] or 1)
        self._headers = 1 + fields[8]  # the comments and the extra headers follow this one
        if not self.rate or not self._packet:
            raise ValueError("no sample rate")

    def take_header(self, packet: bytes) -> bool:
        self._headers -= 1
        return self._headers > 0

    def samples(self, body: bytes, starts: Sequence[int], carried: bytes) -> int:
        return self._packet * len(starts)

    def restart(self) -> None:
        """Does nothing: packets do not depend on earlier ones."""


class _Flac:
    name = "FLAC"
    skipped = 0

    def __init__(self, head: bytes) -> None:
        info = head[17:]  # STREAMINFO, after its block header
        self.rate = int.from_bytes(info[10:13], "big") >> 4
        self.channels = (info[12] >> 1 & 7) + 1
        if not self.rate:
            raise ValueError("no sample rate")

    def take_header(self, packet: bytes) -> bool:
        return not (packet[:1] and packet[0] & 0x80 and packet[:1] != b"\x7f")

    def samples(self, body: bytes, starts: Sequence[int], carried: bytes) -> int:
        total = 0
        for start in starts:
            # The last frame of a stream is smaller than the others. FFmpeg may write an empty packet after it.
            frame = parse_frame(carried or body[start : start + HEADER_BYTES])
            total += frame.size if frame is not None else 0
            carried = b""
        return total

    def restart(self) -> None:
        """Does nothing: packets do not depend on earlier ones."""
