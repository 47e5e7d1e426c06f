"""Locates the audio of Apple's CAF files, and writes corrected headers. Source: Core Audio Format Specification 1.0.

A data size of -1 is valid and means "to the end of the file". libsndfile 1.2.2 refuses it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.audio.file_formats.data_extent import Chunks, LocatedAudio, extent_of, walk
from worker.audio.file_formats.file_bytes import read_at

CHUNKS: Final = Chunks("big", size_bytes=8, padded=False)
_START: Final = b"caff\0\1\0\0"
_IS_FLOAT, _IS_LITTLE = 1, 2
_EDIT_COUNT_BYTES: Final = 4  # at the start of the chunk data
_UNKNOWN: Final = (1 << 64) - 1
_MAX_HEADER_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Caf:
    """The parts of a CAF file that a reader needs."""

    described: bytes
    """The content of the chunk `desc`."""
    before: bytes
    """The chunks before the audio that a decoder needs, unchanged."""
    declared_bytes: int | None
    """Bytes of audio according to the header, or None if the header marks the size as unknown."""
    start: int
    """Byte position of the audio."""

    @property
    def coding(self) -> bytes:
        """The codec as four characters."""
        return self.described[8:12]

    @property
    def is_plain(self) -> bool:
        """Whether all packets have the same size, so that the length of the audio follows from its bytes."""
        return int.from_bytes(self.described[16:20], "big") != 0

    def locate(self, file: BinaryIO) -> LocatedAudio:
        """Find the real extent of the audio, and create a header that declares it."""
        extent = extent_of(file, self.start, self.declared_bytes, CHUNKS)
        size = extent.size + _EDIT_COUNT_BYTES
        head = _START + self.before + b"data" + size.to_bytes(8, "big") + bytes(_EDIT_COUNT_BYTES)
        return LocatedAudio(head, extent, extent.size == self.declared_bytes)


def caf_header(
    coding: bytes, rate: int, channels: int, bits: int, size: int, *, little: bool = False, is_float: bool = False
) -> bytes:
    """Create a CAF header for `size` bytes of samples with `bits` bits. `coding`: lpcm, ulaw or alaw. Sizes in CAF have
    64 bits, so CAF can be used for audio that is too large for other formats."""
    flags = (_IS_FLOAT if is_float else 0) | (_IS_LITTLE if little else 0)
    described = struct.pack(">d4s5I", rate, coding, flags, channels * bits // 8, 1, channels, bits)
    data = (size + _EDIT_COUNT_BYTES).to_bytes(8, "big") + bytes(_EDIT_COUNT_BYTES)
    return _START + b"desc" + len(described).to_bytes(8, "big") + described + b"data" + data


def read_caf(file: BinaryIO) -> Caf | None:
    """Read the header of a CAF file. Returns None if the file has another format or contains no audio."""
    size = file.seek(0, os.SEEK_END)
    if read_at(file, 0, 4) != b"caff":
        return None
    described, before = b"", b""
    for name, at, content in walk(file, 8, size, CHUNKS):
        if name == b"desc":
            described = read_at(file, at, min(content, 4096))
        if name == b"data" and described:
            declared = None if content == _UNKNOWN else max(0, content - _EDIT_COUNT_BYTES)
            return Caf(described, before, declared, at + _EDIT_COUNT_BYTES)
        if name in (b"desc", b"kuki", b"pakt", b"chan") and content + len(before) < _MAX_HEADER_BYTES:
            before += read_at(file, at - CHUNKS.head_bytes, content + CHUNKS.head_bytes)
    return None
