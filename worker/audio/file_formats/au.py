"""Locates the audio of Sun's AU files, and writes a corrected header. The format has no chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from worker.audio.file_formats.data_extent import LocatedAudio, extent_of, is_streamed_size

_UNKNOWN: Final = 0xFFFFFFFF
_HEAD_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Au:
    """The header of an AU file."""

    order: Literal["little", "big"]
    head: bytes
    """The fixed part of the header."""
    size: int
    """Size of the file in bytes."""

    def _field(self, number: int) -> int:
        return int.from_bytes(self.head[4 * number : 4 * number + 4], self.order)

    @property
    def start(self) -> int:
        """Byte position of the audio."""
        return self._field(1)

    @property
    def coding(self) -> int:
        return self._field(3)

    @property
    def declared_bytes(self) -> int | None:
        """Bytes of audio according to the header, or None if the header marks the size as unknown."""
        return None if is_streamed_size(self._field(2), self.size - self.start) else self._field(2)

    def locate(self, file: BinaryIO) -> LocatedAudio:
        """Find the real extent of the audio, and create a header with which a reader reads to the end of the audio."""
        extent = extent_of(file, self.start, self.declared_bytes, None)
        fields = (_HEAD_BYTES, _UNKNOWN, *(self._field(number) for number in (3, 4, 5)))
        head = self.head[:4] + b"".join(field.to_bytes(4, self.order) for field in fields)
        return LocatedAudio(head, extent, extent.size == self.declared_bytes or self._field(2) == _UNKNOWN)


def read_au(file: BinaryIO) -> Au | None:
    """Read the header of an AU file. Returns None if the file has another format."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES or head[:4] not in (b".snd", b"dns."):
        return None
    au = Au("big" if head[:4] == b".snd" else "little", head, size)
    return au if _HEAD_BYTES <= au.start < size else None
