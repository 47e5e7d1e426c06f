"""Finds the real length of a FLAC file by its first and last frame, and the streams of joined files. Source: RFC 9639.

libsndfile stops at the declared length, so an outdated header hides the rest of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.audio.file_formats.file_bytes import read_at
from worker.audio.file_formats.flac_frames import HEADER_BYTES, FrameRun, RunFinder, parse_frame
from worker.audio.opened_file import SourceFile

_STREAMINFO_END: Final = 42  # marker (4 bytes), header of the first block (4), its content (34)
_CHUNK_BYTES: Final = 1 << 20
_LARGE_BYTES: Final = 4 << 20
"""A smaller file is always searched completely, which takes a few milliseconds."""
_PROBES: Final = 12
_PROBE_BYTES: Final = 64 << 10
_TOTAL_AT: Final = 21  # the number of samples has 36 bits: the lower 4 bits of this byte, and the next 4 bytes
_MAX_TOTAL: Final = (1 << 36) - 1
_TAIL_BYTES: Final = 256 << 10  # contains the last frame, which has at most 64 Ki samples
_MAX_BLOCKS: Final = 10_000
_BLOCK_LIMITS: Final = (16, 65535)  # of the number of samples in a frame
# Marker and header of the first block. Bit 7 of the first byte of this header means that no other block follows.
_STREAM: Final = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_FRAME: Final = re.compile(rb"\xff[\xf8\xf9]")


@dataclass(frozen=True, slots=True)
class FlacLength:
    """The length in samples per channel, according to the header (0 if it declares none) and according to the first and
    the last frame (0 if the last frame is not found)."""

    declared_samples: int
    actual_samples: int
    head_without_length: bytes
    """The start of the file up to the end of its first block, with a declared length of 0."""
    rest_start: int
    """Byte position of the rest of the file, after the first block."""
    audio_start: int
    """Byte position of the first frame."""
    first_sample: int = 0
    """Number of the first sample. It is not 0 for a piece that was cut out of a longer file without decoding."""

    @property
    def head_of_piece(self) -> bytes:
        """A header for the frames of a piece. libsndfile measures the length from sample 0 of the longer file."""
        total = self.first_sample + self.actual_samples if self.actual_samples else 0
        head = bytearray(self.head_without_length)
        head[4] |= 0x80  # no other block follows: a table of positions would be that of the longer file
        head[_TOTAL_AT : _TOTAL_AT + 5] = (head[_TOTAL_AT] << 32 | min(total, _MAX_TOTAL)).to_bytes(5, "big")
        return bytes(head)


def length_of(path: SourceFile) -> FlacLength | None:
    """Return the declared and the real length of a file. Returns None if the file is not plain FLAC, or if neither its
    first nor its last frame is found."""
    with path.open("rb") as file:
        start = _after_id3(file.read(10))
        head = read_at(file, start, _STREAMINFO_END)
        if len(head) < _STREAMINFO_END or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
            return None
        audio_start = _audio_start(file, start)
        first = parse_frame(read_at(file, audio_start, HEADER_BYTES))
        tail = _tail(file)
    block_size = _block_size(head)
    end = _end_of_last_frame(tail, block_size)
    # Without a frame at this position, the start of the audio is damaged, and the numbers are the times in the file.
    first_sample = first.start(block_size or first.size) if first is not None else 0
    if end is None and not first_sample:
        return None
    return FlacLength(
        int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") & _MAX_TOTAL,
        max(0, (end or 0) - first_sample),
        _head(head),
        start + len(head),
        audio_start,
        first_sample,
    )


@dataclass(frozen=True, slots=True)
class FlacStream:
    """One of several FLAC streams in a file. `start` and `end` in bytes; `length_s` is 0 if it is unknown."""

    start: int
    end: int
    rate: int
    channels: int
    length_s: float
    head: bytes = b""
    """The header to read before `start`; empty if a header is at `start`."""
    first_sample: int = 0
    """See `FlacLength.first_sample`."""


def streams(path: SourceFile) -> list[FlacStream]:
    """Return the streams of a file that consists of joined files. The list is empty for a single stream. In a large
    file, some positions are checked first. The whole file is only searched if the frame numbers at these positions do
    not rise, or if the length is wrong."""
    length = length_of(path)
    size = path.stat().st_size
    if (
        size > _LARGE_BYTES
        and length is not None
        and (length.declared_samples in (0, length.actual_samples) or length.first_sample)
        and _frame_numbers_rise(path, length)
    ):
        return []
    with path.open("rb") as file:
        found = _all_streams(file, size)
    return found if len(found) > 1 else []


def _all_streams(file: BinaryIO, size: int) -> list[FlacStream]:
    """Search the whole file. Joined files begin with a header of their own, or their frame numbers restart."""
    starts: list[int] = []
    finders: list[RunFinder] = []
    for at, data in _possible_starts(file):
        if data[:1] == b"f" and len(data) == _STREAMINFO_END:
            starts.append(at)
            finders.append(_finder(file))
        elif finders and (frame := parse_frame(data[:HEADER_BYTES], at)) is not None:
            finders[-1].add(frame)
    found: list[FlacStream] = []
    for start, end, finder in zip(starts, [*starts[1:], size], finders, strict=False):
        found += _streams_of(file, start, end, finder.runs)
    return found


def _possible_starts(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the position of each possible start of a stream or frame, and the bytes from there on."""
    rest, base = b"", 0
    while data := read_at(file, base + len(rest), _CHUNK_BYTES):  # the caller moves the position of the file
        block = rest + data
        rest = block[1 - _STREAMINFO_END :]
        for at in _places(block):
            if at + _STREAMINFO_END <= len(block):
                yield base + at, block[at : at + _STREAMINFO_END]
        base += len(block) - len(rest)
    for at in _places(rest):
        yield base + at, rest[at:]


def _places(data: bytes) -> list[int]:
    # Two patterns that begin with fixed bytes are found in two thirds of the time of a single one.
    return sorted(match.start() for pattern in (_STREAM, _FRAME) for match in pattern.finditer(data))


def _streams_of(file: BinaryIO, start: int, end: int, runs: list[FrameRun]) -> list[FlacStream]:
    """Return the stream with the header at `start`, or one stream for each of its runs."""
    head = read_at(file, start, _STREAMINFO_END)
    audio_start = _audio_start(file, start)
    # The start of the audio may be damaged. Its frame numbers are then the times in the file.
    firsts = [run.first_sample if run is not runs[0] or run.first.at == audio_start else 0 for run in runs]
    if len(runs) < 2 and not any(firsts):
        return [_stream(start, end, head)]
    starts = [audio_start, *(run.first.at for run in runs[1:])]
    return [
        _run_stream(head, first, last, run, sample)
        for first, last, run, sample in zip(starts, [*starts[1:], end], runs, firsts, strict=True)
    ]


def _stream(start: int, end: int, head: bytes) -> FlacStream:
    rate = int.from_bytes(head[18:21], "big") >> 4
    samples = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") & _MAX_TOTAL
    return FlacStream(start, end, rate, (head[20] >> 1 & 7) + 1, samples / rate if rate else 0.0)


def _run_stream(head: bytes, start: int, end: int, run: FrameRun, first_sample: int) -> FlacStream:
    """Return the stream of a run. Its header is that of the file, with the values that the frames declare."""
    form = int.from_bytes(head[18:22], "big")
    rate, bits = run.first.rate or form >> 12, run.first.bits or (form >> 4 & 31) + 1
    blocks = _BLOCK_LIMITS if run.first.counts_samples else (run.block_size, run.block_size)
    own = bytearray(_head(head))
    own[4] |= 0x80
    own[8:12] = b"".join(size.to_bytes(2, "big") for size in blocks)
    own[18:22] = (rate << 12 | run.first.channels - 1 << 9 | bits - 1 << 4).to_bytes(4, "big")
    length_s = min(run.end_sample - first_sample, _MAX_TOTAL) / rate if rate else 0.0
    return FlacStream(start, end, rate, run.first.channels, length_s, bytes(own), first_sample)


def _head(head: bytes) -> bytes:
    """Return the start of a file with a declared length of 0, and without the sizes of its frames."""
    return head[:12] + bytes(6) + head[18:_TOTAL_AT] + bytes((head[_TOTAL_AT] & 0xF0, *bytes(4))) + head[26:]


def _block_size(head: bytes) -> int:
    """Return the number of samples in each frame except the last, or 0 if frames have variable sizes."""
    smallest, largest = int.from_bytes(head[8:10], "big"), int.from_bytes(head[10:12], "big")
    return largest if smallest == largest else 0


def _audio_start(file: BinaryIO, start: int) -> int:
    """Return the byte position after the metadata blocks of the stream with the marker at `start`."""
    at = start + 4
    for _ in range(_MAX_BLOCKS):
        head = read_at(file, at, 4)
        at += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & 0x80:
            break
    return at


def _frame_numbers_rise(path: SourceFile, length: FlacLength) -> bool:
    """Whether the frame numbers rise at the start, and from each checked position to the next one. In a second stream,
    frame numbers would restart at zero.

    The distances between the positions also double from the start on. A short first file is then noticed as well: the
    numbers of the second file only reach those of the first after the next position."""
    start, last = length.audio_start, 0
    size = path.stat().st_size - start
    ends = {size * number // _PROBES for number in range(1, _PROBES + 1)}
    ends.update(size >> shift for shift in range((size // _PROBE_BYTES).bit_length()))
    block_size = _block_size(length.head_without_length)
    with path.open("rb") as file:
        if not _is_one_run(file, start):
            return False
        for probe_end in sorted(ends):
            at = start + max(0, probe_end - _PROBE_BYTES)
            end = _end_of_last_frame(read_at(file, at, _PROBE_BYTES), block_size)
            if end is None or end < last:
                return False
            last = end
    return True


def _is_one_run(file: BinaryIO, start: int) -> bool:
    """Whether the numbers of the first frames rise, up to the first position that `_frame_numbers_rise` checks."""
    finder, data = _finder(file), read_at(file, start, 2 * _PROBE_BYTES)
    for at in _places(data):
        if (frame := parse_frame(data[at : at + HEADER_BYTES], start + at)) is not None:
            finder.add(frame)
    return len(finder.runs) == 1


def _finder(file: BinaryIO) -> RunFinder:
    return RunFinder(lambda first, end: read_at(file, first, end - first))


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
        frame = parse_frame(data[at : at + HEADER_BYTES])
        if frame is not None and (frame.counts_samples or block_size):
            start = frame.start(block_size)
            end = start + frame.size
            if end in later:
                return later[end]
            later.setdefault(start, end)
    return later.get(0)
