"""Parses the frame headers of MP3 (layer III), its length tags, and the tags between files. No I/O.

Sources: ISO/IEC 11172-3, 2.4.2.3, and 13818-3 for the header layout; the LAME encoder for the length tag (Xing or
Info); id3.org for ID3 tags; wiki.hydrogenaudio.org for APEv2 tags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Keys: the version bits of the header; 3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5. The bit rates follow for MPEG-1, then
# for the other two.
_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
LENGTH_TAG_MARKS: Final = (b"Xing", b"Info")
MAX_FRAME_BYTES: Final = 1441
_ID3V1_BYTES: Final = 128
_ID3V1_LONG_BYTES: Final = 227


@dataclass(frozen=True, slots=True)
class Mp3Frame:
    """The values of a frame header."""

    length: int
    """Size of the frame in bytes."""
    samples: int
    side_bytes: int
    """Size of the side information in bytes. A length tag begins after it."""
    version: int
    rate: int
    channels: int

    def is_similar(self, other: Mp3Frame | None) -> bool:
        return other is not None and (self.version, self.rate, self.channels) == (
            other.version,
            other.rate,
            other.channels,
        )


def parse(data: bytes) -> Mp3Frame | None:
    """Parse a frame header of layer III. Returns None if `data` (four bytes) is no header with a defined bit rate."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:  # sync, layer III
        return None
    version = data[1] >> 3 & 3
    kbps_index, rate_index = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or kbps_index in (0, 15) or rate_index == 3:
        return None
    mono = data[3] >> 6 == 3
    rate = _RATES[version][rate_index]
    first = version == 3
    kbps = (_KBPS_1 if first else _KBPS_2)[kbps_index]
    length = (144 if first else 72) * kbps * 1000 // rate + (data[2] >> 1 & 1)
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return Mp3Frame(length, 1152 if first else 576, side, version, rate, 1 if mono else 2)


def tagged_bytes(tag: bytes, side_bytes: int) -> int:
    """Return the number of bytes that the length tag declares; 0 if the tag has no such field."""
    at = 4 + side_bytes
    flags = tag[at + 7]
    at += 12 if flags & 1 else 8
    return int.from_bytes(tag[at : at + 4], "big") if flags & 2 else 0


def tagged_frames(tag: bytes, side_bytes: int) -> int:
    """Return the number of frames that the length tag declares; 0 if the tag has no such field."""
    at = 4 + side_bytes
    return int.from_bytes(tag[at + 8 : at + 12], "big") if tag[at + 7] & 1 else 0


def tag_bytes(data: bytes) -> int:
    """Return the size in bytes of the tag at the start of `data`, or 0 if there is no tag: ID3v2, APEv2, ID3v1 or
    Lyrics3. `data` contains at least the first 32 bytes of the tag."""
    if data[:3] == b"ID3":
        return _id3_bytes(data)
    if data[:8] == b"APETAGEX":
        is_header = len(data) > 23 and data[23] & 0x20
        # A footer alone follows the items of its tag.
        return 32 + (int.from_bytes(data[12:16], "little") if is_header else 0)
    if data[:3] == b"TAG":
        return _ID3V1_LONG_BYTES if data[3:4] == b"+" else _ID3V1_BYTES
    if data[:11] == b"LYRICSBEGIN":
        end = max(data.find(b"LYRICS200"), data.find(b"LYRICSEND"))
        return end + 9 if end > 0 else 11
    return 0


def _id3_bytes(data: bytes) -> int:
    """Return the size of an ID3v2 tag, or 0 if its header is not valid. Random data contains `ID3` too."""
    head = data[:10]
    if len(head) < 10 or not 2 <= head[3] <= 4 or head[4] == 0xFF or head[5] & 0x0F or max(head[6:]) > 0x7F:
        return 0
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte
    return 10 + size + (10 if head[5] & 0x10 else 0)


def silent_frames(header: bytes, size: int, count: int) -> list[tuple[bytes, int]]:
    """Return `count` frames of silence, or fewer if `size` bytes are too few, as pairs of a frame and the number of its
    repetitions. The frames fill `size` bytes, except for the last bytes if no two bit rates fill them exactly.

    `header`: the header of a frame with the same rate and channels."""
    kinds = ((kbps_index, padding) for kbps_index in range(1, 15) for padding in (0, 1))
    frames = sorted((_silent(header, *kind) for kind in kinds), key=len)
    count = min(count, size // len(frames[0]))
    if not count:
        return []
    at = max(k for k, frame in enumerate(frames) if len(frame) * count <= size)
    small, large = frames[at], frames[min(at + 1, len(frames) - 1)]
    step = len(large) - len(small)
    large_count = min(count, (size - count * len(small)) // step) if step else 0
    return [(small, count - large_count), (large, large_count)]


def _silent(header: bytes, kbps_index: int, padding: int) -> bytes:
    """Return a frame whose side information declares that its granules contain no data."""
    made = bytearray(header[:4])
    made[1] |= 1  # no checksum
    made[2] = kbps_index << 4 | made[2] & 0x0D | padding << 1
    frame = parse(bytes(made))
    return bytes(made) + bytes(frame.length - 4) if frame else bytes(made)
