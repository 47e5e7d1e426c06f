"""Reads bytes at an untrusted position, such as one from a file's own header."""

from __future__ import annotations

from typing import BinaryIO, Final

_MAX_OFFSET: Final = 1 << 62
"""Maximum position in bytes. No file is that long, and seeking beyond 2**63 raises ValueError."""


def read_at(file: BinaryIO, at: int, count: int) -> bytes:
    """Read up to `count` bytes from byte `at` on. Returns b"" after the end of the file, and for impossible
    positions."""
    if count <= 0 or not 0 <= at < _MAX_OFFSET:
        return b""
    file.seek(at)
    return file.read(min(count, _MAX_OFFSET))
