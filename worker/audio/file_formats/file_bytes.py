"""Reads bytes at a place that a file's own header names, which may be anywhere."""

from __future__ import annotations

from typing import BinaryIO, Final

_MAX_OFFSET: Final = 1 << 62
"""Bytes. No file is as long, and beyond 2**63 seeking raises ValueError."""


def read_at(file: BinaryIO, at: int, count: int) -> bytes:
    """Up to `count` bytes from byte `at` on; none behind the end of the file and for places no file can have."""
    if count <= 0 or not 0 <= at < _MAX_OFFSET:
        return b""
    file.seek(at)
    return file.read(min(count, _MAX_OFFSET))
