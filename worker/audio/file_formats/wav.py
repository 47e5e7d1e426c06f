"""Locates the audio of WAV, RF64, BW64, RIFX and W64 files, and writes short corrected headers.

Declared sizes are often wrong: recorders write 0 until they close a file, live streams write -1 or a value near it, and
32-bit sizes overflow at 4 GiB. The header may be long, because chunks such as bext, iXML and JUNK, and pictures, may
precede the audio.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, Literal

from worker.audio.file_formats.caf import caf_header
from worker.audio.file_formats.data_extent import (
    Chunks,
    Extent,
    GuidChunks,
    LocatedAudio,
    extent_of,
    is_streamed_size,
    walk,
)
from worker.audio.file_formats.file_bytes import read_at

_W64_RIFF: Final = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_SUFFIX: Final = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_WAVE: Final = b"wave" + _W64_SUFFIX
_UNKNOWN: Final = 0xFFFFFFFF
_W64_ALIGNMENT: Final = 8
_DS64_BYTES: Final = 24
_SEARCH_BYTES: Final = 1 << 20
_MAX_SIZE: Final = 0xFFFFFFFF
_SILENCE_BYTES: Final = 4
_MAX_SILENCE_BYTES: Final = 64 << 20
_PCM, _FLOAT, _ALAW, _ULAW, _MP3, _EXTENSIBLE = 1, 3, 6, 7, 0x55, 0xFFFE


@dataclass(frozen=True, slots=True)
class Riff:
    """The parts of a WAV or W64 file that a reader needs."""

    order: Literal["little", "big"]
    form: bytes
    """The content of the chunk `fmt `."""
    declared_bytes: int | None
    """Bytes of audio according to the header, or None if the header marks the size as unknown."""
    start: int
    """Byte position of the audio."""
    regular: bool
    """Whether the chunks before the audio are well formed, so that libsndfile finds the audio."""
    chunks: Chunks | None
    """The layout of the chunks that may follow the audio."""

    @property
    def tag(self) -> int:
        """Microsoft's number of the codec; for an extensible header, the number of its sub-format."""
        tag = int.from_bytes(self.form[:2], self.order)
        return int.from_bytes(self.form[24:26], self.order) if tag == _EXTENSIBLE and len(self.form) >= 26 else tag

    @property
    def bits(self) -> int:
        return int.from_bytes(self.form[14:16], self.order)

    def header(self, size: int) -> bytes:
        """Create a header for this format and `size` bytes of audio. Empty if no header can declare that size."""
        if size > _MAX_SIZE - 4096:
            return self._w64_header(size) if self.order == "little" else self._caf_header(size)
        form = self.form + bytes(len(self.form) % 2)
        content = b"".join((b"WAVE", b"fmt ", self._number(len(self.form)), form, b"data", self._number(size)))
        return (b"RIFF" if self.order == "little" else b"RIFX") + self._number(len(content) + size) + content

    def _silence(self, frames: int) -> bytes:
        align = int.from_bytes(self.form[12:14], self.order)
        value = {_ALAW: 0xD5, _ULAW: 0xFF}.get(self.tag, 0x80 if self.bits == 8 else 0)
        return bytes([value]) * min(frames * align, _MAX_SILENCE_BYTES)

    def _number(self, value: int) -> bytes:
        return value.to_bytes(4, self.order)

    def _w64_header(self, size: int) -> bytes:
        form = self.form + bytes(-len(self.form) % 8)
        content = b"".join((_W64_WAVE, b"fmt ", _W64_SUFFIX, (len(self.form) + 24).to_bytes(8, "little"), form))
        content += b"".join((b"data", _W64_SUFFIX, (size + 24).to_bytes(8, "little")))
        return _W64_RIFF + (len(content) + size + 24).to_bytes(8, "little") + content

    def _caf_header(self, size: int) -> bytes:
        coding = {_PCM: b"lpcm", _FLOAT: b"lpcm", _ALAW: b"alaw", _ULAW: b"ulaw"}.get(self.tag)
        if coding is None or (coding == b"lpcm" and self.bits == 8):  # CAF has no unsigned 8-bit samples
            return b""
        rate, channels = (int.from_bytes(self.form[a:b], self.order) for a, b in ((4, 8), (2, 4)))
        return caf_header(coding, rate, channels, self.bits, size, is_float=self.tag == _FLOAT)

    def locate(self, file: BinaryIO) -> LocatedAudio:
        """Find the real extent of the audio, and create a header that declares it."""
        extent = extent_of(file, self.start, self.declared_bytes, self.chunks)
        as_written = self.regular and extent.size == self.declared_bytes
        if isinstance(self.chunks, GuidChunks):  # libsndfile decodes the chunks after the audio of W64 as audio
            as_written = as_written and file.seek(0, os.SEEK_END) - extent.end < _W64_ALIGNMENT
        more = self._more(file, extent.end) if extent.size == self.declared_bytes else ()
        return LocatedAudio(self.header(extent.size), extent, as_written and not more, more)

    def _more(self, file: BinaryIO, end: int) -> tuple[tuple[bytes, Extent], ...]:
        """Find further audio after byte `end`. Returns (header, extent) for each range. Some recorders begin a new
        chunk `data` after each pause, and write a chunk `fmt ` before it if the format changes. A chunk `slnt` declares
        a length of silence; this silence is added after the header."""
        size, form = file.seek(0, os.SEEK_END), self.form
        found = []
        for start in self.chunks.starts_after(end) if self.chunks is not None else ():
            if self.chunks is not None and self.chunks.is_known(read_at(file, start, self.chunks.head_bytes)):
                for name, at, content in walk(file, start, size, self.chunks):
                    if name == b"fmt ":
                        form = read_at(file, at, min(content, 4096))
                    elif name == b"slnt" and content == _SILENCE_BYTES:
                        silence = self._silence(int.from_bytes(read_at(file, at, content), self.order))
                        found.append((self.header(len(silence)) + silence, Extent(at + content, at + content)))
                    elif name == b"data" and content and at < size:
                        piece = Extent(at, min(at + content, size))
                        found.append((replace(self, form=form).header(piece.size), piece))
                break
        return tuple(found)


def read_riff(file: BinaryIO) -> Riff | None:
    """Read the header of a WAV or W64 file. Returns None if the file has another format or contains no audio."""
    file.seek(0)
    start = file.read(40)
    if start[:16] == _W64_RIFF and start[24:40] == _W64_WAVE:
        return _read_w64(file)
    if start[8:12] == b"WAVE" and start[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return _read_wav(file, "big" if start[:4] == b"RIFX" else "little")
    return None


def mp3_in_wav(file: BinaryIO) -> tuple[int, int] | None:
    """Return the start and end, in bytes, of the audio of a WAV file if its codec is MP3, otherwise None."""
    found = read_riff(file)
    if found is None or found.tag != _MP3:
        return None
    size = file.seek(0, os.SEEK_END)
    return found.start, size if found.declared_bytes is None else min(size, found.start + found.declared_bytes)


def _read_wav(file: BinaryIO, order: Literal["little", "big"]) -> Riff | None:
    size = file.seek(0, os.SEEK_END)
    chunks = Chunks(order)
    form, long_size, expected, regular = b"", None, 12, True
    for name, at, content in walk(file, 12, size, chunks):
        regular = regular and at - 8 == expected
        expected = at + content + content % 2
        if name == b"ds64" and content >= _DS64_BYTES:
            long_size = int.from_bytes(read_at(file, at + 8, 8), order)
        elif name == b"fmt ":
            form = read_at(file, at, min(content, 4096))
        elif name == b"data" and form:
            return Riff(order, form, _declared(content, long_size, size - at), at, regular, chunks)
    return _search(file, order, form, size) if form else None


def _search(file: BinaryIO, order: Literal["little", "big"], form: bytes, size: int) -> Riff | None:
    """Search for the name of the chunk `data`. Used if the size of an earlier chunk is wrong, so that the chunks cannot
    be followed."""
    at = read_at(file, 0, _SEARCH_BYTES).find(b"data")
    if at < 0:
        return None
    content = int.from_bytes(read_at(file, at + 4, 4), order)
    return Riff(order, form, _declared(content, None, size - at - 8), at + 8, False, Chunks(order))


def _declared(content: int, long_size: int | None, actual: int) -> int | None:
    """Return the declared size of the audio in bytes: the size of the chunk `data`, or the size in the chunk `ds64`.
    Returns None if the size is unknown."""
    if content in (0, _UNKNOWN) and long_size is not None:
        return None if long_size >> 62 else long_size
    return None if is_streamed_size(content, actual) else content


def _read_w64(file: BinaryIO) -> Riff | None:
    size = file.seek(0, os.SEEK_END)
    chunks = GuidChunks()
    form = b""
    for name, at, content in walk(file, 40, size, chunks):
        if name == b"fmt ":
            form = read_at(file, at, min(content, 4096))
        elif name == b"data" and form:
            return Riff("little", form, None if content >> 62 else content, at, True, chunks)
    return None
