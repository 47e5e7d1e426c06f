"""The frame headers of an MP3 file (layer III): how many frames there really are, and whether its length tag is true.

Header layout: ISO/IEC 11172-3, 2.4.2.3 and 13818-3; the Xing/Info tag and its LAME extension as LAME writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_USUAL_DELAY: Final = 576
"""Samples that LAME's encoder puts before the first real one; others differ by some hundred. libsndfile drops as many
as a LAME tag tells, and 529 more of its decoder, but nothing where there is no tag (measured: all 1105 stay)."""

_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_CHUNK_BYTES: Final = 1 << 20
_SEARCH_BYTES: Final = 1 << 16
_TAG_SLACK: Final = 0.02  # a length tag may disagree with the file's size by this share (tags at the end, padding)


@dataclass(frozen=True, slots=True)
class _Frame:
    length: int
    samples: int
    side_bytes: int
    version: int
    rate: int

    def alike(self, other: _Frame | None) -> bool:
        return other is not None and (self.version, self.rate) == (other.version, other.rate)


@dataclass(frozen=True, slots=True)
class Layout:
    """An MP3's frames; offsets in bytes from the start of the file."""

    header: bytes
    """The four bytes of the first frame."""
    tag: bytes
    """The whole first frame where it is a length tag, else empty."""
    audio_start: int
    end: int
    frames: int
    """Frames of audio, counted where the tag was not to be trusted."""
    trusted: bool
    """libsndfile gets the length right by itself."""

    def length_frame(self) -> bytes:
        """A first frame that tells the counted number of frames: the file's own tag corrected, or one made here."""
        frame = _parse(self.header)
        if frame is None:
            raise ValueError("not an MP3 header")
        at = 4 + frame.side_bytes
        if self.tag:
            made = bytearray(self.tag)
            made[at + 8 : at + 12] = self.frames.to_bytes(4, "big")
            if made[at + 7] & 2:
                made[at + 12 : at + 16] = (self.end - self.audio_start + len(made)).to_bytes(4, "big")
            return bytes(made)
        header = bytearray(self.header)
        header[1] |= 1  # no checksum
        header[2] = 8 << 4 | header[2] & 0x0C  # a bit rate whose frame has room for the tag
        room = _parse(bytes(header))
        made = bytearray(room.length if room else 0)
        made[:4] = header
        made[at : at + 12] = b"Xing" + (1).to_bytes(4, "big") + self.frames.to_bytes(4, "big")
        made[at + 12 : at + 21] = b"LAME3.100"
        made[at + 33 : at + 36] = (_USUAL_DELAY << 12).to_bytes(3, "big")
        return bytes(made)


def is_header(data: bytes) -> bool:
    """Whether four bytes are a layer III frame header of a known bit rate."""
    return _parse(data) is not None


def _parse(data: bytes) -> _Frame | None:
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
    return _Frame(length, 1152 if first else 576, side, version, rate)


def examine(path: Path) -> Layout | None:
    """The layout of an MP3 file; None where no layer III frame is found near its start (libsndfile decides then).

    Reads a few kilobytes where the tag and the file's size agree, else every frame header (about 0.1 s an hour).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = _after_id3(file.read(10))
        file.seek(start)
        head = file.read(_SEARCH_BYTES)
    offset = _first_frame(head)
    if offset is None:
        return None
    start += offset
    first = _parse(head[offset:])
    if first is None:
        return None
    header, frame = head[offset : offset + 4], head[offset : offset + first.length]
    mark = frame[4 + first.side_bytes : 8 + first.side_bytes]
    tag = frame if mark in (b"Xing", b"Info") else b""
    if tag:
        told_frames, told_bytes = _told(tag, 4 + first.side_bytes)
        if told_frames and told_bytes and size - start <= told_bytes * (1 + _TAG_SLACK):
            return Layout(header, tag, start + len(tag), size, told_frames, trusted=True)
        start += len(tag)
    else:
        told_frames = 0
    frames = _count(path, start, first)
    return Layout(header, tag, start, size, frames, trusted=bool(tag) and frames <= told_frames + 1)


def _after_id3(data: bytes) -> int:
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


def _first_frame(head: bytes) -> int | None:
    """Where the first frame starts that another one of its kind follows."""
    at = head.find(b"\xff")
    while at >= 0:
        frame = _parse(head[at : at + 4])
        if frame and frame.alike(_parse(head[at + frame.length : at + frame.length + 4])):
            return at
        at = head.find(b"\xff", at + 1)
    return None


def _told(tag: bytes, at: int) -> tuple[int, int]:
    """Frames and bytes as the tag has them, 0 for what it does not say."""
    flags = tag[at + 7]
    frames = int.from_bytes(tag[at + 8 : at + 12], "big") if flags & 1 else 0
    at += 12 if flags & 1 else 8
    return frames, int.from_bytes(tag[at : at + 4], "big") if flags & 2 else 0


def _count(path: Path, start: int, like: _Frame) -> int:
    """Frames from `start` on, damaged stretches passed over; the file is read a megabyte at a time."""
    known: dict[bytes, _Frame] = {}
    count = 0
    with path.open("rb") as file:
        file.seek(start)
        data, at = file.read(_CHUNK_BYTES), 0
        while True:
            if at + 4 > len(data):
                if at > len(data):
                    file.seek(at - len(data), 1)
                data, at = data[at:] + file.read(_CHUNK_BYTES), 0
                if len(data) < 4:
                    return count
            header = data[at : at + 4]
            frame = known.get(header) or _parse(header)
            if frame is not None and like.alike(frame):
                known[header] = frame
                count += 1
                at += frame.length
            else:
                following = data.find(b"\xff", at + 1)
                at = following if following >= 0 else len(data)
