"""Locates the audio of AIFF and AIFF-C files, and writes corrected headers. Sources: Apple's AIFF 1.3 and AIFF-C
drafts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.audio.file_formats.caf import caf_header
from worker.audio.file_formats.data_extent import Chunks, LocatedAudio, extent_of, is_streamed_size, walk
from worker.audio.file_formats.file_bytes import read_at

CHUNKS: Final = Chunks("big")
_SOUND_HEAD_BYTES: Final = 8  # offset and block size, at the start of the chunk SSND
_MAX_SIZE: Final = 0xFFFFFFFF
_PLAIN_CODINGS: Final = {
    # Maps a codec of AIFF to (codec in CAF, whether samples are little-endian).
    **dict.fromkeys((b"NONE", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64"), (b"lpcm", False)),
    **dict.fromkeys((b"ulaw", b"ULAW"), (b"ulaw", False)),
    **dict.fromkeys((b"alaw", b"ALAW"), (b"alaw", False)),
    b"sowt": (b"lpcm", True),
}
_FLOATS: Final = (b"fl32", b"FL32", b"fl64", b"FL64")


@dataclass(frozen=True, slots=True)
class Aiff:
    """The parts of an AIFF file that a reader needs."""

    kind: bytes
    """b"AIFF" or b"AIFC"."""
    common: bytes
    """The content of the chunk COMM: channels, frames, bits, rate and the codec."""
    declared_bytes: int | None
    """Bytes of audio according to the header, or None if the header marks the size as unknown."""
    start: int
    """Byte position of the audio."""
    regular: bool
    """Whether the chunks before the audio are well formed."""

    @property
    def coding(self) -> bytes:
        """The codec as four characters."""
        return self.common[18:22] if self.kind == b"AIFC" and len(self.common) >= 22 else b"NONE"

    @property
    def channels(self) -> int:
        return int.from_bytes(self.common[:2], "big")

    @property
    def frames(self) -> int:
        """Declared number of samples per channel."""
        return int.from_bytes(self.common[2:6], "big")

    @property
    def bits(self) -> int:
        """Bits per stored sample."""
        return 8 if self.coding.lower() in (b"ulaw", b"alaw") else -(-int.from_bytes(self.common[6:8], "big") // 8) * 8

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame; 0 for codecs that pack several samples into a block."""
        return self.channels * self.bits // 8 if self.coding in (*_PLAIN_CODINGS, b"raw ") else 0

    def locate(self, file: BinaryIO) -> LocatedAudio:
        """Find the real extent of the audio, and create a header that declares it."""
        extent = extent_of(file, self.start, self.declared_bytes, CHUNKS)
        frames = extent.size // self.frame_bytes if self.frame_bytes else self.frames
        counted = not self.frame_bytes or frames == self.frames
        return LocatedAudio(
            self._header(extent.size, frames), extent, self.regular and counted and extent.size == self.declared_bytes
        )

    def _header(self, size: int, frames: int) -> bytes:
        if size + 1024 > _MAX_SIZE:
            return self._caf_header(size)
        common = self.common[:2] + frames.to_bytes(4, "big") + self.common[6:]
        common_chunk = b"COMM" + len(common).to_bytes(4, "big") + common + bytes(len(common) % 2)
        sound = b"SSND" + (size + _SOUND_HEAD_BYTES).to_bytes(4, "big") + bytes(_SOUND_HEAD_BYTES)
        version = b"FVER" + (4).to_bytes(4, "big") + bytes.fromhex("a2805140") if self.kind == b"AIFC" else b""
        content = self.kind + version + common_chunk + sound
        return b"FORM" + (len(content) + size).to_bytes(4, "big") + content

    def _caf_header(self, size: int) -> bytes:
        """Return a CAF header for audio that is too large for AIFF. Empty if CAF does not support the codec."""
        if self.coding not in _PLAIN_CODINGS:
            return b""
        name, little = _PLAIN_CODINGS[self.coding]
        rate = round(_extended(self.common[8:18]))
        return caf_header(name, rate, self.channels, self.bits, size, little=little, is_float=self.coding in _FLOATS)


def read_aiff(file: BinaryIO) -> Aiff | None:
    """Read the header of an AIFF file. Returns None if the file has another format or contains no audio."""
    size = file.seek(0, os.SEEK_END)
    start = read_at(file, 0, 12)
    kind = start[8:12]
    if start[:4] != b"FORM" or kind not in (b"AIFF", b"AIFC"):
        return None
    common, sound, declared, expected, regular = b"", 0, None, 12, True
    for name, at, content in walk(file, 12, size, CHUNKS):
        regular = regular and at - 8 == expected
        expected = at + content + content % 2
        if name == b"COMM":
            common = read_at(file, at, min(content, 4096))
        elif name == b"SSND":
            offset = int.from_bytes(read_at(file, at, 4), "big")
            sound = at + _SOUND_HEAD_BYTES + (offset if offset <= content else 0)
            unknown = is_streamed_size(content, size - at)
            declared = None if unknown else max(0, at + content - sound)
        if common and sound:
            return Aiff(kind, common, declared, sound, regular)
    return None


def _extended(data: bytes) -> float:
    """Decode an 80-bit floating point number."""
    exponent = int.from_bytes(data[:2], "big") & 0x7FFF
    return float(int.from_bytes(data[2:10], "big")) * 2.0 ** (exponent - 16383 - 63)
