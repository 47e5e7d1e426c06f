"""Finds the end of the audio in an uncompressed file whose header may be wrong. Reads as little as possible.

The declared length is checked with the bytes after the declared end. Chunks, tags and zero padding may follow the
audio. All other bytes are audio that the header does not include, because the size overflowed at 4 GiB or the recorder
was killed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt

from worker.audio.file_formats.file_bytes import read_at

NOT_CLOSED: Final = (
    "the header gives no length (the recording was not closed); everything to the end of the file is read"
)
LONGER_THAN_DECLARED: Final = (
    "the header declares less audio than the file has; everything to the end of the file is read"
)
MIN_REST_BYTES: Final = 64
"""Fewer bytes than this after the declared audio are ignored, because they are at most a few milliseconds."""

_TAIL_BYTES: Final = 8 << 20
"""Number of bytes at the end of a file that are searched for chunks and tags after the audio."""
_BLOCK_BYTES: Final = 4 << 20
_ID3V1_BYTES: Final = 128
_MAX_CHUNKS: Final = 10_000
_TAGS: Final = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_KNOWN_CHUNKS: Final = frozenset(
    # RIFF: EBU Tech 3285 and its supplements, Microsoft's RIFF registry, Pro Tools and other editors.
    b"LIST|list|bext|iXML|id3 |ID3 |cue |smpl|inst|acid|fact|PEAK|JUNK|junk|PAD |FLLR|plst|note|labl|ltxt|afsp|cart|"
    b"levl|axml|chna|umid|UMID|minf|elm1|elmo|regn|DGDA|_PMX|aXML|SNDM|LGWV|strc|ovwf|DISP|ResU|r64m|mext|link|"
    b"fmt |data|slnt|ds64|clm |tlst|muma|bxml|sxml|qlty|SyLp|Cr8r|MARK|INST|MIDI|AESD|APPL|COMT|NAME|AUTH|(c) |ANNO|"
    # AIFF and CAF.
    b"COMM|SSND|FVER|SAXL|CHAN|desc|kuki|pakt|chan|info|strg|mark|regn|umid|ovvw|peak|edct|midi|uuid|free".split(b"|")
)
_W64_SUFFIXES: Final = (bytes.fromhex("f3acd3118cd100c04f8edb8a"), bytes.fromhex("2e91cf11a5d628db04c10000"))
_WORD: Final = np.zeros(256, bool)  # whether a byte may occur in the name of a chunk
_WORD[[*b" _-()0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]] = True


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunk layout of a container: a name of 4 bytes, then the size of the content."""

    order: Literal["little", "big"] = "little"
    size_bytes: int = 4
    padded: bool = True
    """Whether a pad byte that the size does not count follows a content of odd size. Some writers omit it."""

    @property
    def head_bytes(self) -> int:
        """Number of bytes of a chunk's name and size together."""
        return 4 + self.size_bytes

    def content(self, head: bytes) -> int | None:
        """Return the size of the content in bytes, or None if `head` does not begin a chunk."""
        if len(head) < self.head_bytes or not _WORD[np.frombuffer(head[:4], np.uint8)].all():
            return None
        return int.from_bytes(head[4 : self.head_bytes], self.order)

    def is_known(self, head: bytes) -> bool:
        """Whether `head` begins with the name of a known chunk."""
        return head[:4] in _KNOWN_CHUNKS

    def starts_after(self, end: int) -> tuple[int, ...]:
        """Return the byte positions at which the next chunk may start after a content that ends at `end`."""
        return (end, end + 1) if self.padded else (end,)


@dataclass(frozen=True, slots=True)
class GuidChunks(Chunks):
    """The chunk layout of W64: a GUID, then a size of 8 bytes. The size includes the GUID and the 8 bytes of the size.
    Each chunk starts at a multiple of 8."""

    size_bytes: int = 20

    def content(self, head: bytes) -> int | None:
        return max(0, int.from_bytes(head[16:24], "little") - 24) if self.is_known(head) else None

    def is_known(self, head: bytes) -> bool:
        return len(head) >= 24 and head[4:16] in _W64_SUFFIXES

    def starts_after(self, end: int) -> tuple[int, ...]:
        return (end + -end % 8,)


@dataclass(frozen=True, slots=True)
class Extent:
    """The bytes `start` to `end` of a file that contain its audio."""

    start: int
    end: int
    warning: str = ""
    """Warning for the user if the header declares another size, else empty."""

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class LocatedAudio:
    """The audio of a file, with a header that lets a reader decode the whole audio."""

    head: bytes
    """A header for the same format that declares the real length."""
    extent: Extent
    as_written: bool
    """Whether the file's own header is correct, so that the file can be read unchanged."""
    more: tuple[tuple[bytes, Extent], ...] = ()
    """(header, extent) of each further range of audio in the file."""


def extent_of(file: BinaryIO, start: int, declared: int | None, chunks: Chunks | None) -> Extent:
    """Find the real extent of audio that starts at byte `start`.

    `declared`: the size of the audio in bytes according to the header, or None if the header marks it as unknown.
    `chunks`: the chunk layout of the format, or None if it has no chunks."""
    size = file.seek(0, os.SEEK_END)
    actual = max(0, size - start)
    if declared is None:
        return Extent(start, _end_before_chunks(file, start, size, chunks))
    if declared > actual:
        end = _end_before_chunks(file, start, size, chunks)
        return Extent(start, end, f"cut off: the header declares {declared} bytes of audio, the file has {end - start}")
    end = start + declared
    if size - end < MIN_REST_BYTES or _continues(file, end, size, chunks):
        return Extent(start, end)
    found = _end_before_chunks(file, end, size, chunks)
    if not declared:
        return Extent(start, found, NOT_CLOSED if found > start else "")
    wrapped = (found - end) >> 32 and (found - end) % (1 << 32) <= 1
    if found - end < MIN_REST_BYTES or (not wrapped and _only_zeros(file, end, found)):
        return Extent(start, end)
    return Extent(start, found, LONGER_THAN_DECLARED)


def is_streamed_size(declared: int, actual: int) -> bool:
    """Whether a declared 32-bit size means that the size is unknown. Sizes with this meaning are 0xFFFFFFFF,
    0x7FFFFFFF, and values near them (sox writes 0x7FFFF000, arecord 0x80000000). `actual`: the number of bytes in the
    file."""
    near_largest = 0x7FFF0000 <= declared <= 0x80010000 or declared >= 0xFFFF0000
    return declared in (0xFFFFFFFF, 0x7FFFFFFF) or (declared > actual and near_largest)


def walk(file: BinaryIO, at: int, end: int, chunks: Chunks) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks from byte `at` up to `end` as (name, start of the content, size of the content). Detects missing
    pad bytes."""
    for _ in range(_MAX_CHUNKS):
        head = read_at(file, at, chunks.head_bytes)
        content = chunks.content(head)
        if content is None or at + chunks.head_bytes > end:
            return
        yield head[:4], at + chunks.head_bytes, content
        at = _after(file, at + chunks.head_bytes + content, content, end, chunks)


def _after(file: BinaryIO, at: int, content: int, end: int, chunks: Chunks) -> int:
    """Return the start of the next chunk after a content that ends at `at`. If there is a pad byte after the content,
    the next chunk starts after the pad byte."""
    places = chunks.starts_after(at)
    if len(places) == 1 or not content % 2 or at >= end:
        return places[0]
    without_pad, with_pad = (read_at(file, place, chunks.head_bytes) for place in places)
    return at if chunks.is_known(without_pad) and not chunks.is_known(with_pad) else at + 1


def _continues(file: BinaryIO, end: int, size: int, chunks: Chunks | None) -> bool:
    """Whether chunks or tags begin at `end`. If so, the declared size is right."""
    if any(read_at(file, at, 11).startswith(_TAGS) for at in (end, end + 1)):
        return True
    return chunks is not None and any(_is_chain(file, at, size, chunks) for at in chunks.starts_after(end))


def _is_chain(file: BinaryIO, at: int, size: int, chunks: Chunks) -> bool:
    """Whether consecutive chunks fill the file from `at` to its end. A first chunk with a known name is sufficient,
    even if it is cut off."""
    if chunks.is_known(read_at(file, at, chunks.head_bytes)):
        return True
    last = at
    for _, start, content in walk(file, at, size, chunks):
        last = start + content
    return last > at and size - 1 <= last <= size + 1


def _end_before_chunks(file: BinaryIO, start: int, size: int, chunks: Chunks | None) -> int:
    """Return the start of the chunks and tags at the end of the file, or `size` if there are none.

    The result is never before `start`, which may be beyond the end of a file that is cut off within its header."""
    if start >= size:
        return start
    low = max(start, size - _TAIL_BYTES)
    data = read_at(file, low, size - low)
    end = len(data)
    if end > _ID3V1_BYTES and data[-_ID3V1_BYTES:].startswith(b"TAG"):
        end -= _ID3V1_BYTES
    if isinstance(chunks, GuidChunks):
        found = [place for suffix in _W64_SUFFIXES if (place := data.find(suffix)) >= 4]
        end = min([end, *(place - 4 for place in found)])
    elif chunks is not None:
        end = _first_of_chain(np.frombuffer(data, np.uint8), end, chunks)
    return low + end


def _first_of_chain(tail: npt.NDArray[np.uint8], end: int, chunks: Chunks) -> int:
    """Return the offset of the first of the consecutive chunks that end at `end`; `end` if there are none.

    A name and a size that lead exactly to `end` are accepted as a chunk, because all bits of the size match. Zero
    padding after the last chunk is only accepted if the chunk has a known name."""
    head = chunks.head_bytes
    if end < head:
        return end
    count = end - head + 1
    names = _WORD[tail]
    starts = np.flatnonzero(names[:count] & names[1 : count + 1] & names[2 : count + 2] & names[3 : count + 3])
    sizes = np.zeros(len(starts), np.int64)
    for k in range(chunks.size_bytes):
        shift = 8 * (k if chunks.order == "little" else chunks.size_bytes - 1 - k)
        # Bytes of higher value are shifted by 40 bits only: the size is then still larger than any file.
        sizes += tail[starts + 4 + k].astype(np.int64) << min(shift, 40)
    ends = starts + head + sizes
    padded_ends = ends + (sizes & 1 if chunks.padded else 0)
    last_nonzero = len(tail[:end].tobytes().rstrip(b"\0"))
    known = np.array([bytes(tail[at : at + 4]) in _KNOWN_CHUNKS for at in starts.tolist()], bool)
    fits = (ends == end) | (padded_ends == end) | (known & (padded_ends >= last_nonzero) & (ends <= end))
    while fits.any():
        # Take the longest chunk that fits, because names inside its content may fit too.
        end = int(starts[np.flatnonzero(fits)[0]])
        fits = (starts < end) & ((ends == end) | (padded_ends == end))
    return end


def _only_zeros(file: BinaryIO, start: int, end: int) -> bool:
    """Whether all bytes of a range are zero. Reads 64 positions first, then the whole range except the holes of a
    sparse file."""
    for at in np.linspace(start, max(start, end - 4096), 64, dtype=np.int64).tolist():
        if any(read_at(file, at, min(4096, end - at))):
            return False
    for first, last in _data(file, start, end):
        for at in range(first, last, _BLOCK_BYTES):
            if np.frombuffer(read_at(file, at, min(_BLOCK_BYTES, last - at)), np.uint8).any():
                return False
    return True


def _data(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of the file that occupy disk space, without the holes of a sparse file. Yields the whole range
    if the system or the file object cannot report holes."""
    if not (hasattr(os, "SEEK_DATA") and hasattr(file, "fileno")):
        yield start, end
        return
    at = start
    while at < end:
        try:
            first = os.lseek(file.fileno(), at, os.SEEK_DATA)
            last = os.lseek(file.fileno(), first, os.SEEK_HOLE)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # ENXIO: only a hole follows
                yield at, end
            return
        yield min(first, end), min(last, end)
        at = last
