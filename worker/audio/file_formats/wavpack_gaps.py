"""Finds damaged ranges between the blocks of a WavPack file. FFmpeg stops at the first one.

Source: the WavPack 4 and 5 file format: each block declares its size, and the position and number of its samples.
"""

from __future__ import annotations

from typing import BinaryIO, Final, NamedTuple

from worker.audio.file_formats.file_bytes import read_at
from worker.audio.file_formats.raw_stream_gaps import DamagedRange

_MARK: Final = b"wvpk"
_HEAD_BYTES: Final = 32
_CHUNK_BYTES: Final = 1 << 20
_FIRST_CHUNK_BYTES: Final = 1 << 12  # most gaps are short, and a file may have thousands
_MAX_BLOCK_BYTES: Final = 1 << 24
_MAX_BLOCK_SAMPLES: Final = 131_072
_MAX_GAP_S: Final = 3600
_VERSIONS: Final = range(0x402, 0x411)
# The index is the value of the bits in the header. The last value means that the rate is given elsewhere.
_RATES: Final = (
    *(6000, 8000, 9600, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 192000),
    0,
)


class _Block(NamedTuple):
    length: int
    """Size in bytes."""
    first: int
    """Position of its first sample in the recording."""
    samples: int
    rate: int


def wavpack_gaps(file: BinaryIO) -> list[DamagedRange]:
    """Return the damaged ranges, in order. The list is empty for other files. Reads the block headers, and all bytes of
    damaged ranges."""
    found: list[DamagedRange] = []
    at, last = 0, None
    while (block := _block(read_at(file, at, _HEAD_BYTES))) is not None or last is not None:
        if block is None:
            following = _next_block(file, at)
            block = _block(read_at(file, following, _HEAD_BYTES)) if following is not None else None
            if block is None or following is None:
                break
            # A lower position begins another file.
            missing = block.first - last.first - last.samples if last is not None else 0
            if 0 < missing <= _most_samples(following - at, block.rate):
                found.append(DamagedRange(at, following, missing / block.rate))
            at = following
        at, last = at + block.length, block
    return found


def _most_samples(size: int, rate: int) -> int:
    """Return how many samples a range of `size` bytes can contain. A larger gap between the positions of two blocks
    means that a position is damaged. The result is 0 if the rate is unknown."""
    return min(size // _HEAD_BYTES * _MAX_BLOCK_SAMPLES, _MAX_GAP_S * rate)


def _block(head: bytes) -> _Block | None:
    if len(head) < _HEAD_BYTES or head[:4] != _MARK or int.from_bytes(head[8:10], "little") not in _VERSIONS:
        return None
    length = 8 + int.from_bytes(head[4:8], "little")
    if not _HEAD_BYTES <= length <= _MAX_BLOCK_BYTES:
        return None
    first = int.from_bytes(head[16:20], "little") | head[10] << 32
    samples, flags = int.from_bytes(head[20:24], "little"), int.from_bytes(head[24:28], "little")
    return _Block(length, first, samples, _RATES[flags >> 23 & 15])


def _next_block(file: BinaryIO, at: int) -> int | None:
    """Return the byte position of the next block that begins after `at`, or None if there is no block."""
    size = _FIRST_CHUNK_BYTES
    while data := read_at(file, at, size):
        place = data.find(_MARK)
        while place >= 0:
            if _block(read_at(file, at + place, _HEAD_BYTES)) is not None:
                return at + place
            place = data.find(_MARK, place + 1)
        at += max(1, len(data) - len(_MARK) + 1)
        size = min(2 * size, _CHUNK_BYTES)
    return None
