"""Finds where the audio of an uncompressed file ends when its header may be wrong, reading as little as possible.

A header's length is checked against what follows it. Three things may follow the audio: chunks, tags and padding of
zeros. Anything else is audio that the header does not count: the size wrapped at 4 GiB, or the recorder was killed.
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
"""Fewer bytes than this after the audio are ignored: a few milliseconds at most."""

_TAIL_BYTES: Final = 8 << 20
"""Size of the end of a file in which chunks after audio of unknown length are searched."""
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
_WORD: Final = np.zeros(256, bool)
_WORD[[*b" _-()0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]] = True


@dataclass(frozen=True, slots=True)
class Chunks:
    """How a container writes chunks: a name of 4 bytes, then the size of the content."""

    order: Literal["little", "big"] = "little"
    size_bytes: int = 4
    padded: bool = True
    """Content of odd size is followed by one uncounted byte (some writers omit it)."""

    @property
    def head_bytes(self) -> int:
        return 4 + self.size_bytes

    def content(self, head: bytes) -> int | None:
        """The size of the content, or None if this is not a chunk."""
        if len(head) < self.head_bytes or not _WORD[np.frombuffer(head[:4], np.uint8)].all():
            return None
        return int.from_bytes(head[4 : self.head_bytes], self.order)

    def is_known(self, head: bytes) -> bool:
        """Whether the name alone says that this is a chunk."""
        return head[:4] in _KNOWN_CHUNKS

    def starts_after(self, end: int) -> tuple[int, ...]:
        """Where the next chunk may start after a content that ends at `end`."""
        return (end, end + 1) if self.padded else (end,)


@dataclass(frozen=True, slots=True)
class GuidChunks(Chunks):
    """The chunks of W64: a GUID and a size of 8 bytes that includes both; each chunk starts at a multiple of 8."""

    size_bytes: int = 20

    def content(self, head: bytes) -> int | None:
        return max(0, int.from_bytes(head[16:24], "little") - 24) if self.is_known(head) else None

    def is_known(self, head: bytes) -> bool:
        return len(head) >= 24 and head[4:16] in _W64_SUFFIXES

    def starts_after(self, end: int) -> tuple[int, ...]:
        return (end + -end % 8,)


@dataclass(frozen=True, slots=True)
class Extent:
    """The bytes `start` to `end` of a file, which are its audio."""

    start: int
    end: int
    warning: str = ""

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class LocatedAudio:
    """The audio of a file, and the header under which a reader decodes it."""

    head: bytes
    """A header for the same format whose audio reaches to the end."""
    extent: Extent
    as_written: bool
    """The file's own header is right, so the file can be read as it is."""
    more: tuple[tuple[bytes, Extent], ...] = ()
    """Further pieces of audio of the same format, each with its header."""


def extent_of(file: BinaryIO, start: int, declared: int | None, chunks: Chunks | None) -> Extent:
    """Where audio that starts at byte `start` ends. `declared`: its size by the header, None if the
    header marks it as unknown. `chunks`: the chunks that may follow, None if the format has none."""
    size = file.seek(0, os.SEEK_END)
    there = max(0, size - start)
    if declared is None:
        return Extent(start, _end_before_chunks(file, start, size, chunks))
    if declared > there:
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


def is_streamed_size(declared: int, there: int) -> bool:
    """Whether a 32-bit size marks an unknown size: -1 or the largest number, minus a header or some blocks
    (sox writes 0x7FFFF000, arecord 0x80000000)."""
    near_largest = 0x7FFF0000 <= declared <= 0x80010000 or declared >= 0xFFFF0000
    return declared in (0xFFFFFFFF, 0x7FFFFFFF) or (declared > there and near_largest)


def walk(file: BinaryIO, at: int, end: int, chunks: Chunks) -> Iterator[tuple[bytes, int, int]]:
    """Chunks from byte `at` up to `end`: name, start and size of the content. A missing pad byte is detected."""
    for _ in range(_MAX_CHUNKS):
        head = read_at(file, at, chunks.head_bytes)
        content = chunks.content(head)
        if content is None or at + chunks.head_bytes > end:
            return
        yield head[:4], at + chunks.head_bytes, content
        at = _after(file, at + chunks.head_bytes + content, content, end, chunks)


def _after(file: BinaryIO, at: int, content: int, end: int, chunks: Chunks) -> int:
    """Where the next chunk starts: after the padding, if there is any."""
    places = chunks.starts_after(at)
    if len(places) == 1 or not content % 2 or at >= end:
        return places[0]
    without, behind = (read_at(file, place, chunks.head_bytes) for place in places)
    return at if chunks.is_known(without) and not chunks.is_known(behind) else at + 1


def _continues(file: BinaryIO, end: int, size: int, chunks: Chunks | None) -> bool:
    """Whether chunks or tags follow at `end`, so that the header is right."""
    if any(read_at(file, at, 11).startswith(_TAGS) for at in (end, end + 1)):
        return True
    return chunks is not None and any(_is_chain(file, at, size, chunks) for at in chunks.starts_after(end))


def _is_chain(file: BinaryIO, at: int, size: int, chunks: Chunks) -> bool:
    """Whether chunks run from `at` to the end of the file. A first chunk with a known name is enough, even if it is
    cut off."""
    if chunks.is_known(read_at(file, at, chunks.head_bytes)):
        return True
    last = at
    for _, start, content in walk(file, at, size, chunks):
        last = start + content
    return last > at and size - 1 <= last <= size + 1


def _end_before_chunks(file: BinaryIO, start: int, size: int, chunks: Chunks | None) -> int:
    """Start of the chunks and tags that run to the end of the file; `size` if there are none. Never before `start`,
    which may exceed the size of a file that is cut off within its header."""
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
    """The offset at which a chain of chunks that ends at `end` begins; `end` if there is none.

    A name followed by a size that leads exactly to the end is no coincidence: all 32 bits match. Zero padding after
    the chain is allowed only after known names."""
    head = chunks.head_bytes
    if end < head:
        return end
    count = end - head + 1
    names = _WORD[tail]
    starts = np.flatnonzero(names[:count] & names[1 : count + 1] & names[2 : count + 2] & names[3 : count + 3])
    sizes = np.zeros(len(starts), np.int64)
    for k in range(chunks.size_bytes):
        shift = 8 * (k if chunks.order == "little" else chunks.size_bytes - 1 - k)
        sizes += tail[starts + 4 + k].astype(np.int64) << min(shift, 40)  # far beyond any file where the rest is set
    ends = starts + head + sizes
    padded_ends = ends + (sizes & 1 if chunks.padded else 0)
    last_nonzero = len(tail[:end].tobytes().rstrip(b"\0"))
    known = np.array([bytes(tail[at : at + 4]) in _KNOWN_CHUNKS for at in starts.tolist()], bool)
    fits = (ends == end) | (padded_ends == end) | (known & (padded_ends >= last_nonzero) & (ends <= end))
    while fits.any():
        # The longest chunk that fits: names inside its content may fit by themselves.
        end = int(starts[np.flatnonzero(fits)[0]])
        fits = (starts < end) & ((ends == end) | (padded_ends == end))
    return end


def _only_zeros(file: BinaryIO, start: int, end: int) -> bool:
    """Whether all bytes are zero. A few samples of the range are read first, then the whole range except the holes of
    a sparse file."""
    for at in np.linspace(start, max(start, end - 4096), 64, dtype=np.int64).tolist():
        if any(read_at(file, at, min(4096, end - at))):
            return False
    for first, last in _data(file, start, end):
        for at in range(first, last, _BLOCK_BYTES):
            if np.frombuffer(read_at(file, at, min(_BLOCK_BYTES, last - at)), np.uint8).any():
                return False
    return True


def _data(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The stretches that are on the disk; one stretch where the system, or a part of a file, does not say."""
    if not (hasattr(os, "SEEK_DATA") and hasattr(file, "fileno")):
        yield start, end
        return
    at = start
    while at < end:
        try:
            first = os.lseek(file.fileno(), at, os.SEEK_DATA)
            last = os.lseek(file.fileno(), first, os.SEEK_HOLE)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # ENXIO: nothing but a hole follows
                yield at, end
            return
        yield min(first, end), min(last, end)
        at = last
