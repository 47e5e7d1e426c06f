"""Reads a file forward through a window, for scans of frame headers."""

from __future__ import annotations

from typing import BinaryIO, Final

_CHUNK_BYTES: Final = 1 << 20


class FileWindow:
    """Reads a file forward, a megabyte at a time. `at` is an index into `data`."""

    def __init__(self, file: BinaryIO, start: int, kept_bytes: int = 0) -> None:
        """`start`: byte position in the file. `kept_bytes`: number of bytes before `at` that remain in `data`."""
        self._file = file
        self._base = start
        self._kept_bytes = kept_bytes
        file.seek(start)
        self.data = file.read(_CHUNK_BYTES)
        self.at = 0

    @property
    def position(self) -> int:
        """Byte position in the file."""
        return self._base + self.at

    def refill(self) -> bool:
        """Read on, so that a megabyte follows `at`. Returns False at the end of the file."""
        if self.at > len(self.data):
            self._file.seek(self.at - len(self.data), 1)
        drop = self.at if self.at > len(self.data) else max(0, self.at - self._kept_bytes)
        rest = self.data[drop:]
        self._base += drop
        self.at -= drop
        self.data = rest + self._file.read(_CHUNK_BYTES)
        return len(self.data) - self.at >= 4
