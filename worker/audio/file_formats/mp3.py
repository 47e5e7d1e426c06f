"""Reads the frame headers of an MP3 file (layer III): finds its recordings and checks their length tags.

Sources: ISO/IEC 11172-3, 2.4.2.3, and 13818-3 for the header layout; the LAME encoder for the length tag (Xing or Info)
and its extension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.audio.opened_file import SourceFile

_USUAL_DELAY: Final = 576
"""Number of samples that the LAME encoder adds before the audio; other encoders differ by a few hundred. With a LAME
tag, libsndfile drops the number of samples in the tag and 529 samples that its decoder adds. Without a tag it drops
none (measured: all 1105 remain)."""

# Keys: the version bits of the header; 3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5. The bit rates follow for MPEG-1, then
# for the other two.
_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_CHUNK_BYTES: Final = 1 << 20
_SEARCH_BYTES: Final = 1 << 16
_MAX_FRAME_BYTES: Final = 1441
_PROBE_BYTES: Final = 2 * _MAX_FRAME_BYTES + 8
_PROBE_EVERY_S: Final = 5.0
_MIN_PROBES: Final = 8
_TAG_SLACK: Final = 0.02  # a file may be longer than its length tag by this share: tags at the end, padding
_LOOK_BYTES: Final = 64  # these first bytes of a frame contain its header and the start of a length tag
_TAG_MARKS: Final = (b"Xing", b"Info")
_SURE_FRAMES: Final = 3
"""Number of similar frames in a row from which a recording begins. Two may occur by chance in the data of a picture."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """The values of a frame header."""

    length: int
    """Size of the frame in bytes."""
    samples: int
    side_bytes: int
    """Size of the side information in bytes. A length tag begins after it."""
    version: int
    rate: int
    channels: int

    def is_similar(self, other: _Frame | None) -> bool:
        return other is not None and (self.version, self.rate, self.channels) == (
            other.version,
            other.rate,
            other.channels,
        )


@dataclass(frozen=True, slots=True)
class Mp3Recording:
    """One recording in an MP3 file: consecutive frames with the same rate and channels. Most files have only one
    recording. Positions are bytes from the start of the file."""

    header: bytes
    """The four bytes of the first frame."""
    tag: bytes
    """The first frame if it is a length tag, else empty."""
    audio_start: int
    end: int
    frames: int
    """Number of frames with audio."""

    @property
    def trusted(self) -> bool:
        """Whether libsndfile finds the correct length without a corrected length tag."""
        return bool(self.tag) and self.frames <= _tagged_frames(self.tag, self.first.side_bytes) + 1

    @property
    def start(self) -> int:
        """Position of the recording, including its length tag."""
        return self.audio_start - len(self.tag)

    @property
    def rate(self) -> int:
        return self.first.rate

    @property
    def channels(self) -> int:
        return self.first.channels

    @property
    def length_s(self) -> float:
        return self.frames * self.first.samples / self.rate

    @property
    def first(self) -> _Frame:
        frame = _parse(self.header)
        if frame is None:
            raise ValueError("not an MP3 header")
        return frame

    def length_frame(self) -> bytes:
        """Return a length tag with the counted number of frames: the file's own tag, corrected, or a new tag."""
        at = 4 + self.first.side_bytes
        if self.tag:
            made = bytearray(self.tag)
            made[at + 8 : at + 12] = self.frames.to_bytes(4, "big")
            if made[at + 7] & 2:
                made[at + 12 : at + 16] = (self.end - self.audio_start + len(made)).to_bytes(4, "big")
            return bytes(made)
        header = bytearray(self.header)
        header[1] |= 1  # no checksum
        header[2] = 8 << 4 | header[2] & 0x0C  # a bit rate with frames large enough for the tag
        room = _parse(bytes(header))
        made = bytearray(room.length if room else 0)
        made[:4] = header
        made[at : at + 12] = b"Xing" + (1).to_bytes(4, "big") + self.frames.to_bytes(4, "big")
        made[at + 12 : at + 21] = b"LAME3.100"
        made[at + 33 : at + 36] = (_USUAL_DELAY << 12).to_bytes(3, "big")
        return bytes(made)


def is_header(data: bytes) -> bool:
    """Whether `data` (four bytes) is a layer III frame header with a defined bit rate."""
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
    return _Frame(length, 1152 if first else 576, side, version, rate, 1 if mono else 2)


def scan_recordings(path: SourceFile) -> list[Mp3Recording]:
    """Find the recordings of an MP3 file, in order. The list is empty if there is no layer III frame near the start of
    the file.

    A new recording begins where rate or channels change, and at each further length tag. If a length tag agrees with
    the file size, only some kilobytes are read for every 5 s of audio. Otherwise all frame headers are read, which
    takes about 0.1 s for an hour of audio. Damage, tags and pictures between frames are skipped.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = _after_id3(file.read(10))
        file.seek(start)
        head = file.read(_SEARCH_BYTES)
        offset = _first_frame(head)
        if offset is None:
            return []
        tagged = _as_tagged(head[offset:], start + offset, size)
        if tagged is not None and _is_uniform(file, tagged):
            return [tagged]
        return list(_recordings(_Window(file, start + offset), size))


def _as_tagged(head: bytes, start: int, size: int) -> Mp3Recording | None:
    """Return the whole file as one recording, with the values of its length tag. Returns None if there is no tag, or if
    the file is longer than the tag declares."""
    first = _parse(head)
    if first is None or head[4 + first.side_bytes : 8 + first.side_bytes] not in _TAG_MARKS:
        return None
    tag = head[: first.length]
    frames, count = _tagged_frames(tag, first.side_bytes), _tagged_bytes(tag, first.side_bytes)
    if not frames or not count or size - start > count * (1 + _TAG_SLACK):
        return None
    return Mp3Recording(head[:4], tag, start + len(tag), size, frames)


def _is_uniform(file: BinaryIO, tagged: Mp3Recording) -> bool:
    """Whether all frames have the same rate and channels, and no frame follows the end that the tag declares. Checks
    only some positions in the file."""
    like = tagged.first
    end = min(tagged.end, tagged.start + _tagged_bytes(tagged.tag, like.side_bytes))
    probes = max(_MIN_PROBES, int(tagged.length_s / _PROBE_EVERY_S))
    step = max(_PROBE_BYTES, (end - tagged.audio_start) // probes)
    for at in range(tagged.audio_start, end - _PROBE_BYTES, step):
        file.seek(at)
        data = file.read(_PROBE_BYTES)
        found = _first_frame(data)
        if found is None or not like.is_similar(_parse(data[found:])):
            return False
    file.seek(end)
    return _first_frame(file.read(tagged.end - end)) is None


def _after_id3(data: bytes) -> int:
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


def _first_frame(head: bytes) -> int | None:
    """Return the position of the first frame that is followed by a similar frame, or None if there is no such frame."""
    at = head.find(b"\xff")
    while at >= 0:
        frame = _parse(head[at : at + 4])
        if frame and frame.is_similar(_parse(head[at + frame.length : at + frame.length + 4])):
            return at
        at = head.find(b"\xff", at + 1)
    return None


def _tagged_bytes(tag: bytes, side_bytes: int) -> int:
    """Return the number of bytes that the length tag declares; 0 if the tag has no such field."""
    at = 4 + side_bytes
    flags = tag[at + 7]
    at += 12 if flags & 1 else 8
    return int.from_bytes(tag[at : at + 4], "big") if flags & 2 else 0


def _tagged_frames(tag: bytes, side_bytes: int) -> int:
    """Return the number of frames that the length tag declares; 0 if the tag has no such field."""
    at = 4 + side_bytes
    return int.from_bytes(tag[at + 8 : at + 12], "big") if tag[at + 7] & 1 else 0


class _Window:
    """Reads a file forward, a megabyte at a time. `at` is an index into `data`."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._base = start
        file.seek(start)
        self.data = file.read(_CHUNK_BYTES)
        self.at = 0

    @property
    def position(self) -> int:
        """Byte position in the file."""
        return self._base + self.at

    def refill(self) -> bool:
        """Move the window so that it begins at `at`. Returns False at the end of the file."""
        if self.at > len(self.data):
            self._file.seek(self.at - len(self.data), 1)
        rest = self.data[self.at :]
        self._base += self.at
        self.data, self.at = rest + self._file.read(_CHUNK_BYTES), 0
        return len(self.data) >= 4


def _recordings(window: _Window, size: int) -> Iterator[Mp3Recording]:
    like: _Frame | None = None
    header, tag, audio_start, count, end = b"", b"", 0, 0, 0
    known: dict[bytes, _Frame] = {}
    while window.at + _LOOK_BYTES <= len(window.data) or window.refill():
        data, at = window.data, window.at
        head = data[at : at + 4]
        frame = known.get(head)
        if frame is None:
            frame = _parse(head)
            if frame is None or not frame.is_similar(like):
                if frame is None or not _are_frames(window, frame):
                    window.at = _next_candidate(data, at)
                    continue
                if count:
                    yield Mp3Recording(header, tag, audio_start, end, count)
                like, header, tag, audio_start, count, known = frame, head, b"", window.position, 0, {}
            known[head] = frame
            data, at = window.data, window.at
        tag_at = at + 4 + frame.side_bytes
        if data[tag_at : tag_at + 4] in _TAG_MARKS:
            if count:
                yield Mp3Recording(header, tag, audio_start, end, count)
            header, tag, count = head, data[at : at + frame.length], 0
            audio_start = end = window.position + frame.length
            window.at += frame.length
            continue
        count += 1
        window.at += frame.length
        end = window.position
    if count and like is not None:
        yield Mp3Recording(header, tag, audio_start, size, count)


def _are_frames(window: _Window, frame: _Frame) -> bool:
    """Whether `_SURE_FRAMES` similar frames follow each other from the position of the window. Near the end of the
    file, fewer frames are enough."""
    if window.at + (_SURE_FRAMES + 1) * _MAX_FRAME_BYTES > len(window.data):
        window.refill()
    at = window.at
    for _ in range(_SURE_FRAMES - 1):
        at += frame.length
        if at + 4 > len(window.data):
            return True
        following = _parse(window.data[at : at + 4])
        if following is None or not frame.is_similar(following):
            return False
        frame = following
    return True


def _next_candidate(data: bytes, at: int) -> int:
    """Return the index at which the next frame may start. If an ID3 tag begins at `at`, this is the end of the tag.
    Otherwise it is the next sync byte or tag."""
    if data[at : at + 3] == b"ID3":
        return at + _after_id3(data[at : at + 10])
    found, tag = data.find(b"\xff", at + 1), data.find(b"ID3", at + 1)
    places = [place for place in (found, tag) if place >= 0]
    return min(places) if places else max(at + 1, len(data) - 3)
