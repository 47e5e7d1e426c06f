"""Shares decoding buffers among the sources of a process, because each source needs one only for a moment.

If each of hundreds of open sources had its own buffer, the buffers would need much memory. Also, a buffer would no
longer be in the processor's cache when its source decodes again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_MAX_FREE_BUFFERS: Final = 4

_free: list[npt.NDArray[np.uint8]] = []


@contextmanager
def scratch(frames: int, channels: int, dtype: type[np.int16] | type[np.float32]) -> Iterator[npt.NDArray[Any]]:
    """Lend a buffer, array[frames, channels] with undefined content, until the end of the `with` block. Thread-safe."""
    values = frames * channels
    wanted = values * np.dtype(dtype).itemsize
    try:
        memory = _free.pop()  # the buffer used last is most likely in the cache
    except IndexError:
        memory = np.empty(0, np.uint8)
    if len(memory) < wanted:
        memory = np.empty(wanted, np.uint8)
    try:
        yield memory[:wanted].view(dtype).reshape(frames, channels)
    finally:
        if len(_free) < _MAX_FREE_BUFFERS:
            _free.append(memory)
