"""Reads the headers of FLAC frames, and finds the runs of frames whose numbers rise. Source: RFC 9639, section 9.

Each frame has a number: that of the frame, or that of its first sample if the block sizes vary. FFmpeg copies frames
without changing their numbers. So the numbers restart where it joined two files, and they begin above 0 in a piece that
it cut out of a longer file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

HEADER_BYTES: Final = 16
"""Maximum size of a frame header."""
_BLOCK_SIZES: Final = {1: 192, **{k: 576 << (k - 2) for k in range(2, 6)}, **{k: 256 << (k - 8) for k in range(8, 16)}}
_RATES: Final = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_RATE_FIELDS: Final = {12: (1, 1000), 13: (2, 1), 14: (2, 10)}  # code: bytes of the field, its unit in Hz
_BITS: Final = {0: 0, 1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
_LAST_CHANNEL_CODE: Final = 10  # 8 to 10: two channels, of which one is stored as a difference
_MAX_BLOCK_SIZE: Final = 65535
_MAX_SAMPLE_BITS: Final = 36  # of the number of a sample
_MAX_FRAME_BITS: Final = 31  # of the number of a frame
_MAX_CANDIDATES: Final = 64
_MAX_FRAME_BYTES: Final = 256 << 10


class Frame(NamedTuple):
    """A frame header. `rate` (Hz), `channels` and `bits` (per sample) are those of the frame; a rate or number of bits
    of 0 means that the header of the stream declares it."""

    at: int
    """Byte position of the frame in the file."""
    counts_samples: bool
    """Whether `number` is that of the first sample. Otherwise it is that of the frame."""
    number: int
    size: int
    """Number of samples per channel."""
    rate: int
    channels: int
    bits: int

    @property
    def form(self) -> tuple[bool, int, int, int]:
        return self.counts_samples, self.rate, self.channels, self.bits

    @property
    def next_number(self) -> int:
        return self.number + (self.size if self.counts_samples else 1)

    def start(self, block_size: int) -> int:
        """Return the number of the first sample. `block_size`: the size of all frames of the stream except the last, if
        it is fixed."""
        return self.number if self.counts_samples else self.number * block_size


def parse_frame(head: bytes, at: int = 0) -> Frame | None:
    """Parse a frame header, whose byte position in the file is `at`. Returns None if `head` is not a frame header."""
    if len(head) < 6 or head[0] != 0xFF or head[1] not in (0xF8, 0xF9):
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 0xF
    channel_code, bits = head[3] >> 4, _BITS.get(head[3] >> 1 & 7)
    if head[3] & 1 or bits is None or channel_code > _LAST_CHANNEL_CODE or not size_code or rate_code > 14:
        return None
    length, number = _utf8_number(head[4:])
    if number is None:
        return None
    end = 4 + length
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    size = int.from_bytes(head[end : end + size_bytes], "big") + 1 if size_bytes else _BLOCK_SIZES[size_code]
    end += size_bytes
    rate_bytes, unit = _RATE_FIELDS.get(rate_code, (0, 0))
    rate = int.from_bytes(head[end : end + rate_bytes], "big") * unit if rate_bytes else _RATES[rate_code]
    end += rate_bytes
    if end >= len(head) or _crc8(head[:end]) != head[end] or size > _MAX_BLOCK_SIZE:
        return None
    counts_samples = head[1] == 0xF9
    if number >> (_MAX_SAMPLE_BITS if counts_samples else _MAX_FRAME_BITS):
        return None
    channels = channel_code + 1 if channel_code < 8 else 2
    return Frame(at, counts_samples, number, size, rate, channels, bits)


def is_whole_frame(data: bytes) -> bool:
    """Whether `data` is one frame up to its end, according to the checksum at its end.

    Zeros at the end of `data` do not change the checksum, and they may replace a lost frame. So a frame that ends with
    zeros is not accepted."""
    value = 0
    for byte in data:
        value = (value << 8 & 0xFF00) ^ _CRC16[value >> 8 ^ byte]
    return not value and any(data[-2:])


@dataclass(slots=True)
class FrameRun:
    """Frames of one form whose numbers rise."""

    first: Frame
    last: Frame

    @property
    def block_size(self) -> int:
        """Number of samples of each frame except the last, if the frames have a fixed size."""
        return self.first.size

    @property
    def first_sample(self) -> int:
        return self.first.start(self.block_size)

    @property
    def end_sample(self) -> int:
        return self.last.start(self.block_size) + self.last.size


class RunFinder:
    """Finds the runs of a stream, whose possible frames are added in order.

    Other bytes may look like a frame header. So a run only begins at a header if another header with the following
    number is found."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        """`read` returns the bytes of the file between two positions."""
        self.runs: list[FrameRun] = []
        self._read = read
        self._candidates: dict[tuple[object, int], Frame] = {}

    def add(self, frame: Frame) -> None:
        run = self.runs[-1] if self.runs else None
        if run is not None and frame.number == run.last.next_number and frame.form == run.first.form:
            run.last = frame
        elif (first := self._candidates.get((frame.form, frame.number))) is not None:
            if run is not None and not self._begins_run(run, first):
                run.last = frame
            else:
                self.runs.append(FrameRun(first, frame))
        else:
            self._candidates[frame.form, frame.next_number] = frame
            if len(self._candidates) > _MAX_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
            return
        self._candidates.clear()

    def _begins_run(self, run: FrameRun, first: Frame) -> bool:
        """Whether `first` begins a new run. Numbers also jump ahead after damage, which belongs to the run. Without
        damage, the previous frame ends where `first` begins."""
        if first.form != run.first.form or first.number < run.last.next_number:
            return True
        length = first.at - run.last.at
        return length <= _MAX_FRAME_BYTES and is_whole_frame(self._read(run.last.at, first.at))


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


def _crc_table(bits: int, polynomial: int) -> tuple[int, ...]:
    values: Iterable[int] = (byte << (bits - 8) for byte in range(256))
    for _ in range(8):
        values = [(value << 1 ^ (polynomial if value >> (bits - 1) else 0)) & ((1 << bits) - 1) for value in values]
    return tuple(values)


_CRC8: Final = _crc_table(8, 0x07)
_CRC16: Final = _crc_table(16, 0x8005)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value
