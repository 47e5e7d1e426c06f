"""Settings of the memory allocator of the C library for a process that receives many uploads at once."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
THRESHOLD_BYTES: Final = 1 << 16
"""Larger blocks are returned to the system as soon as they are free."""
ARENAS: Final = 2


def return_large_blocks() -> None:
    """Make the allocator return freed memory to the system. By default glibc keeps it in one arena per thread: a
    hundred uploads at once then need about 60 MB more. Has no effect with other C libraries."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, THRESHOLD_BYTES)
        mallopt(_M_ARENA_MAX, ARENAS)


__all__ = ["return_large_blocks"]
