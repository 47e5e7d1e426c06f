"""Drops the notes that a C library prints to standard error about damaged audio.

libsndfile reads MP3 with libmpg123, which prints a line for each damaged frame ("Note: Trying to resync...").
libsndfile has no option to turn this off. The lines do not name the file, and they break JSON logs. The damage itself
reaches the user as a warning of the transcript.

During the calls, the C variable `stderr` points to a stream for /dev/null. No other output is lost: Python, C++ and the
messages of an abort write to descriptor 2 directly.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

_lock: Final = threading.Lock()
_inside = 0
_visible: int | None = None


class _StandardError:
    """The variable `stderr` of the C library, and a stream that discards its input."""

    def __init__(self, variable: ctypes.c_void_p, discard: int) -> None:
        self.variable = variable
        self.discard = discard


@contextmanager
def without_decoder_notes() -> Iterator[None]:
    """Drop the notes that C libraries print within the `with` block. Blocks may be nested, and run in several
    threads."""
    global _inside, _visible  # noqa: PLW0603  one variable of the C library for the process
    stream = _stream()
    if stream is None:
        yield
        return
    with _lock:
        if _inside == 0:
            _visible, stream.variable.value = stream.variable.value, stream.discard
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                stream.variable.value = _visible


@lru_cache(maxsize=1)
def _stream() -> _StandardError | None:
    """Return the C library's `stderr` variable. Returns None if the variable is unknown or cannot be assigned to
    (musl); then the notes are printed."""
    name = {"linux": "stderr", "darwin": "__stderrp"}.get(sys.platform)
    if name is None:
        return None
    try:
        libc = ctypes.CDLL(None)
        if sys.platform == "linux":
            _ = libc.gnu_get_libc_version  # only glibc documents that `stderr` may be assigned to
        libc.fopen.restype = ctypes.c_void_p
        discard = libc.fopen(b"/dev/null", b"we")
        return _StandardError(ctypes.c_void_p.in_dll(libc, name), discard) if discard else None
    except (AttributeError, OSError, ValueError):
        return None
