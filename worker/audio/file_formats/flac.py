"""Finds the real length of a FLAC file by its last frame, and the streams of joined FLAC files. Source: RFC 9639.

libsndfile stops at the declared length, so an outdated header hides the rest of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.audio.opened_file import SourceFile

_STREAMINFO_END: Final = 42  # marker (4 bytes), header of the first block (4), its content (34)
# Possible headers of the first block. Bit 7 of the first byte means that no other block follows.
_STREAMINFO_HEADS: Final = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
_CHUNK_BYTES: Final = 1 << 20
_LARGE_BYTES: Final = 4 << 20
"""A smaller file is always searched completely, which takes a few milliseconds."""
_PROBES: Final = 12
_PROBE_BYTES: Final = 64 << 10
_TOTAL_AT: Final = 21  # the number of samples has 36 bits: the lower 4 bits of this byte, and the next 4 bytes
_TAIL_BYTES: Final = 256 << 10  # contains the last frame, which has at most 64 Ki samples
_BLOCK_SIZES: Final = {1: 192, **{k: 576 << (k - 2) for k in range(2, 6)}, **{k: 256 << (k - 8) for k in range(8, 16)}}


@dataclass(frozen=True, slots=True)
class FlacLength:
    """The length in samples per channel, according to the header (0 if it declares none) and according to the last
    frame."""

    declared_samples: int
    actual_samples: int
    head_without_length: bytes
    """The start of the file up to the end of its first block, with a declared length of 0."""
    rest_start: int
    """Byte position of the rest of the file, after the first block."""


def length_of(path: SourceFile) -> FlacLength | None:
    """Return the declared and the real length of a file. Returns None if the file is not plain FLAC, or if other data
    follows the last frame."""
    with path.open("rb") as file:
        start = _after_id3(file.read(10))
        file.seek(start)
        head = file.read(_STREAMINFO_END)
        if len(head) < _STREAMINFO_END or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
            return None
        declared = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") & ((1 << 36) - 1)
        smallest, largest = int.from_bytes(head[8:10], "big"), int.from_bytes(head[10:12], "big")
        tail = _tail(file)
    actual = _end_of_last_frame(tail, largest if smallest == largest else 0)
    if actual is None:
        return None
    without_length = bytearray(head)
    without_length[_TOTAL_AT] &= 0xF0
    without_length[_TOTAL_AT + 1 : _TOTAL_AT + 5] = bytes(4)
    return FlacLength(declared, actual, bytes(without_length), start + len(head))


@dataclass(frozen=True, slots=True)
class FlacStream:
    """One of several FLAC streams in a file. `start` and `end` in bytes; `length_s` is 0 if the header declares
    none."""

    start: int
    end: int
    rate: int
    channels: int
    length_s: float


def streams(path: SourceFile) -> list[FlacStream]:
    """Return the streams of a file that consists of joined files. The list is empty for a single stream. In a large
    file, some positions are checked first. The whole file is only searched if the frame numbers at these positions do
    not rise, or if the length is wrong."""
    length = length_of(path)
    size, base, rest = path.stat().st_size, 0, b""
    if (
        size > _LARGE_BYTES
        and length is not None
        and length.declared_samples in (0, length.actual_samples)
        and _frame_numbers_rise(path, length)
    ):
        return []
    starts: list[tuple[int, bytes]] = []
    with path.open("rb") as file:
        while data := file.read(_CHUNK_BYTES):
            block = rest + data
            at = block.find(b"fLaC")
            while 0 <= at <= len(block) - _STREAMINFO_END:
                if block[at + 4 : at + 8] in _STREAMINFO_HEADS:
                    starts.append((base + at, block[at : at + _STREAMINFO_END]))
                at = block.find(b"fLaC", at + 1)
            rest = block[1 - _STREAMINFO_END :]
            base += len(block) - len(rest)
    if len(starts) < 2:
        return []
    ends = [start for start, _ in starts[1:]] + [size]
    return [_stream(start, end, head) for (start, head), end in zip(starts, ends, strict=True)]


def _frame_numbers_rise(path: SourceFile, length: FlacLength) -> bool:
    """Whether the frame numbers rise from each checked position to the next one. In a second stream, frame numbers
    would restart at zero."""
    size, last = path.stat().st_size, 0
    smallest, largest = (int.from_bytes(length.head_without_length[at : at + 2], "big") for at in (8, 10))
    with path.open("rb") as file:
        for number in range(1, _PROBES + 1):
            file.seek(max(length.rest_start, size * number // _PROBES - _PROBE_BYTES))
            end = _end_of_last_frame(file.read(_PROBE_BYTES), largest if smallest == largest else 0)
            if end is None or end < last:
                return False
            last = end
    return True


def _stream(start: int, end: int, head: bytes) -> FlacStream:
    rate = int.from_bytes(head[18:21], "big") >> 4
    samples = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") & ((1 << 36) - 1)
    return FlacStream(start, end, rate, (head[20] >> 1 & 7) + 1, samples / rate if rate else 0.0)


def _after_id3(data: bytes) -> int:
    """Return the byte position of the FLAC marker. Some programs write an ID3 tag before it, against the
    specification."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _tail(file: BinaryIO) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(_STREAMINFO_END, size - _TAIL_BYTES))
    return file.read()


def _end_of_last_frame(data: bytes, block_size: int) -> int | None:
    """Return the number of the sample after the last frame of `data`, or None if no frame is found.

    `block_size`: number of samples in each frame except the last, or 0 if frames have variable sizes; their headers
    then contain sample numbers. The function searches backwards. A header is only accepted if the next frame starts
    where the frame of the header ends, because other bytes may look like a header."""
    later: dict[int, int] = {}  # start of each frame found so far -> its end, in samples
    at = len(data)
    while (at := data.rfind(b"\xff", 0, at)) >= 0:
        frame = _frame(data[at : at + 16], block_size)
        if frame is not None:
            start, end = frame
            if end in later:
                return later[end]
            later.setdefault(start, end)
    return later.get(0)


def _frame(head: bytes, block_size: int) -> tuple[int, int] | None:
    """Return the number of the first sample of a frame, and the number of the sample after its last sample. Returns
    None if `head` is not a frame header."""
    if len(head) < 6 or head[1] not in (0xF8, 0xF9):
        return None
    counts_samples = head[1] == 0xF9
    code, number = _utf8_number(head[4:])
    if number is None or head[3] & 1 or (not counts_samples and not block_size):
        return None
    at = 4 + code
    size_code, rate_code = head[2] >> 4, head[2] & 0xF
    extra = {6: 1, 7: 2}.get(size_code, 0)
    size = int.from_bytes(head[at : at + extra], "big") + 1 if extra else _BLOCK_SIZES.get(size_code)
    at += extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if size is None or at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    start = number if counts_samples else number * block_size
    return start, start + size


def _utf8_number(data: bytes) -> tuple[int, int | None]:
    """Decode a number that is encoded like a UTF-8 character. Returns its size in bytes and its value. The value is
    None for invalid bytes."""
    first = data[0]
    if first < 0x80:
        return 1, first
    count = next((n for n in range(2, 8) if first >> (7 - n) == (1 << (n + 1)) - 2), 0)
    rest = data[1:count]
    if not count or len(rest) < count - 1 or any(byte >> 6 != 2 for byte in rest):
        return 0, None
    number = first & ((1 << (7 - count)) - 1) if count < 7 else 0
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return count, number


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
    return value
